//! The loop: updates of remotes and ACKs of gateways come in; snapshots and zones go out. One task owns all state.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use xcc_dns::{Responder, Zones};
use xcc_envoy::Omitted;
use xcc_kube::importing::{ImportRecord, ImportStatus};
use xcc_model::{
    Diagnostic, Hostname, ImportPolicy, Inventory, Merge, Origin, Reason, RemoteName, RemoteView,
    ServicePort, ServiceTable, Touched, Update,
};
use xcc_xds::{Clients, TypeStatus, TypeUrl};

use crate::gate::{Gate, GatewayAcks, NameState, ZoneChange};
use crate::metrics::PipelineMetrics;
use crate::publisher::{Publisher, describe_omitted, diagnostics_of, without};
use crate::ready::BlockReady;
use crate::state::StateDirectory;

/// Updates that wait to be taken; a source that is faster than this waits.
pub(crate) const UPDATES_MAX: usize = 1_024;
/// How many updates are taken before the next publication: a flood must not hold it up.
const UPDATES_PER_TURN_MAX: usize = 4 * UPDATES_MAX;
/// How long the first publication waits for remotes that have not told everything yet.
const SYNC_TIMEOUT: Duration = Duration::from_secs(10);
/// Least time between two publications; the first after quiet goes out at once.
const WINDOW_MIN: Duration = Duration::from_millis(20);
/// How the window grows: a gateway takes longer to apply a longer list of names.
const WINDOW_PER_NAME: Duration = Duration::from_micros(5);
const WINDOW_MAX: Duration = Duration::from_secs(1);
/// How long changes are gathered before the state is written to disk.
const SAVE_DELAY: Duration = Duration::from_secs(1);
/// How long changes are gathered before the status is told: writing it back takes longer anyway.
const STATUS_DELAY: Duration = Duration::from_millis(100);

/// A question of the admin endpoint; the pipeline answers from its own state.
pub(crate) enum Query {
    /// The table with the state of each name, the remotes and the diagnostics.
    Table(oneshot::Sender<Value>),
    /// The gateways with what they have ACKed.
    Clients(oneshot::Sender<Value>),
}

/// Everything that the pipeline is connected to.
pub(crate) struct Connections {
    pub(crate) updates: mpsc::Receiver<Update>,
    pub(crate) queries: mpsc::Receiver<Query>,
    /// Where the gateway is reached; none while that is not known.
    pub(crate) gateway_addresses: watch::Receiver<Option<Vec<IpAddr>>>,
    pub(crate) clients: Clients,
    pub(crate) responder: Responder,
    pub(crate) metrics: PipelineMetrics,
    /// Who writes back what is imported, if anybody.
    pub(crate) status: Option<watch::Sender<Arc<ImportStatus>>>,
    pub(crate) state: Option<StateDirectory>,
}

/// Guards that hold readiness back until the pipeline has done its first work.
pub(crate) struct ReadyGuards {
    /// Every remote has told everything, or its time is over.
    pub(crate) synced: BlockReady,
    /// A gateway carries what there is, so that DNS can answer.
    pub(crate) gateway: BlockReady,
}

