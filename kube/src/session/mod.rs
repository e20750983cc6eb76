//! A remote that is watched through its API server.
//!
//! Owns what the remote says: its labelled HTTPProxies, its Nodes and the Service of its ingress, from list and watch to the model's changes. A
//! session is one task with its own connections; what it keeps is bounded, whatever the remote does. It must not know
//! where its kubeconfig comes from, nor what the other remotes do.

mod health;
mod kinds;
mod outbox;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use xcc_model::{Change, Diagnostic, ObjectKind, ObjectRef, Reason, RemoteName, ServiceName};

pub use health::{HealthBoard, RemoteHealth, Sync, Trouble};
use kinds::{Exports, Nodes, ServiceKey, Services, What};
pub(crate) use outbox::Outbox;
pub use source::KubeconfigSource;
pub(crate) use source::connect;

use crate::connection::Connection;
use crate::watch::{Delta, Event, Index, Kind, Progress, follow, share_panics};

/// Events that a session has not looked at yet.
const EVENTS_MAX: usize = 64;
/// Failures in a row after which diagnostics tell of them; conditions and logs do at once.
const FAILURES_TO_REPORT: u32 = 4;
/// Where a session's own troubles stand among the problems of the remote.
const API_SERVER: &str = "API server";

/// What a session needs.
pub(crate) struct Session {
    /// Whose it is.
    pub(crate) remote: RemoteName,
    /// Where it tells.
    pub(crate) outbox: Arc<Outbox>,
    /// Where it says how it is.
    pub(crate) health: HealthBoard,
    /// The Service that its ingress is reached through, if the settings name one.
    pub(crate) service: watch::Receiver<Option<ServiceName>>,
    /// What is known of the remote from before.
    pub(crate) known: xcc_model::Remote,
}

impl Session {
    /// Watches the remote through the newest connection; none: what is known stays. Ends with the shutdown.
    pub(crate) async fn run(
        self,
        mut connection: watch::Receiver<Option<Connection>>,
        shutdown: CancellationToken,
    ) {
        let mut service = self.service.clone();
        let mut state = State::new(self);
        loop {
            let current = connection.borrow_and_update().clone();
            let named = service.borrow_and_update().clone();
            state.reach_by(named);
            let mut watches = Watches::start(current, &mut state);
            let changed = async {
                loop {
                    if watches.next(&mut state).await.is_none() {
                        std::future::pending::<()>().await;
                    }
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = changed => {}
                changed = connection.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // The state stays: the lists of the new connection are compared with it.
                    info!(remote = %state.session.remote, "the connection to the remote is renewed");
                }
                // An error says that the settings do not change any more.
                Ok(()) = service.changed() => {}
            }
        }
    }
}

/// The watches of one connection; they end when this is dropped.
struct Watches {
    connection: Option<Connection>,
    tasks: JoinSet<()>,
    events: mpsc::Receiver<(Tag, Event)>,
    sender: mpsc::Sender<(Tag, Event)>,
    /// Which watch of a kind counts: those before it may still have events in the queue.
    epoch: u64,
    relist: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag {
    what: What,
    epoch: u64,
}

impl Watches {
    fn start(connection: Option<Connection>, state: &mut State) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let mut watches = Self { connection, tasks: JoinSet::new(), events, sender, epoch: 0, relist: None };
        state.restarted();
        watches.spawn(state.service());
        watches
    }

    fn spawn(&mut self, service: Option<&ServiceName>) {
        self.epoch += 1;
        self.tasks.abort_all();
        self.relist = None;
        let Some(connection) = &self.connection else { return };
        for what in [What::Nodes, What::Exports, What::Services] {
            let tag = Tag { what, epoch: self.epoch };
            if let Some(target) = what.target(service) {
                self.tasks.spawn(follow(connection.clone(), target, tag, self.sender.clone()));
            }
        }
    }

