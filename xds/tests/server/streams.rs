//! Life and death of streams: held requests, pushes, large messages, slow readers, half-close, limits, shutdown.

use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use xcc_xds::{Clients, ServerConfig, SnapshotStore, TypeUrl};

use crate::harness::{Delta, PATIENCE, Sotw, clusters, node, serve, serve_accepting_until, store_with};

#[tokio::test]
async fn before_the_first_snapshot_requests_are_held() {
    let store = SnapshotStore::new();
    let served = serve(store.clone(), ServerConfig::default()).await;
    let mut client = Delta::ads(served.channel().await).await;
    client.subscribe("gateway").await;
    served.until(|clients| clients.len() == 1).await;
    store.publish(clusters(&[("a", "1")]));
    assert_eq!(client.take().await.0, ["a"]);
}

#[tokio::test]
async fn a_change_is_pushed_to_all_variants() {
    let store = store_with(&[("a", "1"), ("b", "1")]);
    let served = serve(store.clone(), ServerConfig::default()).await;
    let channel = served.channel().await;
    let mut ads = Delta::ads(channel.clone()).await;
    let mut cds = Delta::cds(channel.clone()).await;
    let mut sotw = Sotw::cds(channel).await;
    ads.subscribe("ads").await;
    cds.subscribe("cds").await;
    sotw.requests.send(DiscoveryRequest { node: node("sotw"), ..Default::default() }).await.unwrap();
    assert_eq!(ads.take().await.0, ["a", "b"]);
    assert_eq!(cds.take().await.0, ["a", "b"]);
    let first = sotw.next().await.unwrap().unwrap();
    assert_eq!(first.resources.len(), 2);
    let ack = DiscoveryRequest {
        version_info: first.version_info.clone(),
        response_nonce: first.nonce,
        ..Default::default()
    };
    sotw.requests.send(ack).await.unwrap();

    store.publish(clusters(&[("a", "2")]));
    assert_eq!(ads.take().await, (vec!["a".to_owned()], vec!["b".to_owned()]));
    assert_eq!(cds.take().await, (vec!["a".to_owned()], vec!["b".to_owned()]));
    let second = sotw.next().await.unwrap().unwrap();
    assert_eq!(second.resources.len(), 1);
    assert_ne!(second.version_info, first.version_info);
    assert_eq!(served.clients.len(), 3);
}

#[tokio::test]
async fn rule_38_large_requests_and_responses_pass() {
    let names: Vec<(String, String)> =
        (0..20).map(|index| (format!("cluster-{index}"), "x".repeat(400_000))).collect();
    let names: Vec<(&str, &str)> =
        names.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect();
    let served = serve(store_with(&names), ServerConfig::default()).await;
    let mut client = Delta::ads(served.channel().await).await;
    client
        .send(DeltaDiscoveryRequest {
            type_url: TypeUrl::Cluster.as_str().to_owned(),
            initial_resource_versions: (0..100_000)
                .map(|i| (format!("gone-{i:060}"), "v".to_owned()))
                .collect(),
            ..Default::default()
        })
        .await;
    let (mut resources, mut removed, mut responses) = (0, 0, 0);
    while resources < 20 || removed < 100_000 {
        let (names, gone) = client.take().await;
        resources += names.len();
        removed += gone.len();
        responses += 1;
    }
    assert!(responses >= 5, "8 MB of resources and 6 MB of names in {responses} responses");
}

#[tokio::test]
async fn too_large_a_request_ends_only_its_stream() {
    let config = ServerConfig { request_bytes_max: 1000, ..ServerConfig::default() };
    let served = serve(store_with(&[("a", "1")]), config).await;
    let channel = served.channel().await;
    let mut large = Delta::ads(channel.clone()).await;
    large.subscribe(&"x".repeat(2000)).await;
    assert_eq!(large.next().await.unwrap_err().code(), Code::OutOfRange);
    let mut other = Delta::ads(channel).await;
    other.subscribe("gateway").await;
    assert_eq!(other.take().await.0, ["a"]);
}

