//! The immutable table of everything that is answered: apexes, names, empty non-terminals, addresses.
//!
//! Every name and every ancestor of a name below its apex is a node. A node counts what lies below it, so that a change
//! costs as much as the changed names have labels, and an empty non-terminal goes when the last name below it goes.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use xcc_model::{Hostname, ZoneName};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::name::Name;

/// Longest negative answer's life, whatever the TTL: a resolver should not hold "no such name" much longer than it
/// takes to export one (RFC 2308, section 5).
const NEGATIVE_TTL_SECONDS_MAX: u32 = 30;
/// Largest TTL there is (RFC 2181, section 8).
const TTL_SECONDS_MAX: u32 = i32::MAX as u32;
/// Most addresses of one family in an answer. 59 fit into a UDP reply, and all of these into a TCP reply.
const ADDRESSES_MAX: usize = 256;

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

/// IP addresses by family, sorted, each once.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// What A is answered with.
    pub v4: Vec<Ipv4Addr>,
    /// What AAAA is answered with.
    pub v6: Vec<Ipv6Addr>,
}

/// The immutable table of everything that is answered. Clones share their content.
#[derive(Clone)]
pub struct Zones {
    pub(crate) origin: Arc<Origin>,
    pub(crate) gateway: Arc<Addresses>,
    /// Keyed by wire form in lower case. The hasher is the seeded one: names are chosen by the remotes.
    pub(crate) nodes: imbl::HashMap<Arc<[u8]>, Node>,
    names: usize,
    /// Sum of the names' hashes, so that adding and removing commute.
    names_hash: u64,
    serial: u32,
}

/// What [`ZoneConfig`] says, checked and indexed.
pub(crate) struct Origin {
    /// Longest first, so that the first match is the closest.
    pub(crate) apexes: Vec<Apex>,
    pub(crate) ttl_seconds: u32,
    pub(crate) negative_ttl_seconds: u32,
    pub(crate) name_server: Addresses,
    hash: u64,
}

/// One zone.
pub(crate) struct Apex {
    pub(crate) zone: ZoneName,
    pub(crate) name: Name,
    /// The closest of our own zones that this one lies in.
    pub(crate) parent: Option<usize>,
}

/// A name that exists.
#[derive(Clone)]
pub(crate) struct Node {
    /// Index into [`Origin::apexes`].
    pub(crate) apex: usize,
    pub(crate) content: Content,
    /// How many names lie below.
    below: usize,
}

/// What stands at a name.
#[derive(Clone)]
pub(crate) enum Content {
    /// Nothing: an empty non-terminal (RFC 8020).
    Empty,
    /// SOA and NS.
    Apex,
    /// The name server's addresses.
    NameServer,
    /// The gateway's addresses; a wildcard stands at its literal name `*.domain`.
    Gateway(Hostname),
}

impl Zones {
    /// The zones without names; the gateway's addresses are not known yet.
    pub fn new(config: &ZoneConfig) -> Self {
        let origin = Arc::new(Origin::new(config));
        let nodes = imbl::HashMap::new();
        let mut zones = Self {
            gateway: Arc::default(),
            nodes,
            names: 0,
            names_hash: 0,
            serial: 0,
            origin: origin.clone(),
        };
        for (index, apex) in origin.apexes.iter().enumerate() {
            if let Some(parent) = apex.parent {
                zones.count_below(&apex.name, parent, 1);
            }
            zones.node(apex.name.as_wire(), index).content = Content::Apex;
        }
        for apex in &origin.apexes {
            let Some(server) = apex.name_server() else { continue };
            let Some(closest) = origin.closest(&server) else { continue };
            let node = zones.node(server.as_wire(), closest);
            if matches!(node.content, Content::Empty) {
                node.content = Content::NameServer;
                zones.count_below(&server, closest, 1);
            }
        }
        zones.with_serial()
    }

    /// The same names with these addresses of the gateway. Without any address the names stay and are answered with
    /// SERVFAIL. At most 256 of each family are taken, the lowest.
    #[must_use]
    pub fn with_addresses(&self, gateway: &[IpAddr]) -> Self {
        Self { gateway: Arc::new(Addresses::new(gateway)), ..self.clone() }.with_serial()
    }

