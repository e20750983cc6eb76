//! B6: all clients come back at once, and hold everything.

use anyhow::Result;
use tokio::time::Instant;
use xcc_bench::table::Row;
use xcc_bench::xds::server::{Kind, Server};
use xcc_bench::xds::swarm::{Dialect, Held, Plan, Swarm};

use crate::Arguments;
use crate::report::Figure;

/// Measurements: one takes long.
const ROUNDS_MAX: usize = 3;

struct Reconnected {
    resources: f64,
    octets: f64,
    cpu_ms: f64,
    seconds: f64,
}

pub(crate) async fn rows(arguments: &Arguments) -> Result<Vec<Row>> {
    let (services, clients) = (arguments.size(10_000), arguments.client_count(1000));
    let mut figures: [Figure; 4] = Default::default();
    for round in 0..arguments.rounds.min(ROUNDS_MAX) {
        for kind in arguments.servers(round) {
            let measured = measure(kind, services, clients).await?;
            let values = [measured.resources, measured.octets, measured.cpu_ms, measured.seconds];
            for (figure, value) in figures.iter_mut().zip(values) {
                figure.add(kind, value);
            }
        }
    }
    let case = format!("{clients} clients reconnect with {services} services, Envoy's node message");
    let names = [("resources", "resources"), ("octets", "B"), ("cpu", "ms CPU"), ("time", "s")];
    let mut rows = Vec::new();
    for (figure, (name, unit)) in figures.iter().zip(names) {
        rows.extend(figure.rows(&format!("B6.{name}"), &case, unit).into_iter().map(|(_, row)| row));
    }
    // Against one resource, as nothing has no ratio: none may be sent.
    rows.extend(figures[0].budget("B6.resources.budget", &case, 1.0, "resources"));
    Ok(rows)
}

async fn measure(kind: Kind, services: usize, clients: usize) -> Result<Reconnected> {
    let mut server = Server::start(kind)?;
    server.tell(&format!("load {services}"))?;
    let first = Plan {
        port: server.port(),
        clients: 1,
        dialect: Dialect::Delta,
        large_node: false,
        held: Held::new(),
    };
    let mut one = Swarm::connect(&first).await?;
    one.complete().await?;
    one.quiet().await;
    let held = one.held();
    let before = server.cpu()?;
    let start = Instant::now();
    let swarm = Swarm::connect(&Plan { clients, large_node: true, held, ..first }).await?;
    let mut cpu = server.cpu()?;
    let mut seconds = start.elapsed().as_secs_f64();
    // Over when neither octets come nor processor time goes.
    loop {
        let received = swarm.quiet().await;
        let now = server.cpu()?;
        if (now - cpu).as_millis() < 2 {
            return Ok(Reconnected {
                resources: received.resources as f64,
                octets: received.octets as f64,
                cpu_ms: (now - before).as_secs_f64() * 1e3,
                seconds,
            });
        }
        cpu = now;
        seconds = start.elapsed().as_secs_f64();
    }
}
