//! The zones themselves: their names, how they nest, and what stays the same while names come and go.

use std::collections::BTreeSet;
use std::net::IpAddr;

use xcc_model::ZoneName;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::addresses::Addresses;
use crate::name::Name;

/// Longest negative answer's life, whatever the TTL: a resolver should not hold "no such name" much longer than it
/// takes to export one (RFC 2308, section 5).
const NEGATIVE_TTL_SECONDS_MAX: u32 = 30;
/// Largest TTL there is (RFC 2181, section 8).
const TTL_SECONDS_MAX: u32 = i32::MAX as u32;

/// What stays the same while the names come and go.
#[derive(Debug, Clone)]
pub struct ZoneConfig {
    /// The zones that are answered for.
    pub apexes: Vec<ZoneName>,
    /// Life of a positive answer in seconds; a negative one lives as long, but at most 30 seconds.
    pub ttl_seconds: u32,
    /// Addresses of `ns.dns.<zone>`. Without any, that name exists and has no records.
    pub name_server_addresses: Vec<IpAddr>,
}

/// What [`ZoneConfig`] says, checked and indexed.
#[derive(Clone)]
pub(crate) struct Origin {
    /// Longest first, so that the first match is the closest.
    pub(crate) apexes: Vec<Apex>,
    pub(crate) ttl_seconds: u32,
    pub(crate) negative_ttl_seconds: u32,
    pub(crate) name_server: Addresses,
    /// Of the apexes and the TTL.
    pub(crate) hash: u64,
}

/// One zone.
#[derive(Clone)]
pub(crate) struct Apex {
    pub(crate) zone: ZoneName,
    pub(crate) name: Name,
    /// The closest of our own zones that this one lies in.
    pub(crate) parent: Option<usize>,
}

impl Origin {
    pub(crate) fn new(config: &ZoneConfig) -> Self {
        let unique: BTreeSet<&ZoneName> = config.apexes.iter().collect();
        let mut named: Vec<(Name, &ZoneName)> =
            unique.into_iter().filter_map(|zone| Some((Name::parse(zone.as_str())?, zone))).collect();
        named.sort_by_key(|(name, _)| std::cmp::Reverse(name.labels()));
        let parent = |index: usize| {
            let (name, _) = &named[index];
            (index + 1..named.len()).find(|other| name.is_within(&named[*other].0))
        };
        let apexes: Vec<Apex> = (0..named.len())
            .map(|index| Apex {
                zone: named[index].1.clone(),
                name: named[index].0.clone(),
                parent: parent(index),
            })
            .collect();
        let ttl_seconds = config.ttl_seconds.min(TTL_SECONDS_MAX);
        let name_server = Addresses::new(&config.name_server_addresses);
        let mut hash = xxh3_64(&ttl_seconds.to_be_bytes());
        for apex in &apexes {
            hash = xxh3_64_with_seed(apex.name.as_wire(), hash);
        }
        let negative_ttl_seconds = ttl_seconds.min(NEGATIVE_TTL_SECONDS_MAX);
        Self { apexes, ttl_seconds, negative_ttl_seconds, name_server, hash }
    }

    /// The closest zone that the name is in.
    pub(crate) fn closest(&self, name: &Name) -> Option<usize> {
        self.apexes.iter().position(|apex| name.is_within(&apex.name))
    }
}

impl Apex {
    /// The name server's name; none when the apex is so long that nothing fits before it.
    pub(crate) fn name_server(&self) -> Option<Name> {
        Name::parse(&self.zone.name_server())
    }
}
