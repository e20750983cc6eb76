//! The scenarios of the public conformance suite ii/xds-test-harness as a table: 98 rows in the protocol's four variants.
//!
//! As there, resources hold nothing but a name, versions are forced labels (an update labels the type and the resource),
//! unsubscribing from everything in SotW asks for the empty name, and a client that has ACKed everything must not have been
//! sent more responses than it made requests.

use std::collections::BTreeSet;

use super::{
    fixtures::{Driven, strings},
    *,
};
use crate::resource::Resource;

const CDS: TypeUrl = TypeUrl::Cluster;
const EDS: TypeUrl = TypeUrl::Endpoint;
const LDS: TypeUrl = TypeUrl::Listener;
const RDS: TypeUrl = TypeUrl::RouteConfiguration;

/// One variant of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tag {
    Sotw,
    SotwAds,
    Delta,
    DeltaAds,
}

use Tag::{Delta, DeltaAds, Sotw, SotwAds};

struct Scenario {
    rule: &'static str,
    tags: &'static [Tag],
    run: fn(&mut Suite, &Row),
    rows: &'static [Row],
}

/// Types, the names that exist at first, those that are subscribed to, and those that change.
struct Row(&'static [TypeUrl], &'static [&'static str], &'static [&'static str], &'static [&'static str]);

static SCENARIOS: &[Scenario] = &[
    Scenario {
        rule: "a wildcard is sent everything, in one response",
        tags: &[Sotw, SotwAds],
        run: |suite, row| {
            suite.set_up(row);
            suite.subscribe(&row.0[0], &[]);
            suite.expect_exactly(&row.0[0], row.1, "1");
        },
        rows: &[
            Row(&[CDS], &["A", "B", "C"], &[], &[]), //
            Row(&[LDS], &["D", "E", "F"], &[], &[]),
        ],
    },
    Scenario {
        rule: "a wildcard is sent updates, in one response",
        tags: &[Sotw, SotwAds],
        run: |suite, row| {
            suite.set_up(row);
            suite.subscribe(&row.0[0], &[]);
            suite.expect_exactly(&row.0[0], row.1, "1");
            suite.set(&row.0[0], row.3[0], "2");
            suite.expect_exactly(&row.0[0], row.1, "2");
        },
        rows: &[Row(&[CDS], &["A", "B", "C"], &[], &["A"]), Row(&[LDS], &["D", "E", "F"], &[], &["D"])],
    },
    Scenario {
        rule: "a wildcard is sent what is added",
        tags: &[Sotw, SotwAds],
        run: |suite, row| {
            suite.set_up(row);
            suite.subscribe(&row.0[0], &[]);
            suite.expect_exactly(&row.0[0], row.1, "1");
            suite.set(&row.0[0], row.3[0], "2");
            suite.expect_exactly(&row.0[0], &[row.1, row.3].concat(), "2");
        },
        rows: &[Row(&[CDS], &["A", "B", "C"], &[], &["D"]), Row(&[LDS], &["D", "E", "F"], &[], &["G"])],
    },
    Scenario {
        rule: "names are sent what they name",
        tags: &[Sotw, SotwAds, Delta, DeltaAds],
        run: |suite, row| {
            suite.set_up(row);
            suite.subscribe(&row.0[0], row.2);
            suite.expect_exactly(&row.0[0], row.2, "1");
        },
        rows: &[
            Row(&[LDS], &["G", "B", "L", "D"], &["L", "G"], &[]),
            Row(&[RDS], &["B", "A"], &["B", "A"], &[]),
        ],
    },
    Scenario {
        rule: "names are sent their updates: the whole state of these types",
        tags: &[Sotw, SotwAds],
        run: |suite, row| {
            suite.set_up(row);
            suite.subscribe(&row.0[0], row.2);
            suite.expect_exactly(&row.0[0], row.2, "1");
            suite.set(&row.0[0], row.3[0], "2");
            suite.expect_exactly(&row.0[0], row.2, "2");
        },
        rows: &[
            Row(&[CDS], &["A", "B", "C", "D"], &["B", "D"], &["B"]),
            Row(&[LDS], &["G", "B", "L", "D"], &["L", "G"], &["G"]),
        ],
    },
    Scenario {
        rule: "names are sent their updates: the changed ones of these types",
        tags: &[Sotw, SotwAds],
        run: |suite, row| {
            suite.set_up(row);
            suite.subscribe(&row.0[0], row.2);
            suite.expect_exactly(&row.0[0], row.2, "1");
            suite.set(&row.0[0], row.3[0], "2");
            suite.expect_exactly(&row.0[0], row.3, "2");
        },
        rows: &[
            Row(&[RDS], &["A", "B", "C", "D"], &["B", "D"], &["B"]),
            Row(&[EDS], &["A", "B", "C", "D"], &["B", "D"], &["B"]),
        ],
    },
    Scenario {
        rule: "names that do not exist are sent when created: the whole state of these types",
        tags: &[Sotw, SotwAds],
        run: |suite, row| {
            suite.set_up(row);
            suite.subscribe(&row.0[0], row.2);
            suite.expect_exactly(&row.0[0], &suite.existing(row), "1");
            suite.set(&row.0[0], row.3[0], "2");
            suite.expect_exactly(&row.0[0], row.2, "2");
        },
        rows: &[
            Row(&[CDS], &["A", "B", "C"], &["A", "Z"], &["Z"]),
            Row(&[LDS], &["G", "B", "D"], &["B", "D", "X"], &["X"]),
        ],
    },
    Scenario {
        rule: "names that do not exist are sent when created: the new ones of these types",
        tags: &[Sotw, SotwAds],
        run: |suite, row| {
            suite.set_up(row);
            suite.subscribe(&row.0[0], row.2);
            suite.expect_exactly(&row.0[0], &suite.existing(row), "1");
            suite.set(&row.0[0], row.3[0], "2");
            suite.expect_exactly(&row.0[0], row.3, "2");
        },
        rows: &[
            Row(&[RDS], &["A", "B", "C", "D"], &["A", "Z"], &["Z"]),
            Row(&[EDS], &["A", "B", "C", "D"], &["A", "Z"], &["Z"]),
        ],
    },
    Scenario {
        rule: "two types on one stream, the first one is updated",
        tags: &[SotwAds],
        run: |suite, row| {
            suite.set_up(row);
            for type_url in row.0 {
                suite.subscribe(type_url, row.2);
                suite.expect_exactly(type_url, row.2, "1");
            }
            suite.set(&row.0[0], row.2[0], "2");
            suite.expect_exactly(&row.0[0], row.2, "2");
        },
        rows: &[
            Row(&[CDS, LDS], &["A", "B", "C"], &["B"], &[]),
            Row(&[RDS, EDS], &["A", "B", "C"], &["B"], &[]),
        ],
    },
    Scenario {
        rule: "unsubscribing from some leaves the others",
        tags: &[Sotw, SotwAds],
        run: |suite, row| {
            suite.set_up(row);
            suite.subscribe(&row.0[0], row.2);
            suite.expect_exactly(&row.0[0], row.2, "1");
            suite.subscribe(&row.0[0], row.3);
            suite.set(&row.0[0], row.3[0], "2");
            suite.expect_exactly(&row.0[0], row.3, "2");
        },
        rows: &[
            Row(&[CDS], &["F", "A", "B", "C", "D"], &["C", "A", "B"], &["A"]),
            Row(&[LDS], &["G", "B", "L", "D"], &["B", "D", "L"], &["B"]),
            Row(&[RDS], &["A", "B", "C", "D"], &["B", "D"], &["B"]),
            Row(&[EDS], &["A", "B", "C", "D"], &["B", "D"], &["B"]),
        ],
    },
    Scenario {
        rule: "unsubscribing from everything ends the updates",
        tags: &[Sotw, SotwAds],
        run: |suite, row| {
            suite.set_up(row);
            suite.subscribe(&row.0[0], row.2);
            suite.expect_exactly(&row.0[0], row.2, "1");
            suite.subscribe(&row.0[0], &[""]);
            suite.set(&row.0[0], row.3[0], "2");
            suite.expect_nothing();
        },
        rows: &[
            Row(&[CDS], &["A", "B", "C", "D"], &["A", "B"], &["B"]),
            Row(&[RDS], &["A", "B", "C", "D"], &["A", "B"], &["B"]),
            Row(&[LDS], &["A", "B", "C", "D"], &["A", "B"], &["B"]),
            Row(&[EDS], &["A", "B", "C", "D"], &["A", "B"], &["B"]),
        ],
    },
    Scenario {
        rule: "subscribing to one after the other is sent only the new one",
        tags: &[Delta, DeltaAds],
        run: |suite, row| {
            suite.set_up(row);
            for name in row.2 {
                suite.subscribe(&row.0[0], &[name]);
                suite.expect_exactly(&row.0[0], &[name], "1");
            }
        },
        rows: &[
            Row(&[CDS], &["A", "B", "C"], &["A", "B"], &[]),
            Row(&[LDS], &["D", "E", "F"], &["D", "E"], &[]),
            Row(&[RDS], &["D", "E", "F"], &["D", "E"], &[]),
            Row(&[EDS], &["D", "E", "F"], &["D", "E"], &[]),
        ],
    },
    Scenario {
        rule: "an update is sent alone",
        tags: &[Delta, DeltaAds],
        run: |suite, row| {
            suite.set_up(row);
            suite.subscribe(&row.0[0], row.1);
            suite.expect_exactly(&row.0[0], row.1, "1");
            suite.set(&row.0[0], row.3[0], "2");
            suite.expect_exactly(&row.0[0], row.3, "2");
        },
        rows: &[
            Row(&[LDS], &["A", "B", "C"], &[], &["A"]),
            Row(&[CDS], &["A", "B", "C"], &[], &["A"]),
            Row(&[RDS], &["A", "B", "C"], &[], &["A"]),
            Row(&[EDS], &["A", "B", "C"], &[], &["A"]),
        ],
    },
    Scenario {
        rule: "a name that does not exist is reported, and sent when created",
        tags: &[Delta, DeltaAds],
        run: |suite, row| {
            suite.set_up(row);
            suite.subscribe(&row.0[0], row.2);
            suite.expect(&row.0[0], row.1, row.3, "1");
            suite.set(&row.0[0], row.3[0], "1");
            suite.expect_exactly(&row.0[0], row.3, "1");
        },
        rows: &[
            Row(&[CDS], &["A"], &["A", "B"], &["B"]),
            Row(&[LDS], &["D"], &["D", "E"], &["E"]),
            Row(&[RDS], &["D"], &["D", "E"], &["E"]),
            Row(&[EDS], &["D"], &["D", "E"], &["E"]),
        ],
    },
    Scenario {
        rule: "a removal is reported, and what comes back is sent",
        tags: &[Delta, DeltaAds],
        run: |suite, row| {
            suite.set_up(row);
            suite.subscribe(&row.0[0], row.1);
            suite.expect_exactly(&row.0[0], row.1, "1");
            suite.remove(&row.0[0], row.3[0]);
            suite.expect(&row.0[0], &[], row.3, "1");
            suite.set(&row.0[0], row.3[0], "2");
            suite.expect_exactly(&row.0[0], row.3, "2");
        },
        rows: &[
            Row(&[CDS], &["A", "B"], &[], &["B"]),
            Row(&[LDS], &["D", "E"], &[], &["E"]),
            Row(&[RDS], &["D", "E"], &[], &["E"]),
            Row(&[EDS], &["D", "E"], &[], &["E"]),
        ],
    },
    Scenario {
        rule: "what is unsubscribed from one by one is sent no more",
        tags: &[Delta, DeltaAds],
        run: |suite, row| {
            suite.set_up(row);
            suite.subscribe(&row.0[0], row.1);
            suite.expect_exactly(&row.0[0], row.1, "1");
            for name in row.3 {
                suite.unsubscribe(&row.0[0], name);
                suite.set(&row.0[0], name, "2");
                suite.expect_nothing();
            }
        },
        rows: &[
            Row(&[CDS], &["A", "B"], &[], &["B", "A"]),
            Row(&[LDS], &["D", "E"], &[], &["E", "D"]),
            Row(&[RDS], &["D", "E"], &[], &["E", "D"]),
            Row(&[EDS], &["D", "E"], &[], &["E", "D"]),
        ],
    },
    Scenario {
        rule: "two types on one stream, both are updated",
        tags: &[DeltaAds],
        run: |suite, row| {
            suite.set_up(row);
            row.0.iter().for_each(|type_url| suite.subscribe(type_url, row.2));
            suite.expect_of_all(row.0, row.2, "1");
            for type_url in row.0 {
                suite.set(type_url, row.2[0], "2");
                suite.expect_exactly(type_url, row.2, "2");
            }
        },
        rows: &[
            Row(&[CDS, LDS], &["A", "B", "C"], &["B"], &[]),
            Row(&[LDS, CDS], &["A", "B", "C"], &["B"], &[]),
            Row(&[RDS, EDS], &["A", "B", "C"], &["B"], &[]),
            Row(&[EDS, RDS], &["A", "B", "C"], &["B"], &[]),
        ],
    },
];

/// Server and client of one row.
struct Suite {
    tag: Tag,
    client: Driven,
    requests: usize,
    responses: usize,
    nonces: BTreeSet<String>,
}

impl Suite {
    fn new(tag: Tag, row: &Row) -> Self {
        let client = match tag {
            Sotw => Driven::for_type(Variant::Sotw, row.0[0].clone()),
            Delta => Driven::for_type(Variant::Delta, row.0[0].clone()),
            SotwAds => Driven::sotw(),
            DeltaAds => Driven::delta(),
        };
        Self { tag, client, requests: 0, responses: 0, nonces: BTreeSet::new() }
    }

    fn is_sotw(&self) -> bool {
        matches!(self.tag, Sotw | SotwAds)
    }

    fn set_up(&mut self, row: &Row) {
        let mut builder = Snapshot::builder();
        for type_url in row.0 {
            for name in row.1 {
                builder.insert(named(type_url, name, "1"));
            }
            builder.with_type_version(type_url.clone(), "1");
        }
        self.client.publish_snapshot(builder.build().unwrap());
    }

    /// Adds or updates a resource.
    fn set(&mut self, type_url: &TypeUrl, name: &str, version: &str) {
        let mut builder = self.client.store.load().unwrap().to_builder();
        builder.insert(named(type_url, name, version)).with_type_version(type_url.clone(), version);
        self.client.publish_snapshot(builder.build().unwrap());
    }

    fn remove(&mut self, type_url: &TypeUrl, name: &str) {
        let mut builder = self.client.store.load().unwrap().to_builder();
        self.client.publish_snapshot(builder.remove(type_url, name).build().unwrap());
    }

    /// The names of the row that are subscribed to and exist at first.
    fn existing(&self, row: &Row) -> Vec<&'static str> {
        row.2.iter().copied().filter(|name| row.1.contains(name)).collect()
    }

    fn subscribe(&mut self, type_url: &TypeUrl, names: &[&str]) {
        self.requests += 1;
        self.client.subscribe(type_url, names);
    }

    fn unsubscribe(&mut self, type_url: &TypeUrl, name: &str) {
        self.requests += 1;
        self.client.unsubscribe(type_url, &[name]);
    }

    fn expect_nothing(&mut self) {
        self.client.expect_nothing();
    }

    /// One response with these resources and no others.
    fn expect_exactly(&mut self, type_url: &TypeUrl, names: &[&str], version: &str) {
        self.expect(type_url, names, &[], version);
    }

    fn expect(&mut self, type_url: &TypeUrl, names: &[&str], removed: &[&str], version: &str) {
        let response = self.client.expect();
        assert_eq!(&response.type_url, type_url);
        self.check(&response, names, removed, version);
        self.client.expect_nothing();
    }

    /// One response of each type, in any order.
    fn expect_of_all(&mut self, types: &[TypeUrl], names: &[&str], version: &str) {
        let mut missing: BTreeSet<&TypeUrl> = types.iter().collect();
        while !missing.is_empty() {
            let response = self.client.expect();
            assert!(missing.remove(&response.type_url), "{} came twice", response.type_url);
            self.check(&response, names, &[], version);
        }
        self.client.expect_nothing();
    }

    fn check(&mut self, response: &Response, names: &[&str], removed: &[&str], version: &str) {
        let mut names = strings(names);
        names.sort();
        let sent: Vec<_> = response.resources.iter().map(|r| r.name().to_string()).collect();
        assert_eq!(sent, names);
        let gone: Vec<_> = response.removed.iter().map(|name| name.to_string()).collect();
        assert_eq!(gone, strings(removed));
        assert_eq!(response.version.to_string(), version);
        if !self.is_sotw() {
            let versions: BTreeSet<_> = response.resources.iter().map(|r| r.version().to_string()).collect();
            assert!(versions.iter().all(|sent| sent == version), "{versions:?}, not {version}");
        }
        assert!(self.nonces.insert(response.nonce.clone()), "no other response has the nonce");
        self.responses += 1;
        self.client.ack(response);
        self.requests += 1;
    }

    /// The service never responded more than necessary.
    fn finish(mut self) {
        self.client.expect_nothing();
        assert!(self.responses < self.requests, "{} responses, {} requests", self.responses, self.requests);
    }
}

/// A resource that holds nothing but its name.
fn named(type_url: &TypeUrl, name: &str, version: &str) -> Resource {
    let mut value = vec![0x0a, u8::try_from(name.len()).unwrap()];
    value.extend_from_slice(name.as_bytes());
    Resource::from_encoded(type_url.clone(), name, value.into()).with_version(version)
}

#[test]
fn all_scenarios_of_the_public_suite_hold() {
    let mut rows = BTreeMap::new();
    for scenario in SCENARIOS {
        for row in scenario.rows {
            for tag in scenario.tags {
                // Named here, as an assertion that fails does not know its row.
                println!("{tag:?} {} {:?}", scenario.rule, row.0);
                let mut suite = Suite::new(*tag, row);
                (scenario.run)(&mut suite, row);
                suite.finish();
                *rows.entry(*tag).or_insert(0) += 1;
            }
        }
    }
    // As many as the suite has.
    assert_eq!(rows, BTreeMap::from([(Sotw, 24), (SotwAds, 26), (Delta, 22), (DeltaAds, 26)]));
}
