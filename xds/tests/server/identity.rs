//! Who a client is, what it is served, and what is known of it.

use std::sync::{Arc, Mutex};

use envoy_types::pb::envoy::{
    config::core::v3::{BuildVersion, Extension, Locality, Node, node::UserAgentVersionType},
    service::discovery::v3::DeltaDiscoveryRequest,
    r#type::v3::SemanticVersion,
};
use tonic::{Code, Status};
use xcc_xds::{NodeInfo, ServerConfig, SnapshotStore, TypeUrl};

use crate::harness::{Delta, node, serve, store_with};

#[tokio::test]
async fn rule_1_the_node_is_taken_from_the_first_request() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let store = store_with(&[("a", "1")]);
    let resolver = {
        let (seen, store) = (Arc::clone(&seen), store.clone());
        move |node: &NodeInfo| -> Result<SnapshotStore, Status> {
            seen.lock().unwrap().push(node.clone());
            Ok(store.clone())
        }
    };
    let served = serve(resolver, ServerConfig::default()).await;
    let mut client = Delta::ads(served.channel().await).await;
    let extension = |index: usize| Extension {
        name: format!("envoy.extension.{index}"),
        category: "envoy.category".to_owned(),
        type_urls: vec!["some.type".repeat(10)],
        ..Default::default()
    };
    let version = SemanticVersion { major_number: 1, minor_number: 40, patch: 0 };
    let node = Node {
        id: "gateway-1".to_owned(),
        cluster: "edge".to_owned(),
        locality: Some(Locality { region: "r".to_owned(), zone: "z".to_owned(), ..Default::default() }),
        user_agent_name: "envoy".to_owned(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(BuildVersion {
            version: Some(version),
            ..Default::default()
        })),
        client_features: vec!["envoy.lb.does_not_support_overprovisioning".to_owned()],
        extensions: (0..516).map(extension).collect(),
        ..Default::default()
    };
    let type_url = TypeUrl::Cluster.as_str().to_owned();
    client.send(DeltaDiscoveryRequest { node: Some(node), type_url, ..Default::default() }).await;
    assert_eq!(client.take().await.0, ["a"]);

    let seen = seen.lock().unwrap().clone();
    let [info] = seen.as_slice() else { panic!("asked once for each stream, not {}", seen.len()) };
    assert_eq!((info.id.as_str(), info.cluster.as_str()), ("gateway-1", "edge"));
    assert_eq!((info.locality.region.as_str(), info.locality.zone.as_str()), ("r", "z"));
    assert_eq!((info.user_agent_name.as_str(), info.user_agent_version.as_str()), ("envoy", "1.40.0"));
    assert!(info.client_features.contains("envoy.lb.does_not_support_overprovisioning"));
    assert_eq!(info.extensions.len(), 516);
    assert!(info.peer_addr.is_some_and(|peer| peer.ip().is_loopback()));
    assert!(info.connection.get::<tonic::transport::server::TcpConnectInfo>().is_some());
}

#[tokio::test]
async fn each_node_is_served_from_its_own_store() {
    let (one, other) = (store_with(&[("one", "1")]), store_with(&[("other", "1")]));
    let resolver = move |node: &NodeInfo| match node.id.as_str() {
        "one" => Ok(one.clone()),
        "other" => Ok(other.clone()),
        id => Err(Status::permission_denied(format!("{id} may not connect"))),
    };
    let served = serve(resolver, ServerConfig::default()).await;
    for id in ["one", "other"] {
        let mut client = Delta::ads(served.channel().await).await;
        client.subscribe(id).await;
        assert_eq!(client.take().await.0, [id]);
    }
    let mut refused = Delta::ads(served.channel().await).await;
    refused.subscribe("stranger").await;
    let status = refused.next().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "stranger may not connect"));
}

#[tokio::test]
async fn rule_35_and_40_clients_are_listed_with_acks_and_nacks() {
    let store = store_with(&[("a", "1")]);
    let served = serve(store.clone(), ServerConfig::default()).await;
    let mut client = Delta::ads(served.channel().await).await;
    client.subscribe("gateway").await;
    let version = store.load().unwrap().version(&TypeUrl::Cluster);
    client.take().await;
    served
        .until(|clients| {
            clients.len() == 1
                && clients[0].node_id == "gateway"
                && clients[0].types.get(&TypeUrl::Cluster).is_some_and(|s| s.acked.as_ref() == Some(&version))
        })
        .await;

    store.publish(crate::harness::clusters(&[("a", "2")]));
    let response = client.next().await.unwrap().unwrap();
    client.answer(&response, Some("cluster a: no")).await;
    served.until(|clients| clients[0].types[&TypeUrl::Cluster].nacks == 1).await;
    let status = served.clients.list()[0].types[&TypeUrl::Cluster].clone();
    assert_eq!(status.acked, Some(version));
    let nack = status.last_nack.unwrap();
    assert_eq!((nack.message.as_str(), nack.nonce.as_str()), ("cluster a: no", response.nonce.as_str()));
    assert_eq!(nack.version.to_string(), response.system_version_info);

    let page = served.metrics_page();
    for line in [
        "xds_streams{variant=\"delta\"} 1\n",
        "xds_responses_total{type=\"Cluster\"} 2\n",
        "xds_resources_total{type=\"Cluster\"} 2\n",
        "xds_acks_total{type=\"Cluster\"} 1\n",
        "xds_nacks_total{type=\"Cluster\"} 1\n",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
    drop(client);
    served.until(<[_]>::is_empty).await;
}

#[tokio::test]
async fn rule_1_the_node_counts_in_the_first_request_only() {
    let served = serve(store_with(&[("a", "1")]), ServerConfig::default()).await;
    let mut client = Delta::cds(served.channel().await).await;
    client.send(DeltaDiscoveryRequest::default()).await;
    assert_eq!(client.take().await.0, ["a"], "rule 2: a per-type service needs no type_url either");
    assert_eq!(served.clients.list()[0].node_id, "");
    client.send(DeltaDiscoveryRequest { node: node("late"), ..Default::default() }).await;
    served.until(|clients| clients[0].types[&TypeUrl::Cluster].acks == 1).await;
    assert_eq!(served.clients.list()[0].node_id, "", "only the first request says who it is");
}
