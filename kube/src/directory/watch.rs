//! The operating system's word on what happens in a directory: inotify, through notify.
//!
//! Each directory has a watch of its own, set before the directory is listed: notify's recursive watches miss what is
//! made in a new sub-directory before its watch is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::scan::{DirectoryId, is_hidden, is_manifest};

/// Most paths that are remembered between two rounds; beyond, all is scanned instead.
const SIGNALS_MAX: usize = 4_096;

/// What happened last to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// It was made; a writer may still have it open.
    Created,
    /// It was written to; the writer still has it open.
    Written,
    /// It is complete: its writer closed it, or it was moved here.
    Complete,
    /// Its attributes changed.
    Touched,
    /// It was deleted or moved away.
    Gone,
}

/// What happened since the last round.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// By absolute path.
    pub(super) paths: BTreeMap<PathBuf, Signal>,
    /// What was there and is not, or is something else by now: a new directory often has the inode of the old one.
    pub(super) gone: BTreeSet<PathBuf>,
    /// Something happened that only a scan can tell, such as the swap of the link through which a ConfigMap is mounted.
    pub(super) scan: bool,
    /// Events were lost.
    pub(super) lost: bool,
}

/// Where the watcher's thread leaves what happened.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    signals: Mutex<Signals>,
    wake: Notify,
}

/// The watches on a tree of directories.
#[derive(Debug)]
pub(super) struct Watches {
    watcher: RecommendedWatcher,
    known: BTreeMap<PathBuf, DirectoryId>,
    /// Why some directory is not watched.
    problem: Option<notify::Error>,
}

impl Inbox {
    /// Returns once something is there.
    pub(super) async fn filled(&self) {
        self.wake.notified().await;
    }

    /// Takes what is there.
    pub(super) fn take(&self) -> Signals {
        std::mem::take(&mut *self.lock())
    }

    /// Whether a writer has the file open as far as is known by now.
    pub(super) fn is_being_written(&self, path: &Path) -> bool {
        matches!(self.lock().paths.get(path), Some(Signal::Created | Signal::Written))
    }

    fn lock(&self) -> MutexGuard<'_, Signals> {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn receive(&self, event: notify::Result<Event>) {
        let changed = match event {
            Ok(event) => self.lock().receive(&event),
            Err(error) => {
                tracing::debug!(%error, "watching has a problem");
                self.lock().lose()
            }
        };
        if changed {
            self.wake.notify_one();
        }
    }
}

impl Signals {
    /// Returns whether the event matters.
    fn receive(&mut self, event: &Event) -> bool {
        if event.need_rescan() {
            return self.lose();
        }
        let signal = match event.kind {
            EventKind::Create(CreateKind::Folder) => Signal::Complete,
            EventKind::Create(_) => Signal::Created,
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Signal::Complete,
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => Signal::Gone,
            EventKind::Modify(ModifyKind::Data(_)) => Signal::Written,
            EventKind::Modify(ModifyKind::Metadata(_)) => Signal::Touched,
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => Signal::Complete,
            // Opening and reading, which we do ourselves; and the second telling of a rename.
            _ => return false,
        };
        let mut matters = false;
        for path in &event.paths {
            matters |= self.note(path, signal, matches!(event.kind, EventKind::Access(_)));
        }
        matters
    }

    fn note(&mut self, path: &Path, signal: Signal, closed: bool) -> bool {
        if !is_manifest(path) {
            // Another name may be a directory's, and the names of a ConfigMap's inner links start with two dots. A
            // directory may have a hidden name itself, as the watched one, so what is gone is always told.
            if closed || matches!(signal, Signal::Written | Signal::Touched) {
                return false;
            }
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"..")) {
                self.scan = true;
                return true;
            }
            if is_hidden(path) && signal != Signal::Gone {
                return false;
            }
        }
        if self.paths.len() >= SIGNALS_MAX && !self.paths.contains_key(path) {
            return self.lose();
        }
        if signal == Signal::Gone {
            self.gone.insert(path.to_owned());
        }
        let noted = self.paths.entry(path.to_owned()).or_insert(signal);
        // New attributes say nothing of whether a writer is done.
        if signal != Signal::Touched {
            *noted = signal;
        }
        true
    }

    fn lose(&mut self) -> bool {
        self.lost = true;
        true
    }
}

impl Watches {
    /// Starts the watcher; nothing is watched yet.
    pub(super) fn new(inbox: Arc<Inbox>) -> notify::Result<Self> {
        let watcher = notify::recommended_watcher(move |event| inbox.receive(event))?;
        Ok(Self { watcher, known: BTreeMap::new(), problem: None })
    }

