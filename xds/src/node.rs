//! Who connects, and the caller's decision from which store to serve it.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use serde::Serialize;

use crate::{
    store::SnapshotStore,
    wire::{Node, WireLocality},
};

/// What the first request of a stream says of the client, and what is known of its connection.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NodeInfo {
    /// `node.id`. The client's own claim: authorise by `connection`.
    pub id: String,
    /// `node.cluster`.
    pub cluster: String,
    /// `node.locality`.
    pub locality: Locality,
    /// `node.user_agent_name`: `envoy`, `grpc-java`.
    pub user_agent_name: String,
    /// `node.user_agent_version`, or the numbers of `user_agent_build_version`: `1.40.0`.
    pub user_agent_version: String,
    /// `node.client_features`.
    pub client_features: BTreeSet<String>,
    /// The names of `node.extensions`: what the client was built with.
    pub extensions: BTreeSet<String>,
    /// The client's address, where the connection has one.
    pub peer_addr: Option<SocketAddr>,
    /// The extensions of the HTTP request: tonic puts the `ConnectInfo` of the connection here, such as a
    /// [`Peer`] with the certificate that is needed to authorise the client.
    pub connection: http::Extensions,
}

/// Who is at the other end of a connection. Where it is the `ConnectInfo` of the caller's own connections, it is found in
/// [`NodeInfo::connection`] and gives [`NodeInfo::peer_addr`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The client's address.
    pub address: Option<SocketAddr>,
    /// The client's verified certificate, in DER; none without TLS.
    pub certificate: Option<Arc<[u8]>>,
}

/// `envoy.config.core.v3.Locality`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Locality {
    /// The region.
    pub region: String,
    /// The zone.
    pub zone: String,
    /// The part of the zone.
    pub sub_zone: String,
}

impl NodeInfo {
    pub(crate) fn new(node: Node, peer_addr: Option<SocketAddr>, connection: http::Extensions) -> Self {
        let WireLocality { region, zone, sub_zone } = node.locality.unwrap_or_default();
        let user_agent_version = match node.user_agent_build_version.and_then(|build| build.version) {
            Some(v) => format!("{}.{}.{}", v.major_number, v.minor_number, v.patch),
            None => node.user_agent_version,
        };
        Self {
            id: node.id,
            cluster: node.cluster,
            locality: Locality { region, zone, sub_zone },
            user_agent_name: node.user_agent_name,
            user_agent_version,
            client_features: node.client_features.into_iter().collect(),
            extensions: node.extensions.into_iter().map(|extension| extension.name).collect(),
            peer_addr,
            connection,
        }
    }
}

/// Decides which store a client is served from.
///
/// Asked once for each stream, with its first request. A [`SnapshotStore`] is a resolver that serves everybody the
/// same; so is a closure.
pub trait NodeResolver: Send + Sync + 'static {
    /// The store for this client.
    ///
    /// # Errors
    /// The status that ends the stream, such as `PERMISSION_DENIED` for a client that must not connect.
    fn resolve(&self, node: &NodeInfo) -> Result<SnapshotStore, tonic::Status>;
}

impl NodeResolver for SnapshotStore {
    fn resolve(&self, _: &NodeInfo) -> Result<SnapshotStore, tonic::Status> {
        Ok(self.clone())
    }
}

impl<F> NodeResolver for F
where
    F: Fn(&NodeInfo) -> Result<SnapshotStore, tonic::Status> + Send + Sync + 'static,
{
    fn resolve(&self, node: &NodeInfo) -> Result<SnapshotStore, tonic::Status> {
        self(node)
    }
}