#[tokio::test]
async fn streams_above_the_limit_are_sent_elsewhere() {
    let config = ServerConfig { streams_max: 1, ..ServerConfig::default() };
    let served = serve(store_with(&[("a", "1")]), config).await;
    let channel = served.channel().await;
    let mut first = Delta::ads(channel.clone()).await;
    first.subscribe("gateway").await;
    first.take().await;
    let mut client =
        envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient::new(channel);
    let requests = tokio_stream::pending::<DeltaDiscoveryRequest>();
    let status = client.delta_aggregated_resources(requests).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    drop(first);
    served.until(<[_]>::is_empty).await;
}

#[tokio::test]
async fn names_above_the_limit_end_the_stream() {
    let config = ServerConfig { names_per_stream_max: 2, ..ServerConfig::default() };
    let served = serve(store_with(&[("a", "1")]), config).await;
    let mut client = Delta::cds(served.channel().await).await;
    let resource_names_subscribe = ["a", "b", "c"].map(str::to_owned).to_vec();
    client.send(DeltaDiscoveryRequest { resource_names_subscribe, ..Default::default() }).await;
    let status = client.next().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("more than 2 resource names"), "{}", status.message());
}

#[tokio::test]
async fn rule_37_half_close_ends_with_ok() {
    let served = serve(store_with(&[("a", "1")]), ServerConfig::default()).await;
    let mut client = Delta::ads(served.channel().await).await;
    client.subscribe("gateway").await;
    let Delta { requests, responses } = &mut client;
    drop(std::mem::replace(requests, tokio::sync::mpsc::channel(1).0));
    let first = timeout(PATIENCE, responses.message()).await.unwrap().unwrap();
    assert_eq!(first.unwrap().resources.len(), 1, "what was asked for is sent");
    assert!(timeout(PATIENCE, responses.message()).await.unwrap().unwrap().is_none(), "the status is OK");
    served.until(<[_]>::is_empty).await;
}

#[tokio::test]
async fn rule_37_a_reset_frees_the_stream() {
    let served = serve(store_with(&[("a", "1")]), ServerConfig::default()).await;
    let mut client = Delta::ads(served.channel().await).await;
    client.subscribe("gateway").await;
    served.until(|clients| clients.len() == 1).await;
    client.take().await;
    drop(client);
    served.until(<[_]>::is_empty).await;
    assert!(served.metrics_page().contains("xds_streams{variant=\"delta\"} 0\n"));
}

#[tokio::test]
async fn rule_36_a_client_that_does_not_read_is_in_nobodys_way() {
    let large = "x".repeat(4_000_000);
    let store = store_with(&[("a", large.as_str())]);
    let served = serve(store.clone(), ServerConfig::default()).await;
    // Its HTTP/2 windows are far smaller than the response, so this stays in the middle of it.
    let stuck = Delta::ads(served.channel().await).await;
    stuck.subscribe("stuck").await;
    served.until(|clients| clients.iter().any(|c| c.node_id == "stuck" && !c.types.is_empty())).await;
    let mut reader = Delta::ads(served.channel().await).await;
    reader.subscribe("reader").await;
    reader.take().await;
    for round in 0..50 {
        store.publish(clusters(&[("a", &round.to_string())]));
        assert_eq!(reader.take().await.0, ["a"]);
    }
    let mut stuck = stuck;
    assert_eq!(stuck.take().await.0, ["a"]);
    let last = stuck.next().await.unwrap().unwrap();
    stuck.answer(&last, None).await;
    let version = store.load().unwrap().version(&TypeUrl::Cluster);
    served
        .until(|clients| clients.iter().all(|c| c.types[&TypeUrl::Cluster].acked.as_ref() == Some(&version)))
        .await;
    let responses = served.clients.list()[0].types[&TypeUrl::Cluster].responses;
    assert_eq!(responses, 2, "fifty changes were one when it read again");
}

