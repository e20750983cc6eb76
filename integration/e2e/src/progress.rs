//! Lines for the person who waits: what happened, and how long after the start.

use std::time::Duration;

use tokio::time::Instant;

/// A clock that starts when it is made.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    start: Instant,
}

impl Progress {
    /// Starts the clock.
    #[expect(clippy::new_without_default, reason = "it reads a clock: a default would hide that")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// Prints one line with the time since the start, in seconds.
    #[expect(clippy::print_stderr, reason = "progress is this program's face; stdout is for output")]
    pub fn say(&self, message: impl AsRef<str>) {
        eprintln!("{:7.2}s  {}", self.elapsed().as_secs_f64(), message.as_ref());
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}