/// The one owner of ground state and of what is derived from it.
pub(crate) struct Pipeline {
    connections: Connections,
    policy: ImportPolicy,
    inventory: Inventory,
    views: BTreeMap<RemoteName, RemoteView>,
    merge: Merge,
    touched: BTreeMap<RemoteName, Touched>,
    /// What is merged, without what no gateway can carry.
    table: ServiceTable,
    omitted: BTreeSet<Omitted>,
    /// The names in which the table may differ from what the gate knows.
    unpublished: BTreeSet<Hostname>,
    /// What gateways were told last: the table, and what was withdrawn a short while ago.
    carried: ServiceTable,
    /// What follows from what remotes said.
    derived_diagnostics: Vec<Diagnostic>,
    /// The ports whose listeners a gateway refuses, with its words.
    refusals: BTreeMap<ServicePort, String>,
    /// All that people should know; sorted.
    diagnostics: Vec<Diagnostic>,
    gate: Gate,
    publisher: Publisher,
    zones: Zones,
    /// Remotes that have not told everything yet; nothing is published before they have, or their time is over.
    unsynced: BTreeSet<RemoteName>,
    sync_deadline: Instant,
    waiting_for_sync: Option<BlockReady>,
    waiting_for_gateway: Option<BlockReady>,
    /// When the next publication may go out, if one is due.
    due: Option<Instant>,
    last_publication: Option<Instant>,
    /// When the state is to be written to disk, if it has changed.
    save_at: Option<Instant>,
    /// When the status is to be told, if it has changed.
    tell_at: Option<Instant>,
    passed_over: BTreeSet<u64>,
}

/// What a turn found different.
#[derive(Debug, Default)]
struct Changed {
    names: BTreeSet<Hostname>,
    diagnostics: bool,
    /// The remotes that are reached elsewhere now.
    endpoints: BTreeSet<RemoteName>,
}

impl Pipeline {
    /// Makes the pipeline of these remotes. Nothing is published before all of them have told everything once, or
    /// [`SYNC_TIMEOUT`] is over.
    pub(crate) fn new(
        connections: Connections,
        remotes: BTreeSet<RemoteName>,
        policy: ImportPolicy,
        gate: Gate,
        publisher: Publisher,
        zones: Zones,
        ready: ReadyGuards,
    ) -> Self {
        Self {
            connections,
            policy,
            inventory: Inventory::default(),
            views: BTreeMap::new(),
            merge: Merge::default(),
            touched: BTreeMap::new(),
            table: ServiceTable::default(),
            omitted: BTreeSet::new(),
            unpublished: BTreeSet::new(),
            carried: ServiceTable::default(),
            derived_diagnostics: Vec::new(),
            refusals: BTreeMap::new(),
            diagnostics: Vec::new(),
            gate,
            publisher,
            zones,
            unsynced: remotes,
            sync_deadline: Instant::now() + SYNC_TIMEOUT,
            waiting_for_sync: Some(ready.synced),
            waiting_for_gateway: Some(ready.gateway),
            due: None,
            last_publication: None,
            save_at: None,
            tell_at: None,
            passed_over: BTreeSet::new(),
        }
    }