    /// The same zones without the removed and then with the added names, at the cost of the changed names only.
    ///
    /// Names that lie in none of the zones, or that a zone needs for itself ([`ZoneName::reserves`]), are not taken.
    #[must_use]
    pub fn with_changes<'a>(
        &self,
        added: impl IntoIterator<Item = &'a Hostname>,
        removed: impl IntoIterator<Item = &'a Hostname>,
    ) -> Self {
        let mut zones = self.clone();
        for hostname in removed {
            zones.remove(hostname);
        }
        for hostname in added {
            zones.add(hostname);
        }
        zones.with_serial()
    }

    /// Whether the name is in the table. A wildcard is asked for by its literal name.
    pub fn contains(&self, hostname: &Hostname) -> bool {
        let Some(name) = Name::parse(hostname.as_str()) else { return false };
        self.nodes.get(name.as_wire()).and_then(Node::hostname).is_some()
    }

    /// How many names there are, without the zones' own.
    pub fn len(&self) -> usize {
        self.names
    }

    /// Whether there are no names but the zones' own.
    pub fn is_empty(&self) -> bool {
        self.names == 0
    }

    /// The names in order, without the zones' own.
    pub fn names(&self) -> impl Iterator<Item = &Hostname> {
        let mut names: Vec<&Hostname> = self.nodes.values().filter_map(Node::hostname).collect();
        names.sort_unstable();
        names.into_iter()
    }

    /// The gateway's addresses; empty while they are unknown.
    pub fn addresses(&self) -> &Addresses {
        &self.gateway
    }

    /// The SOA's serial: a hash of all content, so that it moves with the content and is equal in two replicas that
    /// answer the same. It does not count upwards; nobody transfers these zones.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    fn with_serial(self) -> Self {
        let hashes = [self.names_hash, self.origin.hash, self.gateway.hash()];
        let octets: Vec<u8> = hashes.into_iter().flat_map(u64::to_be_bytes).collect();
        Self { serial: xxh3_64(&octets) as u32, ..self }
    }

    fn add(&mut self, hostname: &Hostname) {
        let Some((name, apex)) = self.place(hostname) else { return };
        let node = self.node(name.as_wire(), apex);
        if !matches!(node.content, Content::Empty) {
            return;
        }
        node.content = Content::Gateway(hostname.clone());
        self.count_below(&name, apex, 1);
        self.names += 1;
        self.names_hash = self.names_hash.wrapping_add(xxh3_64(name.as_wire()));
    }

    fn remove(&mut self, hostname: &Hostname) {
        let Some((name, apex)) = self.place(hostname) else { return };
        let Some(node) = self.nodes.get_mut(name.as_wire()) else { return };
        if node.hostname().is_none() {
            return;
        }
        node.content = Content::Empty;
        if node.below == 0 {
            self.nodes.remove(name.as_wire());
        }
        self.count_below(&name, apex, -1);
        self.names -= 1;
        self.names_hash = self.names_hash.wrapping_sub(xxh3_64(name.as_wire()));
    }

    /// The name in wire form and its zone, or none when it is not to be taken.
    fn place(&self, hostname: &Hostname) -> Option<(Name, usize)> {
        let name = Name::parse(hostname.as_str())?;
        let index = self.origin.closest(&name)?;
        let zone = &self.origin.apexes[index].zone;
        (zone.contains(hostname) && !zone.reserves(hostname)).then_some((name, index))
    }

    /// The node at the name, an empty one if there was none.
    fn node(&mut self, wire: &[u8], apex: usize) -> &mut Node {
        self.nodes.entry(wire.into()).or_insert(Node { apex, content: Content::Empty, below: 0 })
    }

    /// Tells the name's ancestors, up to and without the apex, that a name came or went below them.
    fn count_below(&mut self, name: &Name, apex: usize, change: isize) {
        let top = self.origin.apexes[apex].name.labels();
        for labels in top + 1..name.labels() {
            let ancestor = name.suffix(labels);
            let node = self.node(ancestor, apex);
            node.below = node.below.saturating_add_signed(change);
            if node.below == 0 && matches!(node.content, Content::Empty) {
                self.nodes.remove(ancestor);
            }
        }
    }
}

impl Node {
    fn hostname(&self) -> Option<&Hostname> {
        match &self.content {
            Content::Gateway(hostname) => Some(hostname),
            Content::Empty | Content::Apex | Content::NameServer => None,
        }
    }
}

impl Origin {
    fn new(config: &ZoneConfig) -> Self {
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
        let mut hash = xxh3_64_with_seed(&ttl_seconds.to_be_bytes(), name_server.hash());
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
    fn name_server(&self) -> Option<Name> {
        Name::parse(&self.zone.name_server())
    }
}

impl Addresses {
    fn new(addresses: &[IpAddr]) -> Self {
        let mut sorted = Self::default();
        for address in addresses.iter().collect::<BTreeSet<_>>() {
            match address {
                IpAddr::V4(address) if sorted.v4.len() < ADDRESSES_MAX => sorted.v4.push(*address),
                IpAddr::V6(address) if sorted.v6.len() < ADDRESSES_MAX => sorted.v6.push(*address),
                _ => {}
            }
        }
        sorted
    }

