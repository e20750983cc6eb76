//! B5: from the start of the process until all clients hold everything. Ours is the real `xcc serve` over files, without and
//! with a state that an earlier process left in `--state-dir`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;
use xcc_bench::peer::Peer;
use xcc_bench::table::Row;
use xcc_bench::xds::manifests;
use xcc_bench::xds::server::{Kind, Server};
use xcc_bench::xds::swarm::{Dialect, Held, Plan, Swarm};
use xcc_bench::xds::world::{REMOTES, remote};
use xcc_bench::{cpu, xds::world};

use crate::Arguments;
use crate::report::Figure;

const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(1);
/// How long `xcc serve` gathers changes before it writes its state.
const SAVE_DELAY: Duration = Duration::from_secs(1);
/// The processor time in two of these that is nothing yet.
const QUIET_CPU: Duration = Duration::from_millis(50);
const MIB: f64 = 1024.0 * 1024.0;

/// A running `xcc serve`.
pub(crate) struct Serve {
    peer: Peer,
    port: u16,
}

impl Serve {
    /// Starts it over the folders of remotes below this one.
    pub(crate) fn start(xcc: &Path, manifests: &Path, state: Option<&Path>) -> Result<Self> {
        let ports = [free_port()?, free_port()?, free_port()?];
        let address = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string();
        let peer = Peer::start("xcc serve", |_| {
            let mut command = Command::new(xcc);
            command.args(["serve", "--gateway-address", "192.0.2.1"]);
            command.args(["--xds-listen", &address(ports[0]), "--dns-listen", &address(ports[1])]);
            command.args(["--admin-listen", &address(ports[2])]);
            if let Some(state) = state {
                command.arg("--state-dir").arg(state);
            }
            for number in 0..REMOTES {
                let name = remote(number);
                command.arg("--remote").arg(format!("{name}=dir:{}", manifests.join(&name).display()));
            }
            Ok(command)
        })?;
        Ok(Self { peer, port: ports[0] })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn id(&self) -> u32 {
        self.peer.id()
    }

    /// Waits until it takes connections.
    pub(crate) async fn ready(&self) -> Result<()> {
        let connected = async {
            while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_err() {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(PATIENCE, connected).await.context("xcc serve does not listen")
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// What one start showed.
struct Started {
    seconds: f64,
    cpu_seconds: f64,
    peak_mib: f64,
}

pub(crate) async fn rows(arguments: &Arguments) -> Result<Vec<Row>> {
    let clients = arguments.client_count(100);
    let mut rows = Vec::new();
    let mut sizes = vec![arguments.size(10_000), arguments.size(50_000)];
    sizes.dedup();
    for services in sizes {
        let (mut seconds, mut cpu, mut peak) = (Figure::default(), Figure::default(), Figure::default());
        let folder = tempfile::Builder::new().prefix("xcc-bench-").tempdir()?;
        manifests::write(folder.path(), services)?;
        for round in 0..arguments.rounds {
            for kind in arguments.servers(round) {
                let started = match kind {
                    Kind::Xcc => of_serve(&arguments.xcc, folder.path(), None, clients).await?,
                    peer => of_peer(peer, services, clients).await?,
                };
                seconds.add(kind, started.seconds);
                cpu.add(kind, started.cpu_seconds);
                peak.add(kind, started.peak_mib);
            }
        }
        let case = format!("start to {clients} clients with {services} services");
        for (figure, name, unit) in
            [(&seconds, "time", "s"), (&cpu, "cpu", "s CPU"), (&peak, "peak", "MiB RSS")]
        {
            let peers = figure.rows(&format!("B5.{name}.{services}"), &case, unit);
            rows.extend(peers.into_iter().map(|(_, row)| row));
        }
        if services == arguments.size(50_000) {
            rows.extend(seconds.budget("B5.time.budget", &case, 1.0, "s"));
            rows.extend(peak.budget("B5.peak.budget", &case, 200.0, "MiB RSS"));
            rows.extend(state_rows(arguments, folder.path(), clients, &case).await?);
        }
    }
    Ok(rows)
}

/// The same starts with a state that an earlier process left, which have no peer.
async fn state_rows(arguments: &Arguments, manifests: &Path, clients: usize, case: &str) -> Result<Vec<Row>> {
    let state = tempfile::Builder::new().prefix("xcc-bench-").tempdir()?;
    keep_state(&arguments.xcc, manifests, state.path(), clients).await?;
    let (mut seconds, mut peak) = (Figure::default(), Figure::default());
    for _round in 0..arguments.rounds {
        let started = of_serve(&arguments.xcc, manifests, Some(state.path()), clients).await?;
        seconds.add(Kind::Xcc, started.seconds);
        peak.add(Kind::Xcc, started.peak_mib);
    }
    let case = format!("{case}, with a state from before");
    let rows = [
        seconds.budget("B5.time.state", &case, 1.0, "s"),
        peak.budget("B5.peak.state", &case, 200.0, "MiB RSS"),
    ];
    Ok(rows.into_iter().flatten().collect())
}

/// Runs once until the state is on disk.
async fn keep_state(xcc: &Path, manifests: &Path, state: &Path, clients: usize) -> Result<()> {
    let serve = Serve::start(xcc, manifests, Some(state))?;
    serve.ready().await?;
    finish(serve.port(), serve.id(), clients, Instant::now()).await?;
    let written = async {
        while std::fs::read_dir(state).is_ok_and(|mut files| files.next().is_none()) {
            tokio::time::sleep(POLL).await;
        }
        // The whole of it: the state is written again a second after the last change.
        tokio::time::sleep(3 * SAVE_DELAY).await;
    };
    tokio::time::timeout(PATIENCE, written).await.context("xcc serve keeps no state")
}

async fn of_serve(xcc: &Path, manifests: &Path, state: Option<&Path>, clients: usize) -> Result<Started> {
    let start = Instant::now();
    let serve = Serve::start(xcc, manifests, state)?;
    serve.ready().await?;
    let started = finish(serve.port(), serve.id(), clients, start).await?;
    // With a state from before, the manifests are read after the clients have everything.
    quiet(serve.id()).await?;
    Ok(Started { peak_mib: peak(serve.id())? as f64 / MIB, ..started })
}

/// Waits until the process has done all that it had to do.
async fn quiet(process: u32) -> Result<()> {
    let mut used = cpu::time_of_tree(process)?;
    loop {
        tokio::time::sleep(2 * SAVE_DELAY).await;
        let now = cpu::time_of_tree(process)?;
        if now < used + QUIET_CPU {
            return Ok(());
        }
        used = now;
    }
}

async fn of_peer(kind: Kind, services: usize, clients: usize) -> Result<Started> {
    debug_assert!(services >= world::REMOTES);
    let start = Instant::now();
    let mut server = Server::start(kind)?;
    server.tell(&format!("load {services}"))?;
    finish(server.port(), server.id(), clients, start).await
}

async fn finish(port: u16, process: u32, clients: usize, start: Instant) -> Result<Started> {
    let plan = Plan { port, clients, dialect: Dialect::Delta, large_node: true, held: Held::new() };
    let mut swarm = Swarm::connect(&plan).await?;
    swarm.complete().await?;
    Ok(Started {
        seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: cpu::time_of_tree(process)?.as_secs_f64(),
        peak_mib: peak(process)? as f64 / MIB,
    })
}

/// The most memory that a process has had, in octets.
fn peak(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak is known")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}
