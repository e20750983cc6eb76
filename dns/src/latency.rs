//! How long answers take, measured at a sample of them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;

/// Upper bounds of the buckets in nanoseconds: each twice the one before, from 1 us to 16 ms, and without end.
const BOUNDS: usize = 15;
const FIRST_BOUND_NANOSECONDS: u64 = 1000;

/// Observations of one thread.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    buckets: [AtomicU64; BOUNDS + 1],
    nanoseconds: AtomicU64,
}

/// The sum over threads.
#[derive(Debug, Default)]
pub(crate) struct LatencySum {
    buckets: [u64; BOUNDS + 1],
    nanoseconds: u64,
}

impl Latency {
    /// So many answers took so long.
    pub(crate) fn observe(&self, took: Duration, answers: u64) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let thousands = nanoseconds.div_ceil(FIRST_BOUND_NANOSECONDS).max(1);
        let bucket = thousands.next_power_of_two().trailing_zeros() as usize;
        self.buckets[bucket.min(BOUNDS)].fetch_add(answers, Ordering::Relaxed);
        self.nanoseconds.fetch_add(nanoseconds.wrapping_mul(answers), Ordering::Relaxed);
    }
}

impl LatencySum {
    pub(crate) fn add(&mut self, latency: &Latency) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&latency.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        self.nanoseconds = self.nanoseconds.wrapping_add(latency.nanoseconds.load(Ordering::Relaxed));
    }

    fn bound_seconds(bucket: usize) -> f64 {
        match bucket {
            BOUNDS => f64::INFINITY,
            _ => (FIRST_BOUND_NANOSECONDS << bucket) as f64 / 1e9,
        }
    }
}

impl EncodeMetric for LatencySum {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let buckets: Vec<(f64, u64)> = self
            .buckets
            .iter()
            .enumerate()
            .map(|(index, count)| (Self::bound_seconds(index), *count))
            .collect();
        let count = self.buckets.iter().sum();
        encoder.encode_histogram::<[(&str, &str); 0]>(self.nanoseconds as f64 / 1e9, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_fall_into_the_bucket_that_bounds_them() {
        let latency = Latency::default();
        for (nanoseconds, bucket) in [
            (0, 0),
            (1000, 0),
            (1001, 1),
            (2000, 1),
            (2001, 2),
            (16_384_000, 14),
            (16_384_001, 15),
            (u64::MAX, 15),
        ] {
            let before = latency.buckets[bucket].load(Ordering::Relaxed);
            latency.observe(Duration::from_nanos(nanoseconds), 3);
            assert_eq!(latency.buckets[bucket].load(Ordering::Relaxed), before + 3, "{nanoseconds}");
        }
        assert_eq!(LatencySum::bound_seconds(14), 0.016384);
    }
}
