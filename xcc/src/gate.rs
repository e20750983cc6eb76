//! Which imported names may be answered: a name is safe to hand out only while every gateway carries it.
//!
//! Pure state, driven by the pipeline: no I/O, and the time comes in as an argument.
//!
//! - A new name is *pending* until every connected gateway has ACKed a listener that carries it. A gateway that lags
//!   more than [`LAG_MAX`] behind another is passed over: one stuck gateway must not hold up everybody.
//! - Where several replicas share the gateways, those of one may all be connected to others, which alone hear their ACKs.
//!   Such a replica presumes them: [`PRESUMED_ACK`] after a publication, [`LAG_MAX`] after its first.
//! - An *answered* name stays answered until its export is withdrawn, whatever happens to gateways or remotes.
//! - A *withdrawn* name leaves DNS first. The gateways keep carrying it until resolvers have forgotten it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use xcc_model::{Backend, Hostname, RemoteName, ServiceImport, ServicePort, ServiceTable};

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
    /// Since when it is connected.
    pub(crate) connected: Instant,
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

    /// Takes the newest table. Names that are no longer in it must leave DNS before the gateways hear of it.
    pub(crate) fn set_table(&mut self, table: &ServiceTable, now: Instant) -> ZoneChange {
        let removed = self.withdraw_all_but(table, now);
        for (hostname, import) in &table.imports {
            match self.names.get_mut(hostname) {
                None => {
                    let name = Name { import: import.clone(), since: None, state: NameState::Pending };
                    self.names.insert(hostname.clone(), name);
                    self.pending.insert(hostname.clone());
                }
                Some(name) => {
                    if name.renew(import) {
                        self.withdrawn.remove(hostname);
                        self.pending.insert(hostname.clone());
                    }
                }
            }
        }
        self.keep_backends(table);
        ZoneChange { added: vec![], removed }
    }

    fn withdraw_all_but(&mut self, table: &ServiceTable, now: Instant) -> Vec<Hostname> {
        let mut removed = Vec::new();
        let until = now + self.withdraw_delay;
        self.names.retain(|hostname, name| {
            if table.imports.contains_key(hostname) {
                return true;
            }
            match name.state {
                // Nobody was ever told, so nobody has to forget.
                NameState::Pending => {
                    self.pending.remove(hostname);
                    false
                }
                NameState::Answered => {
                    removed.push(hostname.clone());
                    if self.withdraw_delay.is_zero() {
                        return false;
                    }
                    name.state = NameState::Withdrawn(until);
                    self.withdrawn.insert(hostname.clone())
                }
                NameState::Withdrawn(_) => true,
            }
        });
        removed
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
        self.pass_over_at =
            gateways.iter().filter_map(|gateway| self.passed_over_at(gateway)).filter(|at| *at > now).min();
        self.open |= self.safe(gateways, None, now).is_some();
        self.let_through(gateways, now)
    }

    fn let_through(&mut self, gateways: &[GatewayAcks], now: Instant) -> ZoneChange {
        let pending = self.pending.iter().filter_map(|hostname| self.names.get(hostname));
        let ports: BTreeSet<_> =
            pending.flat_map(|name| name.import.routes.iter().map(|route| route.port)).collect();
        let safe: BTreeMap<_, _> =
            ports.into_iter().map(|port| (port, self.safe(gateways, Some(port), now))).collect();
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

    /// The generation up to which names on a port are carried by every gateway that counts. A gateway that refused the
    /// port's listener carries nothing new on it, and everything else all the same.
    fn safe(&self, gateways: &[GatewayAcks], port: Option<ServicePort>, now: Instant) -> Option<Generation> {
        if gateways.is_empty() {
            return self.presumed(now);
        }
        let carried = gateways.iter().map(|gateway| match port {
            Some(port) if gateway.refused.contains(&port) => GatewayAcks { acked: None, ..gateway.clone() },
            _ => gateway.clone(),
        });
        let waited_for = carried.filter(|gateway| !self.is_passed_over(gateway, now));
        waited_for.map(|gateway| gateway.acked).min().flatten()
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
        self.passed_over_at(gateway).is_some_and(|at| at <= now)
    }

    /// When a gateway that lags is passed over; none for one that does not. One that has just come gets its time, too.
    fn passed_over_at(&self, gateway: &GatewayAcks) -> Option<Instant> {
        let ahead = self.reached.iter().find(|(generation, _)| Some(*generation) > gateway.acked);
        ahead.map(|(_, reached)| (*reached).max(gateway.connected) + LAG_MAX)
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

    fn keep_backends(&mut self, table: &ServiceTable) {
        self.backends
            .extend(table.backends.iter().map(|(remote, backend)| (remote.clone(), backend.clone())));
        let used: BTreeSet<_> =
            self.withdrawn().flat_map(|(_, import)| remotes_of(import)).cloned().collect();
        self.backends.retain(|remote, _| table.backends.contains_key(remote) || used.contains(remote));
    }
}

impl Name {
    /// Whether gateways carry the name as it is, on all its ports.
    fn routes_reach(&self, safe: &BTreeMap<ServicePort, Option<Generation>>) -> bool {
        self.import.routes.iter().all(|route| safe.get(&route.port).copied().flatten() >= self.since)
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
mod tests {
    use xcc_model::{RemoteSet, Route};

    use super::*;

    const DELAY: Duration = Duration::from_secs(30);

    fn name(text: &str) -> Hostname {
        Hostname::parse(text).unwrap()
    }

    fn table_on(remote: &str, names: &[&str]) -> ServiceTable {
        let remote = RemoteName::parse(remote).unwrap();
        let route =
            Route { port: 443.try_into().unwrap(), remotes: RemoteSet::new([remote.clone()]).unwrap() };
        let import = ServiceImport { routes: vec![route], origins: vec![] };
        ServiceTable {
            imports: names.iter().map(|text| (name(text), import.clone())).collect(),
            backends: [(remote, Backend::default())].into(),
        }
    }

    fn table(names: &[&str]) -> ServiceTable {
        table_on("east", names)
    }

    fn acks(acked: Option<Generation>, now: Instant) -> GatewayAcks {
        let connected = now.checked_sub(2 * LAG_MAX).unwrap_or(now);
        GatewayAcks { acked, refused: BTreeSet::new(), connected }
    }

    fn observe(gate: &mut Gate, acked: &[Option<Generation>], now: Instant) -> ZoneChange {
        gate.observe(&acked.iter().map(|acked| acks(*acked, now)).collect::<Vec<_>>(), now)
    }

    fn is_passed_over(gate: &Gate, acked: Option<Generation>, now: Instant) -> bool {
        gate.is_passed_over(&acks(acked, now), now)
    }

    fn publish(gate: &mut Gate, table: &ServiceTable, generation: Generation, now: Instant) -> Vec<Hostname> {
        let removed = gate.set_table(table, now).removed;
        gate.published(generation, now);
        removed
    }

    #[test]
    fn a_name_is_answered_once_every_gateway_has_acked_it() {
        let now = Instant::now();
        let mut gate = Gate::new(DELAY);
        publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
        assert_eq!(observe(&mut gate, &[], now).added, []);
        assert!(!gate.is_open());
        assert_eq!(observe(&mut gate, &[Some(1), None], now).added, []);
        assert_eq!(observe(&mut gate, &[Some(1), Some(1)], now).added, [name("a.xcc.test")]);
        assert!(gate.is_open());
        assert_eq!(observe(&mut gate, &[Some(1), Some(1)], now).added, []);
    }

    #[test]
    fn an_ack_of_an_older_generation_is_not_enough() {
        let now = Instant::now();
        let mut gate = Gate::new(DELAY);
        publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
        observe(&mut gate, &[Some(1)], now);
        publish(&mut gate, &table(&["a.xcc.test", "b.xcc.test"]), 2, now);
        assert_eq!(observe(&mut gate, &[Some(1)], now).added, []);
        assert_eq!(observe(&mut gate, &[Some(2)], now).added, [name("b.xcc.test")]);
    }

    #[test]
    fn a_name_that_waits_for_the_next_publication_is_not_answered() {
        let now = Instant::now();
        let mut gate = Gate::new(DELAY);
        publish(&mut gate, &table(&[]), 1, now);
        gate.set_table(&table(&["a.xcc.test"]), now);
        assert_eq!(observe(&mut gate, &[Some(1)], now).added, []);
    }

    #[test]
    fn a_gateway_that_lags_five_seconds_behind_another_is_passed_over() {
        let start = Instant::now();
        let mut gate = Gate::new(DELAY);
        publish(&mut gate, &table(&["a.xcc.test"]), 1, start);
        let acked = start + Duration::from_secs(60);
        assert_eq!(observe(&mut gate, &[None, Some(1)], acked).added, []);
        assert_eq!(gate.deadline(acked), Some(acked + LAG_MAX));
        let almost = acked + Duration::from_millis(4_999);
        assert_eq!(observe(&mut gate, &[None, Some(1)], almost).added, []);
        assert!(!is_passed_over(&gate, None, almost));
        assert_eq!(observe(&mut gate, &[None, Some(1)], acked + LAG_MAX).added, [name("a.xcc.test")]);
        assert!(is_passed_over(&gate, None, acked + LAG_MAX));
        assert!(!is_passed_over(&gate, Some(1), acked + LAG_MAX));
        assert_eq!(gate.deadline(acked + LAG_MAX), None);
    }

    #[test]
    fn once_passed_over_a_gateway_holds_up_no_further_name() {
        let start = Instant::now() + Duration::from_secs(60);
        let mut gate = Gate::new(DELAY);
        publish(&mut gate, &table(&["a.xcc.test"]), 1, start);
        observe(&mut gate, &[None, Some(1)], start);
        let later = start + LAG_MAX;
        publish(&mut gate, &table(&["a.xcc.test", "b.xcc.test"]), 2, later);
        let change = observe(&mut gate, &[None, Some(2)], later);
        assert_eq!(change.added, [name("a.xcc.test"), name("b.xcc.test")]);
    }

    #[test]
    fn a_gateway_that_has_just_come_is_waited_for() {
        let start = Instant::now() + Duration::from_secs(60);
        let mut gate = Gate::new(DELAY);
        publish(&mut gate, &table(&[]), 1, start);
        observe(&mut gate, &[Some(1)], start);
        let later = start + 10 * LAG_MAX;
        publish(&mut gate, &table(&["a.xcc.test"]), 2, later);
        let newcomer = GatewayAcks { connected: later, ..acks(None, later) };
        let gateways = [acks(Some(2), later), newcomer];
        assert_eq!(gate.observe(&gateways, later).added, []);
        assert_eq!(gate.deadline(later), Some(later + LAG_MAX));
        assert_eq!(gate.observe(&gateways, later + LAG_MAX).added, [name("a.xcc.test")]);
    }

    #[test]
    fn a_gateway_that_lags_is_reported_without_any_name_waiting() {
        let start = Instant::now() + Duration::from_secs(60);
        let mut gate = Gate::new(DELAY);
        publish(&mut gate, &table(&["a.xcc.test"]), 1, start);
        observe(&mut gate, &[Some(1), Some(1)], start);
        assert!(!gate.is_waiting());
        publish(&mut gate, &table(&[]), 2, start);
        assert!(gate.is_waiting());
        observe(&mut gate, &[Some(1), Some(2)], start);
        assert!(gate.is_waiting());
        assert_eq!(gate.deadline(start), Some(start + LAG_MAX), "before the name is forgotten");
        assert!(is_passed_over(&gate, Some(1), start + LAG_MAX));
    }

    #[test]
    fn a_refused_listener_holds_up_the_names_of_its_port_only() {
        let now = Instant::now() + Duration::from_secs(60);
        let mut gate = Gate::new(DELAY);
        let mut both = table(&["a.xcc.test", "b.xcc.test"]);
        let port = 8080.try_into().unwrap();
        both.imports.get_mut(&name("b.xcc.test")).unwrap().routes[0].port = port;
        publish(&mut gate, &both, 1, now);
        let refusing = GatewayAcks { refused: BTreeSet::from([port]), ..acks(Some(1), now) };
        assert_eq!(gate.observe(std::slice::from_ref(&refusing), now).added, [name("a.xcc.test")]);
        assert!(gate.is_open());
        let much_later = now + 10 * LAG_MAX;
        assert_eq!(gate.observe(std::slice::from_ref(&refusing), much_later).added, [], "nobody carries it");
        let gateways = [refusing, acks(Some(1), now)];
        assert_eq!(gate.observe(&gateways, much_later).added, [name("b.xcc.test")], "passed over");
    }

    #[test]
    fn what_only_a_gone_gateway_had_acked_is_not_answered() {
        let now = Instant::now();
        let mut gate = Gate::new(DELAY);
        publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
        observe(&mut gate, &[None, Some(1)], now);
        assert_eq!(observe(&mut gate, &[None], now + LAG_MAX).added, []);
        assert_eq!(observe(&mut gate, &[], now + LAG_MAX).added, []);
    }

    #[test]
    fn a_replica_whose_gateways_are_all_with_others_presumes_their_acks() {
        let start = Instant::now();
        let mut gate = Gate::new(DELAY).replicated();
        publish(&mut gate, &table(&["a.xcc.test"]), 1, start);
        assert_eq!(observe(&mut gate, &[], start).added, []);
        assert_eq!(gate.deadline(start), Some(start + LAG_MAX));
        assert_eq!(observe(&mut gate, &[], start + PRESUMED_ACK).added, [], "one may still come here");
        let opened = start + LAG_MAX;
        assert_eq!(observe(&mut gate, &[], opened).added, [name("a.xcc.test")]);
        assert!(gate.is_open());

        publish(&mut gate, &table(&["a.xcc.test", "b.xcc.test"]), 2, opened);
        assert_eq!(gate.deadline(opened), Some(opened + PRESUMED_ACK));
        assert_eq!(
            observe(&mut gate, &[None], opened + PRESUMED_ACK).added,
            [],
            "a gateway that is here is heard"
        );
        assert_eq!(observe(&mut gate, &[], opened + PRESUMED_ACK).added, [name("b.xcc.test")]);
        assert_eq!(gate.deadline(opened + PRESUMED_ACK), None);
    }

    #[test]
    fn an_answered_name_stays_answered_whatever_happens_to_gateways() {
        let now = Instant::now();
        let mut gate = Gate::new(DELAY);
        publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
        observe(&mut gate, &[Some(1)], now);
        observe(&mut gate, &[], now);
        observe(&mut gate, &[None], now);
        publish(&mut gate, &table_on("west", &["a.xcc.test"]), 2, now);
        assert_eq!(gate.state(&name("a.xcc.test")), Some(NameState::Answered));
    }

    #[test]
    fn on_withdrawal_dns_stops_first_and_gateways_keep_the_name_for_the_delay() {
        let now = Instant::now();
        let mut gate = Gate::new(DELAY);
        publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
        observe(&mut gate, &[Some(1)], now);
        let empty = ServiceTable::default();
        assert_eq!(publish(&mut gate, &empty, 2, now), [name("a.xcc.test")]);
        assert_eq!(gate.gateway_table(&empty), table(&["a.xcc.test"]), "with the remote's last endpoints");
        assert_eq!(gate.deadline(now), Some(now + DELAY));
        assert!(!gate.expire(now));
        assert!(gate.expire(now + DELAY));
        assert_eq!(gate.gateway_table(&empty), empty);
    }

    #[test]
    fn without_a_delay_the_gateways_drop_the_name_at_once() {
        let now = Instant::now();
        let mut gate = Gate::new(Duration::ZERO);
        publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
        observe(&mut gate, &[Some(1)], now);
        let empty = ServiceTable::default();
        assert_eq!(publish(&mut gate, &empty, 2, now), [name("a.xcc.test")]);
        assert_eq!(gate.gateway_table(&empty), empty);
    }

    #[test]
    fn a_name_that_was_never_answered_goes_at_once() {
        let now = Instant::now();
        let mut gate = Gate::new(DELAY);
        publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
        assert_eq!(publish(&mut gate, &ServiceTable::default(), 2, now), []);
        assert_eq!(gate.state(&name("a.xcc.test")), None);
    }

    #[test]
    fn a_name_that_returns_within_the_delay_is_answered_at_the_next_look() {
        let now = Instant::now();
        let mut gate = Gate::new(DELAY);
        publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
        observe(&mut gate, &[Some(1)], now);
        publish(&mut gate, &ServiceTable::default(), 2, now);
        gate.set_table(&table(&["a.xcc.test"]), now);
        assert_eq!(
            observe(&mut gate, &[Some(1)], now).added,
            [name("a.xcc.test")],
            "gateways never stopped carrying it"
        );
        publish(&mut gate, &ServiceTable::default(), 3, now);
        publish(&mut gate, &table_on("west", &["a.xcc.test"]), 4, now);
        assert_eq!(observe(&mut gate, &[Some(3)], now).added, [], "it goes elsewhere now");
        assert_eq!(observe(&mut gate, &[Some(4)], now).added, [name("a.xcc.test")]);
    }
}
