//! B4: from the change to the last of the clients.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;
use xcc_bench::statistics::percentile;
use xcc_bench::table::Row;
use xcc_bench::xds::manifests;
use xcc_bench::xds::server::{Kind, Server};
use xcc_bench::xds::swarm::{Dialect, Held, Plan, Swarm};
use xcc_bench::xds::world::REMOTES;

use crate::Arguments;
use crate::report::Figure;
use crate::start::Serve;

/// One change each so long.
const INTERVAL: Duration = Duration::from_millis(100);
/// Changes of one measurement.
const CHANGES: u32 = 50;

pub(crate) async fn rows(arguments: &Arguments) -> Result<Vec<Row>> {
    let (services, clients) = (arguments.size(10_000), arguments.client_count(100));
    let (mut p50, mut p99) = (Figure::default(), Figure::default());
    let (mut input_p50, mut input_p99) = (Figure::default(), Figure::default());
    for round in 0..arguments.rounds {
        for kind in arguments.servers(round) {
            let times = of_server(kind, services, clients).await?;
            p50.add(kind, percentile(&times, 0.5));
            p99.add(kind, percentile(&times, 0.99));
        }
        let times = of_input(arguments, services, clients).await?;
        input_p50.add(Kind::Xcc, percentile(&times, 0.5));
        input_p99.add(Kind::Xcc, percentile(&times, 0.99));
    }
    let case =
        format!("one node changes each 100 ms: {services} services, until the last of {clients} clients");
    let mut rows = Vec::new();
    for (figure, name) in [(&p50, "p50"), (&p99, "p99")] {
        let peers = figure.rows(&format!("B4.{name}"), &format!("{case}, {name}"), "ms");
        rows.extend(peers.into_iter().map(|(_, row)| row));
    }
    for (figure, name, budget) in [(&p50, "p50", 3.0), (&p99, "p99", 10.0)] {
        rows.extend(figure.budget(&format!("B4.{name}.budget"), &format!("{case}, {name}"), budget, "ms"));
    }
    let case = format!("{case}, from the file of xcc serve");
    for (figure, name, budget) in [(&input_p50, "p50", 3.0), (&input_p99, "p99", 10.0)] {
        rows.extend(figure.budget(&format!("B4.{name}.input"), &format!("{case}, {name}"), budget, "ms"));
    }
    Ok(rows)
}

/// Milliseconds, sorted.
async fn of_server(kind: Kind, services: usize, clients: usize) -> Result<Vec<f64>> {
    let mut server = Server::start(kind)?;
    server.tell(&format!("load {services}"))?;
    let mut swarm = connect(server.port(), clients).await?;
    let mut times = Vec::new();
    let mut interval = tokio::time::interval(INTERVAL);
    for change in 0..CHANGES {
        interval.tick().await;
        let before = swarm.received();
        let start = Instant::now();
        server.say(&format!("node {}", change as usize % REMOTES))?;
        swarm.endpoints_since(before).await?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        server.wait()?;
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

async fn connect(port: u16, clients: usize) -> Result<Swarm> {
    let plan = Plan { port, clients, dialect: Dialect::Delta, large_node: true, held: Held::new() };
    let mut swarm = Swarm::connect(&plan).await?;
    swarm.complete().await?;
    swarm.quiet().await;
    Ok(swarm)
}

/// The same from the renaming of a file of nodes.
async fn of_input(arguments: &Arguments, services: usize, clients: usize) -> Result<Vec<f64>> {
    let folder = tempfile::Builder::new().prefix("xcc-bench-").tempdir()?;
    manifests::write(folder.path(), services)?;
    let serve = Serve::start(&arguments.xcc, folder.path(), None)?;
    serve.ready().await?;
    let mut swarm = connect(serve.port(), clients).await?;
    let mut times = Vec::new();
    let mut interval = tokio::time::interval(INTERVAL);
    for change in 1..=CHANGES {
        interval.tick().await;
        let before = swarm.received();
        let start = Instant::now();
        manifests::write_nodes(folder.path(), change as usize % REMOTES, change)?;
        swarm.endpoints_since(before).await.context("xcc serve did not push a change of a file")?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}
