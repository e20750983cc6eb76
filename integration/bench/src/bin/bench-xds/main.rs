//! B1 to B8: what xDS costs the server, the wire and Envoy, against go-control-plane and rust-control-plane; B12: what
//! connections cost in Envoy with the gateway's configuration, against HAProxy and nginx.
//!
//! The servers of a figure run one after the other in each round, each round beginning with another one; medians of all
//! rounds count. `tools/build.sh` builds the programs that this one starts.

mod changes;
mod each;
mod envoy;
mod latency;
mod memory;
mod passthrough;
mod reconnect;
mod report;
mod start;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use xcc_bench::table::{Row, Table};
use xcc_bench::xds::server::{Kind, raise_file_limit};

#[derive(Parser)]
struct Arguments {
    /// What to measure, by these words or by the figures' ids; by default all.
    #[arg(ignore_case = true)]
    parts: Vec<Part>,
    /// One round, two sizes, one client and a hundred, one Envoy: a few minutes, to see that all works.
    #[arg(long, conflicts_with_all = ["services", "clients", "rounds"])]
    quick: bool,
    /// Services: each size with one client, the first up to 10,000 also with more.
    #[arg(long, value_delimiter = ',', default_value = "1,100,1000,10000,50000")]
    services: Vec<usize>,
    /// Clients.
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000")]
    clients: Vec<usize>,
    /// Servers to compare with.
    #[arg(long, value_delimiter = ',', default_value = "gcp-snapshot,gcp-linear,rust-control-plane")]
    peers: Vec<Kind>,
    /// What the services of B1 and B3 look like: they share the clusters of ten remotes, as xcc makes them, or have a cluster
    /// and endpoints each.
    #[arg(long, value_delimiter = ',', default_value = "shared,each")]
    shape: Vec<Shape>,
    /// Measurements of each figure; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Envoy's versions for B8; the last one also for B12.
    #[arg(long, value_delimiter = ',', default_value = "1.36.4,1.40.0")]
    envoys: Vec<String>,
    /// The program xcc, for figures that begin with its input.
    #[arg(long, default_value = "target/release/xcc")]
    xcc: PathBuf,
    /// The folder of benchmarks.json and benchmarks.md.
    #[arg(long, default_value = "docs")]
    out: PathBuf,
    /// Only print, and end with success whatever holds.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    #[value(aliases = ["b1", "b2", "b3"])]
    Changes,
    #[value(alias = "b4")]
    Latency,
    #[value(alias = "b5")]
    Start,
    #[value(alias = "b6")]
    Reconnect,
    #[value(alias = "b7")]
    Memory,
    #[value(alias = "b8")]
    Envoy,
    #[value(alias = "b12")]
    Passthrough,
}

/// What services look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    Shared,
    Each,
}

impl Arguments {
    fn apply_quick(&mut self) {
        if self.quick {
            self.services = vec![100, 10_000];
            self.clients = vec![1, 100];
            self.rounds = 1;
            self.envoys = self.envoys.split_off(self.envoys.len().saturating_sub(1));
        }
    }

    /// The parts that were asked for, each once, in their order.
    fn parts(&self) -> impl Iterator<Item = Part> {
        let all = Part::value_variants().iter().copied();
        all.filter(|part| self.parts.is_empty() || self.parts.contains(part))
    }

    /// Ours and the peers that speak delta, in the order of a round.
    fn servers(&self, round: usize) -> Vec<Kind> {
        in_turn(round, self.peers.iter().copied().filter(|peer| peer.has_delta()))
    }

    /// Ours and all peers, in the order of a round, for what is measured with the state of the world.
    fn sotw_servers(&self, round: usize) -> Vec<Kind> {
        in_turn(round, self.peers.iter().copied())
    }

    /// The size that is closest to the one that a figure is defined for.
    fn size(&self, wanted: usize) -> usize {
        self.services.iter().copied().min_by_key(|size| size.abs_diff(wanted)).unwrap_or(wanted)
    }

    /// The same for clients.
    fn client_count(&self, wanted: usize) -> usize {
        self.clients.iter().copied().min_by_key(|count| count.abs_diff(wanted)).unwrap_or(wanted)
    }
}

fn in_turn(round: usize, peers: impl Iterator<Item = Kind>) -> Vec<Kind> {
    let mut servers = vec![Kind::Xcc];
    servers.extend(peers);
    let turn = round % servers.len();
    servers.rotate_left(turn);
    servers
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::parse();
    arguments.apply_quick();
    raise_file_limit()?;
    let mut rows = Vec::new();
    for part in arguments.parts() {
        let of_part = match part {
            Part::Changes => {
                let mut rows = Vec::new();
                if arguments.shape.contains(&Shape::Shared) {
                    rows.extend(changes::rows(&arguments).await?);
                }
                if arguments.shape.contains(&Shape::Each) {
                    rows.extend(each::rows(&arguments).await?);
                }
                Ok(rows)
            }
            Part::Latency => latency::rows(&arguments).await,
            Part::Start => start::rows(&arguments).await,
            Part::Reconnect => reconnect::rows(&arguments).await,
            Part::Memory => memory::rows(&arguments).await,
            Part::Envoy => envoy::rows(&arguments).await,
            Part::Passthrough => passthrough::rows(&arguments).await,
        }?;
        save(&arguments, &of_part)?;
        rows.extend(of_part);
    }
    let failed: Vec<&Row> = rows.iter().filter(|row| !row.holds()).collect();
    for row in &failed {
        report::tell(&format!(
            "does not hold: {} {}: ratio {:.3}, {:?}",
            row.row, row.case, row.ratio, row.limit
        ));
    }
    let good = failed.is_empty() || arguments.dry_run;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the rows, and writes them at once: a later part may fail.
fn save(arguments: &Arguments, rows: &[Row]) -> Result<()> {
    for row in rows {
        report::tell(&format!(
            "{:32} {:>12.2} {:>12.2} {:>8.3} {:14} {} ({})",
            row.row, row.ours, row.peer, row.ratio, row.unit, row.case, row.peer_name
        ));
    }
    if arguments.dry_run {
        return Ok(());
    }
    let mut table = Table::read(&arguments.out.join("benchmarks.json"))?;
    table.merge(rows.iter().cloned());
    table.write(&arguments.out)
}
