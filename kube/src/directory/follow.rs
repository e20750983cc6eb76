//! Follows a directory: decides when a file is read and when it is gone. All blocking I/O of the source is here.
//!
//! A file is read once its writer is done with it: it was closed or moved into place, or it has been quiet for a while
//! when nobody told. A scan finds what no event told; it never reads a file that is being written.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use xcc_model::{Change, Diagnostic, RemoteName};

use super::holdings::{FileChange, Holdings};
use super::load::load;
use super::problems::{scan_problems, too_many_files};
use super::scan::{DirectoryId, FILES_MAX, Fingerprint, is_manifest, scan};
use super::watch::{Inbox, Signal, Watches};

/// How long a file that is being written has to be quiet before it is read although nobody closed it.
const QUIET: Duration = Duration::from_secs(1);
/// How long a file may be missing before its objects are withdrawn: editors delete a file and write it anew.
const GRACE: Duration = Duration::from_millis(50);
/// The same after the whole directory was replaced, which may be filled only now.
const ROOT_GRACE: Duration = Duration::from_secs(1);
/// The safety net under the events: links may lead out of the directory, and network file systems tell nothing.
pub(super) const SCAN_INTERVAL: Duration = Duration::from_secs(10);
/// How often to look whether the directory itself is still the same.
const ROOT_INTERVAL: Duration = Duration::from_secs(1);
/// How often to look for the directory while it is missing.
const ROOT_MISSING_INTERVAL: Duration = Duration::from_millis(100);

/// Follows one directory.
pub(super) struct Follower {
    remote: RemoteName,
    root: PathBuf,
    inbox: Arc<Inbox>,
    watches: Watches,
    holdings: Holdings,
    /// The files that were read.
    files: BTreeMap<Arc<Path>, Read>,
    /// The files that are not as they were read.
    pending: BTreeMap<Arc<Path>, Phase>,
    /// Which directory was scanned last; none while it is missing.
    root_id: Option<DirectoryId>,
    root_back_at: Option<Instant>,
    next_root_check: Instant,
    next_scan: Instant,
    /// What the last scan could not do.
    scan_problems: BTreeMap<String, Diagnostic>,
    too_many_files: bool,
    synced: bool,
}

/// What is to happen to a file that is not as it was read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// It is read at once.
    Due,
    /// Its writer has it open; it is read when it was quiet until then.
    Writing { quiet_at: Instant },
    /// It changed and nobody told; it is read when it stays so until then.
    Observed { fingerprint: Fingerprint, quiet_at: Instant },
    /// It is not there; then its objects are withdrawn.
    Missing { until: Instant },
}

/// The state of a file when it was read.
#[derive(Debug, Clone, Copy)]
struct Read {
    /// None if it was never known.
    fingerprint: Option<Fingerprint>,
    /// No later write can have left the same fingerprint.
    certain: bool,
}

type Batch = Vec<(Arc<Path>, FileChange)>;

impl Follower {
    /// Starts to follow the directory at an absolute path; nothing is read before the first round.
    pub(super) fn new(
        remote: RemoteName,
        root: PathBuf,
        inbox: Arc<Inbox>,
        now: Instant,
    ) -> notify::Result<Self> {
        Ok(Self {
            watches: Watches::new(inbox.clone())?,
            holdings: Holdings::new(remote.clone()),
            remote,
            root,
            inbox,
            files: BTreeMap::new(),
            pending: BTreeMap::new(),
            root_id: None,
            root_back_at: None,
            next_root_check: now,
            next_scan: now,
            scan_problems: BTreeMap::new(),
            too_many_files: false,
            synced: false,
        })
    }

    /// Does all that there is to do now and returns what is different. The first rounds return nothing until the
    /// directory could be read, and then everything and [`Change::Synced`].
    pub(super) fn round(&mut self, now: Instant) -> Vec<Change> {
        let mut batch = Batch::new();
        let signals = self.inbox.take();
        if signals.lost {
            tracing::debug!(remote = %self.remote, "file events were lost: all files are looked at");
            self.watches.doubt(Path::new(""));
        }
        if signals.lost || signals.scan {
            self.next_scan = now;
        }
        for path in signals.gone.iter().filter(|path| self.watches.contains(path)).collect::<Vec<_>>() {
            self.watches.doubt(path);
            self.next_scan = now;
            self.next_root_check = now;
        }
        for (path, signal) in signals.paths {
            self.signal(&path, signal, now, &mut batch);
        }
        self.check_root(now);
        if now >= self.next_scan {
            self.scan(now, &mut batch);
        }
        self.settle(now, &mut batch);
        self.read_due(now, &mut batch);
        let is_known = self.root_id.is_some() && !self.scan_problems.contains_key(".");
        // Nearly always everything is there at once, and no difference has to be found.
        let begins = !self.synced && is_known && self.holdings.is_empty();
        let changes = self.commit(batch, begins);
        if self.synced {
            return changes;
        }
        if !is_known {
            return Vec::new();
        }
        self.synced = true;
        let (files, objects) = (self.files.len(), self.holdings.objects());
        tracing::info!(remote = %self.remote, path = %self.root.display(), files, objects, "directory is followed");
        if begins { changes } else { self.holdings.tell_all() }
    }

