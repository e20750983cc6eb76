//! The four variants over gRPC: each service, delta and state of the world, aggregated and for its type.

use envoy_types::pb::envoy::service::{
    cluster::v3::cluster_discovery_service_client::ClusterDiscoveryServiceClient,
    discovery::v3::{
        DeltaDiscoveryRequest, DiscoveryRequest,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
    endpoint::v3::endpoint_discovery_service_client::EndpointDiscoveryServiceClient,
    listener::v3::listener_discovery_service_client::ListenerDiscoveryServiceClient,
    route::v3::route_discovery_service_client::RouteDiscoveryServiceClient,
    secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient,
};
use tokio_stream::StreamExt;
use xcc_xds::{Resource, ServerConfig, Snapshot, SnapshotStore, TypeUrl};

use crate::harness::{Delta, node, serve, store_with};

const TYPES: [TypeUrl; 5] =
    [TypeUrl::Secret, TypeUrl::Cluster, TypeUrl::Endpoint, TypeUrl::Listener, TypeUrl::RouteConfiguration];

/// One request of a stream that stays open.
fn only<T>(request: T) -> impl tokio_stream::Stream<Item = T> {
    tokio_stream::once(request).chain(tokio_stream::pending())
}

macro_rules! check {
    ($client:expr, $delta:ident, $sotw:ident, $type_url:expr, $on_the_wire:expr) => {
        let request = DeltaDiscoveryRequest {
            node: node("x"),
            type_url: $on_the_wire.to_owned(),
            resource_names_subscribe: vec!["A".to_owned()],
            ..Default::default()
        };
        let mut responses = $client.$delta(only(request)).await.unwrap().into_inner();
        let response = responses.message().await.unwrap().unwrap();
        assert_eq!((response.type_url.as_str(), response.resources.len()), ($type_url.as_str(), 1));
        let request = DiscoveryRequest {
            node: node("x"),
            type_url: $on_the_wire.to_owned(),
            resource_names: vec!["A".to_owned()],
            ..Default::default()
        };
        let mut responses = $client.$sotw(only(request)).await.unwrap().into_inner();
        let response = responses.message().await.unwrap().unwrap();
        assert_eq!((response.type_url.as_str(), response.resources.len()), ($type_url.as_str(), 1));
    };
}

#[tokio::test]
async fn rule_6_every_service_speaks_both_variants() {
    let store = SnapshotStore::new();
    let mut builder = Snapshot::builder();
    for type_url in TYPES {
        builder.insert(Resource::from_encoded(type_url, "A", b"\x0a\x01A".as_slice().into()));
    }
    store.publish(builder.build().unwrap());
    let served = serve(store, ServerConfig::default()).await;
    let channel = served.channel().await;

    let mut cds = ClusterDiscoveryServiceClient::new(channel.clone());
    check!(cds, delta_clusters, stream_clusters, TypeUrl::Cluster, "");
    let mut eds = EndpointDiscoveryServiceClient::new(channel.clone());
    check!(eds, delta_endpoints, stream_endpoints, TypeUrl::Endpoint, "");
    let mut lds = ListenerDiscoveryServiceClient::new(channel.clone());
    check!(lds, delta_listeners, stream_listeners, TypeUrl::Listener, "");
    let mut rds = RouteDiscoveryServiceClient::new(channel.clone());
    check!(rds, delta_routes, stream_routes, TypeUrl::RouteConfiguration, "");
    let mut sds = SecretDiscoveryServiceClient::new(channel.clone());
    check!(sds, delta_secrets, stream_secrets, TypeUrl::Secret, "");
    let mut ads = AggregatedDiscoveryServiceClient::new(channel);
    for type_url in TYPES {
        check!(ads, delta_aggregated_resources, stream_aggregated_resources, type_url, type_url.as_str());
    }
}

#[tokio::test]
async fn rule_35_the_culprit_is_found_and_told_to_the_caller() {
    let names: Vec<String> = (0..20).map(|index| format!("cluster-{index:02}")).collect();
    let clusters: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let store = store_with(&clusters);
    let served = serve(store.clone(), ServerConfig::default()).await;
    let mut client = Delta::ads(served.channel().await).await;
    client.subscribe("gateway").await;
    let mut taken = std::collections::BTreeSet::new();
    while taken.len() < names.len() - 1 {
        let response = client.next().await.unwrap().unwrap();
        let bad = response.resources.iter().any(|resource| resource.name == "cluster-13");
        client.answer(&response, bad.then_some("something is wrong")).await;
        if !bad {
            taken.extend(response.resources.into_iter().map(|resource| resource.name));
        }
    }
    assert!(!taken.contains("cluster-13"));
    let mut changed = served.clients.changed();
    let refusal = loop {
        if let [only] = served.clients.refusals().as_slice() {
            break only.clone();
        }
        // The last part is refused after all others were taken, or before.
        tokio::select! {
            response = client.next() => {
                let response = response.unwrap().unwrap();
                client.answer(&response, Some("something is wrong")).await;
            }
            _ = changed.changed() => {}
        }
    };
    let current = store.load().unwrap().get(&TypeUrl::Cluster, "cluster-13").unwrap().version().clone();
    assert_eq!(
        (refusal.type_url, &*refusal.name, refusal.version),
        (TypeUrl::Cluster, "cluster-13", current)
    );
    assert_eq!((&*refusal.message, refusal.clients), ("something is wrong", 1));
}