    /// Watches a directory, unless it is watched already.
    pub(super) fn enter(&mut self, path: &Path, id: DirectoryId) {
        if self.known.get(path) == Some(&id) {
            return;
        }
        // A watch belongs to the inode: setting it under a new path and removing it under the old one would lose it.
        let old: Vec<PathBuf> = self
            .known
            .iter()
            .filter(|(known, it)| **it == id || *known == path)
            .map(|it| it.0.clone())
            .collect();
        for path in old {
            self.leave(&path);
        }
        match self.watcher.watch(path, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.known.insert(path.to_owned(), id);
            }
            // Gone again: whoever removed it made an event in the directory above.
            Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
            Err(error) => self.problem = Some(error),
        }
    }

    /// Stops watching all but these directories.
    pub(super) fn retain(&mut self, directories: &BTreeSet<PathBuf>) {
        let gone: Vec<PathBuf> =
            self.known.keys().filter(|path| !directories.contains(*path)).cloned().collect();
        for path in gone {
            self.leave(&path);
        }
    }

    /// Whether the path is that of a watched directory.
    pub(super) fn contains(&self, path: &Path) -> bool {
        self.known.contains_key(path)
    }

    /// Takes note that the directory and all below may be others by now, so that they are watched anew when they are
    /// entered: notify drops the watches of a path that it sees deleted, even if a new directory is there already.
    pub(super) fn doubt(&mut self, path: &Path) {
        let doubted: Vec<PathBuf> =
            self.known.keys().filter(|known| known.starts_with(path)).cloned().collect();
        for path in doubted {
            self.leave(&path);
        }
    }

    /// Why some directory is not watched, since this was last asked.
    pub(super) fn take_problem(&mut self) -> Option<notify::Error> {
        self.problem.take()
    }

    fn leave(&mut self, path: &Path) {
        self.known.remove(path);
        // An error says that it is not watched any more, which is what is wanted.
        let _ = self.watcher.unwatch(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{DataChange, Flag, MetadataKind, RemoveKind};

    fn signals(events: &[(EventKind, &str)]) -> Signals {
        let mut signals = Signals::default();
        for (kind, path) in events {
            signals.receive(&Event::new(*kind).add_path(PathBuf::from(path)));
        }
        signals
    }

    const CREATED: EventKind = EventKind::Create(CreateKind::File);
    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const OPENED: EventKind = EventKind::Access(AccessKind::Open(AccessMode::Any));
    const TOUCHED: EventKind = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
    const MOVED_IN: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));
    const DELETED: EventKind = EventKind::Remove(RemoveKind::File);

    #[test]
    fn the_last_event_of_a_path_counts() {
        for (events, signal) in [
            (vec![CREATED, OPENED, WRITTEN, CLOSED], Signal::Complete),
            (vec![WRITTEN, CLOSED, WRITTEN], Signal::Written),
            (vec![WRITTEN, TOUCHED], Signal::Written),
            (vec![CLOSED, TOUCHED], Signal::Complete),
            (vec![TOUCHED], Signal::Touched),
            (vec![DELETED, CREATED], Signal::Created),
            (vec![MOVED_IN, DELETED], Signal::Gone),
        ] {
            let events: Vec<_> = events.into_iter().map(|kind| (kind, "/d/a.yaml")).collect();
            assert_eq!(signals(&events).paths[Path::new("/d/a.yaml")], signal, "{events:?}");
        }
    }

    #[test]
    fn only_what_may_be_a_manifest_or_a_directory_matters() {
        let ignored = signals(&[
            (CREATED, "/d/.a.yaml.swp"),
            (MOVED_IN, "/d/.hidden"),
            (WRITTEN, "/d/log.txt"),
            (CLOSED, "/d/log.txt"),
            (TOUCHED, "/d"),
            (OPENED, "/d/a.yaml"),
        ]);
        assert!(ignored.paths.is_empty() && !ignored.scan && !ignored.lost, "{ignored:?}");
        let directories =
            signals(&[(EventKind::Create(CreateKind::Folder), "/d/sub"), (DELETED, "/d/.hidden")]);
        assert_eq!(directories.paths.len(), 2);
        let anew = signals(&[(DELETED, "/d/sub"), (EventKind::Create(CreateKind::Folder), "/d/sub")]);
        assert!(
            anew.gone.contains(Path::new("/d/sub")) && anew.paths[Path::new("/d/sub")] == Signal::Complete
        );
        assert!(signals(&[(MOVED_IN, "/d/..data")]).scan);
    }

    #[test]
    fn too_many_paths_and_lost_events_ask_for_a_scan() {
        let paths: Vec<String> = (0..=SIGNALS_MAX).map(|index| format!("/d/{index}.yaml")).collect();
        let events: Vec<_> = paths.iter().map(|path| (CLOSED, path.as_str())).collect();
        let noted = signals(&events);
        assert!(noted.lost && noted.paths.len() == SIGNALS_MAX);
        assert!(!signals(&events[..SIGNALS_MAX]).lost);
        let mut noted = Signals::default();
        noted.receive(&Event::new(EventKind::Other).set_flag(Flag::Rescan));
        assert!(noted.lost);
    }
}