    /// When the next round is due if nothing happens before.
    pub(super) fn deadline(&self) -> Instant {
        let pending = self.pending.values().filter_map(|phase| match phase {
            // Every round reads what is due.
            Phase::Due => None,
            Phase::Writing { quiet_at } | Phase::Observed { quiet_at, .. } => Some(*quiet_at),
            Phase::Missing { until } => Some(*until),
        });
        pending.fold(self.next_root_check.min(self.next_scan), Instant::min)
    }

    fn signal(&mut self, path: &Path, signal: Signal, now: Instant, batch: &mut Batch) {
        let Ok(name) = path.strip_prefix(&self.root) else { return };
        if matches!(signal, Signal::Created | Signal::Complete) && path.is_dir() {
            self.next_scan = now;
            return;
        }
        if !is_manifest(name) {
            return;
        }
        let name: Arc<Path> = name.into();
        match signal {
            Signal::Complete => self.set(name, Phase::Due),
            Signal::Created => {
                // A link is complete once it is there.
                let complete = Fingerprint::of(path).is_ok_and(|it| it.is_link || it.links > 1);
                self.set(name, if complete { Phase::Due } else { Phase::Writing { quiet_at: now + QUIET } });
            }
            Signal::Written => self.set(name, Phase::Writing { quiet_at: now + QUIET }),
            Signal::Touched => {
                if matches!(self.pending.get(&name), None | Some(Phase::Missing { .. })) {
                    self.set(name, Phase::Due);
                }
            }
            Signal::Gone => self.miss(name, now, batch),
        }
    }

    fn set(&mut self, name: Arc<Path>, phase: Phase) {
        self.pending.insert(name, phase);
    }

    fn miss(&mut self, name: Arc<Path>, now: Instant, batch: &mut Batch) {
        if !self.files.contains_key(&name) {
            self.pending.remove(&name);
            return;
        }
        let after_root = self.root_back_at.map(|at| at + ROOT_GRACE);
        let until = after_root.map_or(now + GRACE, |at| at.max(now + GRACE));
        self.set(name.clone(), Phase::Missing { until });
        batch.push((name, FileChange::Leaving));
    }

    /// Whether the directory is still the one that was scanned.
    fn check_root(&mut self, now: Instant) {
        if now < self.next_root_check {
            return;
        }
        let id = fs::metadata(&self.root).ok().filter(|it| it.is_dir()).map(|it| (it.dev(), it.ino()));
        self.next_root_check = now + if id.is_some() { ROOT_INTERVAL } else { ROOT_MISSING_INTERVAL };
        if id == self.root_id {
            return;
        }
        self.root_id = id;
        self.next_scan = now;
        self.watches.doubt(&self.root);
        if id.is_some() && self.synced {
            self.root_back_at = Some(now);
            for phase in self.pending.values_mut() {
                if let Phase::Missing { until } = phase {
                    *until = now + ROOT_GRACE;
                }
            }
        }
    }

    fn scan(&mut self, now: Instant, batch: &mut Batch) {
        self.next_scan = now + SCAN_INTERVAL;
        self.too_many_files = false;
        let listing = scan(&self.root, &mut |path, id| self.watches.enter(path, id));
        self.watches.retain(&listing.directories);
        let system_now = SystemTime::now();
        for (path, fingerprint) in &listing.files {
            self.listed(path, *fingerprint, now, system_now);
        }
        let gone: Vec<Arc<Path>> = self
            .files
            .keys()
            .filter(|name| !matches!(self.pending.get(*name), Some(Phase::Missing { .. })))
            .filter(|name| listing.lacks(name))
            .cloned()
            .collect();
        for name in gone {
            self.miss(name, now, batch);
        }
        let watch_problem = self.watches.take_problem();
        self.scan_problems = scan_problems(&self.remote, &listing, watch_problem.as_ref());
    }

