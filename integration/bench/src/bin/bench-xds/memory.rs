//! B7: memory of the server for one service more and for one idle client more.

use std::time::Duration;

use anyhow::Result;
use xcc_bench::table::Row;
use xcc_bench::xds::server::{Kind, Server};
use xcc_bench::xds::swarm::{Dialect, Held, Plan, Swarm};
use xcc_bench::xds::world::World;

use crate::Arguments;
use crate::report::Figure;

/// So long a server has to give back what it needed for a moment.
const SETTLE: Duration = Duration::from_secs(1);

pub(crate) async fn rows(arguments: &Arguments) -> Result<Vec<Row>> {
    let (few, many) = (arguments.size(1_000), arguments.size(50_000));
    let (some, lots) = (arguments.client_count(10), arguments.client_count(1_000));
    let (mut services, mut clients) = (Figure::default(), Figure::default());
    for round in 0..arguments.rounds {
        for kind in arguments.servers(round) {
            let slope = memory(kind, many, 1).await? - memory(kind, few, 1).await?;
            services.add(kind, slope / (many - few).max(1) as f64);
            let slope = memory(kind, few, lots).await? - memory(kind, few, some).await?;
            clients.add(kind, slope / (lots - some).max(1) as f64);
        }
    }
    let mut rows = Vec::new();
    let case = format!("memory of one service more, {few} to {many}");
    rows.extend(services.rows("B7.service", &case, "B").into_iter().map(|(_, row)| row));
    rows.extend(services.budget("B7.service.budget", &case, 200.0, "B"));
    let case = format!("memory of one idle client more, {some} to {lots}");
    rows.extend(clients.rows("B7.client", &case, "B").into_iter().map(|(_, row)| row));
    rows.extend(clients.budget("B7.client.budget", &case, 64.0 * 1024.0, "B"));
    Ok(rows)
}

async fn memory(kind: Kind, services: usize, clients: usize) -> Result<f64> {
    let mut server = Server::start(kind)?;
    if kind == Kind::Xcc {
        // What resources are made from is no part of a server: another process makes ours.
        let folder = tempfile::Builder::new().prefix("xcc-bench-").tempdir()?;
        World::new(services)?.write(folder.path())?;
        server.tell(&format!("files {}", folder.path().display()))?;
    } else {
        server.tell(&format!("load {services}"))?;
    }
    let plan =
        Plan { port: server.port(), clients, dialect: Dialect::Delta, large_node: true, held: Held::new() };
    let mut swarm = Swarm::connect(&plan).await?;
    swarm.complete().await?;
    swarm.quiet().await;
    tokio::time::sleep(SETTLE).await;
    Ok(server.memory()? as f64)
}
