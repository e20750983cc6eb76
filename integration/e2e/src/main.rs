//! `xcc-e2e`: two real Kubernetes clusters on this machine, up, down, or for the length of a journey.

use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use futures_util::FutureExt as _;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use xcc_e2e::container_exec::{self, Place};
use xcc_e2e::kubelet::images::Images;
use xcc_e2e::lock::Lock;
use xcc_e2e::progress::Progress;
use xcc_e2e::sweep::CLUSTERS;
use xcc_e2e::world::World;
use xcc_e2e::{journey, latency, layout, memory, parts, process, scenario, sweep, wait};

/// How long a run that was told to end may take.
const END_LIMIT: Duration = Duration::from_secs(90);

/// How long both clusters may take to come up on a loaded machine.
const UP_LIMIT: Duration = Duration::from_secs(600);

#[derive(Parser)]
#[command(version, about = "Two real Kubernetes clusters in network namespaces (needs root)")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Brings both clusters up with xcc in both, each importing from the other, and leaves them running
    Up,
    /// Ends what `up` left running, and removes every trace
    Down,
    /// Brings both clusters up, walks the journey and the scenarios, and takes them down
    Run {
        /// Only these scenarios, and nothing before them but what they need
        scenarios: Vec<String>,
    },
    /// Brings both clusters up, prints how long exports take to be reached by name, and takes them down
    Latency,
    /// Brings both clusters up, prints the memory of xcc with 10,000 exports and after 10,000 changes, and takes them down
    Memory,
    /// Runs a command in a container of a run that is up, as kubectl exec would
    Exec {
        /// shared-services or workloads
        cluster: String,
        /// The Pod's namespace
        namespace: String,
        /// The Pod, or deployment/NAME for the only one of a Deployment
        pod: String,
        /// The container, if the Pod has several
        #[arg(short, long)]
        container: Option<String>,
        /// The command
        #[arg(last = true, required = true)]
        argv: Vec<String>,
    },
    /// What `up` leaves running
    #[command(hide = true)]
    Hold,
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "a command says why it failed")]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_unset| "warn,kube_client=off".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let done = match Arguments::parse().command {
        Command::Up => up().await,
        Command::Down => down().await,
        Command::Run { scenarios } => run(&scenarios).await,
        Command::Latency => measure(async |world, progress| latency::measure(world, progress).await).await,
        Command::Memory => measure(async |world, progress| memory::measure(world, progress).await).await,
        Command::Hold => hold().await,
        Command::Exec { cluster, namespace, pod, container, argv } => {
            return exec(
                &Place {
                    cluster: &cluster,
                    namespace: &namespace,
                    pod: &pod,
                    container: container.as_deref(),
                },
                &argv,
            )
            .await;
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xcc-e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The whole journey.
async fn run(names: &[String]) -> Result<()> {
    let scenarios = scenario::find(names)?;
    let all = names.is_empty();
    in_world(async |world, progress| {
        if all {
            journey::walk(world, progress).await?;
        }
        journey::install(world, progress).await?;
        if all {
            journey::walk_xcc(world, progress).await?;
        }
        scenario::walk(world, progress, &scenarios).await?;
        progress.say("every step held");
        Ok(())
    })
    .await
}

async fn measure(figures: impl AsyncFnOnce(&World, Progress) -> Result<()>) -> Result<()> {
    in_world(async |world, progress| {
        journey::install(world, progress).await?;
        figures(world, progress).await
    })
    .await
}

/// Does something in both clusters. Whatever happens, a panic and Ctrl-C too, nothing is left but the logs.
async fn in_world(walk: impl AsyncFnOnce(&mut World, Progress) -> Result<()>) -> Result<()> {
    let progress = Progress::new();
    parts::provide().await?;
    let xcc = layout::xcc()?;
    progress.say("all parts are there");
    // Held until nothing is left: the sweep at the end must not reach another's run.
    let lock = Lock::take()?;
    let walk = async {
        let mut world = World::up(&lock, progress, Images::new(Some(xcc))).await?;
        let walked = walk(&mut world, progress).await;
        if walked.is_err() {
            world.keep_evidence().await;
        }
        world.down().await?;
        walked
    };
    let walked = tokio::select! {
        walked = AssertUnwindSafe(walk).catch_unwind() => {
            walked.unwrap_or_else(|_panic| Err(anyhow::anyhow!("it panicked")))
        }
        () = told_to_end() => Err(anyhow::anyhow!("interrupted")),
    };
    let swept = sweep::sweep().await;
    match &walked {
        Ok(()) => progress.say("nothing is left of it"),
        Err(_error) => progress.say(format!("logs are in {}", layout::logs().display())),
    }
    walked?;
    swept.map(drop)
}

/// Starts the holder and shows what it says until both clusters are up.
async fn up() -> Result<()> {
    parts::provide().await?;
    std::fs::create_dir_all(layout::cache())?;
    let log = layout::cache().join("up.log");
    sweep::remove(&log);
    let output = process::append(&log)?;
    let mut holder = std::process::Command::new("/usr/bin/setsid")
        .arg(std::env::current_exe()?)
        .arg("hold")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .context("cannot start the holder")?;
    let mut shown = 0;
    wait::until("both clusters are up", UP_LIMIT, async || {
        shown = show(&log, shown)?;
        if let Some(status) = holder.try_wait()? {
            bail_now(&format!("it did not come up ({status}); logs are in {}", layout::logs().display()));
        }
        Ok(wait::holds(ready_file().exists()))
    })
    .await?;
    show(&log, shown)?;
    say(&format!(
        "\n  kubectl --kubeconfig {} get pods -A\n  cargo run -p xcc-e2e -- exec workloads client deployment/client -- curl ...\n",
        layout::kubeconfig(CLUSTERS[0]).display()
    ));
    Ok(())
}

/// Ends the program: there is nothing more to wait for, and nothing to clean that the holder has not.
fn bail_now(message: &str) -> ! {
    say(&format!("xcc-e2e: {message}"));
    std::process::exit(1)
}

fn show(log: &std::path::Path, shown: usize) -> Result<usize> {
    let text = std::fs::read(log)?;
    std::io::stderr().write_all(&text[shown.min(text.len())..])?;
    Ok(text.len())
}

#[expect(clippy::print_stderr, reason = "what people read while they wait")]
fn say(message: &str) {
    eprintln!("{message}");
}

/// Holds both clusters until it is told to end.
async fn hold() -> Result<()> {
    let progress = Progress::new();
    // Held until nothing is left: the sweep at the end must not reach another's run.
    let lock = Lock::take()?;
    let up = tokio::select! {
        up = installed(&lock, progress) => up,
        () = told_to_end() => Err(anyhow::anyhow!("interrupted")),
    };
    let world = match up {
        Ok(world) => world,
        Err(error) => {
            // What the sweep has to say is worth less than why it is needed.
            let _swept = sweep::sweep().await;
            return Err(error);
        }
    };
    std::fs::write(ready_file(), "")?;
    progress.say("both clusters are up");
    told_to_end().await;
    world.down().await
}

async fn installed(lock: &Lock, progress: Progress) -> Result<World> {
    let world = World::up(lock, progress, Images::new(None)).await?;
    let installed = journey::install(&world, progress).await;
    if installed.is_err() {
        world.keep_evidence().await;
    }
    installed.map(|()| world)
}

fn ready_file() -> std::path::PathBuf {
    layout::run().join("ready")
}

/// Ends the run that is up by its process id, then removes what is there of it.
async fn down() -> Result<()> {
    if let Some(pid) = Lock::holder() {
        process::signal(pid, Signal::TERM);
        let ended = async || Ok(wait::holds(Lock::holder().is_none()));
        if wait::until("the run has ended", END_LIMIT, ended).await.is_err() {
            process::signal(pid, Signal::KILL);
        }
    }
    sweep::sweep().await?;
    sweep::remove(&layout::logs());
    sweep::remove(&layout::cache().join("up.log"));
    Ok(())
}

/// Runs a command in a container, with this program's own input and output.
#[expect(clippy::print_stderr, reason = "a command says why it failed")]
async fn exec(place: &Place<'_>, argv: &[String]) -> ExitCode {
    let ran = async {
        let command = container_exec::record(*place)?.command(argv);
        let (program, arguments) = command.split_first().context("a command has a name")?;
        tokio::process::Command::new(program).args(arguments).status().await.context("cannot start it")
    };
    match ran.await {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("xcc-e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for SIGINT or SIGTERM.
async fn told_to_end() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers the signals end the program, and the next run sweeps.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