    /// Whether there is no address of either family.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    fn hash(&self) -> u64 {
        let of = |seed, octets: &[u8]| xxh3_64_with_seed(octets, seed);
        let hash = self.v4.iter().fold(4, |hash, address| of(hash, &address.octets()));
        self.v6.iter().fold(hash, |hash, address| of(hash, &address.octets()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ZoneConfig {
        let apexes = vec![ZoneName::parse("xcc.test").unwrap(), ZoneName::parse("a.test").unwrap()];
        ZoneConfig { apexes, ttl_seconds: 30, name_server_addresses: vec!["10.9.9.9".parse().unwrap()] }
    }

    fn hostnames(names: &[&str]) -> Vec<Hostname> {
        names.iter().map(|name| Hostname::parse(name).unwrap()).collect()
    }

    #[test]
    fn names_that_are_nobodys_to_take_are_not_taken() {
        let refused =
            ["xcc.test", "ns.dns.xcc.test", "dns.xcc.test", "*.dns.xcc.test", "a.example.com", "b.test"];
        let zones = Zones::new(&config()).with_changes(&hostnames(&refused), []);
        assert!(zones.is_empty());
        assert_eq!(zones.serial(), Zones::new(&config()).serial());
        let names = hostnames(&["b.xcc.test", "*.xcc.test", "a.a.test"]);
        let zones = zones.with_changes(&names, []).with_changes(&names, &names);
        assert_eq!(zones.len(), 3);
        assert!(names.iter().all(|name| zones.contains(name)));
        assert!(!zones.contains(&Hostname::parse("c.xcc.test").unwrap()));
        let order: Vec<&str> = zones.names().map(Hostname::as_str).collect();
        assert_eq!(order, ["*.xcc.test", "a.a.test", "b.xcc.test"]);
    }

    #[test]
    fn a_change_leaves_the_table_it_started_from() {
        let before = Zones::new(&config()).with_changes(&hostnames(&["a.xcc.test"]), []);
        let after = before.with_changes(&hostnames(&["b.xcc.test"]), &hostnames(&["a.xcc.test"]));
        assert_eq!(before.names().collect::<Vec<_>>(), hostnames(&["a.xcc.test"]).iter().collect::<Vec<_>>());
        assert_eq!(after.names().collect::<Vec<_>>(), hostnames(&["b.xcc.test"]).iter().collect::<Vec<_>>());
    }

    #[test]
    fn rfc1982_the_serial_moves_with_all_content_and_with_nothing_else() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (one, two, six) = (address("10.0.0.1"), address("10.0.0.2"), address("2001:db8::1"));
        let names = hostnames(&["a.xcc.test", "b.xcc.test"]);
        let zones = Zones::new(&config()).with_addresses(&[one, two]).with_changes(&names, []);
        let same =
            Zones::new(&ZoneConfig { apexes: config().apexes.into_iter().rev().collect(), ..config() })
                .with_changes(names.iter().rev(), [])
                .with_addresses(&[two, one, one]);
        assert_eq!(zones.serial(), same.serial());
        assert_eq!(zones.dump(), same.dump());
        let others = [
            zones.with_addresses(&[one]),
            zones.with_addresses(&[one, two, six]),
            zones.with_addresses(&[]),
            zones.with_changes([], &names[..1]),
            Zones::new(&ZoneConfig { ttl_seconds: 31, ..config() }),
            Zones::new(&ZoneConfig { name_server_addresses: vec![one], ..config() }),
            Zones::new(&ZoneConfig { apexes: config().apexes[..1].to_vec(), ..config() }),
        ];
        let serials: BTreeSet<u32> = others.iter().chain([&zones]).map(Zones::serial).collect();
        assert_eq!(serials.len(), others.len() + 1);
    }

    #[test]
    fn the_dump_is_a_zone_file() {
        let zones = Zones::new(&config()).with_changes(&hostnames(&["b.xcc.test", "*.a.xcc.test"]), []);
        let soa = |zone: &str, serial: u32| {
            format!("{zone}. 30 IN SOA ns.dns.{zone}. hostmaster.{zone}. {serial} 7200 1800 86400 30")
        };
        let own = |zone: &str, serial: u32| {
            let server = format!("ns.dns.{zone}. 30 IN A 10.9.9.9");
            [soa(zone, serial), format!("{zone}. 30 IN NS ns.dns.{zone}."), server]
        };
        let mut want = [own("a.test", zones.serial()), own("xcc.test", zones.serial())].concat();
        let dumped = zones.dump();
        assert_eq!(dumped[..6], want);
        assert!(dumped[6].starts_with("; *.a.xcc.test. "), "{}", dumped[6]);
        let zones = zones.with_addresses(&["2001:db8::1".parse().unwrap(), "10.0.0.1".parse().unwrap()]);
        want = [own("a.test", zones.serial()), own("xcc.test", zones.serial())].concat();
        for name in ["*.a.xcc.test", "b.xcc.test"] {
            want.extend([format!("{name}. 30 IN A 10.0.0.1"), format!("{name}. 30 IN AAAA 2001:db8::1")]);
        }
        assert_eq!(zones.dump(), want);
    }
}
