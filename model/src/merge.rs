//! The table from what the remotes contribute, kept up to date name by name.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::{Diagnostic, Reason};
use crate::export::{ExportKey, ServicePort};
use crate::hostname::Hostname;
use crate::remote::RemoteName;
use crate::table::{Origin, RemoteSet, Route, ServiceImport, ServiceTable};
use crate::view::RemoteView;

/// The merged table, and what is wrong between remotes. A name that several export on one port is served by all of them.
#[derive(Debug, Clone, Default)]
pub struct Merge {
    table: ServiceTable,
    /// What remotes disagree about, by name.
    conflicts: BTreeMap<Hostname, Vec<Diagnostic>>,
    /// One copy of each set is kept, since nearly all names share a few.
    sets: BTreeSet<RemoteSet>,
}

/// One remote's claim to a name.
type Claim<'a> = (&'a RemoteName, ServicePort, &'a ExportKey);

impl Merge {
    /// Merges everything.
    pub fn of(views: &BTreeMap<RemoteName, RemoteView>) -> Self {
        let mut merge = Self::default();
        let names: BTreeSet<&Hostname> = views.values().flat_map(|view| view.exports.keys()).collect();
        merge.refresh(views, names);
        merge
    }

    /// Merges these names and where remotes are reached anew: all else is as before. Gives what [`Merge::of`] gives if the
    /// views are different in no other name, at a cost that does not grow with the others.
    pub fn refresh<'a>(
        &mut self,
        views: &BTreeMap<RemoteName, RemoteView>,
        names: impl IntoIterator<Item = &'a Hostname>,
    ) {
        for hostname in names {
            let mut claims: Vec<Claim<'_>> = Vec::new();
            for (remote, view) in views {
                if let Some((port, key)) = view.exports.get(hostname) {
                    claims.push((remote, *port, key));
                }
            }
            self.merge_name(hostname, &claims);
        }
        self.sets.retain(|set| !set.is_unshared());
        self.refresh_backends(views);
    }

    /// Takes over where remotes are reached; only those that something is imported from count.
    pub fn refresh_backends(&mut self, views: &BTreeMap<RemoteName, RemoteView>) {
        let backends = &mut self.table.backends;
        backends.retain(|remote, _| views.get(remote).is_some_and(|view| !view.exports.is_empty()));
        for (remote, view) in views.iter().filter(|(_, view)| !view.exports.is_empty()) {
            if backends.get(remote) != Some(&view.backend) {
                backends.insert(remote.clone(), view.backend.clone());
            }
        }
    }

    /// The table.
    pub fn table(&self) -> &ServiceTable {
        &self.table
    }

    /// What remotes disagree about.
    pub fn conflicts(&self) -> impl Iterator<Item = &Diagnostic> {
        self.conflicts.values().flatten()
    }

    fn merge_name(&mut self, hostname: &Hostname, claims: &[Claim<'_>]) {
        self.conflicts.remove(hostname);
        if claims.is_empty() {
            self.table.imports.remove(hostname);
            return;
        }
        let import = self.import(claims);
        if let Some(conflict) = import.conflict() {
            let diagnostics = claims.iter().map(|claim| port_mismatch(hostname, claim, &conflict));
            self.conflicts.insert(hostname.clone(), diagnostics.collect());
        }
        self.table.imports.insert(hostname.clone(), import);
    }

    fn import(&mut self, claims: &[Claim<'_>]) -> ServiceImport {
        let mut by_port: BTreeMap<ServicePort, BTreeSet<&RemoteName>> = BTreeMap::new();
        for (remote, port, _) in claims {
            by_port.entry(*port).or_default().insert(remote);
        }
        let routes = by_port.into_iter().filter_map(|(port, remotes)| {
            let remotes = self.shared(RemoteSet::new(remotes.into_iter().cloned())?);
            Some(Route { port, remotes })
        });
        let routes = routes.collect();
        let origins = claims
            .iter()
            .map(|(remote, _, key)| Origin { remote: (*remote).clone(), export: (*key).clone() })
            .collect();
        ServiceImport { routes, origins }
    }

    fn shared(&mut self, set: RemoteSet) -> RemoteSet {
        match self.sets.get(&set) {
            Some(known) => known.clone(),
            None => {
                self.sets.insert(set.clone());
                set
            }
        }
    }
}

fn port_mismatch(hostname: &Hostname, (remote, port, key): &Claim<'_>, conflict: &str) -> Diagnostic {
    let message = format!(
        "{hostname} is exported on port {port} here, but {conflict}: each port reaches only its own remotes; \
         set the same service-port annotation everywhere"
    );
    Diagnostic { remote: (*remote).clone(), object: key.object(), reason: Reason::PortMismatch, message }
}
