//! From the table to the snapshots that gateways are served, one for each form of matching names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::watch;
use xcc_envoy::{
    Cluster, ClusterLoadAssignment, GatewayConfig, MatcherForm, Omitted, Routing, Tally, Upstream,
};
use xcc_model::{
    Backend, Diagnostic, Origin, Reason, RemoteName, Route, ServiceImport, ServicePort, ServiceTable,
};
use xcc_xds::{Resource, ResourceVersion, Snapshot, SnapshotStore, TypeUrl};

use crate::gate::Generation;

/// How many generations back a gateway's ACK is still recognised; one that is further behind counts as having ACKed
/// nothing.
const GENERATIONS_KEPT: u64 = 1_024;
const FORMS: [MatcherForm; 2] = [MatcherForm::ServerNames, MatcherForm::ExactMap];

/// Where the snapshots are served from.
#[derive(Debug, Clone)]
pub(crate) struct Stores {
    server_names: SnapshotStore,
    exact_map: SnapshotStore,
    /// The forms that are kept filled. Most installations have gateways of one kind: the other form, which costs the same
    /// again for each change, is made once somebody asks for it.
    wanted: watch::Sender<BTreeSet<MatcherForm>>,
}

impl Default for Stores {
    fn default() -> Self {
        Self {
            server_names: SnapshotStore::default(),
            exact_map: SnapshotStore::default(),
            wanted: watch::Sender::new([MatcherForm::ServerNames].into()),
        }
    }
}

impl Stores {
    /// The store of one form, as it is.
    pub(crate) fn of(&self, form: MatcherForm) -> &SnapshotStore {
        match form {
            MatcherForm::ServerNames => &self.server_names,
            MatcherForm::ExactMap => &self.exact_map,
        }
    }

    /// The store of a form that is kept filled from now on.
    pub(crate) fn want(&self, form: MatcherForm) -> &SnapshotStore {
        self.wanted.send_if_modified(|wanted| wanted.insert(form));
        self.of(form)
    }
}

/// Turns tables into snapshots and remembers which listeners belong to which generation.
#[derive(Debug)]
pub(crate) struct Publisher {
    config: GatewayConfig,
    stores: Stores,
    generation: Generation,
    /// Which names lead where, of the table that was to be published last.
    routing: Routing,
    /// How many names a table has that may become one to publish.
    tally: Tally,
    /// What the names lead to that were published last, and since which generation.
    upstreams: BTreeMap<Upstream, Generation>,
    /// The newest generation with this version of the listeners.
    listeners: BTreeMap<ResourceVersion, Generation>,
    /// The same of the clusters.
    clusters: BTreeMap<ResourceVersion, Generation>,
}

impl Publisher {
    pub(crate) fn new(config: GatewayConfig, stores: Stores) -> Self {
        Self {
            config,
            stores,
            generation: 0,
            routing: Routing::default(),
            tally: Tally::default(),
            upstreams: BTreeMap::new(),
            listeners: BTreeMap::new(),
            clusters: BTreeMap::new(),
        }
    }

    /// Publishes what gateways have to carry, and returns its generation. Gateways that hold it already get nothing.
    pub(crate) fn publish(&mut self, carried: &ServiceTable) -> anyhow::Result<Generation> {
        let generation = self.generation + 1;
        self.routing.update(carried);
        let upstreams = self.routing.upstreams();
        let wanted = self.stores.wanted.borrow().clone();
        // All are made before the first is served, so that one that fails leaves the others as they were.
        let snapshots = wanted.into_iter().map(|form| Ok((form, self.snapshot(carried, &upstreams, form)?)));
        for (form, snapshot) in snapshots.collect::<anyhow::Result<Vec<_>>>()? {
            self.serve(form, snapshot, generation);
        }
        self.generation = generation;
        let before = std::mem::take(&mut self.upstreams);
        let since = |upstream: &Upstream| before.get(upstream).copied().unwrap_or(generation);
        self.upstreams = upstreams.into_iter().map(|upstream| (upstream.clone(), since(&upstream))).collect();
        for versions in [&mut self.listeners, &mut self.clusters] {
            versions.retain(|_, newest| *newest + GENERATIONS_KEPT > generation);
        }
        Ok(generation)
    }