    /// Takes note of a file that a scan found.
    fn listed(&mut self, path: &Path, fingerprint: Fingerprint, now: Instant, system_now: SystemTime) {
        match self.pending.get(path) {
            None | Some(Phase::Missing { .. }) => {}
            Some(Phase::Observed { fingerprint: observed, .. }) if *observed != fingerprint => {}
            Some(_) => return,
        }
        let read = self.files.get(path);
        let unchanged = read.is_some_and(|read| read.certain && read.fingerprint == Some(fingerprint));
        if unchanged && !self.pending.contains_key(path) {
            return;
        }
        // A link that leads elsewhere now was swapped, as those of a ConfigMap: its target was written before.
        let same_file = |read: &Read| read.fingerprint.is_some_and(|it| it.is_same_file(&fingerprint));
        let swapped = fingerprint.is_link && !read.is_some_and(same_file);
        let due = !self.synced || swapped || fingerprint.is_older_than(QUIET, system_now);
        let phase = if due { Phase::Due } else { Phase::Observed { fingerprint, quiet_at: now + QUIET } };
        self.set(path.into(), phase);
    }

    /// Moves on what has waited long enough.
    fn settle(&mut self, now: Instant, batch: &mut Batch) {
        let waited: Vec<(Arc<Path>, Phase)> =
            self.pending.iter().map(|(name, phase)| (name.clone(), *phase)).collect();
        for (name, phase) in waited {
            match phase {
                Phase::Writing { quiet_at } if now >= quiet_at => self.set(name, Phase::Due),
                Phase::Observed { fingerprint, quiet_at } if now >= quiet_at => {
                    match Fingerprint::of(&self.root.join(&name)) {
                        Ok(found) if found == fingerprint => self.set(name, Phase::Due),
                        Ok(found) => {
                            self.set(name, Phase::Observed { fingerprint: found, quiet_at: now + QUIET });
                        }
                        Err(_) => self.miss(name, now, batch),
                    }
                }
                Phase::Missing { until } if now >= until => self.settle_missing(name, now, batch),
                _ => {}
            }
        }
    }

    fn settle_missing(&mut self, name: Arc<Path>, now: Instant, batch: &mut Batch) {
        // Without the directory nothing is known of its files; the check may not have been due.
        if fs::metadata(&self.root).is_err() {
            self.next_root_check = now;
            self.set(name, Phase::Missing { until: now + ROOT_MISSING_INTERVAL });
            return;
        }
        match Fingerprint::of(&self.root.join(&name)) {
            Ok(found) if found.is_older_than(QUIET, SystemTime::now()) => self.set(name, Phase::Due),
            Ok(fingerprint) => self.set(name, Phase::Observed { fingerprint, quiet_at: now + QUIET }),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                self.pending.remove(&name);
                self.files.remove(&name);
                if self.too_many_files {
                    self.next_scan = now;
                }
                batch.push((name, FileChange::Gone));
            }
            Err(_) => self.set(name, Phase::Missing { until: now + SCAN_INTERVAL }),
        }
    }

    fn read_due(&mut self, now: Instant, batch: &mut Batch) {
        let due: Vec<Arc<Path>> = self
            .pending
            .iter()
            .filter(|(_, phase)| **phase == Phase::Due)
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            if !self.files.contains_key(&name) && self.files.len() >= FILES_MAX {
                self.too_many_files = true;
                self.pending.remove(&name);
                continue;
            }
            let path = self.root.join(&name);
            let loaded = load(&self.remote, &path, &name);
            // A writer may have begun meanwhile: what was read may be half of what it writes.
            if !loaded.stable || self.inbox.is_being_written(&path) {
                self.set(name, Phase::Writing { quiet_at: now + QUIET });
                continue;
            }
            let Some(change) = loaded.change else {
                self.miss(name, now, batch);
                continue;
            };
            self.pending.remove(&name);
            let certain = loaded.fingerprint.is_some_and(|it| !it.is_ambiguous(SystemTime::now()));
            self.files.insert(name.clone(), Read { fingerprint: loaded.fingerprint, certain });
            batch.push((name, change));
        }
    }

    fn commit(&mut self, batch: Batch, begins: bool) -> Vec<Change> {
        let mut problems = self.scan_problems.clone();
        if self.too_many_files {
            problems.extend([too_many_files(&self.remote)]);
        }
        if self.synced {
            for (name, change) in &batch {
                self.log(name, change);
            }
        }
        let changes = match begins {
            true => self.holdings.begin(batch, problems),
            false => self.holdings.apply(batch, problems),
        };
        for change in &changes {
            match change {
                Change::Problem(place, Some(problem)) => {
                    tracing::warn!(remote = %self.remote, path = place, reason = ?problem.reason, "{}", problem.message);
                }
                Change::Problem(place, None) => {
                    tracing::info!(remote = %self.remote, path = place, "problem is resolved");
                }
                _ => {}
            }
        }
        changes
    }

    fn log(&self, name: &Path, change: &FileChange) {
        let path = name.display();
        match change {
            FileChange::Contents(contents) => {
                tracing::info!(remote = %self.remote, %path, objects = contents.facts.len(), "file is read");
            }
            FileChange::Gone => tracing::info!(remote = %self.remote, %path, "file is gone"),
            FileChange::Refused(_) | FileChange::Leaving => {}
        }
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
