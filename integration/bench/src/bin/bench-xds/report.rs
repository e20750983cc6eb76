//! From measurements to rows.

use std::collections::BTreeMap;

use xcc_bench::statistics::Summary;
use xcc_bench::table::Row;
use xcc_bench::xds::server::Kind;

/// Says a line to people.
#[expect(clippy::print_stdout, reason = "a program for people")]
pub(crate) fn tell(line: &str) {
    println!("{line}");
}

/// The measurements of one figure by server, one for each round.
#[derive(Debug, Default)]
pub(crate) struct Figure {
    by_server: BTreeMap<Kind, Vec<f64>>,
}

impl Figure {
    pub(crate) fn add(&mut self, server: Kind, value: f64) {
        self.by_server.entry(server).or_default().push(value);
    }

    pub(crate) fn of(&self, server: Kind) -> Option<Summary> {
        self.by_server.get(&server).map(|values| Summary::of(values))
    }

    /// A row for each peer: ours against its median, with the least and the greatest of both in the case.
    pub(crate) fn rows(&self, id: &str, case: &str, unit: &str) -> Vec<(Kind, Row)> {
        let Some(ours) = self.of(Kind::Xcc) else { return Vec::new() };
        let peers = self.by_server.keys().filter(|kind| **kind != Kind::Xcc);
        peers
            .filter_map(|kind| {
                // Nothing has no ratio: a figure of 0 is held against a budget.
                let peer = self.of(*kind).filter(|peer| peer.median != 0.0)?;
                let case = format!("{case} ({}; {})", range(&ours), range(&peer));
                let id = format!("{id}.{}", kind.id());
                Some((*kind, Row::new(&id, &case, ours.median, kind.name(), peer.median, unit)))
            })
            .collect()
    }

    /// Ours against a number that it must not exceed.
    pub(crate) fn budget(&self, id: &str, case: &str, budget: f64, unit: &str) -> Option<Row> {
        let ours = self.of(Kind::Xcc)?;
        let case = format!("{case} ({})", range(&ours));
        Some(
            Row::new(id, &case, ours.median, "budget", budget, unit)
                .with_limit(xcc_bench::table::Limit::AtMost(1.0)),
        )
    }
}

pub(crate) fn range(summary: &Summary) -> String {
    format!("{} to {}", Short(summary.min), Short(summary.max))
}

/// A number with about three digits.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.abs() {
            100.0.. => write!(f, "{:.0}", self.0),
            1.0.. => write!(f, "{:.1}", self.0),
            _ => write!(f, "{:.3}", self.0),
        }
    }
}
