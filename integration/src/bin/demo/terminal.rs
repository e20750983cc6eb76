//! What the demo prints: a line for each step, with how long it took; colours on a terminal only.

use std::io::{IsTerminal, Write, stdout};

use anyhow::Result;
use tokio::time::Instant;

/// The width that steps are padded to, for the times to stand in a column.
const STEP_COLUMNS: usize = 86;

/// Standard output.
pub(crate) struct Terminal {
    has_colours: bool,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        Self { has_colours: stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    fn coloured(&self, code: &str, text: &str) -> String {
        if self.has_colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn line(&self, text: &str) {
        println!("{text}");
    }

    pub(crate) fn heading(&self, text: &str) {
        println!("\n{}", self.coloured("1", text));
    }

    pub(crate) fn command(&self, comment: &str, command: &str) {
        if !comment.is_empty() {
            println!("  {}", self.coloured("2", &format!("# {comment}")));
        }
        println!("    {command}");
    }

    pub(crate) fn success(&self, text: &str) {
        println!("\n{}", self.coloured("1;32", text));
    }

    /// Prints what is to hold, awaits it, and prints whether it did and how long that took.
    pub(crate) async fn step<T>(&self, what: &str, step: impl Future<Output = Result<T>>) -> Result<T> {
        print!("  {what:STEP_COLUMNS$} ");
        // Only for looks: the line's end follows.
        let _flushed = stdout().flush();
        let start = Instant::now();
        let result = step.await;
        let (code, word) = if result.is_ok() { ("32", "ok") } else { ("31", "FAILED") };
        println!("{} {:>6} ms", self.coloured(code, word), start.elapsed().as_millis());
        result
    }
}