    /// Runs until shutdown.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut clients_changed = self.connections.clients.changed();
        let mut forms_changed = self.publisher.wanted_changed();
        self.take_gateway_addresses();
        self.recall();
        loop {
            let wake_at = self.wake_at(Instant::now());
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(update) = self.connections.updates.recv() => self.take_updates(update),
                Some(query) = self.connections.queries.recv() => self.answer(query),
                Ok(()) = clients_changed.changed() => {}
                Ok(()) = forms_changed.changed() => self.publish_wanted_forms(),
                Ok(()) = self.connections.gateway_addresses.changed() => self.take_gateway_addresses(),
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {}
            }
            self.turn(Instant::now());
        }
        if self.save_at.is_some() {
            self.save();
        }
    }

    /// Starts from what was known when the process before this one ended; the remotes' own word replaces it.
    fn recall(&mut self) {
        let Some(state) = &self.connections.state else { return };
        let known = |update: &Update| self.unsynced.contains(&update.remote);
        let updates: Vec<_> = state.load().into_iter().filter(known).collect();
        for update in updates {
            self.touched.insert(update.remote.clone(), Touched::ALL);
            self.inventory.apply(update);
        }
        // The others are waited for as ever: publishing without them would take their names from the gateways.
        self.unsynced.retain(|name| !self.touched.contains_key(name));
        self.turn(Instant::now());
    }

    fn save(&mut self) {
        self.save_at = None;
        if let Some(state) = &self.connections.state
            && let Err(error) = tokio::task::block_in_place(|| state.save(&self.inventory.recall()))
        {
            warn!("the state is not kept: {error:#}");
        }
    }

    /// The gateway's own addresses are answered by DNS, and must not be proxied to.
    fn take_gateway_addresses(&mut self) {
        let addresses = self.connections.gateway_addresses.borrow_and_update().clone().unwrap_or_default();
        info!(?addresses, "addresses of the gateway");
        self.zones = self.zones.with_addresses(&addresses);
        if self.waiting_for_gateway.is_none() {
            self.connections.responder.publish(self.zones.clone());
        }
        self.policy.gateway_addresses = addresses.into_iter().collect();
        self.touched.extend(self.inventory.remotes().keys().map(|name| (name.clone(), Touched::ALL)));
    }

    fn wake_at(&self, now: Instant) -> Option<Instant> {
        let sync = (!self.unsynced.is_empty()).then_some(self.sync_deadline);
        [self.due, self.save_at, self.tell_at, self.gate.deadline(now), sync].into_iter().flatten().min()
    }

    /// Takes an update and those that wait behind it, so that a burst costs one derivation.
    fn take_updates(&mut self, first: Update) {
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(update) = next {
            let remote = update.remote.clone();
            let touched = self.inventory.apply(update);
            if touched.any() {
                *self.touched.entry(remote).or_default() |= touched;
            }
            taken += 1;
            next = (taken < UPDATES_PER_TURN_MAX).then(|| self.connections.updates.try_recv().ok()).flatten();
        }
    }

    fn turn(&mut self, now: Instant) {
        if self.connections.state.is_some() && !self.touched.is_empty() {
            self.save_at.get_or_insert(now + SAVE_DELAY);
        }
        if self.save_at.is_some_and(|at| at <= now) {
            self.save();
        }
        if !self.is_synced(now) {
            return;
        }
        let touched = !self.touched.is_empty();
        let changed = self.derive();
        if touched {
            self.status_changed(now);
        }
        if self.due.is_none() && (!changed.names.is_empty() || self.last_publication.is_none()) {
            self.due = Some(self.last_publication.map_or(now, |last| now.max(last + self.window())));
        }
        let expired = self.gate.expire(now);
        if self.due.is_some_and(|due| due <= now) || expired {
            self.publish_names(now);
        } else if !changed.endpoints.is_empty() {
            self.publish_endpoints(&changed.endpoints);
        }
        self.observe_gateways(now);
        if self.tell_at.is_some_and(|at| at <= now) {
            self.tell_at = None;
            self.tell_status();
        }
    }

    /// Notes that the status is different.
    fn status_changed(&mut self, now: Instant) {
        if self.connections.status.is_some() {
            self.tell_at.get_or_insert(now + STATUS_DELAY);
        }
    }

    fn tell_status(&self) {
        let Some(sender) = &self.connections.status else { return };
        let mut endpoints = BTreeMap::new();
        let records = self.table.imports.iter().map(|(hostname, import)| {
            let remotes: BTreeSet<_> = import.routes.iter().flat_map(|route| route.remotes.iter()).collect();
            let endpoints = endpoints.entry(remotes.clone()).or_insert_with(|| {
                let backends = remotes.iter().filter_map(|remote| self.table.backends.get(*remote));
                backends.flat_map(|backend| backend.endpoints.iter().copied()).collect::<Arc<[_]>>()
            });
            let record = ImportRecord {
                routes: import.routes.clone(),
                endpoints: Arc::clone(endpoints),
                origins: import.origins.clone(),
                programmed: self.gate.state(hostname) == Some(NameState::Answered),
                conflict: import.conflict(),
            };
            (hostname.clone(), record)
        });
        let synced = self
            .views
            .iter()
            .filter(|(name, _)| self.inventory.remotes().get(*name).is_some_and(|remote| remote.synced));
        sender.send_replace(Arc::new(ImportStatus {
            derived: true,
            records: records.collect(),
            remotes: synced.map(|(name, view)| (name.clone(), view.exports.len())).collect(),
            diagnostics: self.diagnostics.clone(),
        }));
    }

    fn is_synced(&mut self, now: Instant) -> bool {
        if self.waiting_for_sync.is_none() {
            return true;
        }
        let remotes = self.inventory.remotes();
        self.unsynced.retain(|name| !remotes.get(name).is_some_and(|remote| remote.synced));
        if !self.unsynced.is_empty() && now < self.sync_deadline {
            return false;
        }
        if !self.unsynced.is_empty() {
            warn!(remotes = ?self.unsynced, "remotes have not told everything in time: serving the others");
            self.unsynced.clear();
        }
        self.waiting_for_sync = None;
        true
    }

    /// Derives anew what depends on what was touched, and nothing else.
    fn derive(&mut self) -> Changed {
        let touched = std::mem::take(&mut self.touched);
        if touched.is_empty() {
            return Changed::default();
        }
        let mut changed = Changed::default();
        for (name, touched) in touched {
            self.derive_view(name, touched, &mut changed);
        }
        if changed.names.is_empty() {
            self.merge.refresh_backends(&self.views);
            self.table.backends.clone_from(&self.merge.table().backends);
        } else {
            self.merge.refresh(&self.views, &changed.names);
            self.keep_carriable(&mut changed);
        }
        if changed.diagnostics || !changed.names.is_empty() {
            self.derive_diagnostics();
            self.report();
        }
        self.unpublished.extend(changed.names.iter().cloned());
        self.connections.metrics.set_remotes(self.inventory.remotes(), &self.views);
        changed
    }

    /// Takes out of the table what no gateway can carry: such a name must not be answered.
    fn keep_carriable(&mut self, changed: &mut Changed) {
        let merged = self.merge.table();
        let omitted = self.publisher.omitted(merged);
        let differs = omitted.symmetric_difference(&self.omitted);
        changed.names.extend(differs.map(|omitted| omitted.hostname.clone()));
        self.table = without(merged, &omitted);
        self.omitted = omitted;
    }

    fn derive_diagnostics(&mut self) {
        let of_views = self.views.values().flat_map(RemoteView::diagnostics);
        let mut diagnostics: Vec<_> = of_views.chain(self.merge.conflicts()).cloned().collect();
        diagnostics.extend(describe_omitted(self.merge.table(), &self.omitted));
        self.derived_diagnostics = diagnostics;
    }

    fn derive_view(&mut self, name: RemoteName, touched: Touched, changed: &mut Changed) {
        let Some(remote) = self.inventory.remotes().get(&name) else {
            let old = self.views.remove(&name).unwrap_or_default();
            changed.diagnostics |= old.diagnostics().next().is_some();
            changed.names.extend(old.exports.into_keys());
            return;
        };
        let view = self.views.entry(name.clone()).or_default();
        if touched.names {
            let new = RemoteView::derive(&name, remote, &self.policy);
            let old = std::mem::replace(view, new);
            changed.names.extend(view.changed_names(&old).into_iter().cloned());
            changed.diagnostics |= !old.diagnostics().eq(view.diagnostics());
            if old.backend != view.backend {
                changed.endpoints.insert(name);
            }
            return;
        }
        let (backend, diagnostics) = (view.backend.clone(), view.node_diagnostics.clone());
        view.derive_nodes(&name, remote, &self.policy);
        // The exports' own diagnostics depend on whether there is any address at all.
        changed.diagnostics |= diagnostics != view.node_diagnostics
            || backend.endpoints.is_empty() != view.backend.endpoints.is_empty();
        if backend != view.backend {
            changed.endpoints.insert(name);
        }
    }

    /// Puts together what people should know, and logs what is new: once, not at every derivation.
    fn report(&mut self) {
        const LOGGED_AT_ONCE_MAX: usize = 20;
        let mut diagnostics = self.derived_diagnostics.clone();
        diagnostics.extend(self.describe_refusals());
        diagnostics.sort();
        let is_new = |diagnostic: &&Diagnostic| self.diagnostics.binary_search(diagnostic).is_err();
        let new = diagnostics.iter().filter(is_new);
        for diagnostic in new.clone().take(LOGGED_AT_ONCE_MAX) {
            warn!(
                remote = %diagnostic.remote, object = %diagnostic.object, reason = ?diagnostic.reason,
                "{}", diagnostic.message
            );
        }
        let unlogged = new.count().saturating_sub(LOGGED_AT_ONCE_MAX);
        if unlogged > 0 {
            warn!(unlogged, "more diagnostics: see /debug/table");
        }
        self.connections.metrics.set_diagnostics(&diagnostics);
        self.diagnostics = diagnostics;
    }

    /// Publishes the names: DNS stops answering what is gone before the gateways hear of it.
    fn publish_names(&mut self, now: Instant) {
        let names = std::mem::take(&mut self.unpublished);
        let change = self.gate.set_table(&self.table, &names, now);
        self.change_zone(&change);
        self.retell_origins(&names);
        self.carried = self.gate.gateway_table(&self.table);
        match self.publisher.publish(&self.carried) {
            Ok(generation) => {
                self.gate.published(generation, now);
                debug!(
                    generation,
                    names = self.carried.imports.len(),
                    withdrawn = change.removed.len(),
                    "published"
                );
            }
            // What gateways have stays; the names of this table wait.
            Err(error) => {
                self.connections.metrics.publication_failed();
                error!("not published: {error:#}");
            }
        }
        self.connections.metrics.publications.inc();
        self.connections.metrics.set_names(self.gate.counts());
        self.due = None;
        self.last_publication = Some(now);
    }

    /// A gateway of another kind has come: before the first publication it waits like all others.
    fn publish_wanted_forms(&mut self) {
        if self.last_publication.is_some()
            && let Err(error) = self.publisher.publish_wanted(&self.carried)
        {
            self.connections.metrics.publication_failed();
            error!("not published in the form of a new gateway: {error:#}");
        }
    }

    /// Publishes endpoints alone. They never wait for names: a lost node hurts now.
    fn publish_endpoints(&mut self, remotes: &BTreeSet<RemoteName>) {
        for remote in remotes {
            if let (Some(carried), Some(backend)) =
                (self.carried.backends.get_mut(remote), self.table.backends.get(remote))
            {
                carried.clone_from(backend);
            }
        }
        if let Err(error) = self.publisher.publish_endpoints(&self.carried.backends, remotes) {
            self.connections.metrics.publication_failed();
            error!("endpoints are not published: {error:#}");
        }
        self.connections.metrics.publications.inc();
    }

    fn window(&self) -> Duration {
        let names = u32::try_from(self.table.imports.len()).unwrap_or(u32::MAX);
        WINDOW_PER_NAME.saturating_mul(names).clamp(WINDOW_MIN, WINDOW_MAX)
    }

    fn observe_gateways(&mut self, now: Instant) {
        if !self.gate.is_waiting() && self.passed_over.is_empty() && self.refusals.is_empty() {
            return;
        }
        let gateways = self.gateways(now);
        let acks = gateways.values().cloned().collect::<Vec<_>>();
        let change = self.gate.observe(&acks, now);
        self.change_zone(&change);
        if change != ZoneChange::default() {
            self.status_changed(now);
        }
        if self.gate.is_open() && self.waiting_for_gateway.take().is_some() {
            match gateways.is_empty() {
                false => info!("a gateway carries the configuration: DNS answers from now on"),
                true => info!(
                    "no gateway has come here, so they are with other replicas: DNS answers from now on"
                ),
            }
            self.connections.responder.publish(self.zones.clone());
        }
        self.report_passed_over(&gateways, now);
        self.report_refusals(now);
        self.connections.metrics.set_names(self.gate.counts());
    }

    /// The gateways (clients that ask for listeners) with what each has ACKed.
    fn gateways(&self, now: Instant) -> BTreeMap<u64, GatewayAcks> {
        let clients = self.connections.clients.list().into_iter();
        let acks = clients.filter_map(|client| {
            let listeners = client.types.get(&TypeUrl::Listener)?;
            // A gateway that refused some listeners has all others as soon as it has answered what was sent.
            let answered = listeners.acks + listeners.nacks == listeners.responses;
            let version = match listeners.parked.is_empty() {
                true => listeners.acked.as_ref(),
                false => listeners.sent.as_ref().filter(|_| answered),
            };
            let acks = GatewayAcks {
                acked: version.and_then(|version| self.publisher.generation_of(version)),
                refused: self.ports_of(listeners).collect(),
                connected: now.checked_sub(client.connected_for).unwrap_or(now),
            };
            Some((client.id, acks))
        });
        acks.collect()
    }

    /// The ports whose listeners a gateway refuses.
    fn ports_of(&self, listeners: &TypeStatus) -> impl Iterator<Item = ServicePort> {
        let routes = self.carried.imports.values().flat_map(|import| &import.routes);
        let ports = match listeners.parked.is_empty() {
            true => BTreeSet::new(),
            false => routes.map(|route| route.port).collect::<BTreeSet<_>>(),
        };
        ports
            .into_iter()
            .filter(|port| listeners.parked.contains_key(&*xcc_envoy::names::listener_name(*port)))
    }

    fn report_passed_over(&mut self, gateways: &BTreeMap<u64, GatewayAcks>, now: Instant) {
        let lagging = gateways.iter().filter(|(_, acks)| self.gate.is_passed_over(acks, now));
        let lagging: BTreeSet<u64> = lagging.map(|(id, _)| *id).collect();
        for id in lagging.difference(&self.passed_over) {
            warn!(
                client = id,
                "gateway lags behind the others: names no longer wait for it; see /debug/clients"
            );
        }
        for id in self.passed_over.difference(&lagging) {
            info!(client = id, "gateway has caught up or is gone");
        }
        self.connections.metrics.gateways_passed_over.set(i64::try_from(lagging.len()).unwrap_or(i64::MAX));
        self.passed_over = lagging;
    }

    /// Puts what a gateway refuses on the HTTPProxies that want it.
    fn report_refusals(&mut self, now: Instant) {
        let mut refusals = BTreeMap::new();
        for client in self.connections.clients.list() {
            if let Some(listeners) = client.types.get(&TypeUrl::Listener)
                && let Some(nack) = &listeners.last_nack
            {
                refusals.extend(self.ports_of(listeners).map(|port| (port, nack.message.clone())));
            }
        }
        if refusals != self.refusals {
            self.refusals = refusals;
            self.report();
            self.status_changed(now);
        }
    }

    fn describe_refusals(&self) -> impl Iterator<Item = Diagnostic> {
        self.refusals.iter().flat_map(|(port, text)| {
            let imports = self.table.imports.iter();
            let concerned =
                imports.filter(|(_, import)| import.routes.iter().any(|route| route.port == *port));
            concerned.flat_map(move |(hostname, import)| {
                let message = format!(
                    "{hostname} is not carried on port {port}: a gateway refuses the listener: {text}"
                );
                diagnostics_of(import, Reason::NotCarried, message)
            })
        })
    }

    fn change_zone(&mut self, change: &ZoneChange) {
        if *change == ZoneChange::default() {
            return;
        }
        self.zones = self.zones.with_changes(&change.added, &change.removed);
        self.tell_origins(&change.added);
        if self.waiting_for_gateway.is_none() {
            self.connections.responder.publish(self.zones.clone());
        }
        for hostname in &change.added {
            info!(%hostname, "answered: every gateway carries it");
        }
        for hostname in &change.removed {
            info!(%hostname, "withdrawn: no longer answered");
        }
    }

    /// The names that are answered and may come from elsewhere now.
    fn retell_origins(&mut self, names: &BTreeSet<Hostname>) {
        let is_answered = |name: &&Hostname| self.gate.state(name) == Some(NameState::Answered);
        let answered: Vec<Hostname> = names.iter().filter(is_answered).cloned().collect();
        if answered.is_empty() {
            return;
        }
        self.tell_origins(&answered);
        if self.waiting_for_gateway.is_none() {
            self.connections.responder.publish(self.zones.clone());
        }
    }

    /// Says at `_xcc.<name>` where names come from, for people who wonder.
    fn tell_origins(&mut self, names: &[Hostname]) {
        let texts: Vec<(&Hostname, Vec<String>)> = names
            .iter()
            .filter_map(|name| {
                let origins = &self.table.imports.get(name)?.origins;
                let text = |origin: &Origin| format!("remote={} httpproxy={}", origin.remote, origin.export);
                Some((name, origins.iter().map(text).collect()))
            })
            .collect();
        let texts = texts.iter().map(|(name, texts)| (*name, texts.as_slice()));
        self.zones = self.zones.with_origins(texts);
    }

    fn answer(&self, query: Query) {
        // Who asked may have gone away meanwhile.
        let _ = match query {
            Query::Table(reply) => reply.send(self.describe_table()),
            Query::Clients(reply) => reply.send(self.describe_clients()),
        };
    }

    fn describe_table(&self) -> Value {
        let now = Instant::now();
        let imports = self.table.imports.iter().map(|(hostname, import)| {
            let state = self.gate.state(hostname);
            json!({"hostname": hostname, "state": describe_state(state, now), "routes": import.routes, "origins": import.origins})
        });
        let withdrawn = self.gate.withdrawn().map(|(hostname, import)| {
            let state = self.gate.state(hostname);
            json!({"hostname": hostname, "state": describe_state(state, now), "routes": import.routes, "origins": import.origins})
        });
        let remotes = self.inventory.remotes().iter().map(|(name, remote)| {
            let status = json!({
                "synced": remote.synced,
                "settings": remote.settings,
                "exports": remote.exports.len(),
                "nodes": remote.nodes.len(),
                "endpoints": self.views.get(name).map(|view| &view.backend.endpoints),
            });
            (name.to_string(), status)
        });
        json!({
            "imports": imports.chain(withdrawn).collect::<Vec<_>>(),
            "remotes": remotes.collect::<serde_json::Map<_, _>>(),
            "diagnostics": self.diagnostics,
        })
    }

    fn describe_clients(&self) -> Value {
        let now = Instant::now();
        let gateways = self.gateways(now);
        let clients = self.connections.clients.list().into_iter().map(|client| {
            let mut value = serde_json::to_value(&client).unwrap_or_default();
            if let (Some(acks), Some(object)) = (gateways.get(&client.id), value.as_object_mut()) {
                object.insert("generation_acked".to_owned(), json!(acks.acked));
                object.insert("ports_refused".to_owned(), json!(acks.refused));
                object.insert("passed_over".to_owned(), json!(self.gate.is_passed_over(acks, now)));
            }
            value
        });
        json!({"generation": self.publisher.generation(), "clients": clients.collect::<Vec<_>>()})
    }
}

fn describe_state(state: Option<NameState>, now: Instant) -> Value {
    match state {
        Some(NameState::Answered) => json!("answered"),
        Some(NameState::Withdrawn(until)) => {
            json!({"withdrawn": {"forgottenInSeconds": until.saturating_duration_since(now).as_secs_f64()}})
        }
        // The table may be ahead of the gate within a publication window.
        Some(NameState::Pending) | None => json!("pending"),
    }
}
