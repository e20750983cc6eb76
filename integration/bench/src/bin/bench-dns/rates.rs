//! How many answers come per second, by dnsperf.

use std::collections::BTreeMap;

use anyhow::Result;
use xcc_bench::dns::dnsperf;
use xcc_bench::dns::servers::{Kind, Plan};
use xcc_bench::dns::workload::{Mix, dnsperf_lines};
use xcc_bench::statistics::Summary;
use xcc_bench::table::Row;

use crate::{Arguments, SEED, in_turn, paired, peers, tell};

/// A server's figures in each round.
#[derive(Default)]
struct Measured {
    rates: Vec<f64>,
    by_cpu: Vec<f64>,
}

/// Answers per second by dnsperf, the server on one processor and dnsperf on the other.
pub(crate) fn rows(arguments: &Arguments) -> Result<Vec<Row>> {
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
            let mut measured: BTreeMap<Kind, Measured> = BTreeMap::new();
            for round in 0..arguments.long_rounds {
                for server in in_turn(&servers, round) {
                    // hickory needs 23 ms for a negative answer among 50,000 names, which is measured above.
                    if server.kind == Kind::Hickory
                        && *names > 1000
                        && matches!(mix, Mix::NoData | Mix::NxDomain)
                    {
                        continue;
                    }
                    let rate = dnsperf::run(server.address, server.peer.id(), &lines, mix != Mix::HitPlain)?;
                    let entry = measured.entry(server.kind).or_default();
                    entry.rates.push(rate.per_second);
                    entry.by_cpu.push(rate.per_cpu_second);
                }
            }
            rows.extend(rate_rows(mix, *names, &measured));
        }
    }
    Ok(rows)
}

fn rate_rows(mix: Mix, names: usize, measured: &BTreeMap<Kind, Measured>) -> Vec<Row> {
    let Some(ours) = measured.get(&Kind::Xcc) else { return vec![] };
    let what = format!("{}, {names} names, by dnsperf", mix.words());
    let mut rows = vec![];
    for (kind, peer) in measured.iter().filter(|(kind, _)| **kind != Kind::Xcc) {
        for (figure, words, unit, ours, peer) in [
            ("rate", "most answers with under 0.1 % loss", "answers/s", &ours.rates, &peer.rates),
            ("rate-per-cpu", "answers per CPU-second", "answers/CPU-s", &ours.by_cpu, &peer.by_cpu),
        ] {
            let [our_median, median] = [ours, peer].map(|values| Summary::of(values).median);
            tell(&format!("{words}, {what}: xcc {our_median:.0}, {} {median:.0}", kind.name()));
            let id = format!("B10.{figure}.{}.{names}.{}", mix.id(), kind.name());
            let row = Row::new(&id, &format!("{words}, {what}"), our_median, kind.name(), median, unit);
            rows.push(row.with_ratio(paired(ours, peer)));
        }
    }
    rows
}
