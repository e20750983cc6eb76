//! The immutable table of everything that is answered: apexes, names, empty non-terminals, addresses.
//!
//! Every name and every ancestor of a name below its apex is a node. A node counts what lies below it, so that a change
//! costs as much as the changed names have labels, and an empty non-terminal goes when the last name below it goes.

use std::net::IpAddr;
use std::sync::Arc;

use xcc_model::{Hostname, ZoneName};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::addresses::Addresses;
use crate::apex::{Origin, ZoneConfig};
use crate::https::{HTTPS_PORT, Https};
use crate::name::Name;
use crate::reverse::Reverse;
use crate::rrset::RrSet;
use crate::serial;
use crate::table::Table;

/// The label before a name below which TXT says where the name comes from. No host name has an underscore.
const ORIGINS_LABEL: &[u8] = b"\x04_xcc";

/// The immutable table of everything that is answered. Clones share their content.
#[derive(Clone)]
pub struct Zones {
    pub(crate) origin: Arc<Origin>,
    pub(crate) gateway: Arc<Addresses>,
    /// What names are answered with for HTTPS, if anything.
    pub(crate) https: Option<Arc<Https>>,
    pub(crate) reverse: Arc<Reverse>,
    /// By names in wire form, lower case.
    pub(crate) nodes: Table<Node>,
    names: usize,
    /// Sum of the names' hashes, so that adding and removing commute.
    names_hash: u64,
    /// The same for names with a port of their own, together with it.
    ports_hash: u64,
    /// Of all content.
    hash: u64,
    serial: u32,
}

/// A name that exists. What it is called stands in its key alone: a change copies the nodes around it, and an answer reads
/// one out of many, so they are small and refer to little.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) content: Content,
    /// Index into [`Origin::apexes`].
    pub(crate) apex: u32,
    /// How many names lie below.
    below: u32,
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
    /// The gateway's addresses, and the port that clients of the name connect to; a wildcard stands at its literal name
    /// `*.domain`.
    Gateway { port: u16 },
    /// Where the name one label above comes from, as TXT.
    Origins(Arc<RrSet>),
}

