//! B1 with a cluster and endpoints for each service, as control planes make them that know nothing of what services share:
//! the most resources that one changed node lies among.
//!
//! The mark of B1 is not for these rows: it is for the resources that xcc makes.

use anyhow::Result;
use xcc_bench::table::Row;
use xcc_bench::xds::server::{Kind, Server};
use xcc_bench::xds::swarm::{Dialect, Held, Plan, Swarm};

use crate::Arguments;
use crate::changes::{WARM_UP, change_node, micros};
use crate::report::Figure;

/// Sizes that are measured; at more, a round of the slowest peer takes minutes.
const SERVICES: std::ops::RangeInclusive<usize> = 100..=10_000;
/// Resources that changes of one measurement lie among, all together, which is what costs the slowest peer its time.
const RESOURCES: usize = 400_000;
/// The least and the most changes of one measurement.
const CHANGES: (usize, usize) = (30, 1_000);

pub(crate) async fn rows(arguments: &Arguments) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for services in arguments.services.iter().copied().filter(|services| SERVICES.contains(services)) {
        let mut figure = Figure::default();
        for round in 0..arguments.rounds {
            for kind in arguments.servers(round) {
                figure.add(kind, measure(kind, services).await?);
            }
        }
        let case = format!("one node changes: {services} services with a cluster each, 1 clients");
        let of_size = figure.rows(&format!("B1.node-each.{services}"), &case, "us CPU");
        rows.extend(of_size.into_iter().map(|(_, row)| row));
    }
    Ok(rows)
}

/// Processor time of the server for one change, in microseconds.
async fn measure(kind: Kind, services: usize) -> Result<f64> {
    let mut server = Server::start(kind)?;
    server.tell(&format!("each {services}"))?;
    let plan = Plan {
        port: server.port(),
        clients: 1,
        dialect: Dialect::Delta,
        large_node: false,
        held: Held::new(),
    };
    let mut swarm = Swarm::connect(&plan).await?;
    swarm.complete().await?;
    swarm.quiet().await;
    for change in 0..WARM_UP {
        change_node(&mut server, &mut swarm, change % services).await?;
    }
    let changes = (RESOURCES / services).clamp(CHANGES.0, CHANGES.1);
    swarm.quiet().await;
    let before = server.cpu()?;
    for change in 0..changes {
        change_node(&mut server, &mut swarm, change % services).await?;
    }
    swarm.quiet().await;
    Ok(micros(server.cpu()? - before, changes))
}
