//! The names that benchmarks serve and ask for.

use std::net::IpAddr;

use anyhow::Result;
use xcc_dns::{ZoneConfig, Zones};
use xcc_model::{Hostname, ZoneName};

use crate::dns::query;
use crate::random::Random;

/// The zone.
pub const ZONE: &str = "xcc.test";
/// The gateway's address; there is none of IPv6, so that AAAA is NODATA.
pub const GATEWAY: &str = "10.0.0.1";
/// Requests that are made before a measurement and then asked in turns.
const REQUESTS: usize = 8192;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// Names that exist, without EDNS.
    HitPlain,
    /// Names that exist.
    Hit,
    /// A type that the names do not have.
    NoData,
    /// Names that do not exist, each another one.
    NxDomain,
}

impl Mix {
    /// All mixes.
    pub const ALL: [Self; 4] = [Self::Hit, Self::HitPlain, Self::NoData, Self::NxDomain];

    /// The mix in ids of results.
    pub fn id(self) -> &'static str {
        match self {
            Self::HitPlain => "hit-plain",
            Self::Hit => "hit",
            Self::NoData => "nodata",
            Self::NxDomain => "nxdomain",
        }
    }

    /// The mix in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::HitPlain => "A, no EDNS",
            Self::Hit => "A",
            Self::NoData => "AAAA, NODATA",
            Self::NxDomain => "A, NXDOMAIN",
        }
    }
}

/// So many names.
pub fn names(count: usize) -> Result<Vec<Hostname>> {
    Ok((0..count).map(|index| Hostname::parse(&name(index))).collect::<Result<_, _>>()?)
}

fn name(index: usize) -> String {
    format!("service-{index:05}.{ZONE}")
}

/// The zone with so many names, and its name server at these addresses.
pub fn zones(count: usize, name_server: &[IpAddr]) -> Result<Zones> {
    let config = ZoneConfig {
        apexes: vec![ZoneName::parse(ZONE)?],
        ttl_seconds: 30,
        name_server_addresses: name_server.to_vec(),
    };
    Ok(Zones::new(&config).with_addresses(&[GATEWAY.parse::<IpAddr>()?]).with_changes(&names(count)?, []))
}

/// The question of a random request: name and type.
fn question(mix: Mix, count: usize, random: &mut Random) -> (String, u16) {
    match mix {
        Mix::Hit | Mix::HitPlain => (name(random.below(count)), query::A),
        Mix::NoData => (name(random.below(count)), query::AAAA),
        Mix::NxDomain => (format!("absent-{:07}.{ZONE}", random.below(10_000_000)), query::A),
    }
}

/// Requests of the mix, the same for the same seed.
pub fn requests(mix: Mix, count: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random::new(seed);
    let edns = (mix != Mix::HitPlain).then_some(1232);
    let mut request = || {
        let (name, record_type) = question(mix, count, &mut random);
        query::request(&name, record_type, edns)
    };
    (0..REQUESTS).map(|_| request()).collect()
}

/// The same as lines for dnsperf.
pub fn dnsperf_lines(mix: Mix, count: usize, seed: u64) -> String {
    let mut random = Random::new(seed);
    let mut line = || {
        let (name, record_type) = question(mix, count, &mut random);
        format!("{name} {}\n", if record_type == query::A { "A" } else { "AAAA" })
    };
    (0..REQUESTS).map(|_| line()).collect()
}
