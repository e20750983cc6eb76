//! B1, B2, B3: processor time of the server and octets for one change of a node, one service more, and nothing at all.

use std::collections::BTreeMap;

use anyhow::Result;
use xcc_bench::table::{Limit, Row};
use xcc_bench::xds::server::{Kind, Server};
use xcc_bench::xds::swarm::{Dialect, Held, Plan, Received, Swarm};
use xcc_bench::xds::world::REMOTES;

use crate::Arguments;
use crate::report::Figure;

/// Changes before the first that counts.
pub(crate) const WARM_UP: usize = 10;
/// Changes of a node that one measurement has, over all clients.
const NODE_PUSHES: usize = 2_000;
/// The least and the most changes of one measurement.
const NODE_CHANGES: (usize, usize) = (30, 1_000);
const SERVICE_CHANGES: usize = 10;
/// More than one client only up to here: beyond, the clients and not the server fill the machine.
const NAMES_TO_MANY_CLIENTS: usize = 10_000;

/// What one server showed in one round, for each client where it is octets.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    node_cpu_us: f64,
    node_octets: f64,
    add_cpu_us: f64,
    add_octets: f64,
    remove_octets: f64,
    same_octets: f64,
}

/// One of the figures that were measured.
type Value = fn(&Measured) -> f64;

/// A server, services and clients.
type Case = (usize, usize);

