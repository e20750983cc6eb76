//! B8: what our configuration costs a real Envoy: processor time of its main thread, and memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xcc_bench::cpu;
use xcc_bench::statistics::Summary;
use xcc_bench::table::{Limit, Row};
use xcc_bench::xds::server::{Kind, Server};
use xcc_bench::xds::world::REMOTES;
use xcc_envoy::{BootstrapConfig, XdsAddress};
use xcc_integration::envoy::Envoy;

use crate::Arguments;
use crate::report::range;
use crate::start::free_port;

/// So long an Envoy has for one change, answer included.
const SETTLE: Duration = Duration::from_millis(300);
/// So long it is watched idle.
const IDLE: Duration = Duration::from_secs(2);
const CHANGES: usize = 8;
const MIB: f64 = 1024.0 * 1024.0;

/// What was measured when the design was chosen (Envoy 1.40.0, an otherwise idle machine): services, then CPU of loading
/// in ms (Envoy's own start included), memory in MB, CPU of one service more and of one node in ms.
const REFERENCE: [(usize, [f64; 4]); 3] =
    [(1_000, [85.0, 68.0, 3.6, 1.7]), (10_000, [80.0, 74.0, 11.8, 2.0]), (50_000, [120.0, 94.0, 63.0, 2.3])];
const FIGURES: [(&str, &str, &str); 4] = [
    ("load", "start and first load", "ms CPU"),
    ("memory", "memory when loaded", "MiB RSS"),
    ("add", "one service more", "ms CPU"),
    ("node", "one node changes", "ms CPU"),
];

pub(crate) async fn rows(arguments: &Arguments) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for version in &arguments.envoys {
        for (services, reference) in REFERENCE {
            if !arguments.services.contains(&services) {
                continue;
            }
            let mut measured: [Vec<f64>; 4] = Default::default();
            for _ in 0..arguments.rounds.min(3) {
                let values = measure(version, services).await?;
                measured.iter_mut().zip(values).for_each(|(all, value)| all.push(value));
            }
            for ((values, (id, what, unit)), reference) in measured.iter().zip(FIGURES).zip(reference) {
                let summary = Summary::of(values);
                let case = format!("Envoy {version}, {what}: {services} services ({})", range(&summary));
                let id = format!("B8.{id}.{services}.envoy-{version}");
                let row = Row::new(&id, &case, summary.median, "measured for the design", reference, unit);
                rows.push(row.with_limit(Limit::AtMost(1.0)));
            }
        }
    }
    Ok(rows)
}

/// The figures in their order.
async fn measure(version: &str, services: usize) -> Result<[f64; 4]> {
    let folder = tempfile::Builder::new().prefix("xcc-bench-").tempdir()?;
    let mut server = Server::start_with(Kind::Xcc, &["--port-offset", &(free_port()? - 443).to_string()])?;
    server.tell(&format!("load {services}"))?;
    let mut envoy = start(version, server.port(), folder.path())?;
    envoy.wait_live().await?;
    tokio::time::sleep(SETTLE).await;
    let process = envoy.process().pid();
    let load = cpu::time_of_tree(process)?.as_secs_f64() * 1e3;
    let memory = cpu::memory_of_tree(process)? as f64 / MIB;
    let idle = idle(process).await?;

    let add = changes(process, &mut server, idle, |_| "add".to_owned()).await?;
    let node = changes(process, &mut server, idle, |number| format!("node {}", number % REMOTES)).await?;
    let updates = envoy.stat("listener_manager.lds.update_success").await?;
    ensure!(updates >= CHANGES as u64, "Envoy has taken {updates} listeners only");
    let rejected = envoy.stat("listener_manager.lds.update_rejected").await?;
    ensure!(rejected == 0, "Envoy refused a listener");
    Ok([load, memory, add, node])
}

fn start(version: &str, port: u16, folder: &Path) -> Result<Envoy> {
    let xds: XdsAddress = format!("127.0.0.1:{port}").parse()?;
    let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let config = BootstrapConfig { admin_address: Some(admin), ..BootstrapConfig::new("bench", vec![xds]) };
    let bootstrap = xcc_envoy::yaml::to_yaml(&xcc_envoy::bootstrap(&config))?;
    Envoy::spawn(version, "envoy", &bootstrap, admin, folder)
}

/// Milliseconds of the main thread in a second without changes.
async fn idle(process: u32) -> Result<f64> {
    let before = main_thread(process)?;
    tokio::time::sleep(IDLE).await;
    Ok((main_thread(process)? - before) / IDLE.as_secs_f64())
}

/// Milliseconds of the main thread for one change, without what it takes when idle.
async fn changes(
    process: u32,
    server: &mut Server,
    idle: f64,
    line: impl Fn(usize) -> String,
) -> Result<f64> {
    let mut values = Vec::new();
    for number in 0..CHANGES {
        let before = main_thread(process)?;
        server.tell(&line(number))?;
        tokio::time::sleep(SETTLE).await;
        values.push(main_thread(process)? - before - idle * SETTLE.as_secs_f64());
    }
    Ok(Summary::of(&values).median)
}

/// Milliseconds that the main thread of a process has run.
fn main_thread(process: u32) -> Result<f64> {
    let line = std::fs::read_to_string(format!("/proc/{process}/task/{process}/schedstat"))?;
    let nanoseconds: u64 = line.split_whitespace().next().context("the kernel keeps no accounts")?.parse()?;
    Ok(nanoseconds as f64 / 1e6)
}
