//! What the sources have to tell, on its way to the pipeline.
//!
//! One remote must not be able to block or flood the others: at most one update of each remote is waiting, later changes
//! are merged into it, and the remotes take turns.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use xcc_model::{
    Change, Diagnostic, ExportKey, Node, RemoteName, RemoteSettings, Service, ServiceExport, ServiceName,
    Update,
};

/// Least time between two updates of one remote. The first after a pause goes at once.
const SPACING: Duration = Duration::from_millis(10);

/// The updates that wait, one of each remote.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<BTreeMap<RemoteName, Pending>>,
    news: Notify,
}

impl Outbox {
    /// Adds to what is told of a remote next. Changes that are pushed together are told together.
    pub(crate) fn push(&self, remote: &RemoteName, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let pending = waiting.entry(remote.clone()).or_default();
        for change in changes {
            pending.merge(change);
        }
        drop(waiting);
        self.news.notify_one();
    }

    /// Tells the pipeline, until it does not listen any more or the shutdown.
    pub(crate) async fn run(&self, updates: mpsc::Sender<Update>, shutdown: CancellationToken) {
        let mut sent = BTreeMap::new();
        let told = async {
            let mut last = None;
            loop {
                match self.next(last.as_ref(), &mut sent) {
                    Next::Ready(remote) => {
                        let Ok(permit) = updates.reserve().await else { return };
                        // Taken only now: what came while waiting for the permit goes along.
                        if let Some(update) = self.take(&remote) {
                            permit.send(update);
                            sent.insert(remote.clone(), Instant::now());
                        }
                        last = Some(remote);
                    }
                    Next::At(time) => tokio::select! {
                        () = sleep_until(time) => {}
                        () = self.news.notified() => {}
                    },
                    Next::None => self.news.notified().await,
                }
            }
        };
        tokio::select! {
            () = told => {}
            () = shutdown.cancelled() => {}
        }
    }

    fn take(&self, remote: &RemoteName) -> Option<Update> {
        let pending = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(remote)?;
        Some(Update { remote: remote.clone(), changes: pending.into_changes() })
    }

    /// The remote whose turn it is after `last`.
    fn next(&self, last: Option<&RemoteName>, sent: &mut BTreeMap<RemoteName, Instant>) -> Next {
        let now = Instant::now();
        sent.retain(|_, time| now < *time + SPACING);
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ready = waiting.keys().filter(|remote| !sent.contains_key(*remote));
        let first = ready.next();
        let next = first.into_iter().chain(ready).find(|remote| last.is_none_or(|last| *remote > last));
        match (next.or(first), waiting.keys().filter_map(|remote| sent.get(remote)).min()) {
            (Some(remote), _) => Next::Ready(remote.clone()),
            (None, Some(time)) => Next::At(*time + SPACING),
            (None, None) => Next::None,
        }
    }
}

enum Next {
    Ready(RemoteName),
    At(Instant),
    None,
}

/// The changes of one remote that wait, merged. Its size is bounded by what the session of the remote keeps.
#[derive(Debug, Default)]
struct Pending {
    removed: bool,
    forget: bool,
    settings: Vec<Result<RemoteSettings, Diagnostic>>,
    exports: Merged<ExportKey, Result<ServiceExport, Diagnostic>>,
    nodes: Merged<String, Node>,
    services: Merged<ServiceName, Service>,
    problems: BTreeMap<String, Option<Diagnostic>>,
    synced: bool,
}

/// A complete list and what changed since, or only the latter.
#[derive(Debug)]
struct Merged<K, V> {
    all: Option<BTreeMap<K, V>>,
    single: BTreeMap<K, Option<V>>,
}

impl<K, V> Default for Merged<K, V> {
    fn default() -> Self {
        Self { all: None, single: BTreeMap::new() }
    }
}

impl<K: Ord, V> Merged<K, V> {
    fn set(&mut self, key: K, value: Option<V>) {
        match (&mut self.all, value) {
            (Some(all), Some(value)) => {
                all.insert(key, value);
            }
            (Some(all), None) => {
                all.remove(&key);
            }
            (None, value) => {
                self.single.insert(key, value);
            }
        }
    }

    fn replace(&mut self, all: BTreeMap<K, V>) {
        *self = Self { all: Some(all), single: BTreeMap::new() };
    }
}

impl Pending {
    fn merge(&mut self, change: Change) {
        match change {
            Change::Settings(settings) => {
                // Of valid settings only the last count; an error after them leaves them in force, so both are told.
                if settings.is_ok() {
                    self.settings.clear();
                } else {
                    self.settings.retain(Result::is_ok);
                }
                self.settings.push(settings);
            }
            Change::Export(key, export) => self.exports.set(key, export),
            Change::Exports(all) => self.exports.replace(all),
            Change::Node(name, node) => self.nodes.set(name, node),
            Change::Nodes(all) => self.nodes.replace(all),
            Change::Service(name, service) => self.services.set(name, service),
            Change::Services(all) => self.services.replace(all),
            Change::Problem(place, problem) => {
                self.problems.insert(place, problem);
            }
            Change::Forget => {
                self.forget = true;
                self.exports.replace(BTreeMap::new());
                self.nodes.replace(BTreeMap::new());
                self.services.replace(BTreeMap::new());
                self.problems.clear();
            }
            Change::Synced => self.synced = true,
            Change::Removed => *self = Self { removed: true, ..Self::default() },
        }
    }

