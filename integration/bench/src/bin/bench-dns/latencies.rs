//! How long answers take while the zone changes.

use std::time::Duration;

use anyhow::Result;
use xcc_bench::dns::load::{Clients, closed_loop, open_loop};
use xcc_bench::dns::servers::{Kind, Plan};
use xcc_bench::dns::workload::{Mix, requests};
use xcc_bench::statistics::Summary;
use xcc_bench::table::{Limit, Row};

use crate::{Arguments, CLIENTS, SEED, WORKERS, paired, tell};

/// Names of the zone that changes under load, and changes per second.
const CHANGING_NAMES: usize = 10_000;
const CHANGES_PER_SECOND: u32 = 100;
/// How long each server is asked in a round: some hundred replies are slower than p99.
const TIME: Duration = Duration::from_secs(1);

/// Latency at half of what CoreDNS can do, at rest and while the zone changes.
pub(crate) fn rows(arguments: &Arguments) -> Result<Vec<Row>> {
    let plan = Plan { names: CHANGING_NAMES, workers: WORKERS, processor: None, changes_per_second: 0 };
    let peer = Kind::CorednsHosts.start(plan)?;
    let (rest, storm) =
        (Kind::Xcc.start(plan)?, Kind::Xcc.start(Plan { changes_per_second: CHANGES_PER_SECOND, ..plan })?);
    let requests = requests(Mix::Hit, CHANGING_NAMES, SEED);
    let many = Clients { threads: 4 * CLIENTS.threads, ..CLIENTS };
    let most = closed_loop(peer.address, peer.peer.id(), &requests, many, TIME, &[0])?.rate;
    let mut p99 = [vec![], vec![], vec![]];
    let mut p50 = [vec![], vec![], vec![]];
    for round in 0..arguments.rounds {
        let mut servers = [(0, &rest), (1, &storm), (2, &peer)];
        servers.rotate_left(round % 3);
        for (index, server) in servers {
            let latency = open_loop(server.address, &requests, most / 2.0, TIME)?;
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
        )
        .with_ratio(paired(&values[1], &values[0]));
        rows.push(if figure == "p99" { row.with_limit(Limit::AtMost(1.2)) } else { row });
        let row = Row::new(
            &format!("B11.{figure}.coredns"),
            &format!("{figure} at rest, {at}"),
            resting,
            "coredns-hosts",
            peer,
            "us",
        );
        rows.push(row.with_ratio(paired(&values[0], &values[2])));
    }
    Ok(rows)
}
