//! A sample of the queries, for people who ask who asks what.
//!
//! Events of the target [`TARGET`] with the client's address: personal data in many places, and so off by default.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::request::Request;
use crate::responder::{Outcome, Transport};

/// The target of the log's events, for filters.
pub const TARGET: &str = "xcc_dns::queries";

/// Logs a share of the requests, drawn at random: every so many-th would favour clients that ask at a steady pace. Each
/// thread has its own, and all TCP connections together.
#[derive(Debug)]
pub(crate) struct QueryLog {
    /// Of all numbers that can be drawn, those up to this one are logged; with 0 nothing is.
    share: u64,
    seen: AtomicU64,
    draw: RandomState,
}

impl QueryLog {
    /// A log of this share of all queries, from 0 to 1.
    pub(crate) fn new(rate: f64) -> Self {
        let share = (rate.clamp(0.0, 1.0) * u64::MAX as f64) as u64;
        Self { share, seen: AtomicU64::new(0), draw: RandomState::new() }
    }

    pub(crate) fn note(&self, client: SocketAddr, transport: Transport, request: &[u8], outcome: Outcome) {
        if self.is_due() {
            log(client, transport, request, outcome);
        }
    }

    /// Whether this request is one of the sample.
    fn is_due(&self) -> bool {
        self.share > 0 && self.draw.hash_one(self.seen.fetch_add(1, Ordering::Relaxed)) <= self.share
    }
}

/// Names come in escaped form, so that a client writes nothing but letters into the log.
#[cold]
fn log(client: SocketAddr, transport: Transport, request: &[u8], outcome: Outcome) {
    let Outcome::Replied { rcode, record_type, truncated } = outcome else { return };
    let question = Request::read(request).ok().and_then(|request| request.question);
    let name = question.map_or_else(|| "-".to_owned(), |question| question.name.to_string());
    tracing::info!(
        target: TARGET,
        %client, transport = transport.name(), %name, r#type = %record_type, %rcode, truncated,
        octets = request.len(), "query",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_kept() {
        let logged = |rate: f64| {
            let log = QueryLog::new(rate);
            (0..100_000).filter(|_| log.is_due()).count()
        };
        for (rate, want) in [(0.0, 0), (-1.0, 0), (f64::NAN, 0), (1.0, 100_000), (7.0, 100_000)] {
            assert_eq!(logged(rate), want, "{rate}");
        }
        // Ten standard deviations are 1600 at most.
        for (rate, want) in [(0.9, 90_000), (0.7, 70_000), (0.4, 40_000), (0.1, 10_000), (0.01, 1000)] {
            assert!(logged(rate).abs_diff(want) < 1600, "{rate}");
        }
    }
}
