//! What runs for every change and every query, as things to repeat: instructions of one more repetition are a figure that
//! is the same on every machine of a kind, loaded or not.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use bytes::Bytes;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
    aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use xcc_dns::{Outcome, Transport, respond};
use xcc_xds::{Resource, ServerConfig, Snapshot, SnapshotStore, TypeUrl, XdsServer};

use crate::dns::workload::{self, Mix};
use crate::xds::{node, world::World};

/// Something to repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum HotPath {
    /// One of a hundred endpoint sets changes, without clients.
    Change100,
    /// One of ten thousand does.
    Change10000,
    /// The same of a hundred, pushed to a client that subscribed to all, and ACKed; the client's own work included.
    Push100,
    /// The same of ten thousand.
    Push10000,
    /// One service more with a thousand: the listener is translated, encoded and hashed.
    Listener1000,
    /// A name among ten thousand that exists.
    DnsHit,
    /// One that does not.
    DnsNxdomain,
    /// A message that is made of compression pointers, each to the one before.
    DnsPointers,
}

const DNS_NAMES: usize = 10_000;

impl HotPath {
    /// How many repetitions make a figure steady.
    pub fn repetitions(self) -> usize {
        match self {
            Self::Change100 | Self::Change10000 | Self::Push100 | Self::Push10000 => 200,
            Self::Listener1000 => 4,
            Self::DnsHit | Self::DnsNxdomain => 2_000,
            Self::DnsPointers => 20,
        }
    }

    /// Prepares it and runs it so often.
    pub fn run(self, times: usize) -> Result<()> {
        match self {
            Self::Change100 => changes(100, times),
            Self::Change10000 => changes(10_000, times),
            Self::Push100 => pushes(100, times),
            Self::Push10000 => pushes(10_000, times),
            Self::Listener1000 => listeners(1_000, times),
            Self::DnsHit => queries(&workload::requests(Mix::Hit, DNS_NAMES, 1), times),
            Self::DnsNxdomain => queries(&workload::requests(Mix::NxDomain, DNS_NAMES, 1), times),
            Self::DnsPointers => queries(&[pointers()], times),
        }
    }
}

/// A resource with a content of its own for each change, as long as a small set of endpoints.
fn resource(index: usize, change: usize) -> Resource {
    let name = format!("set-{index:06}");
    // Field 1 of the message is its name; unknown fields may follow.
    let mut message = vec![10, u8::try_from(name.len()).unwrap_or(u8::MAX)];
    message.extend(name.as_bytes());
    message.extend([0x92, 0x4e, 0xff, 1]);
    message.extend([change.to_be_bytes(); 32].concat().into_iter().take(255));
    Resource::from_encoded(TypeUrl::Endpoint, &*name, Bytes::from(message))
}

fn snapshot(count: usize) -> Result<Snapshot> {
    let mut builder = Snapshot::builder();
    for index in 0..count {
        builder.insert(resource(index, 0));
    }
    Ok(builder.build()?)
}

fn change(store: &SnapshotStore, count: usize, number: usize) -> Result<()> {
    let before = store.load().context("a snapshot was published")?;
    let after = before.with_changes(|change| {
        change.insert(resource(number % count, number));
    })?;
    anyhow::ensure!(store.publish(after), "a change is published");
    Ok(())
}

fn changes(count: usize, times: usize) -> Result<()> {
    let store = SnapshotStore::new();
    store.publish(snapshot(count)?);
    (1..=times).try_for_each(|number| change(&store, count, number))
}

/// Server and client on one thread, so that nothing depends on who wakes whom.
#[tokio::main(flavor = "current_thread")]
async fn pushes(count: usize, times: usize) -> Result<()> {
    let store = SnapshotStore::new();
    store.publish(snapshot(count)?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = format!("http://{}", listener.local_addr()?);
    let server = XdsServer::new(store.clone(), ServerConfig::default());
    let stop = CancellationToken::new();
    let served = tokio::spawn(server.serve(TcpListenerStream::new(listener), stop.clone()));

    let (requests, receiver) = mpsc::channel(4);
    let names = (0..count).map(|index| format!("set-{index:06}")).collect();
    let first = DeltaDiscoveryRequest {
        node: Some(node::small("gateway")),
        type_url: TypeUrl::Endpoint.as_str().to_owned(),
        resource_names_subscribe: names,
        ..DeltaDiscoveryRequest::default()
    };
    requests.send(first).await?;
    let mut client = AggregatedDiscoveryServiceClient::connect(address).await?;
    client = client.max_decoding_message_size(usize::MAX);
    let responses = client.delta_aggregated_resources(ReceiverStream::new(receiver)).await?;
    let mut responses = responses.into_inner();
    let mut held = 0;
    while held < count {
        held += answer(&mut responses, &requests).await?;
    }
    for number in 1..=times {
        change(&store, count, number)?;
        anyhow::ensure!(
            answer(&mut responses, &requests).await? == 1,
            "what changed is sent, and nothing else"
        );
    }
    drop((requests, responses, client));
    stop.cancel();
    Ok(served.await??)
}

/// Takes a response and ACKs it; how many resources it had.
async fn answer(
    responses: &mut Streaming<DeltaDiscoveryResponse>,
    requests: &mpsc::Sender<DeltaDiscoveryRequest>,
) -> Result<usize> {
    let response = responses.message().await?.context("the stream ended")?;
    let ack = DeltaDiscoveryRequest {
        type_url: response.type_url,
        response_nonce: response.nonce,
        ..DeltaDiscoveryRequest::default()
    };
    requests.send(ack).await?;
    Ok(response.resources.len())
}

fn listeners(services: usize, times: usize) -> Result<()> {
    let mut world = World::new(services)?;
    for _ in 0..times {
        world.add()?;
        anyhow::ensure!(!world.listeners().is_empty(), "there is a listener");
    }
    Ok(())
}

/// As long as a datagram that is taken whole: hundreds of questions, each at a pointer that leads through all before it.
fn pointers() -> Vec<u8> {
    let mut message = vec![0, 7, 0, 0, 2, 168, 0, 0, 0, 0, 0, 0, 0];
    let mut target = 12_u16;
    while message.len() < 4095 {
        let at = message.len() as u16;
        message.extend((0xc000 | target).to_be_bytes());
        target = at;
    }
    message
}

fn queries(requests: &[Vec<u8>], times: usize) -> Result<()> {
    let zones = workload::zones(DNS_NAMES, &[workload::GATEWAY.parse()?])?;
    let mut reply = Vec::new();
    for request in requests.iter().cycle().take(times) {
        let outcome = respond(Some(&zones), Transport::Udp, request, &mut reply);
        anyhow::ensure!(matches!(outcome, Outcome::Replied { .. }), "a query is answered");
    }
    Ok(())
}
