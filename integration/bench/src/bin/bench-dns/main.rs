//! B10 and B11: what an answer costs, how many come per second, and how long they take while the zone changes.
//!
//! All servers run at the same time and are asked one after the other, each round beginning with another one. What a round
//! measured is set against what the same round measured, and the median of these ratios counts: the machine's speed moves
//! by a fifth within minutes, and little within a round.

mod latencies;
mod prices;
mod rates;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use xcc_bench::dns::load::Clients;
use xcc_bench::dns::servers::{Kind, Server};
use xcc_bench::statistics::Summary;
use xcc_bench::table::{Row, Table};

/// What the closed loop asks with.
const CLIENTS: Clients = Clients { threads: 4, sockets: 16 };
/// Workers of each server: the machine that the figures are for has two processors.
const WORKERS: usize = 2;
const SEED: u64 = 10;

#[derive(Parser)]
struct Arguments {
    /// What to measure; by default all.
    #[arg(long, value_delimiter = ',', default_value = "cpu,rate,latency")]
    only: Vec<Part>,
    /// Names in the zone.
    #[arg(long, value_delimiter = ',', default_value = "1,1000,50000")]
    names: Vec<usize>,
    /// Servers to compare with.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "nsd,knot,coredns-file,coredns-hosts,hickory,echo,echo-batch"
    )]
    peers: Vec<String>,
    /// Measurements of what an answer costs, and of latencies, which take a second each; the median counts.
    #[arg(long, default_value_t = 25)]
    rounds: usize,
    /// How long one of what an answer costs takes, besides a third of it to warm up.
    #[arg(long, default_value_t = 150)]
    milliseconds: u64,
    /// Measurements of rates, which take several seconds each; the median counts.
    #[arg(long, default_value_t = 5)]
    long_rounds: usize,
    /// The folder of benchmarks.json and benchmarks.md.
    #[arg(long, default_value = "docs")]
    out: PathBuf,
    /// Only print, and end with success whatever holds.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Cpu,
    Rate,
    Latency,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut rows = vec![];
    if arguments.only.contains(&Part::Cpu) {
        rows.extend(prices::rows(&arguments)?);
    }
    if arguments.only.contains(&Part::Rate) {
        rows.extend(rates::rows(&arguments)?);
    }
    if arguments.only.contains(&Part::Latency) {
        rows.extend(latencies::rows(&arguments)?);
    }
    let failed: Vec<&Row> = rows.iter().filter(|row| !row.holds()).collect();
    for row in &failed {
        tell(&format!(
            "does not hold: {} {}: {:.2} against {}: {:?}",
            row.row, row.case, row.ratio, row.peer_name, row.limit
        ));
    }
    if arguments.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let failed = !failed.is_empty();
    let mut table = Table::read(&arguments.out.join("benchmarks.json"))?;
    table.merge(rows);
    table.write(&arguments.out)?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[expect(clippy::print_stdout, reason = "a program for people")]
fn tell(line: &str) {
    println!("{line}");
}

fn peers(arguments: &Arguments) -> Vec<Kind> {
    let all = [
        Kind::Nsd,
        Kind::Knot,
        Kind::CorednsFile,
        Kind::CorednsHosts,
        Kind::Hickory,
        Kind::Echo,
        Kind::EchoBatch,
    ];
    all.into_iter().filter(|kind| arguments.peers.iter().any(|name| name == kind.name())).collect()
}

/// The servers in the order of this round.
fn in_turn(servers: &[Server], round: usize) -> impl Iterator<Item = &Server> {
    let (before, from) = servers.split_at(round % servers.len().max(1));
    from.iter().chain(before)
}

/// The median of the rounds' ratios. Both have the same rounds in the same order.
fn paired(ours: &[f64], peer: &[f64]) -> f64 {
    Summary::of(&ours.iter().zip(peer).map(|(ours, peer)| ours / peer).collect::<Vec<_>>()).median
}
