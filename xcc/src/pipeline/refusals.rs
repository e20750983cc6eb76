//! What gateways refuse, and who has to know: the refusal once, the remotes that it leads to, and the names that wait for
//! it, unless there are many of which nobody knows who is to blame.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;
use tracing::{info, warn};
use xcc_model::{
    Diagnostic, Hostname, ObjectKind, ObjectRef, Reason, RemoteName, Route, ServiceImport, ServicePort,
};
use xcc_xds::{ClientStatus, Refusal, TypeStatus, TypeUrl};

use super::Pipeline;
use super::gateways::held;
use crate::gate::NameState;
use crate::publisher::diagnostics_of;

/// How many names are told one by one that they wait. Where more do, only those that the gateway's text has.
const NAMES_TOLD_MAX: usize = 16;

/// What a refused resource takes part in.
struct Refused {
    /// As in `the listener`.
    what: String,
    port: Option<ServicePort>,
    routes: BTreeSet<Route>,
}

impl Refused {
    fn has(&self, route: &Route) -> bool {
        self.port == Some(route.port) || self.routes.contains(route)
    }
}

impl Pipeline {
    /// Looks whether gateways refuse something else than before. Costs nothing to speak of while they refuse nothing, so
    /// that it need not be foreseen when they might.
    pub(super) fn observe_refusals(&mut self, now: Instant) {
        let refusals = self.connections.clients.refusals();
        if refusals == self.refusals {
            return;
        }
        let id =
            |refusal: &Refusal| (refusal.type_url.clone(), refusal.name.clone(), refusal.version.clone());
        let before: BTreeSet<_> = self.refusals.iter().map(id).collect();
        for refusal in refusals.iter().filter(|refusal| !before.contains(&id(refusal))) {
            warn!(
                resource = %refusal.name, type_url = %refusal.type_url, version = %refusal.version,
                "a gateway refuses what it was sent: {}", refusal.message
            );
        }
        if refusals.is_empty() {
            info!("no gateway refuses anything any more");
        }
        self.connections.metrics.set_refusals(&refusals);
        self.refusals = refusals;
        self.report();
        self.status_changed(now);
    }

    /// The ports whose listeners a gateway refuses.
    pub(super) fn refused_ports(&self, listeners: &TypeStatus) -> BTreeSet<ServicePort> {
        let names = listeners.parked.keys();
        names.filter_map(|name| self.port_of(name)).collect()
    }

    /// Where gateways cannot lead, by their node's id: an Envoy without ADS has a stream for each type. They refuse the cluster
    /// or the endpoints, or have not ACKed the cluster yet.
    pub(super) fn refused_routes(&self, clients: &[ClientStatus]) -> BTreeMap<String, BTreeSet<Route>> {
        let mut refused: BTreeMap<String, BTreeSet<Route>> = BTreeMap::new();
        for client in clients {
            let types = [TypeUrl::Cluster, TypeUrl::Endpoint];
            let parked = types.iter().filter_map(|it| client.types.get(it)).flat_map(|it| it.parked.keys());
            let mut routes = self.publisher.routes_to(parked.map(|name| &**name));
            if let Some(clusters) = client.types.get(&TypeUrl::Cluster) {
                routes.extend(self.publisher.routes_after(held(clusters)));
            }
            if !routes.is_empty() {
                refused.entry(client.node_id.clone()).or_default().extend(routes);
            }
        }
        refused
    }

    fn port_of(&self, listener: &str) -> Option<ServicePort> {
        let ports = self.publisher.ports();
        ports.into_iter().find(|port| xcc_envoy::names::listener_name(*port) == listener)
    }

    fn refused(&self, refusal: &Refusal) -> Option<Refused> {
        let of_upstream = |what: &str| Refused {
            what: format!("{what} {}", refusal.name),
            port: None,
            routes: self.publisher.routes_to([&*refusal.name]),
        };
        match refusal.type_url {
            TypeUrl::Listener => Some(Refused {
                what: "the listener".to_owned(),
                port: Some(self.port_of(&refusal.name)?),
                routes: BTreeSet::new(),
            }),
            TypeUrl::Cluster => Some(of_upstream("the cluster")),
            TypeUrl::Endpoint => Some(of_upstream("the endpoints of")),
            _ => None,
        }
    }

