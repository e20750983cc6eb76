//! The loop: updates of remotes and ACKs of gateways come in; snapshots and zones go out. One task owns all state.

mod derive;
mod describe;
mod first_sync;
mod gateways;
mod publish;
mod refusals;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use xcc_dns::{Responder, Zones};
use xcc_envoy::Omitted;
use xcc_kube::importing::{ImportStatus, ServiceAddresses};
use xcc_model::{
    Change, Diagnostic, Hostname, ImportPolicy, Inventory, Merge, RemoteName, RemoteView, ServiceTable,
    Touched, Update,
};
use xcc_xds::{Clients, Refusal};

use self::first_sync::FirstSync;
use crate::gate::Gate;
use crate::metrics::PipelineMetrics;
use crate::publisher::Publisher;
use crate::ready::BlockReady;
use crate::state::{Recalled, StateDirectory};

/// Updates that wait to be taken; a source that is faster than this waits.
pub(crate) const UPDATES_MAX: usize = 1_024;
/// How many updates are taken before the next publication: a flood must not hold it up.
const UPDATES_PER_TURN_MAX: usize = 4 * UPDATES_MAX;
/// Least time between two publications; the first after quiet goes out at once.
const WINDOW_MIN: Duration = Duration::from_millis(20);
/// How the window grows: a gateway takes longer to apply a longer list of names.
const WINDOW_PER_NAME: Duration = Duration::from_micros(5);
const WINDOW_MAX: Duration = Duration::from_secs(1);
/// How long changes are gathered before the state is written to disk.
const SAVE_DELAY: Duration = Duration::from_secs(1);
/// When writing the state is tried again after it failed.
const SAVE_RETRY: Duration = Duration::from_secs(10);
/// How long changes are gathered before the status is told: writing it back takes longer anyway.
const STATUS_DELAY: Duration = Duration::from_millis(100);

/// A question of the admin endpoint, or of who keeps the state; the pipeline answers from its own.
pub(crate) enum Query {
    /// The table with the state of each name, the remotes and the diagnostics.
    Table(oneshot::Sender<Value>),
    /// The gateways with what they have ACKed.
    Clients(oneshot::Sender<Value>),
    /// What is known of remotes, to be kept.
    State(oneshot::Sender<Vec<Update>>),
}

