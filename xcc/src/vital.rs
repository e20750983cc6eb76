//! The parts that nothing goes on without. One that fails, panics or ends before it is told to ends the process, which is
//! then started anew: a process that lives on without it would look well and serve what is no longer true.

use std::future::Future;

use anyhow::{Context, anyhow};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

/// Runs parts until a shutdown, and says when one of them has failed.
#[derive(Debug, Clone)]
pub(crate) struct Vital {
    tasks: TaskTracker,
    shutdown: CancellationToken,
    failed: CancellationToken,
}

impl Vital {
    /// Parts may end from this shutdown on.
    pub(crate) fn new(shutdown: CancellationToken) -> Self {
        Self { tasks: TaskTracker::new(), shutdown, failed: CancellationToken::new() }
    }

    /// Others, which end at a shutdown of their own. Should one of them fail, these have.
    pub(crate) fn with_shutdown(&self, shutdown: CancellationToken) -> Self {
        Self { failed: self.failed.clone(), ..Self::new(shutdown) }
    }

    /// Tells the parts when to end.
    pub(crate) fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Cancelled once one of the parts has failed.
    pub(crate) fn failed(&self) -> &CancellationToken {
        &self.failed
    }

    /// Runs a part; `name` is for the log.
    pub(crate) fn spawn<T: IntoOutcome + Send + 'static>(
        &self,
        name: impl Into<String>,
        part: impl Future<Output = T> + Send + 'static,
    ) {
        let (name, shutdown, failed) = (name.into(), self.shutdown.clone(), self.failed.clone());
        self.tasks.spawn(async move {
            let ended = tokio::spawn(part).await.context("it panicked");
            let outcome = match ended.and_then(IntoOutcome::into_outcome) {
                Ok(()) if !shutdown.is_cancelled() => Err(anyhow!("it ended")),
                outcome => outcome,
            };
            if let Err(error) = outcome {
                error!(part = name, "a vital part failed: {error:#}");
                failed.cancel();
            }
        });
    }

    /// Waits until all parts have ended.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// What parts end with.
pub(crate) trait IntoOutcome {
    fn into_outcome(self) -> anyhow::Result<()>;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Of what runs until it is cancelled.
impl IntoOutcome for Option<()> {
    fn into_outcome(self) -> anyhow::Result<()> {
        Ok(())
    }
}

impl<E: Into<anyhow::Error>> IntoOutcome for Result<(), E> {
    fn into_outcome(self) -> anyhow::Result<()> {
        self.map_err(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn has_failed(vital: &Vital) -> bool {
        timeout(Duration::from_secs(60), vital.failed().cancelled()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_panics_fails_or_ends_early_is_a_failure() {
        let vital = || Vital::new(CancellationToken::new());
        let (panicking, failing, ending, running) = (vital(), vital(), vital(), vital());
        let panics = || -> anyhow::Result<()> { panic!("a test's panic") };
        panicking.spawn("panics", async move { panics() });
        failing.spawn("fails", async { Err::<(), _>(anyhow!("no")) });
        ending.spawn("ends", async {});
        running.spawn("runs", std::future::pending::<()>());
        for vital in [panicking, failing, ending] {
            assert!(has_failed(&vital).await);
        }
        assert!(!has_failed(&running).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_may_end_once_it_is_told_to_but_not_fail() {
        let vital = Vital::new(CancellationToken::new());
        let others = vital.with_shutdown(CancellationToken::new());
        let shutdown = vital.shutdown();
        vital.spawn("ends", async move { shutdown.cancelled().await });
        vital.shutdown().cancel();
        vital.ended().await;
        assert!(!vital.failed().is_cancelled());
        others.spawn("ends before its own shutdown", async {});
        others.ended().await;
        assert!(vital.failed().is_cancelled());
    }
}
