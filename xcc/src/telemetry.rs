//! Log output and the one line that a failed start prints.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;

use crate::cli::LogFormat;

/// Sends log lines to standard error: text for people, JSON for collectors. `RUST_LOG` sets the level.
pub(crate) fn init(format: Option<LogFormat>) -> anyhow::Result<()> {
    // The client logs each failed request as an error; whoever makes requests reports what changes, once.
    let filter = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let filter = EnvFilter::builder().parse(format!("info,kube_client=off,{filter}"))?;
    let terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let builder = SubscriberBuilder::default().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(terminal).with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| anyhow::anyhow!(error))
}

/// Prints an error with its causes on one line.
#[allow(clippy::print_stderr)]
pub(crate) fn print_error(error: &anyhow::Error) {
    eprintln!("xcc: error: {}", format!("{error:#}").replace('\n', " "));
}
