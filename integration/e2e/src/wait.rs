//! Waiting for a condition, never for a time: a probe is repeated until it holds or a limit is over.

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep};

/// The pause between two probes: short beside what is waited for, long beside what a probe costs.
const PAUSE: Duration = Duration::from_millis(50);

/// Repeats the probe until it yields a value.
///
/// # Errors
/// When the limit is over: what was waited for, and what the last probe said.
pub async fn until<T>(
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

/// Turns a condition into what [`until`] wants.
pub fn holds(condition: bool) -> Option<()> {
    condition.then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_error_is_told() {
        let limit = Duration::from_secs(5);
        let result: Result<()> = until("it works", limit, async || Err(anyhow!("connection refused"))).await;
        let message = format!("{:#}", result.unwrap_err());
        assert!(message.contains("until it works") && message.contains("connection refused"), "{message}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_when_the_condition_holds() {
        let mut probes = 0;
        let value = until("the third probe", Duration::from_secs(5), async || {
            probes += 1;
            Ok((probes == 3).then_some(probes))
        });
        assert_eq!(value.await.unwrap(), 3);
    }
}
