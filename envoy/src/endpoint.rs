//! ClusterLoadAssignment: the nodes of a set of remotes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use envoy_types::pb::envoy::config::core::v3::Locality;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use xcc_model::{Backend, RemoteName, ServiceTable};

use crate::translate::{Upstream, upstreams};
use crate::wire::build;

/// The load assignments of a table, in the order of their names.
pub fn endpoints(table: &ServiceTable) -> Vec<ClusterLoadAssignment> {
    let mut endpoints =
        upstreams(table).iter().map(|upstream| endpoint(upstream, &table.backends)).collect::<Vec<_>>();
    endpoints.sort_by(|a, b| a.cluster_name.cmp(&b.cluster_name));
    endpoints
}

/// The load assignment of one upstream: one locality for each remote, with the remote's name as its region.
///
/// Remotes of equal priority share a level, and every node there gets the same share. Envoy wants levels without gaps
/// from 0, so the priorities of the set are numbered in their order. Remotes without nodes keep their level: Envoy takes
/// the next one then, and numbers do not move when a node returns.
pub fn endpoint(upstream: &Upstream, backends: &BTreeMap<RemoteName, Backend>) -> ClusterLoadAssignment {
    let nowhere = Backend::default();
    let remotes = upstream
        .remotes
        .iter()
        .map(|remote| (remote, backends.get(remote).unwrap_or(&nowhere)))
        .collect::<Vec<_>>();
    let priorities = remotes.iter().map(|(_, backend)| backend.priority).collect::<BTreeSet<_>>();
    let levels = priorities.into_iter().zip(0..).collect::<BTreeMap<u32, u32>>();
    let mut localities = remotes
        .iter()
        .map(|(remote, backend)| locality(remote, backend, levels[&backend.priority]))
        .collect::<Vec<_>>();
    localities.sort_by_key(|locality| locality.priority);
    ClusterLoadAssignment {
        cluster_name: upstream.name(),
        endpoints: localities,
        ..ClusterLoadAssignment::default()
    }
}

fn locality(remote: &RemoteName, backend: &Backend, priority: u32) -> LocalityLbEndpoints {
    LocalityLbEndpoints {
        locality: Some(Locality { region: remote.to_string(), ..Locality::default() }),
        lb_endpoints: backend.endpoints.iter().map(lb_endpoint).collect(),
        priority,
        ..LocalityLbEndpoints::default()
    }
}

fn lb_endpoint(address: &SocketAddr) -> LbEndpoint {
    let endpoint = Endpoint {
        address: Some(build::socket_address(address.ip(), address.port())),
        ..Endpoint::default()
    };
    LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() }
}
