//! Make before break: the order of types, warming, and what waits for what.

use super::{
    fixtures::{Driven, brief},
    *,
};

const CDS: TypeUrl = TypeUrl::Cluster;
const EDS: TypeUrl = TypeUrl::Endpoint;
const LDS: TypeUrl = TypeUrl::Listener;

/// A client that holds cluster, endpoints and listener `a`.
fn envoy(variant: Variant) -> Driven {
    let mut client = Driven::new(variant);
    client.publish(&[(CDS, "a", 1), (EDS, "a", 1), (LDS, "l", 1)]);
    client.subscribe(&CDS, &[]);
    assert_eq!(client.drain(), ["Cluster a=1"]);
    client.subscribe(&EDS, &["a"]);
    client.subscribe(&LDS, &[]);
    assert_eq!(client.drain(), ["ClusterLoadAssignment a=1", "Listener l=1"]);
    client
}

const BOTH: [Variant; 2] = [Variant::Delta, Variant::Sotw];

/// As after a restart of the server, when clients are back before it knows anything.
#[test]
fn rule_28_what_waited_for_the_first_snapshot_goes_out_in_order() {
    for variant in BOTH {
        let mut client = Driven::new(variant);
        client.subscribe(&CDS, &[]);
        client.subscribe(&LDS, &[]);
        client.expect_nothing();
        client.publish(&[(CDS, "a", 1), (EDS, "a", 1), (LDS, "l", 1)]);
        let cluster = client.expect();
        assert_eq!(brief(&cluster), "Cluster a=1");
        client.expect_nothing();
        client.ack(&cluster);
        client.expect_nothing();
        client.subscribe(&EDS, &["a"]);
        assert_eq!(client.drain(), ["ClusterLoadAssignment a=1", "Listener l=1"]);
    }
}

#[test]
fn rule_28_additions_go_out_cluster_endpoint_listener() {
    for variant in BOTH {
        let mut client = envoy(variant);
        client.publish(&[(CDS, "a", 2), (EDS, "a", 2), (LDS, "l", 2)]);
        let cluster = client.expect();
        assert_eq!(brief(&cluster), "Cluster a=2");
        let endpoint = client.expect();
        assert_eq!(brief(&endpoint), "ClusterLoadAssignment a=2", "does not wait for the ACK of its cluster");
        client.expect_nothing();
        client.ack(&cluster);
        client.expect_nothing();
        client.ack(&endpoint);
        assert_eq!(client.drain(), ["Listener l=2"]);
    }
}

#[test]
fn rule_28_a_listener_waits_until_the_endpoints_of_new_clusters_were_asked_for() {
    let mut client = envoy(Variant::Delta);
    client.publish(&[(CDS, "a", 1), (CDS, "b", 1), (EDS, "a", 1), (EDS, "b", 1), (LDS, "l", 2)]);
    let cluster = client.expect();
    assert_eq!(brief(&cluster), "Cluster b=1");
    client.ack(&cluster);
    client.expect_nothing();
    assert!(client.stream.waiting().is_some());
    client.subscribe(&EDS, &["b"]);
    assert_eq!(client.drain(), ["ClusterLoadAssignment b=1", "Listener l=2"]);
    assert!(client.stream.waiting().is_none());
}

#[test]
fn a_client_that_never_asks_is_released() {
    let mut client = envoy(Variant::Delta);
    client.publish(&[(CDS, "a", 1), (CDS, "b", 1), (EDS, "a", 1), (LDS, "l", 2)]);
    let cluster = client.expect();
    client.expect_nothing();
    assert!(client.stream.waiting().is_some());
    client.stream.release();
    assert_eq!(client.drain(), ["Listener l=2"]);
    client.ack(&cluster);
    client.publish(&[(CDS, "a", 2), (CDS, "b", 1), (EDS, "a", 1), (LDS, "l", 3)]);
    let cluster = client.expect();
    let endpoint = client.expect();
    client.expect_nothing();
    assert!(client.stream.waiting().is_some(), "released once, not for ever");
    client.ack(&cluster);
    client.ack(&endpoint);
    assert_eq!(client.drain(), ["Listener l=3"]);
}

