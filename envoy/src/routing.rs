//! The table turned round: which names lead to which upstream, kept from one table to the next.
//!
//! A listener names everything, so it costs as much as there are names to send. To make it again costs less: tables share
//! what is equal in them, so that only the names that differ are looked at, and only the chains that these belong to are
//! encoded anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use xcc_model::{Hostname, RemoteSet, ServiceImport, ServicePort, ServiceTable};

use crate::config::GatewayConfig;
use crate::listener::listener;
use crate::matcher::{self, MatcherForm};
use crate::names;
use crate::translate::{Omitted, PortNames, Upstream};
use crate::wire::listener::Listener;

/// Which names lead to which upstream, as in the table that it saw last.
#[derive(Debug, Default)]
pub struct Routing {
    imports: OrdMap<Hostname, ServiceImport>,
    ports: BTreeMap<ServicePort, PortRouting>,
}

/// The names of one service port.
#[derive(Debug, Default)]
pub(crate) struct PortRouting {
    chains: BTreeMap<RemoteSet, Chain>,
    count: NameCount,
}

/// The names that lead to one upstream.
#[derive(Debug)]
pub(crate) struct Chain {
    /// The name of the filter chain, which is that of the cluster.
    pub(crate) name: String,
    pub(crate) names: BTreeSet<Hostname>,
    /// How the names are written down, once they were and as long as they stay the same.
    encoded: OnceLock<Vec<u8>>,
}

/// How many names a port has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NameCount {
    pub(crate) names: usize,
    pub(crate) wildcards: usize,
}

/// How many names each port of a table has: all that it takes to know that a gateway can carry every one of them.
#[derive(Debug, Default)]
pub struct Tally {
    imports: OrdMap<Hostname, ServiceImport>,
    ports: BTreeMap<ServicePort, NameCount>,
}

/// A route that came or went.
enum Change<'a> {
    Added(ServicePort, &'a RemoteSet),
    Removed(ServicePort, &'a RemoteSet),
}

impl Routing {
    /// The routing of a table.
    pub fn of(table: &ServiceTable) -> Self {
        let mut routing = Self::default();
        routing.update(table);
        routing
    }

    /// Takes another table. Costs as much as there are names that differ, if the one was made from the other.
    pub fn update(&mut self, table: &ServiceTable) {
        let before = std::mem::replace(&mut self.imports, table.imports.clone());
        each_change(&before, &table.imports, |hostname, change| match change {
            Change::Added(port, remotes) => self.ports.entry(port).or_default().add(port, hostname, remotes),
            Change::Removed(port, remotes) => {
                if let Some(routing) = self.ports.get_mut(&port) {
                    routing.remove(hostname, remotes);
                    if routing.chains.is_empty() {
                        self.ports.remove(&port);
                    }
                }
            }
        });
    }

    /// What the names lead to.
    pub fn upstreams(&self) -> BTreeSet<Upstream> {
        let mut upstreams = BTreeSet::new();
        for (port, routing) in &self.ports {
            let upstream = |remotes: &RemoteSet| Upstream { remotes: remotes.clone(), port: *port };
            upstreams.extend(routing.chains.keys().map(upstream));
        }
        upstreams
    }

    /// The listeners, in the order of their names. A port without names has none. They do not depend on endpoints.
    pub fn listeners(&self, config: &GatewayConfig, form: MatcherForm) -> Vec<Listener> {
        let listeners =
            self.ports.iter().filter_map(|(port, routing)| listener(*port, routing, config, form));
        let mut listeners = listeners.collect::<Vec<_>>();
        listeners.sort_by(|a, b| a.name.cmp(&b.name));
        listeners
    }

    /// The routes that no listener carries, in order.
    pub fn omitted(&self, config: &GatewayConfig, form: MatcherForm) -> Vec<Omitted> {
        let names = self.ports.iter().filter(|(port, routing)| !fits(**port, routing.count, config, form));
        matcher::omitted(names.map(|(port, routing)| (*port, routing.by_name())), config, form)
    }
}

impl PortRouting {
    /// The routing of these names alone.
    pub(crate) fn of(port: ServicePort, names: &PortNames<'_>) -> Self {
        let mut routing = Self::default();
        for (hostname, remotes) in names {
            routing.add(port, hostname, remotes);
        }
        routing
    }

    /// The chains in the order of their names.
    pub(crate) fn chains(&self) -> Vec<&Chain> {
        let mut chains = self.chains.values().collect::<Vec<_>>();
        chains.sort_by(|a, b| a.name.cmp(&b.name));
        chains
    }

    pub(crate) fn count(&self) -> NameCount {
        self.count
    }

    /// All names with what they lead to, in order.
    pub(crate) fn by_name(&self) -> PortNames<'_> {
        let mut names = Vec::with_capacity(self.count.names);
        for (remotes, chain) in &self.chains {
            names.extend(chain.names.iter().map(|name| (name, remotes)));
        }
        names.sort_unstable();
        names
    }

    fn add(&mut self, port: ServicePort, hostname: &Hostname, remotes: &RemoteSet) {
        if !self.chains.contains_key(remotes) {
            self.chains.insert(remotes.clone(), Chain::new(names::cluster_name(remotes, port)));
        }
        if let Some(chain) = self.chains.get_mut(remotes)
            && chain.names.insert(hostname.clone())
        {
            chain.encoded.take();
            self.count.add(hostname);
        }
    }

    fn remove(&mut self, hostname: &Hostname, remotes: &RemoteSet) {
        let Some(chain) = self.chains.get_mut(remotes) else { return };
        if chain.names.remove(hostname) {
            chain.encoded.take();
            self.count.remove(hostname);
        }
        if chain.names.is_empty() {
            self.chains.remove(remotes);
        }
    }
}