impl Zones {
    /// The zones without names; the gateway's addresses are not known yet.
    pub fn new(config: &ZoneConfig) -> Self {
        let origin = Arc::new(Origin::new(config));
        let mut zones = Self {
            gateway: Arc::default(),
            https: None,
            reverse: Arc::default(),
            nodes: Table::new(),
            names: 0,
            names_hash: 0,
            ports_hash: 0,
            hash: 0,
            serial: serial::UNPUBLISHED,
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
        zones.hashed()
    }

    /// The same names with these addresses of the gateway. Without any address the names stay and are answered with
    /// SERVFAIL. At most 256 of each family are taken, the lowest.
    #[must_use]
    pub fn with_addresses(&self, gateway: &[IpAddr]) -> Self {
        let gateway = Addresses::new(gateway);
        let reverse = Reverse::new(self.reverse.target.clone(), &gateway);
        Self { gateway: Arc::new(gateway), reverse: Arc::new(reverse), ..self.clone() }.hashed()
    }

    /// The same zones with their name servers at these addresses, as [`ZoneConfig::name_server_addresses`].
    #[must_use]
    pub fn with_name_server(&self, addresses: &[IpAddr]) -> Self {
        let origin = Origin { name_server: Addresses::new(addresses), ..(*self.origin).clone() };
        Self { origin: Arc::new(origin), ..self.clone() }.hashed()
    }

    /// The same zones with an HTTPS record at every name that has these protocol ids (RFC 9460), such as `h2` and `http/1.1`, in
    /// the order of preference, and the name's port ([`Zones::with_ports`]); without any there are no such records, as by
    /// default. Ids that are empty or longer than 255 octets are left out.
    #[must_use]
    pub fn with_https(&self, alpn: &[String]) -> Self {
        let mut https = (!alpn.is_empty()).then(|| Https::new(alpn));
        if let Some(https) = &mut https {
            self.nodes.for_each(|_, node| node.port().into_iter().for_each(|port| https.add(port)));
        }
        Self { https: https.map(Arc::new), ..self.clone() }.hashed()
    }

    /// The same zones with the ports that clients of these names connect to, which their HTTPS records name. It is 443 until
    /// another is given.
    ///
    /// Names that are not in the table are passed over. Costs what the given names cost.
    #[must_use]
    pub fn with_ports<'a>(&self, ports: impl IntoIterator<Item = (&'a Hostname, u16)>) -> Self {
        let mut zones = self.clone();
        for (hostname, port) in ports {
            if let Some((name, apex)) = zones.place(hostname) {
                zones.set_port(&name, apex, port);
            }
        }
        zones.hashed()
    }

    /// The same zones with PTR records at the gateway's addresses that point to the name, or with none, as by default.
    ///
    /// Each address is a zone of its own, so that the rest of its network stays with whoever has it.
    #[must_use]
    pub fn with_reverse(&self, target: Option<&Hostname>) -> Self {
        let target = target.and_then(|name| RrSet::ptr(&Name::parse(name.as_str())?));
        let reverse = Reverse::new(target, &self.gateway);
        Self { reverse: Arc::new(reverse), ..self.clone() }.hashed()
    }

    /// The same zones with what TXT says at `_xcc.<name>`, such as which remote and object a name comes from: one
    /// record for each text. Without texts nothing stands there any more.
    ///
    /// Names that are not in the table are passed over, and a name that is removed takes its texts along. Costs what
    /// the given names cost.
    #[must_use]
    pub fn with_origins<'a, T: AsRef<str> + 'a>(
        &self,
        origins: impl IntoIterator<Item = (&'a Hostname, &'a [T])>,
    ) -> Self {
        let mut zones = self.clone();
        for (hostname, texts) in origins {
            if let Some((name, apex)) = zones.place(hostname) {
                zones.set_origins(&name, apex, RrSet::txt(texts.iter().map(AsRef::as_ref)));
            }
        }
        zones.hashed()
    }

    /// The same zones without the removed and then with the added names, at the cost of the changed names only.
    ///
    /// Names that lie in none of the zones, or that a zone needs for itself ([`ZoneName::home_of`]), are not taken.
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
        zones.hashed()
    }

    /// Whether the name is in the table. A wildcard is asked for by its literal name.
    pub fn contains(&self, hostname: &Hostname) -> bool {
        let Some(name) = Name::parse(hostname.as_str()) else { return false };
        self.is_name(name.as_wire())
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
    pub fn names(&self) -> impl Iterator<Item = Hostname> {
        let mut names = vec![];
        self.nodes.for_each(|key, node| names.extend(key.hostname().filter(|_| node.is_name())));
        names.sort_unstable();
        names.into_iter()
    }

    /// The gateway's addresses; empty while they are unknown.
    pub fn addresses(&self) -> &Addresses {
        &self.gateway
    }

    /// The SOA's serial: 1 until the zones are in force ([`Responder::publish`](crate::Responder::publish)), then
    /// higher with each change of their content.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    pub(crate) fn with_serial(self, serial: u32) -> Self {
        Self { serial, ..self }
    }

    /// Equal for equal content, however it came about.
    pub(crate) fn content_hash(&self) -> u64 {
        self.hash
    }

    /// The texts about the name and their owner.
    pub(crate) fn origins(&self, hostname: &Hostname) -> Option<(String, &RrSet)> {
        let owner = format!("_xcc.{hostname}");
        match &self.nodes.get(Name::parse(&owner)?.as_wire())?.content {
            Content::Origins(texts) => Some((owner, texts)),
            _ => None,
        }
    }

    /// The HTTPS records of the name.
    pub(crate) fn https(&self, hostname: &Hostname) -> Option<&RrSet> {
        let port = self.nodes.get(Name::parse(hostname.as_str())?.as_wire())?.port()?;
        self.https.as_ref()?.of(port)
    }

    fn is_name(&self, wire: &[u8]) -> bool {
        self.nodes.get(wire).is_some_and(Node::is_name)
    }

    fn hashed(self) -> Self {
        let https = self.https.as_ref().map_or(0, |https| https.hash().wrapping_add(self.ports_hash));
        let reverse = self.reverse.target.as_ref().map_or(0, |target| target.hash(1));
        let (origin, server) = (self.origin.hash, self.origin.name_server.hash());
        let hashes = [self.names_hash, origin, server, self.gateway.hash(), https, reverse];
        let octets: Vec<u8> = hashes.into_iter().flat_map(u64::to_be_bytes).collect();
        Self { hash: xxh3_64(&octets), ..self }
    }

    fn add(&mut self, hostname: &Hostname) {
        let Some((name, apex)) = self.place(hostname) else { return };
        let node = self.node(name.as_wire(), apex);
        if !matches!(node.content, Content::Empty) {
            return;
        }
        node.content = Content::Gateway { port: HTTPS_PORT };
        self.count_below(&name, apex, 1);
        self.names += 1;
        self.names_hash = self.names_hash.wrapping_add(xxh3_64(name.as_wire()));
    }

    fn remove(&mut self, hostname: &Hostname) {
        let Some((name, apex)) = self.place(hostname) else { return };
        if !self.is_name(name.as_wire()) {
            return;
        }
        self.set_origins(&name, apex, None);
        self.set_port(&name, apex, HTTPS_PORT);
        self.clear(&name, apex);
        self.names -= 1;
        self.names_hash = self.names_hash.wrapping_sub(xxh3_64(name.as_wire()));
    }

    fn set_port(&mut self, name: &Name, apex: usize, port: u16) {
        let Some(before) = self.nodes.get(name.as_wire()).and_then(Node::port) else { return };
        if port == before {
            return;
        }
        let hash = |port: u16| match port {
            HTTPS_PORT => 0,
            _ => xxh3_64_with_seed(name.as_wire(), port.into()),
        };
        self.ports_hash = self.ports_hash.wrapping_sub(hash(before)).wrapping_add(hash(port));
        self.node(name.as_wire(), apex).content = Content::Gateway { port };
        if let Some(https) = &mut self.https {
            Arc::make_mut(https).add(port);
        }
    }

    fn set_origins(&mut self, name: &Name, apex: usize, texts: Option<RrSet>) {
        if !self.is_name(name.as_wire()) {
            return;
        }
        // Too long with one label more: then there is nothing to ask for.
        let Some(owner) = Name::from_wire(&[ORIGINS_LABEL, name.as_wire()].concat()) else { return };
        if let Some(Node { content: Content::Origins(old), .. }) = self.nodes.get(owner.as_wire()) {
            self.names_hash = self.names_hash.wrapping_sub(old.hash(xxh3_64(owner.as_wire())));
            self.clear(&owner, apex);
        }
        if let Some(texts) = texts {
            self.names_hash = self.names_hash.wrapping_add(texts.hash(xxh3_64(owner.as_wire())));
            self.node(owner.as_wire(), apex).content = Content::Origins(Arc::new(texts));
            self.count_below(&owner, apex, 1);
        }
    }

    /// Takes away what stands at the name; the name itself stays while there are others below it.
    fn clear(&mut self, name: &Name, apex: usize) {
        let node = self.node(name.as_wire(), apex);
        node.content = Content::Empty;
        if node.below == 0 {
            self.nodes.remove(name.as_wire());
        }
        self.count_below(name, apex, -1);
    }

    /// The name in wire form and its zone, or none when it is not to be taken.
    fn place(&self, hostname: &Hostname) -> Option<(Name, usize)> {
        let apexes = &self.origin.apexes;
        let home = ZoneName::home_of(apexes.iter().map(|apex| &apex.zone), hostname).ok()?;
        let index = apexes.iter().position(|apex| apex.zone == *home)?;
        Some((Name::parse(hostname.as_str())?, index))
    }

    /// The node at the name, an empty one if there was none.
    fn node(&mut self, wire: &[u8], apex: usize) -> &mut Node {
        self.nodes.get_or_insert(wire, Node { content: Content::Empty, apex: apex as u32, below: 0 })
    }

    /// Tells the name's ancestors, up to and without the apex, that a name came or went below them.
    fn count_below(&mut self, name: &Name, apex: usize, change: i32) {
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
    /// Whether the gateway's addresses stand here.
    fn is_name(&self) -> bool {
        self.port().is_some()
    }

    /// The port that clients connect to, if the gateway's addresses stand here.
    fn port(&self) -> Option<u16> {
        match self.content {
            Content::Gateway { port } => Some(port),
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "zone_tests.rs"]
mod tests;
