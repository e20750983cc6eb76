//! A directory of manifests as a remote: read once, or followed.
//!
//! What a file held stays in force until the file can be read again or is deleted: a file that is being written, does
//! not parse or cannot be read withdraws nothing. Must not know what becomes of an update.

mod background;
mod contents;
mod follow;
mod holdings;
mod load;
mod problems;
mod scan;
mod watch;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use xcc_model::{Change, Diagnostic, RemoteName, Update};

use follow::Follower;
use holdings::{FileChange, Holdings};
use load::{load, load_named};
use problems::{scan_problems, too_many_files};
use scan::FILES_MAX;
use watch::Inbox;

/// How long to wait for more after an event, so that changes that are made together are told together.
const COALESCE: Duration = Duration::from_millis(2);
/// How long at most, while events keep coming.
const COALESCE_MAX: Duration = Duration::from_millis(10);

/// Why a directory or a file cannot be a remote.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Nothing is there.
    #[error("{path} does not exist: create it, or correct the path")]
    Missing {
        /// The path as given.
        path: PathBuf,
    },
    /// It is something else.
    #[error("{path} is not a directory: name the directory that has the manifests")]
    NotADirectory {
        /// The path as given.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The path as given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The operating system gives no watcher.
    #[error("{path} cannot be watched: {source} (the host's limit is fs.inotify.max_user_instances)")]
    Unwatchable {
        /// The path as given.
        path: PathBuf,
        /// Why.
        source: notify::Error,
    },
}

/// A directory that is followed as a remote.
pub struct DirectorySource {
    remote: RemoteName,
    inbox: Arc<Inbox>,
    follower: Follower,
    in_background: bool,
}

impl DirectorySource {
    /// Checks that the directory is there and can be read and watched. Nothing is told before [`Self::run`].
    pub fn open(remote: RemoteName, path: PathBuf) -> Result<Self, DirectoryError> {
        let unreadable = |source| unreadable(&path, source);
        if !fs::metadata(&path).map_err(unreadable)?.is_dir() {
            return Err(DirectoryError::NotADirectory { path });
        }
        fs::read_dir(&path).map_err(unreadable)?;
        // Events name absolute paths.
        let root = std::path::absolute(&path).map_err(unreadable)?;
        let inbox = Arc::new(Inbox::default());
        let follower = Follower::new(remote.clone(), root, inbox.clone(), Instant::now())
            .map_err(|source| DirectoryError::Unwatchable { path, source })?;
        Ok(Self { remote, inbox, follower, in_background: false })
    }

    /// What an earlier process told of the remote is served meanwhile: reading everything gives way to all other work.
    #[must_use]
    pub fn in_background(mut self) -> Self {
        self.in_background = true;
        self
    }

    /// Whose manifests the directory has.
    pub fn remote(&self) -> &RemoteName {
        &self.remote
    }

    /// Tells everything in one update that ends with [`Change::Synced`], then each difference in one update, until
    /// `shutdown` or until nobody receives any more. While `updates` is full, changes are put together.
    pub async fn run(self, updates: mpsc::Sender<Update>, shutdown: CancellationToken) {
        let Self { remote, inbox, mut follower, mut in_background } = self;
        loop {
            let now = Instant::now();
            let round = move || {
                let changes = match in_background {
                    true => background::run(|| follower.round(now)),
                    false => follower.round(now),
                };
                (follower, changes)
            };
            let (next, changes) = match tokio::task::spawn_blocking(round).await {
                Ok(done) => done,
                Err(error) => {
                    // A cancelled one means that the runtime is going down.
                    if error.is_panic() {
                        tracing::error!(%remote, %error, "the directory is not followed any more");
                    }
                    return;
                }
            };
            follower = next;
            if !changes.is_empty() {
                // A change is told at once.
                in_background = false;
                let update = Update { remote: remote.clone(), changes };
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    sent = updates.send(update) => if sent.is_err() { return },
                }
            }
            let deadline = follower.deadline();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep_until(deadline) => {}
                () = inbox.filled() => coalesce(&inbox).await,
            }
        }
    }
}

/// Reads directories and single files of manifests once: what a [`DirectorySource`] that held all of them would tell
/// first. Diagnostics name a file by its path below the directory if there is only one path, else by its whole path.
pub fn read_once<P: AsRef<Path>>(remote: &RemoteName, paths: &[P]) -> Result<Vec<Change>, DirectoryError> {
    let mut batch = Vec::new();
    let mut problems = BTreeMap::new();
    for path in paths {
        let path = path.as_ref();
        let metadata = fs::metadata(path).map_err(|source| unreadable(path, source))?;
        if !metadata.is_dir() {
            let change = load_named(remote, path).map_err(|source| unreadable(path, source))?;
            batch.push((Arc::from(path), change));
            continue;
        }
        let mut listing = scan::scan(path, &mut |_, _| {});
        if let Some(source) = listing.unreadable.remove(Path::new("")) {
            return Err(unreadable(path, source));
        }
        let below = if paths.len() == 1 { Path::new("") } else { path };
        for file in listing.files.keys() {
            let name: Arc<Path> = below.join(file).into();
            batch.extend(load(remote, &path.join(file), &name).change.map(|change| (name, change)));
        }
        problems.extend(scan_problems(remote, &listing, None));
    }
    Ok(tell(remote, batch, problems))
}

fn tell(
    remote: &RemoteName,
    mut batch: Vec<(Arc<Path>, FileChange)>,
    mut problems: BTreeMap<String, Diagnostic>,
) -> Vec<Change> {
    if batch.len() > FILES_MAX {
        batch.truncate(FILES_MAX);
        problems.extend([too_many_files(remote)]);
    }
    let mut holdings = Holdings::new(remote.clone());
    holdings.begin(batch, problems)
}

async fn coalesce(inbox: &Inbox) {
    let end = Instant::now() + COALESCE_MAX;
    while timeout(COALESCE, inbox.filled()).await.is_ok() && Instant::now() < end {}
}

fn unreadable(path: &Path, source: io::Error) -> DirectoryError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => DirectoryError::Missing { path },
        _ => DirectoryError::Unreadable { path, source },
    }
}
