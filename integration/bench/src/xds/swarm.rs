//! Clients in numbers: streams that subscribe as an Envoy does, answer at once and count what comes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
};
use prost::Message;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use xcc_xds::TypeUrl;

use super::node;

/// How long clients wait for what must come.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long nothing must have come for it to be quiet.
const QUIET: Duration = Duration::from_millis(200);
/// The prefix of a gRPC message.
const PREFIX_OCTETS: u64 = 5;
/// Each client has a connection of its own up to here.
const CONNECTIONS_MAX: usize = 1000;

/// What the clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Incremental.
    Delta,
    /// State of the world.
    Sotw,
}

/// What clients are like.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server's port on loopback.
    pub port: u16,
    /// How many clients.
    pub clients: usize,
    /// What they speak.
    pub dialect: Dialect,
    /// Whether they send a node as large as an Envoy's.
    pub large_node: bool,
    /// What they hold from before, by type: they reconnect.
    pub held: Held,
}

/// Versions by name by type.
pub type Held = BTreeMap<TypeUrl, HashMap<String, String>>;

/// Connected clients.
pub struct Swarm {
    counters: Arc<Counters>,
    clients: usize,
    tasks: JoinSet<Result<()>>,
}

/// What all clients together have been sent.
#[derive(Debug, Default)]
struct Counters {
    octets: AtomicU64,
    resources: AtomicU64,
    clusters: AtomicU64,
    endpoints: AtomicU64,
    listeners: AtomicU64,
    complete: AtomicUsize,
    changed: Notify,
    held: std::sync::Mutex<Held>,
}

/// How much has come so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Received {
    /// Octets of gRPC messages.
    pub octets: u64,
    /// Resources.
    pub resources: u64,
    /// Responses with endpoints.
    pub endpoints: u64,
    /// Responses with listeners.
    pub listeners: u64,
}

impl Swarm {
    /// Connects. `complete` tells when all hold everything.
    pub async fn connect(plan: &Plan) -> Result<Self> {
        let counters = Arc::new(Counters::default());
        let mut tasks = JoinSet::new();
        let connections = plan.clients.min(CONNECTIONS_MAX);
        let mut channels = Vec::new();
        for _ in 0..connections {
            let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", plan.port))?;
            let endpoint =
                endpoint.initial_stream_window_size(4 << 20).initial_connection_window_size(16 << 20);
            channels.push(endpoint.connect().await.context("cannot connect")?);
        }
        for number in 0..plan.clients {
            let channel = channels[number % connections].clone();
            let id = format!("gateway-{number:06}");
            let node = if plan.large_node { node::large(&id) } else { node::small(&id) };
            let client =
                Client { node: Some(node), counters: Arc::clone(&counters), held: plan.held.clone() };
            match plan.dialect {
                Dialect::Delta => tasks.spawn(client.delta(channel)),
                Dialect::Sotw => tasks.spawn(client.sotw(channel)),
            };
        }
        Ok(Self { counters, clients: plan.clients, tasks })
    }

    /// Waits until every client has clusters, their endpoints and a listener.
    pub async fn complete(&mut self) -> Result<()> {
        let clients = self.clients;
        self.until(|counters| counters.complete.load(Ordering::Relaxed) >= clients).await
    }

    /// Waits until every client has been sent endpoints since.
    pub async fn endpoints_since(&mut self, before: Received) -> Result<()> {
        let wanted = before.endpoints + self.clients as u64;
        self.until(|counters| counters.endpoints.load(Ordering::Relaxed) >= wanted).await
    }

    /// Waits until every client has been sent a listener since.
    pub async fn listeners_since(&mut self, before: Received) -> Result<()> {
        let wanted = before.listeners + self.clients as u64;
        self.until(|counters| counters.listeners.load(Ordering::Relaxed) >= wanted).await
    }

    /// Waits until nothing comes any more.
    pub async fn quiet(&self) -> Received {
        let mut before = self.received();
        loop {
            tokio::time::sleep(QUIET).await;
            let now = self.received();
            if now == before {
                return now;
            }
            before = now;
        }
    }

    /// How much has come so far.
    pub fn received(&self) -> Received {
        let counters = &self.counters;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Received {
            octets: load(&counters.octets),
            resources: load(&counters.resources),
            endpoints: load(&counters.endpoints),
            listeners: load(&counters.listeners),
        }
    }

    /// The versions that clients were sent, for others to reconnect with.
    pub fn held(&self) -> Held {
        self.counters.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    async fn until(&mut self, reached: impl Fn(&Counters) -> bool) -> Result<()> {
        let counters = Arc::clone(&self.counters);
        let waiting = async {
            loop {
                let changed = counters.changed.notified();
                if reached(&counters) {
                    return;
                }
                changed.await;
            }
        };
        tokio::select! {
            waited = tokio::time::timeout(PATIENCE, waiting) => Ok(waited.context("clients wait in vain")?),
            Some(ended) = self.tasks.join_next() => Err(match ended {
                Ok(Err(error)) => error.context("a client's stream ended"),
                _ => anyhow::anyhow!("a client's stream ended"),
            }),
        }
    }
}

/// One client.
struct Client {
    node: Option<Node>,
    counters: Arc<Counters>,
    held: Held,
}

impl Client {
    async fn delta(mut self, channel: Channel) -> Result<()> {
        let (requests, receiver) = mpsc::channel(16);
        for type_url in [TypeUrl::Cluster, TypeUrl::Listener] {
            requests.send(self.subscribe(&type_url, vec![])).await?;
        }
        if let Some(endpoints) = self.held.get(&TypeUrl::Endpoint) {
            let names = endpoints.keys().cloned().collect();
            requests.send(self.subscribe(&TypeUrl::Endpoint, names)).await?;
        }
        let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        let responses = client.delta_aggregated_resources(ReceiverStream::new(receiver)).await?;
        let mut responses = responses.into_inner();
        let mut progress = Progress::default();
        while let Some(response) = responses.message().await? {
            let ack = DeltaDiscoveryRequest {
                type_url: response.type_url.clone(),
                response_nonce: response.nonce.clone(),
                ..DeltaDiscoveryRequest::default()
            };
            requests.send(ack).await?;
            let type_url = TypeUrl::from(response.type_url.as_str());
            let names: Vec<String> =
                response.resources.iter().map(|resource| resource.name.clone()).collect();
            let fresh = progress.take(&type_url, &names);
            if type_url == TypeUrl::Cluster && !fresh.is_empty() {
                requests.send(self.subscribe(&TypeUrl::Endpoint, fresh)).await?;
            }
            self.count_delta(&type_url, &response, &mut progress);
        }
        Ok(())
    }

