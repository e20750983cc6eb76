//! Waiting for a condition, never for a time: a probe is repeated until it holds or a limit is over.

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep};

/// The pause between two probes: short beside what is waited for, long beside what a probe costs.
const PAUSE: Duration = Duration::from_millis(10);

/// What a test allows anything on a loaded machine with two cores. Nothing comes near it when all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Repeats the probe until it yields a value.
///
/// # Errors
/// When the limit is over: what was waited for, and what the last probe said.
pub async fn until_within<T>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let last = match probe().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if start.elapsed() > limit {
            let waited = limit.as_secs_f32();
            return Err(match last {
                Some(error) => error.context(format!("waited {waited} s in vain until {what}")),
                None => anyhow!("waited {waited} s in vain until {what}"),
            });
        }
        sleep(PAUSE).await;
    }
}

/// [`until_within`] with the usual [`PATIENCE`].
///
/// # Errors
/// As [`until_within`].
pub async fn until<T>(what: &str, probe: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    until_within(what, PATIENCE, probe).await
}

/// Turns a condition into what [`until`] wants.
pub fn holds(condition: bool) -> Option<()> {
    condition.then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_error_is_told() {
        let result: Result<()> =
            until_within("it works", Duration::ZERO, async || Err(anyhow!("connection refused"))).await;
        let message = format!("{:#}", result.unwrap_err());
        assert!(message.contains("until it works") && message.contains("connection refused"), "{message}");
    }

    #[tokio::test]
    async fn a_value_ends_the_wait() {
        let mut left = 3;
        let value = until("three probes were made", async || {
            left -= 1;
            Ok((left == 0).then_some("done"))
        });
        assert_eq!(value.await.unwrap(), "done");
    }
}
