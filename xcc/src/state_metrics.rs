//! Metrics of how the state is kept in the importing cluster: read when somebody asks.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::watch;
use xcc_kube::importing::Keeping;

/// Shows it.
#[derive(Debug)]
pub(crate) struct StateMetrics(pub(crate) watch::Receiver<Keeping>);

impl Collector for StateMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let keeping = *self.0.borrow();
        let gauges = [
            (
                "shared_state_size_bytes",
                "What this replica has written last into the ConfigMaps of the state, compressed",
                i64::try_from(keeping.size_bytes).unwrap_or(i64::MAX),
            ),
            (
                "shared_state_too_large",
                "1 while the state does not fit into its ConfigMaps: an older one is kept",
                i64::from(keeping.too_large),
            ),
        ];
        for (name, help, value) in gauges {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(family)?;
        }
        let help = "Attempts to write the state into its ConfigMaps that failed";
        let family = encoder.encode_descriptor("shared_state_failures", help, None, MetricType::Counter)?;
        ConstCounter::new(keeping.failures).encode(family)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn it_is_shown_as_it_is_now() {
        let (sender, receiver) = watch::channel(Keeping::default());
        let mut registry = Registry::with_prefix("xcc");
        registry.register_collector(Box::new(StateMetrics(receiver)));
        sender.send_replace(Keeping { size_bytes: 7, too_large: true, failures: 3 });
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        for line in [
            "xcc_shared_state_size_bytes 7",
            "xcc_shared_state_too_large 1",
            "xcc_shared_state_failures_total 3",
        ] {
            assert!(page.lines().any(|it| it == line), "{page}");
        }
    }
}