#[test]
fn rule_29_endpoints_are_sent_again_with_their_cluster() {
    for variant in BOTH {
        let mut client = envoy(variant);
        client.publish(&[(CDS, "a", 2), (EDS, "a", 1), (LDS, "l", 1)]);
        assert_eq!(client.drain(), ["Cluster a=2", "ClusterLoadAssignment a=1"]);
    }
}

#[test]
fn rule_29_endpoints_are_sent_again_when_their_cluster_comes_back() {
    for variant in BOTH {
        let mut client = envoy(variant);
        client.publish(&[(EDS, "a", 1), (LDS, "l", 1)]);
        assert_eq!(client.drain(), [if variant == Variant::Delta { "Cluster -a" } else { "Cluster" }]);
        client.publish(&[(CDS, "a", 1), (EDS, "a", 1), (LDS, "l", 1)]);
        assert_eq!(client.drain(), ["Cluster a=1", "ClusterLoadAssignment a=1"]);
    }
}

#[test]
fn rule_29_shared_endpoints_are_sent_again_too() {
    let mut client = Driven::delta();
    let shared = |content| super::fixtures::resource(&CDS, "c", content).refreshes(EDS, "nodes");
    let publish = |client: &mut Driven, content| {
        let snapshot = Snapshot::builder()
            .insert(shared(content))
            .insert(super::fixtures::resource(&EDS, "nodes", 1))
            .build()
            .unwrap();
        client.publish_snapshot(snapshot);
    };
    publish(&mut client, 1);
    client.subscribe(&CDS, &[]);
    client.subscribe(&EDS, &["nodes"]);
    client.drain();
    publish(&mut client, 2);
    assert_eq!(client.drain(), ["Cluster c=2", "ClusterLoadAssignment nodes=1"]);
}

#[test]
fn rule_31_endpoints_do_not_wait_for_a_listener() {
    for variant in BOTH {
        let mut client = envoy(variant);
        client.publish(&[(CDS, "a", 1), (EDS, "a", 1), (LDS, "l", 2)]);
        let listener = client.expect();
        assert_eq!(brief(&listener), "Listener l=2");
        client.publish(&[(CDS, "a", 1), (EDS, "a", 2), (LDS, "l", 3)]);
        assert_eq!(client.drain(), ["ClusterLoadAssignment a=2"]);
        client.ack(&listener);
        assert_eq!(client.drain(), ["Listener l=3"]);
    }
}

#[test]
fn a_listener_does_not_starve_under_endpoint_changes() {
    let mut client = envoy(Variant::Delta);
    client.publish(&[(CDS, "a", 1), (EDS, "a", 2), (LDS, "l", 2)]);
    let mut endpoint = client.expect();
    for content in 3..10 {
        client.publish(&[(CDS, "a", 1), (EDS, "a", content), (LDS, "l", 2)]);
        client.ack(&endpoint);
        endpoint = client.expect();
        assert_eq!(brief(&endpoint), format!("ClusterLoadAssignment a={content}"));
        if let Some(listener) = client.next() {
            assert_eq!(brief(&listener), "Listener l=2");
            return;
        }
    }
    panic!("the listener was never sent");
}

#[test]
fn rule_33_a_cluster_goes_after_the_ack_of_the_listener_that_drops_it() {
    for variant in BOTH {
        let mut client = envoy(variant);
        client.publish(&[(CDS, "b", 1), (EDS, "b", 1), (LDS, "l", 2)]);
        let added = client.expect();
        // SotW lists all clusters, so the one that is going must still be in.
        let both = if variant == Variant::Delta { "Cluster b=1" } else { "Cluster b=1 a=1" };
        assert_eq!(brief(&added), both);
        client.ack(&added);
        client.subscribe(&EDS, if variant == Variant::Delta { &["b"] } else { &["a", "b"] });
        let endpoint = client.expect();
        assert_eq!(brief(&endpoint), "ClusterLoadAssignment b=1");
        client.ack(&endpoint);
        let listener = client.expect();
        assert_eq!(brief(&listener), "Listener l=2");
        client.expect_nothing();
        assert!(!client.is_acked(&CDS), "its removal is held back");
        client.ack(&listener);
        let removal = client.expect();
        assert_eq!(brief(&removal), if variant == Variant::Delta { "Cluster -a" } else { "Cluster b=1" });
        let same_version = removal.version == added.version;
        assert_eq!(same_version, variant == Variant::Delta, "in SotW one version never names two contents");
        client.ack(&removal);
        assert!(client.is_acked(&CDS));
        let gone: &[&str] = if variant == Variant::Delta { &["ClusterLoadAssignment -a"] } else { &[] };
        assert_eq!(client.drain(), gone);
    }
}