    /// Handles the next event; none without a connection.
    async fn next(&mut self, state: &mut State) -> Option<()> {
        self.connection.as_ref()?;
        let relist = self.relist;
        let wait = async {
            match relist {
                Some(time) => sleep_until(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => self.spawn(state.service()),
            never = share_panics(&mut self.tasks) => match never {},
            Some((tag, event)) = self.events.recv() => {
                if tag.epoch == self.epoch
                    && let Progress::Held { until, .. } = state.take(tag.what, event)
                {
                    self.relist = Some(until);
                }
            }
        }
        Some(())
    }
}

/// What is known of the remote and what was told of it.
struct State {
    session: Session,
    exports: Index<Exports>,
    nodes: Index<Nodes>,
    /// Only while the settings name a Service.
    services: Option<Index<Services>>,
    /// What the first list of exports says: it waits for the nodes and the Service, or names would be there before any
    /// address is.
    exports_wait: Option<Vec<Change>>,
    /// The nodes were listed, or cannot be for now.
    nodes_settled: bool,
    /// So was the Service.
    service_settled: bool,
    failing: [Option<Trouble>; 3],
    reported: bool,
    synced: bool,
}

impl State {
    fn new(mut session: Session) -> Self {
        let remote = session.remote.clone();
        let mut known = std::mem::take(&mut session.known);
        let reported = known.problems.remove(API_SERVER).is_some();
        // What is known of the Service stays among what was told; the first list replaces it.
        known.problems.retain(|place, _| !place.starts_with(ServiceKey::PLACE));
        // HTTPProxies are reported as NAMESPACE/NAME. What the inventory reports itself has spaces in its place.
        let (of_exports, mut of_nodes): (BTreeMap<_, _>, BTreeMap<_, _>) =
            known.problems.into_iter().partition(|(place, _)| place.contains('/'));
        of_nodes.retain(|place, _| !place.contains(' '));
        Self {
            exports: Index::new(Exports(remote.clone()), known.exports, of_exports),
            nodes: Index::new(Nodes(remote), known.nodes, of_nodes),
            services: None,
            session,
            exports_wait: Some(Vec::new()),
            nodes_settled: false,
            service_settled: false,
            failing: [const { None }; 3],
            reported,
            synced: false,
        }
    }

    /// The Service that is watched.
    fn service(&self) -> Option<&ServiceName> {
        self.services.as_ref().map(|index| &index.kind().name)
    }

    /// Watches this Service from now on. What was told of another one stays told: the settings do not name it.
    fn reach_by(&mut self, service: Option<ServiceName>) {
        if self.service() == service.as_ref() {
            return;
        }
        self.service_settled = false;
        self.services = service.map(|name| {
            let kind = Services { remote: self.session.remote.clone(), name };
            Index::new(kind, BTreeMap::new(), BTreeMap::new())
        });
    }

    /// Whether where the remote is reached has been told, as far as it can be for now.
    fn addresses_settled(&self) -> bool {
        self.nodes_settled && (self.services.is_none() || self.service_settled)
    }

    /// Whether everything has been listed.
    fn listed(&self) -> bool {
        self.exports.listed() && self.nodes.listed() && self.services.as_ref().is_none_or(Index::listed)
    }

    fn restarted(&mut self) {
        self.failing = [const { None }; 3];
        let remote = &self.session.remote;
        self.session.health.update(remote, |health| health.connection = None);
        self.publish_health(false);
    }

    fn take(&mut self, what: What, event: Event) -> Progress {
        let heard = !matches!(event, Event::Failed(..) | Event::Init | Event::InitApply(_));
        if let Event::Failed(failure, attempts) = &event {
            self.failed(what, failure, *attempts);
        }
        if let Event::Skipped(why) = &event {
            warn!(remote = %self.session.remote, "an event of {} was skipped: {why}", what.name());
        }
        let now = Instant::now();
        let (changes, progress) = match what {
            What::Exports => {
                let (deltas, progress) = self.exports.take(event, now);
                (changes::<Exports>(deltas, Change::Exports, Change::Export), progress)
            }
            What::Nodes => {
                let (deltas, progress) = self.nodes.take(event, now);
                (changes::<Nodes>(deltas, Change::Nodes, Change::Node), progress)
            }
            What::Services => {
                let Some(services) = &mut self.services else { return Progress::Same };
                let (deltas, progress) = services.take(event, now);
                let all = |list: BTreeMap<ServiceKey, _>| {
                    Change::Services(list.into_iter().map(|(key, service)| (key.0, service)).collect())
                };
                let one = |key: ServiceKey, service| Change::Service(key.0, service);
                (changes::<Services>(deltas, all, one), progress)
            }
        };
        self.tell(what, changes, progress);
        if heard {
            self.failing[what as usize] = None;
            self.publish_health(true);
        }
        progress
    }

    fn tell(&mut self, what: What, mut changes: Vec<Change>, progress: Progress) {
        if let Progress::Held { dropped, .. } = progress {
            warn!(
                remote = %self.session.remote,
                dropped, "a list of {} would drop most of them: they stay until a second list", what.name()
            );
        }
        if progress != Progress::Same {
            self.settle(what);
        }
        if what == What::Exports
            && let Some(waiting) = &mut self.exports_wait
        {
            waiting.append(&mut changes);
        }
        if self.addresses_settled() && self.exports.listed() {
            changes.extend(self.exports_wait.take().unwrap_or_default());
        }
        if !self.synced && self.listed() {
            self.synced = true;
            changes.push(Change::Synced);
        }
        self.session.outbox.push(&self.session.remote, changes);
    }

    fn failed(&mut self, what: What, failure: &crate::connection::Failure, attempts: u32) {
        let reason = failure.reason();
        let message = format!("{}: {failure}; {}", what.name(), failure.advice(what.name()));
        let before = &self.failing[what as usize];
        if before.as_ref().is_none_or(|before| before.reason != reason) {
            warn!(remote = %self.session.remote, reason, "what the remote said last stays in force: {message}");
        }
        self.failing[what as usize] = Some(Trouble { reason, message: message.clone() });
        // What is not told for now must not keep the rest back.
        if self.settle(what) {
            self.tell(what, Vec::new(), Progress::Same);
        }
        if attempts >= FAILURES_TO_REPORT && !self.reported {
            self.reported = true;
            let problem = self.problem(format!("{message}; what the remote said last stays in force"));
            self.session.outbox.push(&self.session.remote, vec![problem]);
        }
        self.publish_health(false);
    }

    /// Notes that there is nothing to wait for. Returns whether there was.
    fn settle(&mut self, what: What) -> bool {
        match what {
            What::Exports => false,
            What::Nodes => !std::mem::replace(&mut self.nodes_settled, true),
            What::Services => !std::mem::replace(&mut self.service_settled, true),
        }
    }

    fn problem(&self, message: String) -> Change {
        let remote = self.session.remote.clone();
        let object = ObjectRef::new(ObjectKind::RemoteCluster, "", remote.as_str());
        let diagnostic = Diagnostic { remote, object, reason: Reason::Unreadable, message };
        Change::Problem(API_SERVER.to_owned(), Some(diagnostic))
    }

    fn publish_health(&mut self, heard: bool) {
        let trouble = self.failing.iter().flatten().next().cloned();
        if trouble.is_none() && heard && std::mem::take(&mut self.reported) {
            info!(remote = %self.session.remote, "the remote is in step again");
            let cured = Change::Problem(API_SERVER.to_owned(), None);
            self.session.outbox.push(&self.session.remote, vec![cured]);
        }
        let listed = self.listed();
        let in_step = heard && trouble.is_none() && listed;
        let held = self.exports.is_held() || self.nodes.is_held();
        self.session.health.update(&self.session.remote, |health| {
            if in_step {
                health.heard_now();
            }
            if heard && trouble.is_none() {
                health.connection = Some(Ok(()));
            }
            if let Some(trouble) = trouble {
                health.connection = Some(Err(trouble));
            }
            health.sync = match (listed, held) {
                (false, _) => Sync::Pending,
                (true, true) => Sync::Held,
                (true, false) => Sync::Done,
            };
        });
    }
}

fn changes<K: Kind>(
    deltas: Vec<Delta<K::Key, K::Value>>,
    all: impl Fn(BTreeMap<K::Key, K::Value>) -> Change,
    one: impl Fn(K::Key, Option<K::Value>) -> Change,
) -> Vec<Change> {
    let change = |delta| match delta {
        Delta::All(list) => all(list),
        Delta::Set(key, value) => one(key, Some(value)),
        Delta::Gone(key) => one(key, None),
        Delta::Problem(place, problem) => Change::Problem(place, problem),
    };
    deltas.into_iter().map(change).collect()
}

#[cfg(test)]
mod tests;
