//! What an answer costs the server, by case and server.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use xcc_bench::dns::load::closed_loop;
use xcc_bench::dns::servers::{Kind, Plan, Server};
use xcc_bench::dns::workload::{Mix, requests};
use xcc_bench::statistics::Summary;
use xcc_bench::table::{Limit, Row};

use crate::{Arguments, CLIENTS, SEED, WORKERS, in_turn, paired, peers, tell};

const UNIT: &str = "CPU-us/answer";

/// Microseconds of processor time per answer in each round, by mix, names and server.
#[derive(Default)]
struct Prices(BTreeMap<(&'static str, usize, Kind), Vec<f64>>);

/// Servers of zones with so many names.
struct Zone {
    names: usize,
    servers: Vec<Server>,
}

/// Measures all cases.
pub(crate) fn rows(arguments: &Arguments) -> Result<Vec<Row>> {
    let prices = measure(arguments)?;
    let mut rows = vec![];
    for names in &arguments.names {
        for mix in Mix::ALL {
            prices.tell(mix, *names);
            rows.extend(prices.against_peers(mix, *names, &peers(arguments)));
            rows.extend(prices.against_ours(mix, *names, Mix::Hit, *names, "hit", 1.2));
            let one = arguments.names.iter().min().copied().unwrap_or(1);
            rows.extend(prices.against_ours(mix, *names, mix, one, "names", 1.1));
        }
    }
    Ok(rows)
}

fn measure(arguments: &Arguments) -> Result<Prices> {
    let start = |names| -> Result<Zone> {
        let plan = Plan { names, workers: WORKERS, processor: None, changes_per_second: 0 };
        let kinds = [Kind::Xcc].into_iter().chain(peers(arguments));
        Ok(Zone { names, servers: kinds.map(|kind| kind.start(plan)).collect::<Result<_>>()? })
    };
    let zones = arguments.names.iter().map(|names| start(*names)).collect::<Result<Vec<_>>>()?;
    let mut prices = Prices::default();
    let time = Duration::from_millis(arguments.milliseconds);
    for round in 0..arguments.rounds {
        for mix in Mix::ALL {
            for Zone { names, servers } in &zones {
                let requests = requests(mix, *names, SEED);
                for server in in_turn(servers, round) {
                    let codes = server.kind.codes();
                    let price =
                        closed_loop(server.address, server.peer.id(), &requests, CLIENTS, time, codes)
                            .with_context(|| format!("{} with {names} names", server.kind.name()))?;
                    prices.0.entry((mix.id(), *names, server.kind)).or_default().push(price.microseconds);
                }
            }
        }
    }
    Ok(prices)
}

impl Prices {
    fn of(&self, mix: Mix, names: usize, kind: Kind) -> Option<&[f64]> {
        self.0.get(&(mix.id(), names, kind)).map(Vec::as_slice)
    }

    /// Prints what each server's answers cost.
    fn tell(&self, mix: Mix, names: usize) {
        for ((_, _, kind), prices) in
            self.0.iter().filter(|((id, count, _), _)| (*id, *count) == (mix.id(), names))
        {
            let Summary { median, min, max } = Summary::of(prices);
            let (what, name) = (mix.words(), kind.name());
            tell(&format!("{names} names, {what}: {name} {median:.2} us ({min:.2} to {max:.2})"));
        }
    }

    fn against_peers(&self, mix: Mix, names: usize, peers: &[Kind]) -> Vec<Row> {
        let Some(ours) = self.of(mix, names, Kind::Xcc) else { return vec![] };
        let row = |id: &str, kind: Kind, peer_name: &str| {
            let peer = self.of(mix, names, kind)?;
            let case = format!("CPU per answer, {}, {names} names", mix.words());
            let medians = [ours, peer].map(|prices| Summary::of(prices).median);
            let id = format!("B10.cpu.{}.{names}.{id}", mix.id());
            Some(Row::new(&id, &case, medians[0], peer_name, medians[1], UNIT).with_ratio(paired(ours, peer)))
        };
        let mut rows: Vec<Row> = vec![];
        for kind in peers {
            let Some(row) = row(kind.name(), *kind, kind.name()) else { continue };
            rows.push(match kind {
                Kind::Echo => row.with_limit(Limit::AtMost(1.3)),
                Kind::CorednsFile => row.with_limit(Limit::AtMost(0.25)),
                Kind::CorednsHosts => row.with_limit(Limit::AtMost(0.34)),
                _ => row,
            });
        }
        let both = [Kind::Nsd, Kind::Knot].into_iter();
        let both = both.filter_map(|kind| row("fastest", kind, "the faster of NSD and Knot"));
        let faster = both.max_by(|one, other| one.ratio.total_cmp(&other.ratio));
        rows.extend(faster.map(|row| row.with_limit(Limit::AtMost(1.0))));
        rows
    }

    /// The case beside another of ours, unless it is the same.
    fn against_ours(
        &self,
        mix: Mix,
        names: usize,
        other_mix: Mix,
        other_names: usize,
        id: &str,
        limit: f64,
    ) -> Option<Row> {
        if (mix, names) == (other_mix, other_names) {
            return None;
        }
        let (ours, other) = (self.of(mix, names, Kind::Xcc)?, self.of(other_mix, other_names, Kind::Xcc)?);
        let case = format!("CPU per answer, {}, {names} names", mix.words());
        let other_name =
            if mix == other_mix { format!("xcc, {other_names} names") } else { "xcc, A".to_owned() };
        let medians = [ours, other].map(|prices| Summary::of(prices).median);
        let id = format!("B10.cpu.{}.{names}.{id}", mix.id());
        let row = Row::new(&id, &case, medians[0], &other_name, medians[1], UNIT);
        Some(row.with_ratio(paired(ours, other)).with_limit(Limit::AtMost(limit)))
    }
}
