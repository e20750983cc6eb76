//! When the state is written: by the elected replica, when it is another, not too often, until it is there.

use std::collections::BTreeSet;
use std::future::{Future, pending};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use xcc_model::{RemoteName, Update};
use xxhash_rust::xxh3::xxh3_64;

use super::parts::{PackedState, TooLarge};
use super::{PartError, SharedState, Turn};
use crate::importing::ImportingError;

/// Least time between two writes: etcd keeps each for a while.
const PERIOD: Duration = Duration::from_secs(60);
/// Changes that come within this time are written together.
const GATHER: Duration = Duration::from_secs(1);
/// The pause after a failure, doubled for each that follows.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// How keeping the state goes, for metrics. Only the elected replica does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keeping {
    /// Bytes that this replica has written last, compressed.
    pub size_bytes: usize,
    /// Whether the state does not fit: an older one is kept.
    pub too_large: bool,
    /// Attempts that failed.
    pub failures: u64,
}

/// Why the state is not kept now.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Part(#[from] PartError),
    #[error("which of the remotes there are still: {0}")]
    Remotes(#[from] ImportingError),
    #[error("the state cannot be written as JSON: {0}")]
    Encode(#[from] serde_json::Error),
    #[error("packing the state: {0}")]
    Pack(#[from] tokio::task::JoinError),
}

/// What is kept, as far as it matters to what is written next. Of this leadership only: others may write in between.
struct There {
    next: Turn,
    /// The state's own checksum; none before the first.
    checksum: Option<u64>,
    /// What is kept of remotes that this process does not know: they stay while there is such a remote.
    unknown: Vec<Update>,
}

/// What there is to write.
enum Packed {
    /// It is there already.
    Same,
    New(u64, PackedState),
}

impl SharedState {
    /// Keeps the state while `leads` is true, until the shutdown. `known` gives what is known of remotes that have told
    /// everything, or none when nobody is left who knows; `changes` is changed whenever that may be another, and 0 before
    /// there is anything. `by_flags` are the remotes that have no RemoteCluster.
    pub async fn keep<F, K>(
        self,
        known: K,
        changes: watch::Receiver<u64>,
        by_flags: BTreeSet<RemoteName>,
        mut leads: watch::Receiver<bool>,
        keeping: watch::Sender<Keeping>,
        shutdown: CancellationToken,
    ) where
        K: Fn() -> F + Send + Sync,
        F: Future<Output = Option<Vec<Update>>> + Send,
    {
        let mut keeper =
            Keeper { shared: self, known, by_flags, keeping, next: Instant::now(), reported: None };
        let work = async {
            // Ends when whoever elects is gone, which is at shutdown.
            while leads.wait_for(|leads| *leads).await.is_ok() {
                let mut lost = leads.clone();
                tokio::select! {
                    () = keeper.follow(changes.clone()) => {}
                    // What is half written is so for good: the other set is whole.
                    _ = lost.wait_for(|leads| !*leads) => {}
                }
            }
        };
        shutdown.run_until_cancelled(work).await;
    }
}

struct Keeper<K> {
    shared: SharedState,
    known: K,
    by_flags: BTreeSet<RemoteName>,
    keeping: watch::Sender<Keeping>,
    /// When the next round may begin.
    next: Instant,
    reported: Option<String>,
}

impl<F, K> Keeper<K>
where
    K: Fn() -> F + Send + Sync,
    F: Future<Output = Option<Vec<Update>>> + Send,
{
    async fn follow(&mut self, mut changes: watch::Receiver<u64>) {
        let mut there = None;
        let mut retry = RETRY_MIN;
        if changes.wait_for(|changes| *changes > 0).await.is_err() {
            return pending().await;
        }
        loop {
            sleep_until(self.next).await;
            changes.mark_unchanged();
            match self.round(&mut there).await {
                Ok(()) => {
                    self.report(None);
                    retry = RETRY_MIN;
                    if changes.changed().await.is_err() {
                        return pending().await;
                    }
                    self.next = self.next.max(Instant::now() + GATHER);
                }
                Err(error) => {
                    there = None;
                    self.keeping.send_modify(|keeping| keeping.failures += 1);
                    self.report(Some(error.to_string()));
                    self.next = Instant::now() + retry;
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
        }
    }

    async fn round(&mut self, there: &mut Option<There>) -> Result<(), KeepError> {
        let there = match there {
            Some(there) => there,
            None => there.insert(self.look().await?),
        };
        // A copy of everything, which whoever knows it makes: not before it is clear that it can be kept.
        let Some(known) = (self.known)().await else {
            // Nobody is left who knows: the end is near.
            return pending().await;
        };
        let state = self.with_unknown(known, there).await?;
        let before = there.checksum;
        let packed = spawn_blocking(move || pack(&state, before)).await??;
        match packed {
            Ok(Packed::Same) => self.fits(),
            Ok(Packed::New(checksum, state)) => {
                // Whatever comes of it, it counts.
                self.next = Instant::now() + PERIOD;
                there.next = self.shared.write(&state, there.next, Timestamp::now()).await?;
                there.checksum = Some(checksum);
                debug!(bytes = state.size(), "the state is kept");
                self.keeping.send_modify(|keeping| keeping.size_bytes = state.size());
                self.fits();
            }
            Err(too_large) => {
                self.next = Instant::now() + PERIOD;
                if !self.keeping.borrow().too_large {
                    warn!("{too_large}; replicas that start anew start from an older one");
                    self.keeping.send_modify(|keeping| keeping.too_large = true);
                }
            }
        }
        Ok(())
    }

    async fn look(&self) -> Result<There, KeepError> {
        let (kept, next) = self.shared.read().await?;
        let Some(kept) = kept else { return Ok(There { next, checksum: None, unknown: Vec::new() }) };
        let (checksum, unknown) = spawn_blocking(move || {
            // One that cannot be read is written over.
            (Some(xxh3_64(&kept.state)), serde_json::from_slice(&kept.state).unwrap_or_default())
        })
        .await?;
        Ok(There { next, checksum, unknown })
    }

    /// Adds what is kept of remotes that this process has not heard of in full: the pod may be new, and started without the
    /// state. Those that are gone are not among them.
    async fn with_unknown(
        &self,
        mut known: Vec<Update>,
        there: &mut There,
    ) -> Result<Vec<Update>, KeepError> {
        let is_known = |update: &Update| known.iter().any(|known| known.remote == update.remote);
        there.unknown.retain(|update| !is_known(update));
        if !there.unknown.is_empty() {
            let listed = self.shared.cluster.initial_remotes().await?;
            let is_there = |remote: &RemoteName| listed.contains(remote) || self.by_flags.contains(remote);
            there.unknown.retain(|update| is_there(&update.remote));
            known.extend(there.unknown.iter().cloned());
            known.sort_by(|a, b| a.remote.cmp(&b.remote));
        }
        Ok(known)
    }

    fn fits(&mut self) {
        if self.keeping.borrow().too_large {
            info!("the state fits again, and is kept");
            self.keeping.send_modify(|keeping| keeping.too_large = false);
        }
    }

    /// Says what stands in the way once, not at each attempt.
    fn report(&mut self, trouble: Option<String>) {
        match &trouble {
            Some(text) if self.reported != trouble => warn!("the state is not kept: {text}"),
            None if self.reported.is_some() => info!("the state is kept again"),
            _ => {}
        }
        self.reported = trouble;
    }
}

/// The state as it is to be written, unless it is the one before.
fn pack(updates: &[Update], before: Option<u64>) -> serde_json::Result<Result<Packed, TooLarge>> {
    let state = serde_json::to_vec(updates)?;
    let checksum = xxh3_64(&state);
    if before == Some(checksum) {
        return Ok(Ok(Packed::Same));
    }
    Ok(PackedState::new(&state).map(|packed| Packed::New(checksum, packed)))
}

#[cfg(test)]
#[path = "keep_tests.rs"]
mod tests;
