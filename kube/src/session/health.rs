//! How the watched remotes are: what conditions and metrics tell of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;
use xcc_model::RemoteName;

/// What is wrong, for a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// One word for machines, in CamelCase.
    pub reason: &'static str,
    /// A sentence for people: what is wrong and what to do about it. No secret is in it.
    pub message: String,
}

/// How far the objects of a remote are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sync {
    /// Not everything was told yet.
    #[default]
    Pending,
    /// A list that would drop most of what is known waits for a second one.
    Held,
    /// Everything was told.
    Done,
}

/// How a remote is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteHealth {
    /// Whether its kubeconfig can be used; none before it was looked at. One that cannot leaves an earlier one in use.
    pub kubeconfig: Option<Result<(), Trouble>>,
    /// Whether its API server can be followed; none before the first answer.
    pub connection: Option<Result<(), Trouble>>,
    /// How far its objects are known.
    pub sync: Sync,
    /// When what is known was last in step with the API server, to the second.
    pub last_sync: Option<Timestamp>,
}

impl RemoteHealth {
    /// Notes that everything is known as of now.
    pub(crate) fn heard_now(&mut self) {
        let now = Timestamp::now();
        self.last_sync = Timestamp::from_second(now.as_second()).ok();
    }
}

/// How the remotes are, by name. Cheap to clone: all clones share it.
#[derive(Debug, Clone)]
pub struct HealthBoard(Arc<watch::Sender<BTreeMap<RemoteName, RemoteHealth>>>);

impl Default for HealthBoard {
    fn default() -> Self {
        Self(Arc::new(watch::channel(BTreeMap::new()).0))
    }
}

impl HealthBoard {
    /// Follows how the remotes are. It changes at most once a second for each remote while nothing is wrong.
    pub fn subscribe(&self) -> watch::Receiver<BTreeMap<RemoteName, RemoteHealth>> {
        self.0.subscribe()
    }

    pub(crate) fn update(&self, remote: &RemoteName, change: impl FnOnce(&mut RemoteHealth)) {
        self.0.send_if_modified(|board| {
            let before = board.get(remote).cloned();
            let mut health = before.clone().unwrap_or_default();
            change(&mut health);
            let modified = before.as_ref() != Some(&health);
            if modified {
                board.insert(remote.clone(), health);
            }
            modified
        });
    }

    pub(crate) fn remove(&self, remote: &RemoteName) {
        self.0.send_if_modified(|board| board.remove(remote).is_some());
    }
}