#[test]
fn rule_33_a_refused_listener_keeps_the_clusters_of_the_one_in_use() {
    let mut client = envoy(Variant::Delta);
    client.publish(&[(CDS, "b", 1), (LDS, "l", 2)]);
    assert_eq!(brief(&client.expect()), "Cluster b=1");
    client.stream.release();
    let listener = client.expect();
    client.nack(&listener, "no");
    client.expect_nothing();
    client.publish(&[(CDS, "a", 1), (CDS, "b", 1), (EDS, "a", 1), (LDS, "l", 3)]);
    assert!(client.next().is_none_or(|response| response.removed.is_empty()));
}

#[test]
fn without_a_listener_subscription_removals_go_at_once() {
    let mut client = Driven::delta();
    client.publish(&[(CDS, "a", 1), (LDS, "l", 1)]);
    client.subscribe(&CDS, &[]);
    client.drain();
    client.publish(&[(LDS, "l", 2)]);
    assert_eq!(client.drain(), ["Cluster -a"]);
}

#[test]
fn on_reconnect_removals_wait_for_the_types_that_refer_to_them() {
    let resume = |client: &Driven, type_url: &TypeUrl, name: &str| DeltaRequest {
        type_url: type_url.as_str().to_owned(),
        initial_resource_versions: [(name.to_owned(), client.version(type_url, name))].into(),
        ..Default::default()
    };
    let old = envoy(Variant::Delta);
    let clusters = resume(&old, &CDS, "a");
    let listeners = resume(&old, &LDS, "l");
    let mut client = Driven::with_store(Variant::Delta, old.store.clone());
    client.publish(&[(CDS, "b", 1), (LDS, "l", 2)]);
    client.send_delta(clusters.clone());
    client.expect_nothing();
    assert_eq!(client.stream.waiting(), Some(Waiting::Opening));
    client.send_delta(listeners);
    let cluster = client.expect();
    assert_eq!(brief(&cluster), "Cluster b=1");
    client.ack(&cluster);
    client.expect_nothing();
    assert_eq!(client.stream.waiting(), Some(Waiting::Answer), "for the wish for endpoints");
    client.stream.release();
    assert_eq!(client.drain(), ["Listener l=2", "Cluster -a"]);

    let mut no_listeners = Driven::with_store(Variant::Delta, client.store.clone());
    no_listeners.send_delta(clusters);
    no_listeners.expect_nothing();
    no_listeners.stream.release();
    assert_eq!(no_listeners.drain(), ["Cluster b=1 -a"]);
}

#[test]
fn a_type_that_needs_nothing_after_all_lets_removals_go() {
    let mut client = envoy(Variant::Delta);
    client.publish(&[(CDS, "a", 2), (CDS, "b", 1), (EDS, "a", 1), (LDS, "l", 2)]);
    let cluster = client.expect();
    let endpoint = client.expect();
    client.publish(&[(CDS, "a", 2), (EDS, "a", 1), (LDS, "l", 1)]);
    client.stream.release();
    client.ack(&endpoint);
    client.ack(&cluster);
    assert_eq!(client.drain(), ["Cluster -b"], "the listener is what the client has");
}

#[test]
fn a_refused_cluster_does_not_hold_up_listeners() {
    let mut client = envoy(Variant::Delta);
    client.publish(&[(CDS, "a", 2), (EDS, "a", 1), (LDS, "l", 2)]);
    let cluster = client.expect();
    client.nack(&cluster, "no");
    assert_eq!(client.drain(), ["ClusterLoadAssignment a=1", "Listener l=2"]);
}

#[test]
fn a_refused_assignment_is_not_refreshed() {
    let mut client = envoy(Variant::Delta);
    client.publish(&[(CDS, "a", 1), (EDS, "a", 2), (LDS, "l", 1)]);
    let endpoint = client.expect();
    client.nack(&endpoint, "no");
    client.publish(&[(CDS, "a", 2), (EDS, "a", 2), (LDS, "l", 1)]);
    assert_eq!(client.drain(), ["Cluster a=2"]);
}