    pub(super) fn describe_refusals(&self) -> Vec<Diagnostic> {
        self.refusals.iter().flat_map(|refusal| self.describe_refusal(refusal)).collect()
    }

    fn describe_refusal(&self, refusal: &Refusal) -> Vec<Diagnostic> {
        let Some(refused) = self.refused(refusal) else { return vec![] };
        let (what, text) = (&refused.what, &refusal.message);
        let waiting = self.waiting_for(&refused);
        let told = to_tell(&waiting, text);
        let mut diagnostics = Vec::new();
        for (hostname, import) in &told {
            let routes = import.routes.iter().filter(|route| refused.has(route));
            for port in routes.map(|route| route.port) {
                let message =
                    format!("{hostname} is not carried on port {port}: a gateway refuses {what}: {text}");
                diagnostics.extend(diagnostics_of(import, Reason::NotCarried, message));
            }
        }
        let leads_to = refused.routes.iter().flat_map(|route| route.remotes.iter());
        for remote in leads_to.collect::<BTreeSet<_>>() {
            let message = format!(
                "a gateway refuses {what}: what it had before stays in use, and new names wait: {text}"
            );
            diagnostics.push(of_remote(remote, message));
        }
        if let Some(port) = refused.port
            && told.len() < waiting.len()
        {
            let routes =
                waiting.values().flat_map(|import| &import.routes).filter(|route| refused.has(route));
            for remote in routes.flat_map(|route| route.remotes.iter()).collect::<BTreeSet<_>>() {
                let message =
                    format!("new names are not carried on port {port}: a gateway refuses {what}: {text}");
                diagnostics.push(of_remote(remote, message));
            }
        }
        diagnostics
    }

    /// The names that are not answered yet and need what is refused. Those that are answered have it from before.
    fn waiting_for(&self, refused: &Refused) -> BTreeMap<&Hostname, &ServiceImport> {
        let imports = self.table.imports.iter();
        let concerned = imports.filter(|(_, import)| import.routes.iter().any(|route| refused.has(route)));
        concerned.filter(|(hostname, _)| self.gate.state(hostname) != Some(NameState::Answered)).collect()
    }
}

/// Those that the text has, if it has any; else all, unless they are many.
fn to_tell<'t>(
    waiting: &BTreeMap<&'t Hostname, &'t ServiceImport>,
    text: &str,
) -> BTreeMap<&'t Hostname, &'t ServiceImport> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && !"-.*".contains(letter));
    let words: BTreeSet<&str> = words.map(|word| word.trim_end_matches('.')).collect();
    let named: BTreeMap<_, _> = waiting
        .iter()
        .filter(|(hostname, _)| words.contains(hostname.as_str()))
        .take(NAMES_TOLD_MAX)
        .map(|(hostname, import)| (*hostname, *import))
        .collect();
    match named.is_empty() && waiting.len() <= NAMES_TOLD_MAX {
        true => waiting.clone(),
        false => named,
    }
}

fn of_remote(remote: &RemoteName, message: String) -> Diagnostic {
    Diagnostic {
        remote: remote.clone(),
        object: ObjectRef::new(ObjectKind::RemoteCluster, "", remote.as_str()),
        reason: Reason::NotCarried,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(names: usize, text: &str) -> Vec<String> {
        let import = ServiceImport { routes: vec![], origins: vec![] };
        let names: Vec<_> =
            (0..names).map(|number| Hostname::parse(&format!("n{number}.xcc.test")).unwrap()).collect();
        let waiting = names.iter().map(|name| (name, &import)).collect();
        to_tell(&waiting, text).keys().map(|name| name.to_string()).collect()
    }

    #[test]
    fn names_that_the_text_has_are_told_and_others_unless_they_are_many() {
        assert_eq!(told(2, "cannot bind"), ["n0.xcc.test", "n1.xcc.test"]);
        assert_eq!(told(2, "duplicate n1.xcc.test."), ["n1.xcc.test"]);
        assert_eq!(told(10_000, "duplicate \"n12.xcc.test\""), ["n12.xcc.test"]);
        assert_eq!(told(10_000, "cannot bind"), [""; 0]);
        let all: String = (0..10_000).map(|number| format!("n{number}.xcc.test ")).collect();
        assert_eq!(told(10_000, &all).len(), NAMES_TOLD_MAX);
    }
}
