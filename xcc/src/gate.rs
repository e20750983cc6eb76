//! Which imported names may be answered: a name is safe to hand out only while every gateway carries it.
//!
//! Pure state, driven by the pipeline: no I/O, and the time comes in as an argument.
//!
//! - A new name is *pending* until every connected gateway has ACKed a listener that carries it, and refuses neither the
//!   cluster nor the endpoints that it leads to. A gateway that lags or refuses more than [`LAG_MAX`] behind another is passed over: one stuck gateway must not hold up everybody.
//! - Where several replicas share the gateways, those of one may all be connected to others, which alone hear their ACKs.
//!   Such a replica presumes them: [`PRESUMED_ACK`] after a publication, [`LAG_MAX`] after its first.
//! - An *answered* name stays answered until its export is withdrawn, whatever happens to gateways or remotes.
//! - A *withdrawn* name leaves DNS first. The gateways keep carrying it until resolvers have forgotten it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use xcc_model::{Backend, Hostname, RemoteName, Route, ServiceImport, ServicePort, ServiceTable};

/// How far a gateway may lag behind another before names stop waiting for it.
pub(crate) const LAG_MAX: Duration = Duration::from_secs(5);

/// How long gateways of other replicas may take to carry what this one published too: many times what they do.
pub(crate) const PRESUMED_ACK: Duration = Duration::from_millis(500);

/// Counts what was published to the gateways: a gateway that ACKed generation n carries all of generation n.
pub(crate) type Generation = u64;

/// What one connected gateway has ACKed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GatewayAcks {
    /// The newest generation that it has answered; none before the first.
    pub(crate) acked: Option<Generation>,
    /// The ports whose listeners it refuses. It has all else of the generation.
    pub(crate) refused: BTreeSet<ServicePort>,
    /// Where it cannot lead: it refuses the cluster or the endpoints, or has no cluster yet. It may have older ones.
    pub(crate) refused_routes: BTreeSet<Route>,
    /// Since when it is connected.
    pub(crate) connected: Instant,
}

impl GatewayAcks {
    /// What it carries of a route, or at all: nothing of the generation that names wait for, nor newer, where it refuses what
    /// that takes.
    fn acked_on(&self, waiting: Option<(&Route, Generation)>) -> Option<Generation> {
        match waiting {
            Some((route, since)) if self.refuses(route) => self.acked.min(Some(since.saturating_sub(1))),
            _ => self.acked,
        }
    }

    fn refuses(&self, route: &Route) -> bool {
        self.refused.contains(&route.port) || self.refused_routes.contains(route)
    }
}

/// The names that the gateways carry, each with its state.
#[derive(Debug)]
pub(crate) struct Gate {
    withdraw_delay: Duration,
    names: BTreeMap<Hostname, Name>,
    /// Those of the names that are pending and withdrawn: few, so that an ACK costs what it changes.
    pending: BTreeSet<Hostname>,
    withdrawn: BTreeSet<Hostname>,
    /// Where the remotes of withdrawn names were last reached, when nothing else is imported from them.
    backends: BTreeMap<RemoteName, Backend>,
    /// When a gateway first reached a generation, oldest first.
    reached: VecDeque<(Generation, Instant)>,
    open: bool,
    newest_published: Option<Generation>,
    /// Whether every connected gateway has ACKed the newest generation.
    settled: bool,
    /// When the next of the gateways that lag is passed over.
    pass_over_at: Option<Instant>,
    /// Whether gateways may be connected to other replicas.
    replicated: bool,
    /// When generations were published, oldest first; only where that matters.
    published: VecDeque<(Generation, Instant)>,
}

#[derive(Debug)]
struct Name {
    import: ServiceImport,
    /// The generation from which on gateways carry it as it is; none while it waits for the next one.
    since: Option<Generation>,
    state: NameState,
}

/// What is known of a name's way to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum NameState {
    /// Imported, but not every gateway carries it yet.
    Pending,
    /// Imported, carried, answered by DNS.
    Answered,
    /// No longer imported nor answered; still carried until this time for those who hold the answer.
    Withdrawn(Instant),
}