#[tokio::test]
async fn rule_33_a_client_that_never_answers_is_served_the_other_types_in_time() {
    let store = store_with(&[("a", "1")]);
    let config = ServerConfig { gate_timeout: Duration::from_millis(50), ..ServerConfig::default() };
    let served = serve(store, config).await;
    let mut client = Delta::ads(served.channel().await).await;
    for type_url in [TypeUrl::Cluster, TypeUrl::Listener] {
        let type_url = type_url.as_str().to_owned();
        client.send(DeltaDiscoveryRequest { type_url, ..Default::default() }).await;
    }
    assert_eq!(client.next().await.unwrap().unwrap().type_url, TypeUrl::Cluster.as_str());
    assert_eq!(client.next().await.unwrap().unwrap().type_url, TypeUrl::Listener.as_str());
    assert!(served.metrics_page().contains("xds_gates_released_total 1\n"));
}

#[tokio::test]
async fn shutdown_ends_streams_with_ok() {
    let served = serve(store_with(&[("a", "1")]), ServerConfig::default()).await;
    let mut client = Delta::ads(served.channel().await).await;
    client.subscribe("gateway").await;
    client.take().await;
    served.shutdown.cancel();
    assert!(client.next().await.unwrap().is_none(), "the status is OK");
    timeout(PATIENCE, served.serving).await.expect("the server stops").unwrap();
}

#[tokio::test]
async fn shutdown_ends_streams_even_if_nobody_accepts_connections_any_more() {
    let deaf = CancellationToken::new();
    let store = store_with(&[("a", "1")]);
    let served = serve_accepting_until(store.clone(), ServerConfig::default(), deaf.clone()).await;
    let mut client = Delta::ads(served.channel().await).await;
    client.subscribe("gateway").await;
    client.take().await;
    deaf.cancel();
    store.publish(clusters(&[("a", "2")]));
    assert_eq!(client.take().await.0, ["a"], "the open stream goes on");
    served.shutdown.cancel();
    assert!(client.next().await.unwrap().is_none(), "the status is OK");
    timeout(PATIENCE, served.serving).await.expect("the server stops").unwrap();
}

#[tokio::test]
async fn fetch_is_not_served() {
    let served = serve(store_with(&[("a", "1")]), ServerConfig::default()).await;
    let mut client =
        envoy_types::pb::envoy::service::cluster::v3::cluster_discovery_service_client::ClusterDiscoveryServiceClient::new(
            served.channel().await,
        );
    let status = client.fetch_clusters(DiscoveryRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_client_that_does_not_answer_is_sent_what_is_newer_in_time() {
    let store = store_with(&[("a", "1"), ("b", "1")]);
    let config = ServerConfig { answer_timeout: Duration::from_millis(300), ..ServerConfig::default() };
    let served = serve(store.clone(), config).await;
    let mut client = Delta::ads(served.channel().await).await;
    client.subscribe("gateway").await;
    let older = client.next().await.unwrap().unwrap();
    let status = |clients: &Clients| clients.list()[0].types[&TypeUrl::Cluster].clone();
    assert!(status(&served.clients).unanswered_since.is_some());
    store.publish(clusters(&[("a", "2"), ("b", "1")]));
    let sent = Instant::now();
    let newer = client.next().await.unwrap().unwrap();
    assert!(sent.elapsed() > Duration::from_millis(100), "not before the time is up");
    assert_eq!(newer.resources.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["a"]);
    let page = served.metrics_page();
    for line in ["xds_overtakes_total{type=\"Cluster\"} 1\n", "xds_unanswered{type=\"Cluster\"} 1\n"] {
        assert!(page.contains(line), "{page}");
    }
    for response in [older, newer] {
        let type_url = response.type_url.clone();
        client
            .send(DeltaDiscoveryRequest { type_url, response_nonce: response.nonce, ..Default::default() })
            .await;
    }
    let version = store.load().unwrap().version(&TypeUrl::Cluster);
    served.until(|clients| clients[0].types[&TypeUrl::Cluster].acked.as_ref() == Some(&version)).await;
    assert_eq!(status(&served.clients).unanswered_since, None);
    assert!(served.metrics_page().contains("xds_unanswered{type=\"Cluster\"} 0\n"));
}