    /// Fills the stores of forms that somebody asked for since the last publication, which was of this table.
    pub(crate) fn publish_wanted(&mut self, carried: &ServiceTable) -> anyhow::Result<()> {
        self.routing.update(carried);
        let upstreams = self.routing.upstreams();
        let mut wanted = self.stores.wanted.borrow().clone();
        wanted.retain(|form| self.stores.of(*form).load().is_none());
        for form in wanted {
            let snapshot = self.snapshot(carried, &upstreams, form)?;
            self.serve(form, snapshot, self.generation);
        }
        Ok(())
    }

    /// Serves a snapshot, and remembers of which generation its versions are.
    fn serve(&mut self, form: MatcherForm, snapshot: Snapshot, generation: Generation) {
        self.listeners.insert(snapshot.version(&TypeUrl::Listener), generation);
        self.clusters.insert(snapshot.version(&TypeUrl::Cluster), generation);
        self.stores.of(form).publish(snapshot);
    }

    /// Tells when a form is wanted that was not before.
    pub(crate) fn wanted_changed(&self) -> watch::Receiver<BTreeSet<MatcherForm>> {
        self.stores.wanted.subscribe()
    }

    fn snapshot(
        &self,
        carried: &ServiceTable,
        upstreams: &BTreeSet<Upstream>,
        form: MatcherForm,
    ) -> anyhow::Result<Snapshot> {
        let mut snapshot = Snapshot::builder();
        for upstream in upstreams {
            snapshot.insert(cluster(&xcc_envoy::cluster(upstream, &self.config)));
            snapshot.insert(assignment(&xcc_envoy::endpoint(upstream, &carried.backends)));
        }
        for listener in self.routing.listeners(&self.config, form) {
            snapshot.insert(Resource::from_message(&*listener.name, &listener));
        }
        snapshot.build().context("the translation is no consistent snapshot")
    }

    /// Publishes the endpoints of some remotes alone: all else stays as it was published last.
    pub(crate) fn publish_endpoints(
        &mut self,
        backends: &BTreeMap<RemoteName, Backend>,
        remotes: &BTreeSet<RemoteName>,
    ) -> anyhow::Result<()> {
        let concerned = |upstream: &&Upstream| upstream.remotes.iter().any(|remote| remotes.contains(remote));
        let endpoints: Vec<_> = self
            .upstreams
            .keys()
            .filter(concerned)
            .map(|upstream| assignment(&xcc_envoy::endpoint(upstream, backends)))
            .collect();
        for form in FORMS {
            let store = self.stores.of(form);
            let Some(snapshot) = store.load() else { continue };
            let snapshot = snapshot.with_changes(|changes| {
                for resource in &endpoints {
                    changes.insert(Arc::clone(resource));
                }
            });
            store.publish(snapshot.context("the translation is no consistent snapshot")?);
        }
        Ok(())
    }

    /// The routes of a table that not every gateway can carry, of the forms that there are gateways of.
    pub(crate) fn omitted(&mut self, table: &ServiceTable) -> BTreeSet<Omitted> {
        self.tally.update(table);
        let wanted = self.stores.wanted.borrow();
        let exceeded = wanted.iter().copied().filter(|form| !self.tally.fits(&self.config, *form));
        exceeded.flat_map(|form| xcc_envoy::omitted(table, &self.config, form)).collect()
    }

    /// The routes that lead to clusters of these names.
    pub(crate) fn routes_to<'a>(&self, clusters: impl IntoIterator<Item = &'a str>) -> BTreeSet<Route> {
        let clusters: BTreeSet<&str> = clusters.into_iter().collect();
        if clusters.is_empty() {
            return BTreeSet::new();
        }
        let named = self.upstreams.keys().filter(|upstream| clusters.contains(&*upstream.name()));
        named.map(route).collect()
    }

    /// The routes that lead to clusters which came after this version of the clusters; all, for a gateway that has none yet.
    /// A version that is not known, since its gateway refuses a part of it, tells of none.
    pub(crate) fn routes_after(&self, clusters: Option<&ResourceVersion>) -> BTreeSet<Route> {
        let held = clusters.map_or(Some(0), |version| self.clusters.get(version).copied());
        let Some(held) = held.filter(|held| *held < self.generation) else { return BTreeSet::new() };
        self.upstreams
            .iter()
            .filter(|(_, since)| **since > held)
            .map(|(upstream, _)| route(upstream))
            .collect()
    }

    /// The service ports that were published last.
    pub(crate) fn ports(&self) -> BTreeSet<ServicePort> {
        self.upstreams.keys().map(|upstream| upstream.port).collect()
    }

    /// The newest generation.
    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    /// The generation that a gateway with this version of the listeners carries.
    pub(crate) fn generation_of(&self, listeners: &ResourceVersion) -> Option<Generation> {
        self.listeners.get(listeners).copied()
    }
}

