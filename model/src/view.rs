//! What one remote contributes: the names that it may export, and where it is reached.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::diagnostic::{Diagnostic, Reason};
use crate::export::{ExportKey, ServiceExport, ServicePort};
use crate::hostname::Hostname;
use crate::ingress::IngressView;
use crate::inventory::Remote;
use crate::remote::{IngressSource, RemoteName, RemoteSettings};
use crate::service::Families;
use crate::table::{Backend, ImportPolicy};

/// What one remote contributes to the table, derived from its own ground state and nobody else's: another remote
/// cannot change it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteView {
    /// The names that it exports and may export, with their port and their HTTPProxy.
    pub exports: BTreeMap<Hostname, (ServicePort, ExportKey)>,
    /// Where its ingress is reached.
    pub backend: Backend,
    /// What is refused or degraded of its settings and exports.
    pub export_diagnostics: Vec<Diagnostic>,
    /// What is wrong with its nodes, or with the Service that its ingress is reached through.
    pub node_diagnostics: Vec<Diagnostic>,
}

impl RemoteView {
    /// Derives the view. Without valid settings a remote contributes nothing.
    pub fn derive(name: &RemoteName, remote: &Remote, policy: &ImportPolicy) -> Self {
        let mut view = Self::default();
        view.export_diagnostics.extend(remote.settings_problem.clone());
        view.export_diagnostics.extend(remote.problems.values().cloned());
        if let Some(settings) = &remote.settings {
            view.derive_backend(name, remote, settings, &policy.gateway_addresses);
            view.derive_exports(name, remote, settings, policy);
        }
        view
    }

    /// Derives anew what depends on the nodes: the same view as [`RemoteView::derive`] gives if only nodes have changed,
    /// at a cost that does not grow with the exports unless the last address comes or goes.
    pub fn derive_nodes(&mut self, name: &RemoteName, remote: &Remote, policy: &ImportPolicy) {
        let Some(settings) = &remote.settings else { return };
        let had_endpoints = !self.backend.endpoints.is_empty();
        self.derive_backend(name, remote, settings, &policy.gateway_addresses);
        if self.backend.endpoints.is_empty() == had_endpoints {
            *self = Self::derive(name, remote, policy);
        }
    }

    /// The names that lead elsewhere than in `other`, or that only one of the two exports.
    pub fn changed_names<'a>(&'a self, other: &'a Self) -> BTreeSet<&'a Hostname> {
        let differs = |(hostname, export): &(&Hostname, &_)| other.exports.get(*hostname) != Some(*export);
        let gone = other.exports.keys().filter(|hostname| !self.exports.contains_key(*hostname));
        self.exports.iter().filter(differs).map(|(hostname, _)| hostname).chain(gone).collect()
    }

    /// All that a person should know, in no order.
    pub fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.export_diagnostics.iter().chain(&self.node_diagnostics)
    }

    fn derive_backend(
        &mut self,
        name: &RemoteName,
        remote: &Remote,
        settings: &RemoteSettings,
        gateway: &BTreeSet<IpAddr>,
    ) {
        let mut ingress =
            IngressView { name, remote, settings, gateway, found: BTreeSet::new(), wrong: Vec::new() };
        match &settings.ingress.source {
            IngressSource::Nodes => ingress.by_nodes(settings.ingress.port, Families::default()),
            IngressSource::Service(service) => ingress.by_service(service),
        }
        self.backend = Backend { priority: settings.priority, endpoints: ingress.found };
        self.node_diagnostics = ingress.wrong;
    }

    fn derive_exports(
        &mut self,
        name: &RemoteName,
        remote: &Remote,
        settings: &RemoteSettings,
        policy: &ImportPolicy,
    ) {
        let mut claims: BTreeMap<&Hostname, Vec<(&ServiceExport, &ExportKey)>> = BTreeMap::new();
        for (key, export) in &remote.exports {
            match export {
                Err(diagnostic) => self.export_diagnostics.push(diagnostic.clone()),
                Ok(export) => match policy.check(&export.hostname, settings) {
                    Ok(()) => claims.entry(&export.hostname).or_default().push((export, key)),
                    Err((reason, message)) => self.diagnose(name, key, reason, message),
                },
            }
        }
        for (hostname, mut claims) in claims {
            // The oldest owns the name (as Multi-Cluster Services resolve conflicts), then namespace and name.
            claims.sort_by_key(|(export, key)| (export.age_order(), *key));
            let (owner, owner_key) = claims[0];
            for (_, key) in &claims[1..] {
                let message =
                    format!("{hostname} belongs to HTTPProxy {owner_key}, which is older; use another fqdn");
                self.diagnose(name, key, Reason::Conflict, message);
            }
            if self.backend.endpoints.is_empty() {
                let message = match &settings.ingress.source {
                    IngressSource::Nodes => format!(
                        "{hostname} is exported, but no node of remote {name} has a usable address: \
                         nodes must be Ready, schedulable and no control-plane nodes"
                    ),
                    IngressSource::Service(service) => {
                        format!(
                            "{hostname} is exported, but Service {service} of remote {name} has no usable address"
                        )
                    }
                };
                self.diagnose(name, owner_key, Reason::NoAddresses, message);
            }
            self.exports.insert(hostname.clone(), (owner.port, owner_key.clone()));
        }
    }

    fn diagnose(&mut self, remote: &RemoteName, key: &ExportKey, reason: Reason, message: String) {
        self.export_diagnostics.push(Diagnostic {
            remote: remote.clone(),
            object: key.object(),
            reason,
            message,
        });
    }
}
