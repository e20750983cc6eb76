//! Metrics of how the watched remotes are: read from the board when somebody asks, so that nothing has to follow it.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use xcc_kube::session::{HealthBoard, RemoteHealth};

/// Shows the board.
#[derive(Debug)]
pub(crate) struct HealthMetrics(pub(crate) HealthBoard);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RemoteLabel {
    remote: String,
}

/// Reads a number of a remote, where there is one.
type Read = fn(&RemoteHealth) -> Option<i64>;

impl Collector for HealthMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let receiver = self.0.subscribe();
        let board = receiver.borrow().clone();
        let gauges: [(&str, &str, Read); 2] = [
            ("remote_connected", "1 while the remote's API server can be followed", |health| {
                Some(i64::from(matches!(health.connection, Some(Ok(())))))
            }),
            (
                "remote_last_sync_timestamp_seconds",
                "When what is known of the remote was last in step with its API server, in seconds since 1970",
                |health| health.last_sync.map(jiff::Timestamp::as_second),
            ),
        ];
        for (name, help, value) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (remote, health) in &board {
                let Some(value) = value(health) else { continue };
                let label = RemoteLabel { remote: remote.to_string() };
                ConstGauge::new(value).encode(family.encode_family(&label)?)?;
            }
        }
        Ok(())
    }
}
