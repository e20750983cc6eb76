//! The whole translation, and what its parts share.

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use xcc_model::{Hostname, RemoteSet, ServicePort, ServiceTable};

use crate::config::GatewayConfig;
use crate::matcher::{self, MatcherForm};
use crate::names;
use crate::routing::Routing;
use crate::wire::listener::Listener;

/// Everything that a gateway is fed, each sorted by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Resources {
    /// How to connect.
    pub clusters: Vec<Cluster>,
    /// Where to connect to; one for each cluster, under the same name.
    pub endpoints: Vec<ClusterLoadAssignment>,
    /// Which names lead where.
    pub listeners: Vec<Listener>,
    /// The routes that no listener carries; empty but for tables beyond the limits.
    pub omitted: Vec<Omitted>,
}

/// A route that the gateway cannot carry. Its connections are closed; all others are served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Omitted {
    /// The name.
    pub hostname: Hostname,
    /// The service port.
    pub port: ServicePort,
    /// What stands against it.
    pub reason: OmittedReason,
}

/// Why a route is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum OmittedReason {
    /// Service port and offset exceed 65,535.
    #[error("the service port and the gateway's port offset add up to more than 65535")]
    PortOutOfRange,
    /// One listener carries only so many names, in one form only so many wildcards.
    #[error("the gateway's listener carries as many names or wildcards as it can")]
    TooManyNames,
}

/// What names lead to: the remotes that serve them, and the port on which clients reach them. One Cluster, one
/// ClusterLoadAssignment and one filter chain each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Upstream {
    /// The remotes.
    pub remotes: RemoteSet,
    /// The service port.
    pub port: ServicePort,
}

impl Upstream {
    /// The name of its resources.
    pub fn name(&self) -> String {
        names::cluster_name(&self.remotes, self.port)
    }
}

/// The names of one service port and what they lead to, in the order of the names.
pub(crate) type PortNames<'a> = Vec<(&'a Hostname, &'a RemoteSet)>;

/// Translates a table. The same input gives the same bytes, in every process.
pub fn translate(table: &ServiceTable, config: &GatewayConfig, form: MatcherForm) -> Resources {
    let routing = Routing::of(table);
    Resources {
        clusters: crate::cluster::clusters(table, config),
        endpoints: crate::endpoint::endpoints(table),
        listeners: routing.listeners(config, form),
        omitted: routing.omitted(config, form),
    }
}

/// What the names of a table lead to.
pub fn upstreams(table: &ServiceTable) -> BTreeSet<Upstream> {
    // Looked up by reference first: nearly all names share a few upstreams.
    let distinct = table
        .imports
        .values()
        .flat_map(|import| &import.routes)
        .map(|route| (&route.remotes, route.port))
        .collect::<BTreeSet<_>>();
    distinct.into_iter().map(|(remotes, port)| Upstream { remotes: remotes.clone(), port }).collect()
}

/// The routes that no listener carries, in order.
pub fn omitted(table: &ServiceTable, config: &GatewayConfig, form: MatcherForm) -> Vec<Omitted> {
    matcher::omitted(names_by_port(table), config, form)
}

/// The table turned round: which names each port has.
pub(crate) fn names_by_port(table: &ServiceTable) -> BTreeMap<ServicePort, PortNames<'_>> {
    let mut ports: BTreeMap<ServicePort, PortNames<'_>> = BTreeMap::new();
    for (hostname, import) in &table.imports {
        for route in &import.routes {
            ports.entry(route.port).or_default().push((hostname, &route.remotes));
        }
    }
    ports
}
