#![deny(missing_docs)]
//! An xDS server: publish snapshots of resources, and every connected Envoy (or gRPC client) is kept at the newest.
//!
//! The crate knows type URLs, names and versions; what a resource says is the caller's business. It speaks state of
//! the world and incremental (delta) xDS, aggregated (ADS) and per type, after the [protocol's description][1].
//!
//! ```
//! use bytes::Bytes;
//! use xcc_xds::{Resource, ServerConfig, Snapshot, SnapshotStore, TypeUrl, XdsServer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // An `envoy.config.cluster.v3.Cluster` with the name "web"; `Resource::from_message` takes any prost message.
//! let cluster = Resource::from_encoded(TypeUrl::Cluster, "web", Bytes::from_static(b"\x0a\x03web"));
//! let snapshot = Snapshot::builder().insert(cluster).build()?;
//!
//! // Streams are served from a store. Until the first snapshot is published requests are held.
//! let store = SnapshotStore::new();
//! store.publish(snapshot.clone());
//!
//! // A store that serves everybody is a resolver; a closure can choose a store for each node.
//! let server = XdsServer::new(store.clone(), ServerConfig::default());
//! let clients = server.clients();
//!
//! // In an async function:
//! # async fn serve(server: XdsServer) -> Result<(), Box<dyn std::error::Error>> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:18000").await?;
//! let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
//! server.serve(incoming, tokio_util::sync::CancellationToken::new()).await?;
//! # Ok(())
//! # }
//!
//! // A change costs what it changes, and is pushed to the clients that hold it.
//! store.publish(snapshot.with_changes(|change| {
//!     change.remove(&TypeUrl::Cluster, "web");
//! })?);
//!
//! // What each client has taken, and what it refused and why.
//! for client in clients.list() {
//!     for (type_url, status) in &client.types {
//!         println!("{} {type_url}: acked {:?}, refused {:?}", client.node_id, status.acked, status.last_nack);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What holds
//!
//! - Equal content has equal versions in every process, so a restart or another replica sends nothing again.
//! - Without a snapshot nothing is answered; an empty answer would make clients drop what they have.
//! - One response of a type is in flight to a client, unless it does not answer: then it is sent what is newer, ever more
//!   seldom. What a client refused (NACK) is not sent to it again until it changes;
//!   what was only in the same response goes through.
//! - Additions go out as Cluster, ClusterLoadAssignment, Listener, RouteConfiguration, each after the client answered
//!   what it refers to; removals go the other way. A ClusterLoadAssignment is sent again with its Cluster.
//! - The bytes of a resource are encoded once and shared by all clients. A slow client costs only itself.
//!
//! [1]: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol

mod clients;
mod config;
mod connection;
mod metrics;
mod node;
mod patience;
mod requests;
mod resource;
mod response;
mod server;
mod service;
mod snapshot;
mod status;
mod store;
mod stream;
mod subscription;
mod type_url;
mod version;
mod wire;

pub use clients::{ClientStatus, Clients, Refusal};
pub use config::ServerConfig;
pub use metrics::Metrics;
pub use node::{Locality, NodeInfo, NodeResolver, Peer};
pub use resource::Resource;
pub use server::{ServeError, XdsServer};
pub use snapshot::{
    NAME_BYTES_MAX, RESOURCE_BYTES_MAX, RESOURCES_MAX, Snapshot, SnapshotBuilder, SnapshotError,
};
pub use status::{NACK_MESSAGE_BYTES_MAX, NACK_RESOURCES_MAX, Nack, Parked, TypeStatus};
pub use store::SnapshotStore;
pub use type_url::TypeUrl;
pub use version::ResourceVersion;
