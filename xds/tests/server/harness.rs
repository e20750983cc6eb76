//! A server on a free port of loopback, and clients made of the generated API.

use std::{net::SocketAddr, time::Duration};

use envoy_types::pb::{
    envoy::{
        config::{cluster::v3::Cluster, core::v3::Node},
        service::{
            cluster::v3::cluster_discovery_service_client::ClusterDiscoveryServiceClient,
            discovery::v3::{
                DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
                aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
            },
        },
    },
    google::rpc::Status as RpcStatus,
};
use futures_util::StreamExt;
use tokio::{
    net::TcpListener,
    sync::mpsc::{Sender, channel},
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming, transport::Channel};
use xcc_xds::{
    ClientStatus, Clients, Metrics, NodeResolver, Resource, ServerConfig, Snapshot, SnapshotStore, TypeUrl,
    XdsServer,
};

/// Long enough for a busy machine; nothing waits this long unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) clients: Clients,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
}

/// Serves until [`Served::shutdown`].
pub(crate) async fn serve(resolver: impl NodeResolver, config: ServerConfig) -> Served {
    serve_accepting_until(resolver, config, CancellationToken::new()).await
}

/// Serves until [`Served::shutdown`], and takes new connections until the token is cancelled.
pub(crate) async fn serve_accepting_until(
    resolver: impl NodeResolver,
    config: ServerConfig,
    deaf: CancellationToken,
) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = XdsServer::new(resolver, config);
    let (clients, metrics) = (server.clients(), server.metrics());
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    let serving = tokio::spawn(async move {
        let incoming = Box::pin(TcpListenerStream::new(listener).take_until(deaf.cancelled_owned()));
        server.serve(incoming, token).await.unwrap();
    });
    Served { address, clients, metrics, shutdown, serving }
}

impl Served {
    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// Waits until the list of clients is as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&[ClientStatus]) -> bool) {
        let mut changed = self.clients.changed();
        let reached = async {
            while !wanted(&self.clients.list()) {
                changed.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("clients: {:#?}", self.clients.list()));
    }

    pub(crate) fn metrics_page(&self) -> String {
        let mut registry = prometheus_client::registry::Registry::default();
        self.metrics.register(&mut registry);
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        page
    }
}

pub(crate) fn cluster(name: &str, alt_stat_name: &str) -> Resource {
    let message =
        Cluster { name: name.to_owned(), alt_stat_name: alt_stat_name.to_owned(), ..Default::default() };
    Resource::from_message(name, &message)
}

pub(crate) fn clusters(names: &[(&str, &str)]) -> Snapshot {
    let mut builder = Snapshot::builder();
    for (name, alt_stat_name) in names {
        builder.insert(cluster(name, alt_stat_name));
    }
    builder.build().unwrap()
}

pub(crate) fn store_with(names: &[(&str, &str)]) -> SnapshotStore {
    let store = SnapshotStore::new();
    store.publish(clusters(names));
    store
}

pub(crate) fn node(id: &str) -> Option<Node> {
    Some(Node { id: id.to_owned(), ..Default::default() })
}

/// A delta stream by hand.
pub(crate) struct Delta {
    pub(crate) requests: Sender<DeltaDiscoveryRequest>,
    pub(crate) responses: Streaming<DeltaDiscoveryResponse>,
}

impl Delta {
    pub(crate) async fn ads(channel: Channel) -> Self {
        let (requests, receiver) = channel_of_requests();
        let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        let responses = client.delta_aggregated_resources(receiver).await.unwrap().into_inner();
        Self { requests, responses }
    }

    pub(crate) async fn cds(channel: Channel) -> Self {
        let (requests, receiver) = channel_of_requests();
        let responses =
            ClusterDiscoveryServiceClient::new(channel).delta_clusters(receiver).await.unwrap().into_inner();
        Self { requests, responses }
    }

    pub(crate) async fn send(&self, request: DeltaDiscoveryRequest) {
        self.requests.send(request).await.unwrap();
    }

    /// Subscribes to all clusters.
    pub(crate) async fn subscribe(&self, node_id: &str) {
        let type_url = TypeUrl::Cluster.as_str().to_owned();
        self.send(DeltaDiscoveryRequest { node: node(node_id), type_url, ..Default::default() }).await;
    }

    pub(crate) async fn answer(&self, response: &DeltaDiscoveryResponse, error: Option<&str>) {
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: error
                .map(|message| RpcStatus { message: message.to_owned(), ..Default::default() }),
            ..Default::default()
        })
        .await;
    }

    pub(crate) async fn next(&mut self) -> Result<Option<DeltaDiscoveryResponse>, Status> {
        timeout(PATIENCE, self.responses.message()).await.expect("the server says nothing")
    }

    /// The next response, ACKed; the names and removals in it.
    pub(crate) async fn take(&mut self) -> (Vec<String>, Vec<String>) {
        let response = self.next().await.unwrap().expect("the stream goes on");
        self.answer(&response, None).await;
        (response.resources.into_iter().map(|resource| resource.name).collect(), response.removed_resources)
    }
}

/// A SotW stream by hand.
pub(crate) struct Sotw {
    pub(crate) requests: Sender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
}

impl Sotw {
    pub(crate) async fn cds(channel: Channel) -> Self {
        let (requests, receiver) = channel_of_requests();
        let responses =
            ClusterDiscoveryServiceClient::new(channel).stream_clusters(receiver).await.unwrap().into_inner();
        Self { requests, responses }
    }

    pub(crate) async fn next(&mut self) -> Result<Option<DiscoveryResponse>, Status> {
        timeout(PATIENCE, self.responses.message()).await.expect("the server says nothing")
    }
}

fn channel_of_requests<T>() -> (Sender<T>, ReceiverStream<T>) {
    let (sender, receiver) = channel(16);
    (sender, ReceiverStream::new(receiver))
}