fn route(upstream: &Upstream) -> Route {
    Route { port: upstream.port, remotes: upstream.remotes.clone() }
}

/// A table without these routes, and without names that have no other.
pub(crate) fn without(table: &ServiceTable, omitted: &BTreeSet<Omitted>) -> ServiceTable {
    let mut table = table.clone();
    for Omitted { hostname, port, .. } in omitted {
        if let Some(import) = table.imports.get_mut(hostname) {
            import.routes.retain(|route| route.port != *port);
            if import.routes.is_empty() {
                table.imports.remove(hostname);
            }
        }
    }
    table
}

/// What is wrong with routes that no listener carries, for each HTTPProxy that they come from.
pub(crate) fn describe_omitted<'a>(
    table: &ServiceTable,
    omitted: impl IntoIterator<Item = &'a Omitted>,
) -> Vec<Diagnostic> {
    let describe = |Omitted { hostname, port, reason }: &Omitted| {
        let message = format!("{hostname} cannot be carried on port {port}: {reason}");
        let import = table.imports.get(hostname);
        import.map(|import| diagnostics_of(import, Reason::NotCarried, message)).unwrap_or_default()
    };
    omitted.into_iter().flat_map(describe).collect()
}

/// The same for each HTTPProxy that an import comes from.
pub(crate) fn diagnostics_of(import: &ServiceImport, reason: Reason, message: String) -> Vec<Diagnostic> {
    let diagnostic = |origin: &Origin| Diagnostic {
        remote: origin.remote.clone(),
        object: origin.export.object(),
        reason,
        message: message.clone(),
    };
    import.origins.iter().map(diagnostic).collect()
}

/// A cluster, which warms until its endpoints come: they are sent with it, even when they are unchanged.
fn cluster(cluster: &Cluster) -> Arc<Resource> {
    let resource = Resource::from_message(&*cluster.name, cluster);
    Arc::new(resource.refreshes(TypeUrl::Endpoint, &*cluster.name))
}

fn assignment(assignment: &ClusterLoadAssignment) -> Arc<Resource> {
    Arc::new(Resource::from_message(&*assignment.cluster_name, assignment))
}

#[cfg(test)]
mod tests {
    use xcc_model::{Hostname, RemoteSet};

    use super::*;

    fn table(names: &[&str]) -> ServiceTable {
        let remote = RemoteName::parse("east").unwrap();
        let remotes = RemoteSet::new([remote.clone()]).unwrap();
        let import = |name: &&str| {
            let route = Route { port: 443.try_into().unwrap(), remotes: remotes.clone() };
            (Hostname::parse(name).unwrap(), ServiceImport { routes: vec![route], origins: vec![] })
        };
        ServiceTable {
            imports: names.iter().map(import).collect(),
            backends: [(remote, Backend::default())].into(),
        }
    }

    /// The generation that a gateway of this form carries once it has ACKed what it is served.
    fn carries(publisher: &Publisher, stores: &Stores, form: MatcherForm) -> Option<Generation> {
        publisher.generation_of(&stores.of(form).load()?.version(&TypeUrl::Listener))
    }

    #[test]
    fn a_form_is_made_once_a_gateway_wants_it_and_kept_from_then_on() {
        let stores = Stores::default();
        let mut publisher = Publisher::new(GatewayConfig::new([0, 0, 0, 0].into(), 10_000), stores.clone());
        let first = publisher.publish(&table(&["a.xcc.test"])).unwrap();
        assert_eq!(carries(&publisher, &stores, MatcherForm::ServerNames), Some(first));
        assert_eq!(carries(&publisher, &stores, MatcherForm::ExactMap), None);

        let wanted = publisher.wanted_changed();
        stores.want(MatcherForm::ExactMap);
        assert!(wanted.has_changed().unwrap());
        publisher.publish_wanted(&table(&["a.xcc.test"])).unwrap();
        assert_eq!(carries(&publisher, &stores, MatcherForm::ExactMap), Some(first));

        let second = publisher.publish(&table(&["a.xcc.test", "b.xcc.test"])).unwrap();
        for form in FORMS {
            assert_eq!(carries(&publisher, &stores, form), Some(second), "{form:?}");
        }
    }
}
