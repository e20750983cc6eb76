//! How long to wait between attempts.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
/// An API server that is back is followed again this soon: people wait for it.
const LONGEST: Duration = Duration::from_secs(8);

/// Doubles from attempt to attempt, with jitter, so that many watches that lost one API server do not come back at
/// once.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// How long to wait before the next attempt: at least as long as the API server asks for.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.attempts.min(16)).min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        let wait = ceiling.mul_f64(0.5 + jitter() / 2.0);
        asked.map_or(wait, |asked| asked.max(wait))
    }

    /// How often it failed in a row.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// It works again.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// From 0 up to 1, different each time and in each process.
pub(crate) fn jitter() -> f64 {
    (RandomState::new().hash_one(0_u8) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_with_jitter_up_to_a_limit_and_starts_again() {
        let mut backoff = Backoff::default();
        let mut ceiling = FIRST;
        for _ in 0..100 {
            let wait = backoff.next(None);
            assert!(wait >= ceiling / 2 && wait <= ceiling, "{wait:?} of {ceiling:?}");
            ceiling = (ceiling * 2).min(LONGEST);
        }
        assert!(backoff.next(Some(Duration::from_secs(60))) == Duration::from_secs(60));
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
    }
}