/// Everything that the pipeline is connected to.
pub(crate) struct Connections {
    pub(crate) updates: mpsc::Receiver<Update>,
    pub(crate) queries: mpsc::Receiver<Query>,
    /// Where the gateway is reached; none while that is not known.
    pub(crate) gateway_addresses: ServiceAddresses,
    /// Which remotes there are besides those of flags; none while that is not known.
    pub(crate) listed: watch::Receiver<Option<BTreeSet<RemoteName>>>,
    /// Where resolvers reach DNS, none while that is not known.
    pub(crate) name_server_addresses: ServiceAddresses,
    pub(crate) clients: Clients,
    pub(crate) responder: Responder,
    pub(crate) metrics: PipelineMetrics,
    /// Who writes back what is imported, if anybody.
    pub(crate) status: Option<watch::Sender<Arc<ImportStatus>>>,
    pub(crate) state: Option<StateDirectory>,
    /// Counts the turns in which what is known of remotes changed, from the first publication on.
    pub(crate) changes: watch::Sender<u64>,
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
    /// What is merged, without what not every gateway can carry.
    table: ServiceTable,
    omitted: BTreeSet<Omitted>,
    /// The names in which the table may differ from what the gate knows.
    unpublished: BTreeSet<Hostname>,
    /// What gateways were told last: the table, and what was withdrawn a short while ago.
    carried: ServiceTable,
    /// What follows from what remotes said.
    derived_diagnostics: Vec<Diagnostic>,
    /// What gateways refuse, with their words.
    refusals: Vec<Refusal>,
    /// All that people should know; sorted.
    diagnostics: Vec<Diagnostic>,
    gate: Gate,
    publisher: Publisher,
    zones: Zones,
    /// What the first publication waits for.
    first_sync: FirstSync,
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
    /// Makes the pipeline of these remotes and those that are [listed](Connections::listed). Nothing is published before
    /// all of them have told everything once, or their time is over.
    pub(crate) fn new(
        connections: Connections,
        remotes: BTreeSet<RemoteName>,
        policy: ImportPolicy,
        gate: Gate,
        publisher: Publisher,
        zones: Zones,
        ready: ReadyGuards,
    ) -> Self {
        let first_sync = FirstSync::new(remotes, connections.listed.borrow().is_some(), Instant::now());
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
            refusals: Vec::new(),
            diagnostics: Vec::new(),
            gate,
            publisher,
            zones,
            first_sync,
            waiting_for_sync: Some(ready.synced),
            waiting_for_gateway: Some(ready.gateway),
            due: None,
            last_publication: None,
            save_at: None,
            tell_at: None,
            passed_over: BTreeSet::new(),
        }
    }

    /// Takes what was known when the process before this one ended, and publishes it if there is nothing else to wait
    /// for; the remotes' own word replaces it.
    pub(crate) fn recall(&mut self, recalled: Recalled) {
        self.take_gateway_addresses();
        self.take_name_server_addresses();
        for update in recalled.updates {
            if self.first_sync.recalls(&update.remote) {
                self.first_sync.recall(update.remote.clone(), recalled.own);
                self.touched.insert(update.remote.clone(), Touched::ALL);
                self.inventory.apply(update);
            }
        }
        self.turn(Instant::now());
    }

    /// Runs until shutdown.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut clients_changed = self.connections.clients.changed();
        let mut forms_changed = self.publisher.wanted_changed();
        // What came before this listened.
        self.publish_wanted_forms();
        self.turn(Instant::now());
        loop {
            let wake_at = self.wake_at(Instant::now());
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(update) = self.connections.updates.recv() => self.take_updates(update),
                Some(query) = self.connections.queries.recv() => self.answer(query),
                Ok(()) = clients_changed.changed() => {}
                Ok(()) = forms_changed.changed() => self.publish_wanted_forms(),
                Ok(()) = self.connections.listed.changed() => self.take_list(),
                Ok(()) = self.connections.gateway_addresses.changed() => self.take_gateway_addresses(),
                Ok(()) = self.connections.name_server_addresses.changed() => self.take_name_server_addresses(),
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {}
            }
            self.turn(Instant::now());
        }
        if self.save_at.is_some() {
            self.save(Instant::now());
        }
    }

    fn take_list(&mut self) {
        if let Some(listed) = &*self.connections.listed.borrow_and_update() {
            self.first_sync.list(listed, Instant::now());
        }
    }

    /// What is known of remotes that have told this process everything. Of others nothing is: kept in part, a remote would not
    /// be waited for.
    fn known(&self) -> Vec<Update> {
        self.known_if(|_| false)
    }

    /// The same with what this pod's earlier process knew of remotes that have not told this one everything.
    fn known_or_recalled(&self) -> Vec<Update> {
        self.known_if(|name| self.first_sync.has_recalled(name))
    }

    fn known_if(&self, is_known: impl Fn(&RemoteName) -> bool) -> Vec<Update> {
        let remotes = self.inventory.remotes();
        let is_synced = |name: &RemoteName| remotes.get(name).is_some_and(|it| it.synced);
        let mut updates = self.inventory.recall();
        updates.retain(|update| is_synced(&update.remote) || is_known(&update.remote));
        updates
    }

    fn save(&mut self, now: Instant) {
        self.save_at = None;
        if let Some(state) = &self.connections.state
            && let Err(error) = tokio::task::block_in_place(|| state.save(&self.known_or_recalled()))
        {
            warn!("the state is not kept, and is tried again: {error:#}");
            self.save_at = Some(now + SAVE_RETRY);
        }
    }

    /// The gateway's own addresses are answered by DNS, and must not be proxied to.
    fn take_gateway_addresses(&mut self) {
        let addresses = self.connections.gateway_addresses.borrow_and_update().clone().unwrap_or_default();
        info!(?addresses, "addresses of the gateway");
        self.zones = self.zones.with_addresses(&addresses);
        self.serve_zones();
        self.policy.gateway_addresses = addresses.into_iter().collect();
        self.touched.extend(self.inventory.remotes().keys().map(|name| (name.clone(), Touched::ALL)));
    }

    /// NS and SOA name a server, and this is where it is.
    fn take_name_server_addresses(&mut self) {
        let addresses = self.connections.name_server_addresses.borrow_and_update().clone();
        match addresses.as_deref() {
            // A Service that is not known yet.
            None => {}
            Some([]) => warn!(
                "the zones' name server has no address, and resolvers that follow NS records find none: see --dns-name-server and --dns-service"
            ),
            Some(addresses) => info!(?addresses, "addresses of the zones' name server"),
        }
        let addresses = addresses.unwrap_or_default();
        self.zones = self.zones.with_name_server(&addresses);
        self.serve_zones();
    }

    fn wake_at(&self, now: Instant) -> Option<Instant> {
        let sync = self.first_sync.deadline();
        [self.due, self.save_at, self.tell_at, self.gate.deadline(now), sync].into_iter().flatten().min()
    }

    /// Takes an update and those that wait behind it, so that a burst costs one derivation.
    fn take_updates(&mut self, first: Update) {
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(update) = next {
            let remote = update.remote.clone();
            if update.changes.iter().any(|change| matches!(change, Change::Removed)) {
                self.first_sync.forget(&remote);
            }
            let touched = self.inventory.apply(update);
            if touched.any() {
                *self.touched.entry(remote).or_default() |= touched;
            }
            taken += 1;
            next = (taken < UPDATES_PER_TURN_MAX).then(|| self.connections.updates.try_recv().ok()).flatten();
        }
    }

    fn turn(&mut self, now: Instant) {
        if self.is_synced(now) {
            self.publish_changes(now);
        }
        // A slow disk holds up nothing that is due now.
        if self.save_at.is_some_and(|at| at <= now) {
            self.save(now);
        }
    }

    fn publish_changes(&mut self, now: Instant) {
        let touched = !self.touched.is_empty();
        let changed = self.derive();
        if touched {
            self.status_changed(now);
            self.state_changed(now);
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

    /// Notes that what is to be kept is different. Before the first publication, what an earlier process kept is better.
    fn state_changed(&mut self, now: Instant) {
        self.connections.changes.send_modify(|changes| *changes += 1);
        if self.connections.state.is_some() {
            self.save_at.get_or_insert(now + SAVE_DELAY);
        }
    }

    /// Notes that the status is different.
    fn status_changed(&mut self, now: Instant) {
        if self.connections.status.is_some() {
            self.tell_at.get_or_insert(now + STATUS_DELAY);
        }
    }

    fn is_synced(&mut self, now: Instant) -> bool {
        if self.waiting_for_sync.is_none() {
            return true;
        }
        let remotes = self.inventory.remotes();
        let over = self.first_sync.is_over(|name| remotes.get(name).is_some_and(|it| it.synced), now);
        if over {
            self.waiting_for_sync = None;
        }
        over
    }
}

#[cfg(test)]
mod tests;
