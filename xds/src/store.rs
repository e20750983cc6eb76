//! The store: the snapshot that is served now, and what changed in the last few.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use crate::{
    snapshot::{Changed, Snapshot},
    type_url::TypeUrl,
};

/// How many publications back the changes are kept by name; a stream further behind compares maps instead.
const RECENT_MAX: usize = 32;

/// Holds the snapshot that streams are served from; clones share it.
///
/// A new store holds none: requests are held until the first [`publish`](Self::publish), never answered empty, as an
/// empty answer would make a running client drop what it has.
#[derive(Clone, Debug, Default)]
pub struct SnapshotStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    current: ArcSwapOption<Published>,
    generation: watch::Sender<u64>,
    publishing: Mutex<()>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            current: ArcSwapOption::empty(),
            generation: watch::Sender::new(0),
            publishing: Mutex::new(()),
        }
    }
}

/// A snapshot with its place in the store's history.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// Counts publications from 1.
    pub(crate) generation: u64,
    pub(crate) snapshot: Arc<Snapshot>,
    /// What each of the last publications changed, oldest first; the last one leads to `generation`.
    recent: Vec<Arc<BTreeMap<TypeUrl, Changed>>>,
}

impl Published {
    fn first(snapshot: Snapshot) -> Self {
        Self { generation: 1, snapshot: Arc::new(snapshot), recent: Vec::new() }
    }

    fn next(&self, snapshot: Snapshot) -> Self {
        let changes = Arc::new(snapshot.changes_since(&self.snapshot));
        let skip = (self.recent.len() + 1).saturating_sub(RECENT_MAX);
        let recent = self.recent.iter().skip(skip).cloned().chain([changes]).collect();
        Self { generation: self.generation + 1, snapshot: Arc::new(snapshot), recent }
    }

    /// The changes since an earlier generation, one entry for each publication; `None` if it is too long ago.
    pub(crate) fn since(&self, generation: u64) -> Option<&[Arc<BTreeMap<TypeUrl, Changed>>]> {
        let behind = usize::try_from(self.generation.checked_sub(generation)?).ok()?;
        self.recent.get(self.recent.len().checked_sub(behind)?..)
    }
}

impl SnapshotStore {
    /// A store without a snapshot.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves this snapshot from now on. False if it equals the one that is served: then nothing happens.
    pub fn publish(&self, snapshot: Snapshot) -> bool {
        // The lock guards no data, so a panic elsewhere leaves nothing half done.
        let _publishing = self.inner.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let published = match &*self.inner.current.load() {
            None => Published::first(snapshot),
            Some(current) if *current.snapshot == snapshot => return false,
            Some(current) => current.next(snapshot),
        };
        let generation = published.generation;
        self.inner.current.store(Some(Arc::new(published)));
        self.inner.generation.send_replace(generation);
        true
    }

    /// The snapshot that is served now.
    pub fn load(&self) -> Option<Arc<Snapshot>> {
        self.inner.current.load().as_ref().map(|published| Arc::clone(&published.snapshot))
    }

    /// Counts publications; changes after each.
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.inner.generation.subscribe()
    }

    pub(crate) fn published(&self) -> Option<Arc<Published>> {
        self.inner.current.load_full()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::resource::Resource;

    fn snapshot(content: u8) -> Snapshot {
        let value = Bytes::copy_from_slice(&[8, content]);
        Snapshot::builder().insert(Resource::from_encoded(TypeUrl::VirtualHost, "a", value)).build().unwrap()
    }

    #[test]
    fn a_new_store_holds_no_snapshot() {
        let store = SnapshotStore::new();
        assert!(store.load().is_none());
        assert!(store.publish(Snapshot::default()), "an empty snapshot is a snapshot");
        assert_eq!(store.load().as_deref(), Some(&Snapshot::default()));
    }

    #[test]
    fn rule_32_equal_snapshots_are_not_published() {
        let store = SnapshotStore::new();
        let generation = store.generation();
        assert!(store.publish(snapshot(1)));
        assert!(!store.publish(snapshot(1)));
        assert_eq!(*generation.borrow(), 1);
        assert!(store.publish(snapshot(2)));
        assert_eq!(*generation.borrow(), 2);
    }

    #[test]
    fn history_is_bounded() {
        let store = SnapshotStore::new();
        for content in 0..=u8::try_from(RECENT_MAX).unwrap() + 5 {
            store.publish(snapshot(content));
        }
        let published = store.published().unwrap();
        let oldest = published.generation - RECENT_MAX as u64;
        assert_eq!(published.since(published.generation).unwrap().len(), 0);
        assert_eq!(published.since(oldest).unwrap().len(), RECENT_MAX);
        assert!(published.since(oldest - 1).is_none());
        assert!(published.since(published.generation + 1).is_none());
    }
}
