//! The `xcc` binary: see `xcc --help`.

mod admin;
mod cli;
mod cmd;
mod gate;
mod health_metrics;
mod kubernetes;
mod metrics;
mod pipeline;
mod publisher;
mod ready;
mod resolver;
mod serve;
mod soa;
mod sources;
mod state;
mod state_metrics;
mod telemetry;
mod vital;
mod xds_listener;

use std::process::ExitCode;

use cli::Command;

/// Wrong flags and configuration, taken ports, unreadable files.
const EXIT_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let command = match cli::parse() {
        Ok(command) => command,
        Err(status) => return status,
    };
    let result = match command {
        Command::Serve(args) => serve::run(&args),
        Command::Translate(args) => cmd::translate::run(&args),
        Command::Bootstrap(args) => cmd::bootstrap::run(&args),
        Command::Crd(args) => cmd::crd::run(&args),
        Command::DnsConfig(args) => cmd::dns_config::run(&args),
        Command::Version => cmd::version::run(),
    };
    result.unwrap_or_else(|error| {
        telemetry::print_error(&error);
        ExitCode::from(EXIT_CONFIG)
    })
}