pub(crate) async fn rows(arguments: &Arguments) -> Result<Vec<Row>> {
    let mut figures: BTreeMap<(Case, &'static str), Figure> = BTreeMap::new();
    for case in cases(arguments) {
        for round in 0..arguments.rounds {
            for server in arguments.servers(round) {
                let measured = measure(server, case, Dialect::Delta).await?;
                let mut add = |name, value| figures.entry((case, name)).or_default().add(server, value);
                add("node", measured.node_cpu_us);
                add("add", measured.add_cpu_us);
                add("node-octets", measured.node_octets);
                add("add-octets", measured.add_octets);
                add("remove-octets", measured.remove_octets);
                add("same-octets", measured.same_octets);
            }
        }
    }
    let mut rows = cpu_rows(&figures);
    rows.extend(growth(arguments, &figures));
    rows.extend(octet_rows(arguments, &figures));
    rows.extend(sotw_rows(arguments).await?);
    Ok(rows)
}

fn cases(arguments: &Arguments) -> Vec<Case> {
    let many = |services: &usize| *services >= 100 && *services <= NAMES_TO_MANY_CLIENTS;
    let mut cases: Vec<Case> = arguments.services.iter().map(|services| (*services, 1)).collect();
    for clients in arguments.clients.iter().copied().filter(|clients| *clients > 1) {
        // The size decides little here: the largest, and with a hundred clients all.
        let sizes: Vec<usize> = arguments.services.iter().copied().filter(many).collect();
        match sizes.last() {
            Some(largest) if clients != 100 => cases.push((*largest, clients)),
            _ => cases.extend(sizes.into_iter().map(|services| (services, clients))),
        }
    }
    cases
}

async fn measure(kind: Kind, (services, clients): Case, dialect: Dialect) -> Result<Measured> {
    let mut server = Server::start(kind)?;
    server.tell(&format!("load {services}"))?;
    let plan = Plan { port: server.port(), clients, dialect, large_node: false, held: Held::new() };
    let mut swarm = Swarm::connect(&plan).await?;
    swarm.complete().await?;
    swarm.quiet().await;
    let remotes = services.clamp(1, REMOTES);
    for change in 0..WARM_UP {
        change_node(&mut server, &mut swarm, change % remotes).await?;
    }
    let per_client = |octets: u64, changes: usize| octets as f64 / (clients * changes) as f64;

    let mut measured = Measured::default();
    let changes = (NODE_PUSHES / clients).clamp(NODE_CHANGES.0, NODE_CHANGES.1);
    let before = (swarm.quiet().await, server.cpu()?);
    for change in 0..changes {
        change_node(&mut server, &mut swarm, change % remotes).await?;
    }
    measured.node_cpu_us = micros(server.cpu()? - before.1, changes);
    measured.node_octets = per_client(swarm.quiet().await.octets - before.0.octets, changes);

    let before = (swarm.received(), server.cpu()?);
    change_listener(&mut server, &mut swarm, "add", SERVICE_CHANGES).await?;
    measured.add_cpu_us = micros(server.cpu()? - before.1, SERVICE_CHANGES);
    measured.add_octets = per_client(swarm.quiet().await.octets - before.0.octets, SERVICE_CHANGES);

    let before = swarm.received();
    change_listener(&mut server, &mut swarm, "remove", SERVICE_CHANGES).await?;
    measured.remove_octets = per_client(swarm.quiet().await.octets - before.octets, SERVICE_CHANGES);

    let before = swarm.received();
    server.tell("same")?;
    measured.same_octets = per_client(swarm.quiet().await.octets - before.octets, 1);
    Ok(measured)
}

pub(crate) fn micros(time: std::time::Duration, changes: usize) -> f64 {
    time.as_secs_f64() * 1e6 / changes as f64
}

pub(crate) async fn change_node(server: &mut Server, swarm: &mut Swarm, remote: usize) -> Result<()> {
    let before: Received = swarm.received();
    server.tell(&format!("node {remote}"))?;
    swarm.endpoints_since(before).await
}

async fn change_listener(server: &mut Server, swarm: &mut Swarm, line: &str, times: usize) -> Result<()> {
    for _ in 0..times {
        let before = swarm.received();
        server.tell(line)?;
        swarm.listeners_since(before).await?;
    }
    Ok(())
}

fn cpu_rows(figures: &BTreeMap<(Case, &'static str), Figure>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (((services, clients), name), figure) in figures {
        let (what, unit) = match *name {
            "node" => ("one node changes", "us CPU"),
            "add" => ("one service more", "us CPU"),
            _ => continue,
        };
        let id = if *clients == 1 {
            format!("B1.{name}.{services}")
        } else {
            format!("B2.{name}.{services}x{clients}")
        };
        let case = format!("{what}: {services} services, {clients} clients");
        for (peer, row) in figure.rows(&id, &case, unit) {
            let limit = match (*name, peer, *services, *clients) {
                ("node", Kind::GcpSnapshot, 10_000, 1) => Some(Limit::AtMost(1.0 / 20.0)),
                ("node", Kind::GcpSnapshot, _, 100..) => Some(Limit::AtMost(1.0 / 3.0)),
                _ => None,
            };
            rows.push(match limit {
                Some(limit) => row.with_limit(limit),
                None => row,
            });
        }
    }
    rows
}

/// Ours at the largest size against ours at a hundred services.
fn growth(arguments: &Arguments, figures: &BTreeMap<(Case, &'static str), Figure>) -> Option<Row> {
    let (few, many) = (arguments.size(100), arguments.size(50_000));
    let of = |services| figures.get(&((services, 1), "node"))?.of(Kind::Xcc);
    let case = format!("one node changes: {many} services against {few}");
    let row =
        Row::new("B1.growth", &case, of(many)?.median, "xcc with few services", of(few)?.median, "us CPU");
    Some(row.with_limit(Limit::AtMost(1.3)))
}

/// The figures of each client's octets, by their ids in rows and in figures.
const EVENTS: [(&str, &str, &str, Value); 4] = [
    ("node", "node-octets", "one node changes", |measured| measured.node_octets),
    ("add", "add-octets", "one service more", |measured| measured.add_octets),
    ("remove", "remove-octets", "one service less", |measured| measured.remove_octets),
    ("same", "same-octets", "nothing changes", |measured| measured.same_octets),
];

fn octet_rows(arguments: &Arguments, figures: &BTreeMap<(Case, &'static str), Figure>) -> Vec<Row> {
    let case = (arguments.size(10_000), 1);
    let mut rows = Vec::new();
    for (name, key, what, _) in EVENTS {
        let Some(figure) = figures.get(&(case, key)) else { continue };
        let text = format!("octets to one gateway: {what}, {} services", case.0);
        rows.extend(figure.rows(&format!("B3.{name}"), &text, "B").into_iter().map(|(_, row)| row));
        match name {
            "node" => rows.extend(figure.budget("B3.node.budget", &text, 400.0, "B")),
            // Against one octet, as nothing has no ratio.
            "same" => rows.extend(figure.budget("B3.same.budget", &text, 1.0, "B")),
            _ => {}
        }
    }
    rows
}

/// The same with the state of the world, which one peer speaks only, at one size.
async fn sotw_rows(arguments: &Arguments) -> Result<Vec<Row>> {
    let case = (arguments.size(10_000), 1);
    let mut figures: BTreeMap<&'static str, Figure> = BTreeMap::new();
    for round in 0..arguments.rounds {
        for kind in arguments.sotw_servers(round) {
            let measured = measure(kind, case, Dialect::Sotw).await?;
            let mut add = |name, value| figures.entry(name).or_default().add(kind, value);
            add("node", measured.node_cpu_us);
            add("add", measured.add_cpu_us);
            for (_, key, _, value) in EVENTS {
                add(key, value(&measured));
            }
        }
    }
    let mut rows = Vec::new();
    for (name, key, what, _) in EVENTS {
        let text = format!("octets to one gateway: {what}, {} services, state of the world", case.0);
        if let Some(figure) = figures.get(key) {
            rows.extend(figure.rows(&format!("B3.{name}.sotw"), &text, "B").into_iter().map(|(_, row)| row));
        }
        let text = format!("{what}: {} services, 1 clients, state of the world", case.0);
        if let Some(figure) = figures.get(name) {
            let id = format!("B1.{name}.sotw.{}", case.0);
            rows.extend(figure.rows(&id, &text, "us CPU").into_iter().map(|(_, row)| row));
        }
    }
    Ok(rows)
}
