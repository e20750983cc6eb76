//! The folder: which files there are, what each held when it last could be understood, and which node is served which.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{DirEntry, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use xcc_xds::{Snapshot, SnapshotStore};

use crate::resources;

/// The file for nodes that have none of their own.
const DEFAULT: &str = "_default";
/// The largest file that is read: some 100,000 resources.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// How many node ids are remembered. Clients choose them.
const NODES_MAX: usize = 10_000;
/// The clock of a file system may stand still this long: a file that is younger may change without another time.
const CLOCK_STEP: Duration = Duration::from_millis(100);

/// A folder of resources and the stores that are fed from it.
pub(crate) struct Directory {
    path: PathBuf,
    /// By name, without `.json`.
    files: BTreeMap<String, File>,
    /// By node id.
    stores: BTreeMap<String, SnapshotStore>,
}

struct File {
    state: State,
    /// It may have changed since without another [`State`].
    young: bool,
    /// What it held when it last could be understood.
    snapshot: Option<Snapshot>,
}

/// What tells a file from the one that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl State {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Directory {
    /// A folder that has not been looked at.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, files: BTreeMap::new(), stores: BTreeMap::new() }
    }

    /// The store that serves a node; `None` if there are too many nodes. Whoever connects is served what the folder holds
    /// then, not what it held at the last scan.
    pub(crate) fn store(&mut self, node_id: &str) -> Option<SnapshotStore> {
        let mut changed = false;
        for name in [node_id, DEFAULT] {
            changed |= self.refresh(name);
        }
        if changed {
            self.publish();
        }
        if let Some(store) = self.stores.get(node_id) {
            return Some(store.clone());
        }
        if self.stores.len() >= NODES_MAX {
            return None;
        }
        let store = SnapshotStore::new();
        if let Some(snapshot) = self.snapshot(node_id) {
            store.publish(snapshot.clone());
        }
        self.stores.insert(node_id.to_owned(), store.clone());
        Some(store)
    }

    /// What a node is served: its own file, or else the default. A file that never could be understood counts as there:
    /// its node is not to be given the configuration of others.
    fn snapshot(&self, node_id: &str) -> Option<&Snapshot> {
        self.files.get(node_id).or_else(|| self.files.get(DEFAULT))?.snapshot.as_ref()
    }

    /// Reads what is new and publishes what changed.
    ///
    /// # Errors
    /// If the folder cannot be listed. What is wrong with single files is logged, and they stay as they were.
    pub(crate) fn scan(&mut self) -> Result<()> {
        let cannot = format!("{} cannot be read", self.path.display());
        let entries = std::fs::read_dir(&self.path).with_context(|| cannot.clone())?;
        let mut present = BTreeSet::new();
        let mut changed = false;
        for entry in entries {
            if let Some((name, metadata)) = json_file(&entry.with_context(|| cannot.clone())?) {
                changed |= self.look_at(&name, &metadata);
                present.insert(name);
            }
        }
        let before = self.files.len();
        self.files.retain(|name, _| present.contains(name));
        if changed || self.files.len() != before {
            self.publish();
        }
        Ok(())
    }

    /// Looks at one file by its name. True if it now holds something else, or is gone.
    fn refresh(&mut self, name: &str) -> bool {
        if !is_plain(name) {
            return false;
        }
        let path = self.path.join(format!("{name}.json"));
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => self.look_at(name, &metadata),
            _ => self.files.remove(name).is_some(),
        }
    }

    /// Reads a file if it is not the one that was read last. True if it now holds something else.
    fn look_at(&mut self, name: &str, metadata: &Metadata) -> bool {
        let state = State::of(metadata);
        let known = self.files.get(name);
        if known.is_some_and(|file| file.state == state && !file.young) {
            return false;
        }
        let young = metadata.modified().is_ok_and(|modified| {
            SystemTime::now().duration_since(modified).unwrap_or_default() < CLOCK_STEP
        });
        let old = known.and_then(|file| file.snapshot.clone());
        let again = known.is_some_and(|file| file.state == state);
        let path = self.path.join(format!("{name}.json"));
        let snapshot = match read(&path, metadata, old.as_ref()) {
            Ok(snapshot) => Some(snapshot),
            Err(error) => {
                if !again {
                    let kept =
                        if old.is_some() { "what it held before is served on" } else { "nothing is served" };
                    tracing::error!("{}: {error:#}; {kept}", path.display());
                }
                old.clone()
            }
        };
        let differs = snapshot != old;
        self.files.insert(name.to_owned(), File { state, young, snapshot });
        differs
    }

    /// Equal snapshots are not published, so this costs nothing for nodes whose file did not change.
    fn publish(&self) {
        for (node_id, store) in &self.stores {
            // A node whose files are gone keeps what it has.
            if let Some(snapshot) = self.snapshot(node_id) {
                store.publish(snapshot.clone());
            }
        }
    }
}

/// Whether this names a file of the folder itself. Those that begin with a dot are somebody's temporary ones.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0'])
}

/// The name of a JSON file without its ending, and what the file system says of it.
fn json_file(entry: &DirEntry) -> Option<(String, Metadata)> {
    let name = entry.file_name();
    let name = name.to_str()?.strip_suffix(".json")?;
    if !is_plain(name) {
        return None;
    }
    // Follows links, as those that Kubernetes makes of a ConfigMap. A file may be gone by now.
    let metadata = std::fs::metadata(entry.path()).ok()?;
    metadata.is_file().then(|| (name.to_owned(), metadata))
}

fn read(path: &Path, metadata: &Metadata, old: Option<&Snapshot>) -> Result<Snapshot> {
    ensure!(metadata.len() <= FILE_BYTES_MAX, "it is larger than {FILE_BYTES_MAX} bytes");
    let text = std::fs::read(path).context("it cannot be read")?;
    resources::snapshot(&text, old)
}