    /// The first request of a type, or one for more names.
    fn subscribe(&mut self, type_url: &TypeUrl, names: Vec<String>) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            node: self.node.take(),
            type_url: type_url.as_str().to_owned(),
            resource_names_subscribe: names,
            initial_resource_versions: self.held.get(type_url).cloned().unwrap_or_default(),
            ..DeltaDiscoveryRequest::default()
        }
    }

    fn count_delta(&self, type_url: &TypeUrl, response: &DeltaDiscoveryResponse, progress: &mut Progress) {
        if !progress.reported {
            let mut held = self.counters.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let versions = held.entry(type_url.clone()).or_default();
            for resource in &response.resources {
                versions.insert(resource.name.clone(), resource.version.clone());
            }
        }
        self.count(type_url, response.encoded_len(), response.resources.len(), progress);
    }

    async fn sotw(mut self, channel: Channel) -> Result<()> {
        let (requests, receiver) = mpsc::channel(16);
        for type_url in [TypeUrl::Cluster, TypeUrl::Listener] {
            let type_url = type_url.as_str().to_owned();
            requests
                .send(DiscoveryRequest { node: self.node.take(), type_url, ..DiscoveryRequest::default() })
                .await?;
        }
        let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        let responses = client.stream_aggregated_resources(ReceiverStream::new(receiver)).await?;
        let mut responses = responses.into_inner();
        let mut progress = Progress::default();
        while let Some(response) = responses.message().await? {
            let type_url = TypeUrl::from(response.type_url.as_str());
            let names = names_of(&response);
            let fresh = progress.take(&type_url, &names);
            let wanted = if type_url == TypeUrl::Endpoint { progress.clusters() } else { vec![] };
            let ack = DiscoveryRequest {
                type_url: response.type_url.clone(),
                version_info: response.version_info.clone(),
                response_nonce: response.nonce.clone(),
                resource_names: wanted,
                ..DiscoveryRequest::default()
            };
            requests.send(ack).await?;
            if type_url == TypeUrl::Cluster && !fresh.is_empty() {
                let type_url = TypeUrl::Endpoint.as_str().to_owned();
                let resource_names = progress.clusters();
                requests
                    .send(DiscoveryRequest { type_url, resource_names, ..DiscoveryRequest::default() })
                    .await?;
            }
            self.count(&type_url, response.encoded_len(), response.resources.len(), &mut progress);
        }
        Ok(())
    }

    fn count(&self, type_url: &TypeUrl, octets: usize, resources: usize, progress: &mut Progress) {
        let counters = &self.counters;
        counters.octets.fetch_add(octets as u64 + PREFIX_OCTETS, Ordering::Relaxed);
        counters.resources.fetch_add(resources as u64, Ordering::Relaxed);
        let of_type = match type_url {
            TypeUrl::Cluster => &counters.clusters,
            TypeUrl::Endpoint => &counters.endpoints,
            _ => &counters.listeners,
        };
        of_type.fetch_add(1, Ordering::Relaxed);
        if progress.is_complete() && !std::mem::replace(&mut progress.reported, true) {
            counters.complete.fetch_add(1, Ordering::Relaxed);
        }
        counters.changed.notify_waiters();
    }
}

/// The names in a state-of-the-world response: field 1 of each resource.
fn names_of(response: &DiscoveryResponse) -> Vec<String> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Named {
        #[prost(string, tag = "1")]
        name: String,
    }
    response.resources.iter().filter_map(|any| Some(Named::decode(any.value.as_slice()).ok()?.name)).collect()
}

/// What one client holds.
#[derive(Default)]
struct Progress {
    names: BTreeMap<TypeUrl, BTreeSet<String>>,
    reported: bool,
}

impl Progress {
    /// Takes note of names and returns those that are new.
    fn take(&mut self, type_url: &TypeUrl, names: &[String]) -> Vec<String> {
        let known = self.names.entry(type_url.clone()).or_default();
        names.iter().filter(|name| known.insert((*name).clone())).cloned().collect()
    }

    fn clusters(&self) -> Vec<String> {
        self.names.get(&TypeUrl::Cluster).into_iter().flatten().cloned().collect()
    }

    /// With fewer services than remotes some have neither cluster nor endpoints.
    fn is_complete(&self) -> bool {
        let count = |type_url: &TypeUrl| self.names.get(type_url).map_or(0, BTreeSet::len);
        let clusters = count(&TypeUrl::Cluster);
        clusters > 0 && count(&TypeUrl::Endpoint) == clusters && count(&TypeUrl::Listener) > 0
    }
}
