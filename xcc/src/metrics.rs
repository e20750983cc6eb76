//! Metrics of the pipeline: what is imported, from where, and what is wrong. `xds` and `dns` bring their own.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use xcc_model::{Diagnostic, Reason, Remote, RemoteName, RemoteView};
use xcc_xds::Refusal;

use crate::gate::Counts;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RemoteLabel {
    remote: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: ReasonValue,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ReasonValue(Reason);

impl EncodeLabelValue for ReasonValue {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        format!("{:?}", self.0).encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabel {
    r#type: &'static str,
}

/// What the pipeline counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct PipelineMetrics {
    /// Publications to gateways, whether or not they changed anything.
    pub(crate) publications: Counter,
    /// Gateways that names no longer wait for.
    pub(crate) gateways_passed_over: Gauge,
    remote_synced: Family<RemoteLabel, Gauge>,
    remote_exports: Family<RemoteLabel, Gauge>,
    remote_endpoints: Family<RemoteLabel, Gauge>,
    remote_diagnostics: Family<ReasonLabel, Gauge>,
    names: Family<StateLabel, Gauge<i64>>,
    gateway_refusals: Family<TypeLabel, Gauge>,
    publication_errors: Counter<u64, AtomicU64>,
}

impl PipelineMetrics {
    /// Makes the metrics and has them shown by the registry.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let m = metrics.clone();
        registry.register("publications", "Publications to gateways, changed or not", m.publications);
        registry.register("publication_errors", "Publications that failed", m.publication_errors);
        registry.register(
            "gateways_passed_over",
            "Gateways that lag so far behind another that names do not wait for them",
            m.gateways_passed_over,
        );
        registry.register(
            "remote_synced",
            "1 once a remote has told everything that it exports",
            m.remote_synced,
        );
        registry.register("remote_exports", "Names exported by a remote and imported here", m.remote_exports);
        registry.register(
            "remote_endpoints",
            "Addresses at which a remote's ingress is reached",
            m.remote_endpoints,
        );
        registry.register(
            "diagnostics",
            "Objects that are refused or degraded, by reason",
            m.remote_diagnostics,
        );
        registry.register("names", "Imported names by state: pending, answered, withdrawn", m.names);
        registry.register(
            "gateway_refusals",
            "Resources of which a gateway refuses the version that it is to have",
            m.gateway_refusals,
        );
        metrics
    }

    /// Notes a publication that failed.
    pub(crate) fn publication_failed(&self) {
        self.publication_errors.inc();
    }

    /// Notes what each remote contributes.
    pub(crate) fn set_remotes(
        &self,
        remotes: &BTreeMap<RemoteName, Remote>,
        views: &BTreeMap<RemoteName, RemoteView>,
    ) {
        self.remote_synced.clear();
        self.remote_exports.clear();
        self.remote_endpoints.clear();
        for (name, remote) in remotes {
            let label = RemoteLabel { remote: name.to_string() };
            self.remote_synced.get_or_create(&label).set(i64::from(remote.synced));
            if let Some(view) = views.get(name) {
                self.remote_exports.get_or_create(&label).set(count(view.exports.len()));
                self.remote_endpoints.get_or_create(&label).set(count(view.backend.endpoints.len()));
            }
        }
    }

    /// Notes what is wrong.
    pub(crate) fn set_diagnostics(&self, diagnostics: &[Diagnostic]) {
        self.remote_diagnostics.clear();
        for diagnostic in diagnostics {
            self.remote_diagnostics
                .get_or_create(&ReasonLabel { reason: ReasonValue(diagnostic.reason) })
                .inc();
        }
    }

    /// Notes what gateways refuse.
    pub(crate) fn set_refusals(&self, refusals: &[Refusal]) {
        self.gateway_refusals.clear();
        for refusal in refusals {
            self.gateway_refusals.get_or_create(&TypeLabel { r#type: refusal.type_url.short() }).inc();
        }
    }

    /// Notes how many names are in which state.
    pub(crate) fn set_names(&self, counts: Counts) {
        for (state, number) in
            [("pending", counts.pending), ("answered", counts.answered), ("withdrawn", counts.withdrawn)]
        {
            self.names.get_or_create(&StateLabel { state }).set(count(number));
        }
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