/// What has to change in DNS.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ZoneChange {
    /// Names to answer from now on.
    pub(crate) added: Vec<Hostname>,
    /// Names to stop answering.
    pub(crate) removed: Vec<Hostname>,
}

/// How many names there are in each state.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) pending: usize,
    pub(crate) answered: usize,
    pub(crate) withdrawn: usize,
}

impl Gate {
    /// Makes a gate that nothing has passed yet. `withdraw_delay` is how long gateways keep a withdrawn name.
    pub(crate) fn new(withdraw_delay: Duration) -> Self {
        Self {
            withdraw_delay,
            names: BTreeMap::new(),
            pending: BTreeSet::new(),
            withdrawn: BTreeSet::new(),
            backends: BTreeMap::new(),
            reached: VecDeque::new(),
            open: false,
            newest_published: None,
            settled: true,
            pass_over_at: None,
            replicated: false,
            published: VecDeque::new(),
        }
    }

    /// Makes it one of several whose gateways may all be connected to the others.
    pub(crate) fn replicated(self) -> Self {
        Self { replicated: true, ..self }
    }

    /// Takes the newest table, which may differ from the last one in these names. Those that are no longer in it must leave
    /// DNS before the gateways hear of it.
    pub(crate) fn set_table<'a>(
        &mut self,
        table: &ServiceTable,
        names: impl IntoIterator<Item = &'a Hostname>,
        now: Instant,
    ) -> ZoneChange {
        let mut removed = Vec::new();
        for hostname in names {
            match (table.imports.get(hostname), self.names.get_mut(hostname)) {
                (Some(import), None) => {
                    let name = Name { import: import.clone(), since: None, state: NameState::Pending };
                    self.names.insert(hostname.clone(), name);
                    self.pending.insert(hostname.clone());
                }
                (Some(import), Some(name)) => {
                    if name.renew(import) {
                        self.withdrawn.remove(hostname);
                        self.pending.insert(hostname.clone());
                    }
                }
                (None, Some(_)) => {
                    if self.withdraw(hostname, now) {
                        removed.push(hostname.clone());
                    }
                }
                (None, None) => {}
            }
        }
        self.keep_backends(table);
        ZoneChange { added: vec![], removed }
    }

    /// Withdraws a name. Returns whether DNS answers it until now.
    fn withdraw(&mut self, hostname: &Hostname, now: Instant) -> bool {
        match self.state(hostname) {
            Some(NameState::Answered) => {
                if self.withdraw_delay.is_zero() {
                    self.names.remove(hostname);
                } else if let Some(name) = self.names.get_mut(hostname) {
                    name.state = NameState::Withdrawn(now + self.withdraw_delay);
                    self.withdrawn.insert(hostname.clone());
                }
                true
            }
            // Nobody was ever told, so nobody has to forget.
            Some(NameState::Pending) => {
                self.pending.remove(hostname);
                self.names.remove(hostname);
                false
            }
            Some(NameState::Withdrawn(_)) | None => false,
        }
    }

    /// Forgets withdrawn names whose time is over. Returns whether the gateways have to hear of it.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let (over, kept): (BTreeSet<_>, BTreeSet<_>) =
            std::mem::take(&mut self.withdrawn).into_iter().partition(
                |hostname| matches!(self.state(hostname), Some(NameState::Withdrawn(until)) if until <= now),
            );
        self.withdrawn = kept;
        for hostname in &over {
            self.names.remove(hostname);
        }
        !over.is_empty()
    }

    /// What the gateways have to carry: the table, and what was withdrawn a short while ago.
    pub(crate) fn gateway_table(&self, table: &ServiceTable) -> ServiceTable {
        let mut carried = table.clone();
        for (hostname, import) in self.withdrawn() {
            carried.imports.insert(hostname.clone(), import.clone());
            for remote in remotes_of(import) {
                if let (None, Some(backend)) = (carried.backends.get(remote), self.backends.get(remote)) {
                    carried.backends.insert(remote.clone(), backend.clone());
                }
            }
        }
        carried
    }

    /// Notes that all names were published to the gateways in this generation.
    pub(crate) fn published(&mut self, generation: Generation, now: Instant) {
        self.newest_published = Some(generation);
        self.settled = false;
        if self.replicated {
            self.published.push_back((generation, now));
            while self.published.get(1).is_some_and(|(_, at)| *at + LAG_MAX <= now) {
                self.published.pop_front();
            }
        }
        for hostname in &self.pending {
            if let Some(name) = self.names.get_mut(hostname) {
                name.since.get_or_insert(generation);
            }
        }
    }

    /// Takes what each connected gateway has ACKed and returns the names that are now safe to answer.
    pub(crate) fn observe(&mut self, gateways: &[GatewayAcks], now: Instant) -> ZoneChange {
        let newest = gateways.iter().filter_map(|gateway| gateway.acked).max();
        if let Some(newest) = newest
            && self.reached.back().is_none_or(|(generation, _)| *generation < newest)
        {
            self.reached.push_back((newest, now));
        }
        while self.reached.get(1).is_some_and(|(_, at)| *at + LAG_MAX <= now) {
            self.reached.pop_front();
        }
        self.settled = gateways.iter().all(|gateway| gateway.acked == self.newest_published);
        let routes = self.pending_routes();
        let lags = gateways.iter().flat_map(|gateway| {
            let on = routes.iter().map(|(route, since)| Some((route, *since))).chain([None]);
            on.filter_map(|waiting| self.passed_over_at(gateway.acked_on(waiting), gateway.connected))
        });
        self.pass_over_at = lags.filter(|at| *at > now).min();
        self.open |= self.safe(gateways, None, now).is_some();
        self.let_through(gateways, routes, now)
    }

    /// Lets the pending names through that are safe; these are their routes.
    fn let_through(
        &mut self,
        gateways: &[GatewayAcks],
        routes: BTreeMap<Route, Generation>,
        now: Instant,
    ) -> ZoneChange {
        let with_safe = |(route, since): (Route, Generation)| {
            let safe = self.safe(gateways, Some((&route, since)), now);
            (route, safe)
        };
        let safe: BTreeMap<_, _> = routes.into_iter().map(with_safe).collect();
        let mut added = Vec::new();
        self.pending.retain(|hostname| match self.names.get_mut(hostname) {
            Some(name) if name.since.is_some() && name.routes_reach(&safe) => {
                name.state = NameState::Answered;
                added.push(hostname.clone());
                false
            }
            _ => true,
        });
        ZoneChange { added, removed: vec![] }
    }

    /// Where the published names that wait lead, and the first generation that one of them waits for. Nearly all share a few
    /// routes.
    fn pending_routes(&self) -> BTreeMap<Route, Generation> {
        let mut distinct: BTreeMap<&Route, Generation> = BTreeMap::new();
        for name in self.pending.iter().filter_map(|hostname| self.names.get(hostname)) {
            let Some(since) = name.since else { continue };
            for route in &name.import.routes {
                distinct.entry(route).and_modify(|first| *first = since.min(*first)).or_insert(since);
            }
        }
        distinct.into_iter().map(|(route, since)| (route.clone(), since)).collect()
    }

    /// The generation up to which names with a route are carried by every gateway that counts.
    fn safe(
        &self,
        gateways: &[GatewayAcks],
        waiting: Option<(&Route, Generation)>,
        now: Instant,
    ) -> Option<Generation> {
        if gateways.is_empty() {
            return self.presumed(now);
        }
        let carried = gateways.iter().map(|gateway| (gateway.acked_on(waiting), gateway.connected));
        let waited_for = carried
            .filter(|(acked, connected)| self.passed_over_at(*acked, *connected).is_none_or(|at| at > now));
        waited_for.map(|(acked, _)| acked).min().flatten()
    }

    /// What the gateways of other replicas carry by now.
    fn presumed(&self, now: Instant) -> Option<Generation> {
        let due = self.published.iter().filter(|(_, at)| *at + self.presumed_after() <= now);
        due.map(|(generation, _)| *generation).max()
    }

    /// Before the first opening gateways are still on their way, and one that comes here tells better.
    fn presumed_after(&self) -> Duration {
        if self.open { PRESUMED_ACK } else { LAG_MAX }
    }

    /// Whether a gateway lags so far behind another that names do not wait for it.
    pub(crate) fn is_passed_over(&self, gateway: &GatewayAcks, now: Instant) -> bool {
        self.passed_over_at(gateway.acked, gateway.connected).is_some_and(|at| at <= now)
    }

    /// When a gateway that lags is passed over; none for one that does not. One that has just come gets its time, too.
    fn passed_over_at(&self, acked: Option<Generation>, connected: Instant) -> Option<Instant> {
        let ahead = self.reached.iter().find(|(generation, _)| Some(*generation) > acked);
        ahead.map(|(_, reached)| (*reached).max(connected) + LAG_MAX)
    }

    /// Whether anything depends on what gateways ACK next.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.open || !self.settled || !self.pending.is_empty()
    }

    /// Whether a gateway has ever carried what there was: before that DNS knows nothing for sure and says so.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// When time alone changes something: a withdrawn name to forget, or a lagging gateway to pass over.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let forget = self.withdrawn.iter().filter_map(|hostname| match self.state(hostname) {
            Some(NameState::Withdrawn(until)) => Some(until),
            _ => None,
        });
        let presume = self.published.iter().map(|(_, at)| *at + self.presumed_after()).find(|at| *at > now);
        forget.chain(self.pass_over_at).chain(presume.filter(|_| self.is_waiting())).min()
    }

    /// The state of a name, none for names that are unknown.
    pub(crate) fn state(&self, hostname: &Hostname) -> Option<NameState> {
        self.names.get(hostname).map(|name| name.state)
    }

    /// The withdrawn names that gateways still carry.
    pub(crate) fn withdrawn(&self) -> impl Iterator<Item = (&Hostname, &ServiceImport)> {
        self.withdrawn.iter().filter_map(|hostname| Some((hostname, &self.names.get(hostname)?.import)))
    }

    /// How many names are in which state.
    pub(crate) fn counts(&self) -> Counts {
        let (pending, withdrawn) = (self.pending.len(), self.withdrawn.len());
        Counts { pending, answered: self.names.len() - pending - withdrawn, withdrawn }
    }

    /// Where a remote is reached now, for its names that are withdrawn later.
    pub(crate) fn note_backend(&mut self, remote: &RemoteName, backend: &Backend) {
        if let Some(kept) = self.backends.get_mut(remote) {
            kept.clone_from(backend);
        }
    }

    fn keep_backends(&mut self, table: &ServiceTable) {
        self.backends
            .extend(table.backends.iter().map(|(remote, backend)| (remote.clone(), backend.clone())));
        let used: BTreeSet<_> =
            self.withdrawn().flat_map(|(_, import)| remotes_of(import)).cloned().collect();
        self.backends.retain(|remote, _| table.backends.contains_key(remote) || used.contains(remote));
    }
}

impl Name {
    /// Whether gateways carry the name as it is, on all its routes.
    fn routes_reach(&self, safe: &BTreeMap<Route, Option<Generation>>) -> bool {
        self.import.routes.iter().all(|route| safe.get(route).copied().flatten() >= self.since)
    }

    /// Takes an import of a name that gateways carry already. Returns whether the name was withdrawn and is back.
    fn renew(&mut self, import: &ServiceImport) -> bool {
        if self.import.routes != import.routes {
            // Gateways carry the name, but not as it is now. Who has the answer keeps it: connections go to
            // where the name was until each gateway has the change.
            self.since = None;
        }
        if self.import != *import {
            self.import = import.clone();
        }
        let is_back = matches!(self.state, NameState::Withdrawn(_));
        if is_back {
            self.state = NameState::Pending;
        }
        is_back
    }
}

fn remotes_of(import: &ServiceImport) -> impl Iterator<Item = &RemoteName> {
    import.routes.iter().flat_map(|route| route.remotes.iter())
}

#[cfg(test)]
mod tests;
