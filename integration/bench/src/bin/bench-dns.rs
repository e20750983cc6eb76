//! B10 and B11: what an answer costs, how many come per second, and how long they take while the zone changes.
//!
//! All servers of a round run at the same time and are asked one after the other, each round beginning with another one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use xcc_bench::dns::dnsperf;
use xcc_bench::dns::load::{closed_loop, open_loop};
use xcc_bench::dns::servers::{Kind, Plan, Server};
use xcc_bench::dns::workload::{Mix, dnsperf_lines, requests};
use xcc_bench::statistics::Summary;
use xcc_bench::table::{Limit, Row, Table};

/// Sockets of the closed loop, each with one request under way.
const SOCKETS: usize = 4;
/// Workers of each server: the machine that the figures are for has two processors.
const WORKERS: usize = 2;
const SEED: u64 = 10;
/// Names of the zone that changes under load, and changes per second.
const CHANGING_NAMES: usize = 10_000;
const CHANGES_PER_SECOND: u32 = 100;

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
    /// Measurements of each figure; the median counts.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// How long each measurement takes; by dnsperf at least a second.
    #[arg(long, default_value_t = 500)]
    milliseconds: u64,
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

type Key = (&'static str, usize, Kind);

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut rows = vec![];
    if arguments.only.contains(&Part::Cpu) {
        rows.extend(price_rows(&arguments, &prices(&arguments)?));
    }
    if arguments.only.contains(&Part::Rate) {
        rows.extend(rates(&arguments)?);
    }
    if arguments.only.contains(&Part::Latency) {
        rows.extend(latencies(&arguments)?);
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

/// Microseconds of processor time per answer.
fn prices(arguments: &Arguments) -> Result<BTreeMap<Key, Summary>> {
    let mut summaries = BTreeMap::new();
    for names in &arguments.names {
        let plan = Plan { names: *names, workers: WORKERS, processor: None, changes_per_second: 0 };
        let kinds = [Kind::Xcc].into_iter().chain(peers(arguments));
        let servers = kinds.map(|kind| kind.start(plan)).collect::<Result<Vec<_>>>()?;
        for mix in Mix::ALL {
            let requests = requests(mix, *names, SEED);
            let mut measured: BTreeMap<Kind, Vec<f64>> = BTreeMap::new();
            for round in 0..arguments.rounds {
                for server in in_turn(&servers, round) {
                    let time = Duration::from_millis(arguments.milliseconds);
                    let codes = server.kind.codes();
                    let price =
                        closed_loop(server.address, server.peer.id(), &requests, SOCKETS, time, codes)
                            .with_context(|| format!("{} with {names} names", server.kind.name()))?;
                    measured.entry(server.kind).or_default().push(price.microseconds);
                }
            }
            for (kind, values) in measured {
                let summary = Summary::of(&values);
                tell(&format!(
                    "{names} names, {}: {} {:.2} us ({:.2} to {:.2})",
                    mix.words(),
                    kind.name(),
                    summary.median,
                    summary.min,
                    summary.max
                ));
                summaries.insert((mix.id(), *names, kind), summary);
            }
        }
    }
    Ok(summaries)
}

fn price_rows(arguments: &Arguments, prices: &BTreeMap<Key, Summary>) -> Vec<Row> {
    let of = |mix: Mix, names, kind| prices.get(&(mix.id(), names, kind)).map(|summary| summary.median);
    let unit = "CPU-us/answer";
    let mut rows = vec![];
    for names in &arguments.names {
        for mix in Mix::ALL {
            let Some(ours) = of(mix, *names, Kind::Xcc) else { continue };
            let case = format!("CPU per answer, {}, {names} names", mix.words());
            let id = |rest: &str| format!("B10.cpu.{}.{names}.{rest}", mix.id());
            for kind in peers(arguments) {
                let Some(peer) = of(mix, *names, kind) else { continue };
                let row = Row::new(&id(kind.name()), &case, ours, kind.name(), peer, unit);
                rows.push(match kind {
                    Kind::Echo => row.with_limit(Limit::AtMost(1.3)),
                    Kind::CorednsFile => row.with_limit(Limit::AtMost(0.25)),
                    Kind::CorednsHosts => row.with_limit(Limit::AtMost(0.34)),
                    _ => row,
                });
            }
            let both = [Kind::Nsd, Kind::Knot].map(|kind| of(mix, *names, kind));
            if let Some(peer) = both.into_iter().flatten().min_by(f64::total_cmp) {
                let row = Row::new(&id("fastest"), &case, ours, "the faster of NSD and Knot", peer, unit);
                rows.push(row.with_limit(Limit::AtMost(1.0)));
            }
            if let (Some(hit), true) = (of(Mix::Hit, *names, Kind::Xcc), mix != Mix::Hit) {
                let row = Row::new(&id("hit"), &case, ours, "xcc, A", hit, unit);
                rows.push(row.with_limit(Limit::AtMost(1.2)));
            }
            let one = arguments.names.iter().min().copied().unwrap_or(1);
            if let (Some(small), true) = (of(mix, one, Kind::Xcc), *names != one) {
                let row = Row::new(&id("names"), &case, ours, &format!("xcc, {one} names"), small, unit);
                rows.push(row.with_limit(Limit::AtMost(1.1)));
            }
        }
    }
    rows
}

/// Answers per second by dnsperf, the server on one processor and dnsperf on the other.
fn rates(arguments: &Arguments) -> Result<Vec<Row>> {
    let mut rows = vec![];
    let folder = tempfile::tempdir()?;
    for names in &arguments.names {
        let plan = Plan { names: *names, workers: 1, processor: Some(1), changes_per_second: 0 };
        let no_echo = |kind: &Kind| !matches!(kind, Kind::Echo | Kind::EchoBatch);
        let kinds = [Kind::Xcc].into_iter().chain(peers(arguments).into_iter().filter(no_echo));
        let servers = kinds.map(|kind| kind.start(plan)).collect::<Result<Vec<_>>>()?;
        for mix in Mix::ALL {
            let lines = folder.path().join("requests");
            std::fs::write(&lines, dnsperf_lines(mix, *names, SEED))?;
            let mut measured: BTreeMap<Kind, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
            for round in 0..arguments.rounds {
                for server in in_turn(&servers, round) {
                    // hickory needs 23 ms for a negative answer among 50,000 names, which is measured above.
                    if server.kind == Kind::Hickory
                        && *names > 1000
                        && matches!(mix, Mix::NoData | Mix::NxDomain)
                    {
                        continue;
                    }
                    let time = Duration::from_millis(arguments.milliseconds);
                    let rate =
                        dnsperf::run(server.address, server.peer.id(), &lines, time, mix != Mix::HitPlain)?;
                    let entry = measured.entry(server.kind).or_default();
                    entry.0.push(rate.per_second);
                    entry.1.push(rate.per_cpu_second);
                }
            }
            rows.extend(rate_rows(mix, *names, &measured));
        }
    }
    Ok(rows)
}

fn rate_rows(mix: Mix, names: usize, measured: &BTreeMap<Kind, (Vec<f64>, Vec<f64>)>) -> Vec<Row> {
    let medians = |kind| {
        measured.get(&kind).map(|(rate, by_cpu)| (Summary::of(rate).median, Summary::of(by_cpu).median))
    };
    let Some((rate, by_cpu)) = medians(Kind::Xcc) else { return vec![] };
    let mut rows = vec![];
    for kind in measured.keys().filter(|kind| **kind != Kind::Xcc) {
        let Some((peer_rate, peer_by_cpu)) = medians(*kind) else { continue };
        let what = format!("{}, {names} names, by dnsperf", mix.words());
        let id = |figure: &str| format!("B10.{figure}.{}.{names}.{}", mix.id(), kind.name());
        let case = format!("most answers with under 0.1 % loss, {what}");
        rows.push(Row::new(&id("rate"), &case, rate, kind.name(), peer_rate, "answers/s"));
        let case = format!("answers per CPU-second, {what}");
        rows.push(Row::new(&id("rate-per-cpu"), &case, by_cpu, kind.name(), peer_by_cpu, "answers/CPU-s"));
        tell(&format!(
            "{what}: xcc {rate:.0}/s, {} {peer_rate:.0}/s; per CPU-second {by_cpu:.0}, {peer_by_cpu:.0}",
            kind.name()
        ));
    }
    rows
}

/// Latency at half of what CoreDNS can do, at rest and while the zone changes.
fn latencies(arguments: &Arguments) -> Result<Vec<Row>> {
    let plan = Plan { names: CHANGING_NAMES, workers: WORKERS, processor: None, changes_per_second: 0 };
    let peer = Kind::CorednsHosts.start(plan)?;
    let (rest, storm) =
        (Kind::Xcc.start(plan)?, Kind::Xcc.start(Plan { changes_per_second: CHANGES_PER_SECOND, ..plan })?);
    let requests = requests(Mix::Hit, CHANGING_NAMES, SEED);
    let time = Duration::from_millis(arguments.milliseconds);
    let most = closed_loop(peer.address, peer.peer.id(), &requests, 4 * SOCKETS, time, &[0])?.rate;
    let mut p99 = [vec![], vec![], vec![]];
    let mut p50 = [vec![], vec![], vec![]];
    for round in 0..arguments.rounds {
        let mut servers = [(0, &rest), (1, &storm), (2, &peer)];
        servers.rotate_left(round % 3);
        for (index, server) in servers {
            let latency = open_loop(server.address, &requests, most / 2.0, 2 * time)?;
            p99[index].push(latency.p99);
            p50[index].push(latency.p50);
        }
    }
    let median = |values: &[Vec<f64>; 3], index: usize| Summary::of(&values[index]).median;
    let at = format!("at {:.0} requests/s, half of CoreDNS hosts' most, {CHANGING_NAMES} names", most / 2.0);
    let changing = format!("{CHANGES_PER_SECOND} changes a second, {at}");
    let mut rows = vec![];
    for (figure, values) in [("p50", &p50), ("p99", &p99)] {
        let [resting, changed, peer] = [0, 1, 2].map(|index| median(values, index));
        tell(&format!(
            "{figure} {at}: at rest {resting:.0} us, changing {changed:.0} us, CoreDNS hosts {peer:.0} us"
        ));
        let row = Row::new(
            &format!("B11.{figure}.changes"),
            &format!("{figure} with {changing}"),
            changed,
            "xcc at rest",
            resting,
            "us",
        );
        rows.push(if figure == "p99" { row.with_limit(Limit::AtMost(1.2)) } else { row });
        rows.push(Row::new(
            &format!("B11.{figure}.coredns"),
            &format!("{figure} at rest, {at}"),
            resting,
            "coredns-hosts",
            peer,
            "us",
        ));
    }
    Ok(rows)
}
