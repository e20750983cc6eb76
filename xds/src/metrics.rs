//! Prometheus metrics of the server. Labels are bounded: types that clients made up are all `other`.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{response::Variant, type_url::TypeUrl};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabel {
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VariantLabel {
    variant: &'static str,
}

/// The server's metrics; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    streams: Family<VariantLabel, Gauge>,
    held_streams: Gauge,
    streams_refused: Counter,
    requests_refused: Counter,
    responses: Family<TypeLabel, Counter>,
    resources: Family<TypeLabel, Counter>,
    removals: Family<TypeLabel, Counter>,
    bytes: Family<TypeLabel, Counter>,
    acks: Family<TypeLabel, Counter>,
    nacks: Family<TypeLabel, Counter>,
    stale_nonces: Family<TypeLabel, Counter>,
    gates_released: Counter,
    unanswered: Family<TypeLabel, Gauge>,
    overtakes: Family<TypeLabel, Counter>,
}

impl Metrics {
    /// Registers all metrics under the prefix `xds`.
    pub fn register(&self, registry: &mut Registry) {
        let xds = registry.sub_registry_with_prefix("xds");
        xds.register("streams", "Open streams, one for each client with ADS", self.streams.clone());
        xds.register(
            "held_streams",
            "Streams whose requests wait for the first snapshot",
            self.held_streams.clone(),
        );
        xds.register("streams_refused", "Streams above the limit", self.streams_refused.clone());
        xds.register("requests_refused", "Requests that ended their stream", self.requests_refused.clone());
        xds.register("responses", "Responses sent", self.responses.clone());
        xds.register("resources", "Resources sent", self.resources.clone());
        xds.register("removals", "Names of removed resources sent", self.removals.clone());
        xds.register("response_bytes", "Bytes of responses sent", self.bytes.clone());
        xds.register("acks", "Responses that clients ACKed", self.acks.clone());
        xds.register("nacks", "Responses that clients NACKed", self.nacks.clone());
        xds.register("stale_nonces", "Requests with another nonce than the last", self.stale_nonces.clone());
        xds.register(
            "gates_released",
            "Times that a client did not answer a type in time and was sent what refers to it",
            self.gates_released.clone(),
        );
        xds.register(
            "unanswered",
            "Streams on which a response has been unanswered for longer than the answer timeout",
            self.unanswered.clone(),
        );
        xds.register(
            "overtakes",
            "Responses sent although the one before was unanswered",
            self.overtakes.clone(),
        );
    }

    pub(crate) fn stream_opened(&self, variant: Variant) -> OpenStream {
        let streams = self.streams.get_or_create_owned(&VariantLabel { variant: variant.as_str() });
        streams.inc();
        OpenStream { streams, held_streams: self.held_streams.clone(), held: false }
    }

    pub(crate) fn stream_refused(&self) {
        self.streams_refused.inc();
    }

    pub(crate) fn request_refused(&self) {
        self.requests_refused.inc();
    }

    pub(crate) fn gate_released(&self) {
        self.gates_released.inc();
    }

    /// Counts a type on a stream as unanswered until the value is dropped.
    pub(crate) fn overdue(&self, type_url: &TypeUrl) -> Overdue {
        let unanswered = self.unanswered.get_or_create_owned(&label(type_url));
        unanswered.inc();
        Overdue { unanswered }
    }

    pub(crate) fn overtaken(&self, type_url: &TypeUrl) {
        self.overtakes.get_or_create(&label(type_url)).inc();
    }

    #[cfg(test)]
    pub(crate) fn overdue_count(&self, type_url: &TypeUrl) -> i64 {
        self.unanswered.get_or_create(&label(type_url)).get()
    }

    pub(crate) fn sent(&self, type_url: &TypeUrl, resources: usize, removals: usize, bytes: usize) {
        let label = label(type_url);
        self.responses.get_or_create(&label).inc();
        self.resources.get_or_create(&label).inc_by(resources as u64);
        self.removals.get_or_create(&label).inc_by(removals as u64);
        self.bytes.get_or_create(&label).inc_by(bytes as u64);
    }

    pub(crate) fn acked(&self, type_url: &TypeUrl) {
        self.acks.get_or_create(&label(type_url)).inc();
    }

    pub(crate) fn nacked(&self, type_url: &TypeUrl) {
        self.nacks.get_or_create(&label(type_url)).inc();
    }

    pub(crate) fn stale(&self, type_url: &TypeUrl) {
        self.stale_nonces.get_or_create(&label(type_url)).inc();
    }
}

fn label(type_url: &TypeUrl) -> TypeLabel {
    TypeLabel { r#type: type_url.short() }
}

/// Counts a stream while it lives.
#[derive(Debug)]
pub(crate) struct OpenStream {
    streams: Gauge,
    held_streams: Gauge,
    held: bool,
}

impl OpenStream {
    /// Whether its requests wait for the first snapshot.
    pub(crate) fn set_held(&mut self, held: bool) {
        match (std::mem::replace(&mut self.held, held), held) {
            (false, true) => drop(self.held_streams.inc()),
            (true, false) => drop(self.held_streams.dec()),
            _ => {}
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.set_held(false);
        self.streams.dec();
    }
}

/// Counts a type of a stream while a response is unanswered for too long.
#[derive(Debug)]
pub(crate) struct Overdue {
    unanswered: Gauge,
}

impl Drop for Overdue {
    fn drop(&mut self) {
        self.unanswered.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(metrics: &Metrics) -> String {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        page
    }

    #[test]
    fn made_up_types_do_not_grow_the_labels() {
        let metrics = Metrics::default();
        for index in 0..100 {
            metrics.acked(&TypeUrl::from(format!("type/{index}").as_str()));
        }
        assert!(page(&metrics).contains("xds_acks_total{type=\"other\"} 100\n"));
    }

    #[test]
    fn gauges_follow_the_streams() {
        let metrics = Metrics::default();
        let mut stream = metrics.stream_opened(Variant::Sotw);
        stream.set_held(true);
        stream.set_held(true);
        assert!(page(&metrics).contains("xds_streams{variant=\"sotw\"} 1\n"));
        assert!(page(&metrics).contains("xds_held_streams 1\n"));
        drop(stream);
        assert!(page(&metrics).contains("xds_streams{variant=\"sotw\"} 0\n"));
        assert!(page(&metrics).contains("xds_held_streams 0\n"));
    }
}