impl Chain {
    fn new(name: String) -> Self {
        Self { name, names: BTreeSet::new(), encoded: OnceLock::new() }
    }

    /// How the names are written down; made if they have changed since they were.
    pub(crate) fn encoded(&self, encode: impl FnOnce(&Self) -> Vec<u8>) -> &[u8] {
        self.encoded.get_or_init(|| encode(self))
    }
}

impl NameCount {
    fn add(&mut self, hostname: &Hostname) {
        self.names += 1;
        self.wildcards += usize::from(hostname.is_wildcard());
    }

    fn remove(&mut self, hostname: &Hostname) {
        self.names = self.names.saturating_sub(1);
        self.wildcards = self.wildcards.saturating_sub(usize::from(hostname.is_wildcard()));
    }
}

impl Tally {
    /// Takes another table, at the price of what differs.
    pub fn update(&mut self, table: &ServiceTable) {
        let before = std::mem::replace(&mut self.imports, table.imports.clone());
        each_change(&before, &table.imports, |hostname, change| match change {
            Change::Added(port, _) => self.ports.entry(port).or_default().add(hostname),
            Change::Removed(port, _) => {
                if let Some(count) = self.ports.get_mut(&port) {
                    count.remove(hostname);
                }
            }
        });
        self.ports.retain(|_, count| *count != NameCount::default());
    }

    /// Whether a gateway can carry all names, so that [`omitted`](crate::omitted) is empty.
    pub fn fits(&self, config: &GatewayConfig, form: MatcherForm) -> bool {
        self.ports.iter().all(|(port, count)| fits(*port, *count, config, form))
    }
}

fn fits(port: ServicePort, count: NameCount, config: &GatewayConfig, form: MatcherForm) -> bool {
    config.listener_port(port).is_some() && count.names == matcher::names_admitted(count, form)
}

/// Calls with each route that only one of the two has.
fn each_change<'a>(
    before: &'a OrdMap<Hostname, ServiceImport>,
    after: &'a OrdMap<Hostname, ServiceImport>,
    mut change: impl FnMut(&Hostname, Change<'a>),
) {
    for item in before.diff(after) {
        let (hostname, old, new) = match item {
            DiffItem::Add(hostname, new) => (hostname, None, Some(new)),
            DiffItem::Remove(hostname, old) => (hostname, Some(old), None),
            DiffItem::Update { old: (hostname, old), new: (_, new) } => (hostname, Some(old), Some(new)),
        };
        if old.map(|import| &import.routes) == new.map(|import| &import.routes) {
            continue;
        }
        for route in old.into_iter().flat_map(|import| &import.routes) {
            change(hostname, Change::Removed(route.port, &route.remotes));
        }
        for route in new.into_iter().flat_map(|import| &import.routes) {
            change(hostname, Change::Added(route.port, &route.remotes));
        }
    }
}