    fn into_changes(self) -> Vec<Change> {
        let mut changes = Vec::new();
        changes.extend(self.removed.then_some(Change::Removed));
        changes.extend(self.forget.then_some(Change::Forget));
        changes.extend(self.settings.into_iter().map(Change::Settings));
        changes.extend(self.nodes.all.map(Change::Nodes));
        changes.extend(self.nodes.single.into_iter().map(|(name, node)| Change::Node(name, node)));
        changes.extend(self.services.all.map(Change::Services));
        changes
            .extend(self.services.single.into_iter().map(|(name, service)| Change::Service(name, service)));
        changes.extend(self.exports.all.map(Change::Exports));
        changes.extend(self.exports.single.into_iter().map(|(key, export)| Change::Export(key, export)));
        changes.extend(self.problems.into_iter().map(|(place, problem)| Change::Problem(place, problem)));
        changes.extend(self.synced.then_some(Change::Synced));
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use xcc_model::{Hostname, Ingress, Inventory, ObjectKind, ObjectRef, Reason};

    fn remote(name: &str) -> RemoteName {
        RemoteName::parse(name).unwrap()
    }

    fn export(number: u8) -> Result<ServiceExport, Diagnostic> {
        Ok(ServiceExport {
            hostname: Hostname::parse(&format!("h{number}.xcc.test")).unwrap(),
            port: Ingress::DEFAULT_PORT,
            created_seconds: None,
        })
    }

    fn change() -> impl Strategy<Value = Change> {
        let key = (0_u8..4).prop_map(|number| ExportKey::new("a", format!("e{number}")));
        let node = any::<bool>().prop_map(|eligible| Node { eligible, addresses: Vec::new() });
        let name = (0_u8..4).prop_map(|number| format!("n{number}"));
        let problem = Diagnostic {
            remote: remote("east"),
            object: ObjectRef::new(ObjectKind::Node, "", "n"),
            reason: Reason::Malformed,
            message: "bad".to_owned(),
        };
        let settings = |priority| RemoteSettings { priority, ..RemoteSettings::default() };
        prop_oneof![
            2 => (0_u32..3).prop_map(move |priority| Change::Settings(Ok(settings(priority)))),
            1 => Just(Change::Settings(Err(problem.clone()))),
            4 => (key.clone(), 0_u8..3).prop_map(|(key, n)| Change::Export(key, Some(export(n)))),
            2 => key.clone().prop_map(|key| Change::Export(key, None)),
            1 => proptest::collection::btree_map(key, (0_u8..3).prop_map(export), 0..4).prop_map(Change::Exports),
            3 => (name.clone(), node.clone()).prop_map(|(name, node)| Change::Node(name, Some(node))),
            2 => name.clone().prop_map(|name| Change::Node(name, None)),
            1 => proptest::collection::btree_map(name.clone(), node, 0..4).prop_map(Change::Nodes),
            2 => (name.clone(), any::<bool>()).prop_map(|(name, there)| {
                Change::Service(ServiceName::new("a", name), there.then(Service::default))
            }),
            1 => proptest::collection::btree_map(name.clone(), Just(Service::default()), 0..4).prop_map(|services| {
                let named = services.into_iter().map(|(name, service)| (ServiceName::new("a", name), service));
                Change::Services(named.collect())
            }),
            2 => (name, any::<bool>()).prop_map(move |(place, there)| {
                Change::Problem(place, there.then(|| problem.clone()))
            }),
            1 => Just(Change::Synced),
            1 => Just(Change::Removed),
        ]
    }

    proptest! {
        /// Merged changes leave the inventory as the changes one by one do.
        #[test]
        fn merging_changes_nothing_of_what_is_told(
            before in proptest::collection::vec(change(), 0..10),
            changes in proptest::collection::vec(change(), 0..30),
        ) {
            let mut one_by_one = Inventory::default();
            one_by_one.apply(Update { remote: remote("east"), changes: before });
            let mut merged = one_by_one.clone();
            let mut pending = Pending::default();
            for change in changes {
                pending.merge(change.clone());
                one_by_one.apply(Update { remote: remote("east"), changes: vec![change] });
            }
            merged.apply(Update { remote: remote("east"), changes: pending.into_changes() });
            prop_assert_eq!(one_by_one, merged);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_one_remote_is_one_update_and_the_others_have_their_turn() {
        let outbox = Outbox::default();
        let (updates, mut inbox) = mpsc::channel::<Update>(1);
        let shutdown = CancellationToken::new();
        for number in 0..100 {
            let name = format!("n{}", number % 7);
            outbox.push(&remote("flood"), vec![Change::Node(name, None)]);
        }
        outbox.push(&remote("quiet"), vec![Change::Synced]);
        let story = async {
            let first = inbox.recv().await.unwrap();
            assert_eq!((first.remote.as_str(), first.changes.len()), ("flood", 7));
            outbox.push(&remote("flood"), vec![Change::Synced]);
            assert_eq!(inbox.recv().await.unwrap().remote.as_str(), "quiet");
            assert_eq!(inbox.recv().await.unwrap().changes, [Change::Synced]);
            shutdown.cancel();
        };
        tokio::join!(outbox.run(updates, shutdown.clone()), story);
    }
}
