//! `make demo`: the whole on one machine, without Kubernetes. It starts two remotes, xcc and a gateway, walks the
//! journey of a service from unknown to reachable to gone, says how to try it by hand, and stays up until Ctrl-C.
//! With `--check` it only walks the journey; its exit status says whether every step held.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program to be read on a terminal")]

mod by_hand;
mod example;
mod journey;
mod terminal;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use xcc_integration::project::ENVOY_NEWEST;
use xcc_integration::world::{Plan, World};

use crate::journey::Journey;
use crate::terminal::Terminal;

const USAGE: &str = "usage: demo [--check] [--envoy VERSION]";

/// The TTL that the demo's DNS answers carry.
const DNS_TTL_SECONDS: u32 = 5;

/// How long the demo's gateway still takes connections for a name that DNS has stopped answering.
const WITHDRAW_DELAY: Duration = Duration::from_secs(1);

struct Options {
    check: bool,
    envoy: String,
}

// One thread: processes are killed by the kernel when the thread that started them is gone, so it must be the one
// that lasts as long as the program.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nthe demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options { check: false, envoy: ENVOY_NEWEST.to_owned() };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--check" => options.check = true,
            "--envoy" => options.envoy = arguments.next().context("--envoy wants a version")?,
            other => bail!("unknown argument {other}"),
        }
    }
    Ok(options)
}

async fn run(options: &Options) -> Result<()> {
    let terminal = Terminal::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = demo(&terminal, options) => result,
        _ = interrupt.recv() => stopped(&terminal),
        _ = terminate.recv() => stopped(&terminal),
    }
}

/// Everything is stopped by being dropped.
fn stopped(terminal: &Terminal) -> Result<()> {
    terminal.line("stopped");
    Ok(())
}

async fn demo(terminal: &Terminal, options: &Options) -> Result<()> {
    let plan = Plan {
        dns_ttl_seconds: DNS_TTL_SECONDS,
        withdraw_delay: WITHDRAW_DELAY,
        ..Plan::new(&options.envoy)
    };
    terminal.heading("Starting two remotes, each with TLS services behind an SNI ingress, and xcc serve");
    let mut world = terminal.step("remotes and xcc are up", World::without_gateway("demo", &plan)).await?;
    let result = walk(terminal, &mut world, options).await;
    if result.is_err() {
        world.scratch.keep();
        terminal.line(&format!("manifests and logs are kept in {}", world.scratch.path().display()));
    }
    result
}

async fn walk(terminal: &Terminal, world: &mut World, options: &Options) -> Result<()> {
    std::fs::write(by_hand::ca_file(world), world.authority.pem())
        .context("cannot write the CA's certificate")?;
    Journey { terminal, world }.walk(&options.envoy).await?;
    let stays_up = !options.check && std::io::stdout().is_terminal();
    if stays_up {
        example::export(world)?;
        world.wait_resolvable(example::FQDN).await?;
        by_hand::explain(terminal, world);
        // Ctrl-C ends this from outside.
        return std::future::pending().await;
    }
    terminal.heading("Stopping");
    terminal.step("everything ended when asked to, nothing is left behind", world.stop()).await?;
    terminal.success("every step held");
    Ok(())
}
