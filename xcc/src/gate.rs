//! Which imported names may be answered: a name is safe to hand out only while every gateway carries it.
//!
//! Pure state, driven by the pipeline: no I/O, and the time comes in as an argument.
//!
//! - A new name is *pending* until every connected gateway has ACKed a listener that carries it. A gateway that lags
//!   more than [`LAG_MAX`] behind another is passed over: one stuck gateway must not hold up everybody.
//! - An *answered* name stays answered until its export is withdrawn, whatever happens to gateways or remotes.
//! - A *withdrawn* name leaves DNS first. The gateways keep carrying it until resolvers have forgotten it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use xcc_model::{Backend, Hostname, RemoteName, ServiceImport, ServiceTable};

/// How far a gateway may lag behind another before names stop waiting for it.
pub(crate) const LAG_MAX: Duration = Duration::from_secs(5);

/// Counts what was published to the gateways: a gateway that ACKed generation n carries all of generation n.
pub(crate) type Generation = u64;

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
        }
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
    pub(crate) fn published(&mut self, generation: Generation) {
        for hostname in &self.pending {
            if let Some(name) = self.names.get_mut(hostname) {
                name.since.get_or_insert(generation);
            }
        }
    }

    /// Takes what each connected gateway has ACKed last (none: nothing yet) and returns the names that are now safe to
    /// answer.
    pub(crate) fn observe(&mut self, gateways: &[Option<Generation>], now: Instant) -> ZoneChange {
        let newest = gateways.iter().copied().max().flatten();
        if let Some(newest) = newest
            && self.reached.back().is_none_or(|(generation, _)| *generation < newest)
        {
            self.reached.push_back((newest, now));
        }
        while self.reached.get(1).is_some_and(|(_, at)| *at + LAG_MAX <= now) {
            self.reached.pop_front();
        }
        let by_all = gateways.iter().copied().min().flatten();
        let by_some_for_long =
            self.reached.front().filter(|(_, at)| *at + LAG_MAX <= now).map(|(generation, _)| *generation);
        let safe = by_all.max(by_some_for_long.min(newest));
        self.open |= safe.is_some();
        let mut added = Vec::new();
        self.pending.retain(|hostname| match self.names.get_mut(hostname) {
            Some(name) if name.since.is_some() && name.since <= safe => {
                name.state = NameState::Answered;
                added.push(hostname.clone());
                false
            }
            _ => true,
        });
        ZoneChange { added, removed: vec![] }
    }

    /// Whether a gateway lags so far behind another that names do not wait for it.
    pub(crate) fn is_passed_over(&self, acked: Option<Generation>, now: Instant) -> bool {
        self.reached.iter().any(|(generation, at)| Some(*generation) > acked && *at + LAG_MAX <= now)
    }

    /// Whether anything depends on what gateways ACK next.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.open || !self.pending.is_empty()
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
        let pass_over = self.reached.iter().map(|(_, at)| *at + LAG_MAX).find(|at| *at > now);
        forget.chain(pass_over.filter(|_| !self.pending.is_empty())).min()
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

    fn publish(gate: &mut Gate, table: &ServiceTable, generation: Generation, now: Instant) -> Vec<Hostname> {
        let removed = gate.set_table(table, now).removed;
        gate.published(generation);
        removed
    }

    #[test]
    fn a_name_is_answered_once_every_gateway_has_acked_it() {
        let now = Instant::now();
        let mut gate = Gate::new(DELAY);
        publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
        assert_eq!(gate.observe(&[], now).added, []);
        assert!(!gate.is_open());
        assert_eq!(gate.observe(&[Some(1), None], now).added, []);
        assert_eq!(gate.observe(&[Some(1), Some(1)], now).added, [name("a.xcc.test")]);
        assert!(gate.is_open());
        assert_eq!(gate.observe(&[Some(1), Some(1)], now).added, []);
    }

    #[test]
    fn an_ack_of_an_older_generation_is_not_enough() {
        let now = Instant::now();
        let mut gate = Gate::new(DELAY);
        publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
        gate.observe(&[Some(1)], now);
        publish(&mut gate, &table(&["a.xcc.test", "b.xcc.test"]), 2, now);
        assert_eq!(gate.observe(&[Some(1)], now).added, []);
        assert_eq!(gate.observe(&[Some(2)], now).added, [name("b.xcc.test")]);
    }

    #[test]
    fn a_name_that_waits_for_the_next_publication_is_not_answered() {
        let now = Instant::now();
        let mut gate = Gate::new(DELAY);
        publish(&mut gate, &table(&[]), 1, now);
        gate.set_table(&table(&["a.xcc.test"]), now);
        assert_eq!(gate.observe(&[Some(1)], now).added, []);
    }

    #[test]
    fn a_gateway_that_lags_five_seconds_behind_another_is_passed_over() {
        let start = Instant::now();
        let mut gate = Gate::new(DELAY);
        publish(&mut gate, &table(&["a.xcc.test"]), 1, start);
        let acked = start + Duration::from_secs(60);
        assert_eq!(gate.observe(&[None, Some(1)], acked).added, []);
        assert_eq!(gate.deadline(acked), Some(acked + LAG_MAX));
        let almost = acked + Duration::from_millis(4_999);
        assert_eq!(gate.observe(&[None, Some(1)], almost).added, []);
        assert!(!gate.is_passed_over(None, almost));
        assert_eq!(gate.observe(&[None, Some(1)], acked + LAG_MAX).added, [name("a.xcc.test")]);
        assert!(gate.is_passed_over(None, acked + LAG_MAX));
        assert!(!gate.is_passed_over(Some(1), acked + LAG_MAX));
        assert_eq!(gate.deadline(acked + LAG_MAX), None);
    }

    #[test]
    fn what_only_a_gone_gateway_had_acked_is_not_answered() {
        let now = Instant::now();
        let mut gate = Gate::new(DELAY);
        publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
        gate.observe(&[None, Some(1)], now);
        assert_eq!(gate.observe(&[None], now + LAG_MAX).added, []);
        assert_eq!(gate.observe(&[], now + LAG_MAX).added, []);
    }

    #[test]
    fn an_answered_name_stays_answered_whatever_happens_to_gateways() {
        let now = Instant::now();
        let mut gate = Gate::new(DELAY);
        publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
        gate.observe(&[Some(1)], now);
        gate.observe(&[], now);
        gate.observe(&[None], now);
        publish(&mut gate, &table_on("west", &["a.xcc.test"]), 2, now);
        assert_eq!(gate.state(&name("a.xcc.test")), Some(NameState::Answered));
    }

    #[test]
    fn on_withdrawal_dns_stops_first_and_gateways_keep_the_name_for_the_delay() {
        let now = Instant::now();
        let mut gate = Gate::new(DELAY);
        publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
        gate.observe(&[Some(1)], now);
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
        gate.observe(&[Some(1)], now);
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
        gate.observe(&[Some(1)], now);
        publish(&mut gate, &ServiceTable::default(), 2, now);
        gate.set_table(&table(&["a.xcc.test"]), now);
        assert_eq!(
            gate.observe(&[Some(1)], now).added,
            [name("a.xcc.test")],
            "gateways never stopped carrying it"
        );
        publish(&mut gate, &ServiceTable::default(), 3, now);
        publish(&mut gate, &table_on("west", &["a.xcc.test"]), 4, now);
        assert_eq!(gate.observe(&[Some(3)], now).added, [], "it goes elsewhere now");
        assert_eq!(gate.observe(&[Some(4)], now).added, [name("a.xcc.test")]);
    }
}
