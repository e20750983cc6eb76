//! The rules of the incremental variant; numbers are those of the project's conformance list.

use super::{
    fixtures::{Driven, LIMITS, brief, snapshot, strings},
    *,
};
use crate::{store::SnapshotStore, version::ResourceVersion};

const CDS: TypeUrl = TypeUrl::Cluster;
const EDS: TypeUrl = TypeUrl::Endpoint;
const LDS: TypeUrl = TypeUrl::Listener;
const RDS: TypeUrl = TypeUrl::RouteConfiguration;

#[test]
fn rule_18_delta_stale_nonce_does_not_lose_subscriptions() {
    let mut client = Driven::delta();
    client.publish(&[(EDS, "a", 1), (EDS, "b", 1)]);
    client.subscribe(&EDS, &["a"]);
    let first = client.expect();
    client.ack(&first);
    let stale = DeltaRequest {
        type_url: EDS.as_str().to_owned(),
        response_nonce: first.nonce,
        resource_names_subscribe: strings(&["b"]),
        resource_names_unsubscribe: strings(&["a"]),
        ..Default::default()
    };
    assert_eq!(client.send_delta(stale), Acknowledged::Stale);
    assert_eq!(client.drain(), ["ClusterLoadAssignment b=1"]);
    client.publish(&[(EDS, "a", 2), (EDS, "b", 1)]);
    client.expect_nothing();
}

#[test]
fn rule_19_delta_resubscription_is_answered() {
    let mut client = Driven::delta();
    client.publish(&[(EDS, "a", 1)]);
    client.subscribe(&EDS, &["a"]);
    assert_eq!(client.drain(), ["ClusterLoadAssignment a=1"]);
    client.subscribe(&EDS, &["a"]);
    assert_eq!(client.drain(), ["ClusterLoadAssignment a=1"], "RemoveThenAdd");
}

#[test]
fn rule_20_delta_absent_names_are_reported_and_sent_when_created() {
    let mut client = Driven::delta();
    client.publish(&[(EDS, "a", 1)]);
    client.subscribe(&EDS, &["a", "z"]);
    assert_eq!(client.drain(), ["ClusterLoadAssignment a=1 -z"]);
    client.publish(&[(EDS, "a", 1), (EDS, "z", 1)]);
    assert_eq!(client.drain(), ["ClusterLoadAssignment z=1"]);
    client.publish(&[(EDS, "a", 1)]);
    assert_eq!(client.drain(), ["ClusterLoadAssignment -z"]);
}

#[test]
fn rule_21_delta_legacy_wildcard() {
    let mut client = Driven::delta();
    client.publish(&[(CDS, "a", 1), (CDS, "b", 1)]);
    client.subscribe(&CDS, &[]);
    assert_eq!(client.drain(), ["Cluster a=1 b=1"]);
    client.subscribe(&CDS, &["a"]);
    assert_eq!(client.drain(), ["Cluster a=1"], "adding a name keeps the wildcard");
    client.publish(&[(CDS, "a", 1), (CDS, "b", 2)]);
    assert_eq!(client.drain(), ["Cluster b=2"]);
    client.unsubscribe(&CDS, &["*"]);
    client.publish(&[(CDS, "a", 3), (CDS, "b", 3)]);
    assert_eq!(client.drain(), ["Cluster a=3"], "the name is left");
    client.unsubscribe(&CDS, &["a"]);
    client.publish(&[(CDS, "a", 4), (CDS, "b", 4)]);
    client.expect_nothing();
}

#[test]
fn rule_22_delta_unsubscribe_under_a_wildcard_is_answered() {
    let mut client = Driven::delta();
    client.publish(&[(CDS, "a", 1)]);
    client.subscribe(&CDS, &["*", "a", "z"]);
    assert_eq!(client.drain(), ["Cluster a=1 -z"]);
    client.unsubscribe(&CDS, &["a", "z"]);
    assert_eq!(client.drain(), ["Cluster a=1 -z"]);
    client.unsubscribe(&CDS, &["never heard of"]);
    client.expect_nothing();
}

#[test]
fn rule_22_delta_plain_unsubscribe_needs_no_answer() {
    let mut client = Driven::delta();
    client.publish(&[(EDS, "a", 1)]);
    client.subscribe(&EDS, &["a"]);
    client.drain();
    client.unsubscribe(&EDS, &["a", "unknown"]);
    client.expect_nothing();
}

fn reconnect(store: &SnapshotStore, names: &[&str], held: &[(&str, &ResourceVersion)]) -> Driven {
    let mut client = Driven::with_store(Variant::Delta, store.clone());
    client.stream.release();
    client.send_delta(DeltaRequest {
        type_url: EDS.as_str().to_owned(),
        resource_names_subscribe: strings(names),
        initial_resource_versions: held.iter().map(|(n, v)| ((*n).to_owned(), v.to_string())).collect(),
        ..Default::default()
    });
    client
}

#[test]
fn rule_23_delta_reconnect_sends_what_differs_and_removes_what_is_gone() {
    let store = SnapshotStore::new();
    store.publish(snapshot(&[(EDS, "same", 1), (EDS, "new", 1), (EDS, "changed", 2)]));
    let same = store.load().unwrap().get(&EDS, "same").unwrap().version().clone();
    let old = ResourceVersion::from("old");
    let held = [("same", &same), ("changed", &old), ("gone", &old)];
    let mut all = reconnect(&store, &[], &held);
    assert_eq!(all.drain(), ["ClusterLoadAssignment changed=2 new=1 -gone"]);
    assert!(all.is_acked(&EDS));
    let mut named = reconnect(&store, &["same", "changed", "gone"], &held);
    assert_eq!(named.drain(), ["ClusterLoadAssignment changed=2 -gone"]);
    let mut fewer = reconnect(&store, &["same"], &held);
    fewer.expect_nothing();
    assert!(fewer.is_acked(&EDS), "all that it wants it has: nothing to send, nothing outstanding");
    fewer.publish(&[(EDS, "changed", 9)]);
    assert_eq!(fewer.drain(), ["ClusterLoadAssignment -same"], "versions are no subscriptions");
}

#[test]
fn rule_23_delta_reconnect_with_equal_versions_is_sent_no_resource() {
    let store = SnapshotStore::new();
    store.publish(snapshot(&[(EDS, "a", 1), (EDS, "b", 1)]));
    let current = store.load().unwrap();
    let held: Vec<_> = current.resources(&EDS).map(|r| (&**r.name(), r.version())).collect();
    let mut client = reconnect(&store, &[], &held);
    assert_eq!(client.drain(), ["ClusterLoadAssignment"], "empty, which ends the client's initialisation");
    assert!(client.is_acked(&EDS));
    client.publish(&[(EDS, "a", 1)]);
    assert_eq!(client.drain(), ["ClusterLoadAssignment -b"]);
}

#[test]
fn rule_24_delta_first_wildcard_reply_is_sent_although_empty() {
    let mut client = Driven::delta();
    client.publish(&[]);
    client.subscribe(&LDS, &["*"]);
    assert_eq!(client.drain(), ["Listener"]);
}

#[test]
fn a_name_dropped_in_flight_is_answered_if_everything_is_subscribed_to_meanwhile() {
    let mut client = Driven::delta();
    client.publish(&[(RDS, "a", 1)]);
    client.subscribe(&RDS, &["a"]);
    let in_flight = client.expect();
    client.publish(&[]);
    client.unsubscribe(&RDS, &["a"]);
    client.subscribe(&RDS, &["*"]);
    client.ack(&in_flight);
    assert_eq!(client.drain(), ["RouteConfiguration -a"], "the client kept it, as it wants all");
}

#[test]
fn a_repeated_wildcard_is_answered_in_full_even_if_it_ends_before_the_answer() {
    let mut client = Driven::delta();
    client.publish(&[(RDS, "a", 1), (RDS, "b", 1)]);
    client.subscribe(&RDS, &["*", "a"]);
    client.drain();
    client.subscribe(&RDS, &["*"]);
    assert_eq!(client.drain(), ["RouteConfiguration a=1 b=1"]);
    client.subscribe(&RDS, &["*"]);
    client.unsubscribe(&RDS, &["*"]);
    assert_eq!(client.drain(), ["RouteConfiguration a=1"]);
}

#[test]
fn what_comes_back_before_its_removal_was_sent_is_sent_to_a_client_that_dropped_everything() {
    let mut client = Driven::delta();
    client.publish(&[(CDS, "a", 1), (LDS, "l", 1)]);
    client.subscribe(&CDS, &[]);
    client.drain();
    client.subscribe(&LDS, &[]);
    client.stream.release();
    let listener = client.expect();
    client.publish(&[(LDS, "l", 1)]);
    client.expect_nothing();
    client.subscribe(&CDS, &["*"]);
    let empty = client.expect();
    assert_eq!(brief(&empty), "Cluster", "the removal waits for the listener");
    client.publish(&[(CDS, "a", 1), (LDS, "l", 1)]);
    client.ack(&empty);
    client.ack(&listener);
    assert_eq!(client.drain(), ["Cluster a=1"]);
}

#[test]
fn rule_26_large_delta_responses_are_split() {
    let store = SnapshotStore::new();
    let names: Vec<String> = (0..100).map(|index| format!("{index:03}")).collect();
    let resources: Vec<_> = names.iter().map(|name| (RDS, name.as_str(), 1)).collect();
    store.publish(snapshot(&resources));
    let mut stream = AdsStream::new(1, None, StreamLimits { response_bytes_max: 1000, ..LIMITS });
    stream.on_published(&store.published().unwrap());
    let mut client = Driven::with_store(Variant::Delta, store);
    client.stream = stream;
    client.subscribe(&RDS, &[]);
    let mut parts = 0;
    let mut received = Vec::new();
    while let Some(response) = client.next() {
        parts += 1;
        assert!(response.resources.iter().map(|r| r.delta_len()).sum::<usize>() <= 1000);
        received.extend(response.resources.iter().map(|r| r.name().to_string()));
        client.expect_nothing();
        assert!(!client.is_acked(&RDS), "acked only when all parts are");
        client.ack(&response);
    }
    assert!(parts > 5);
    assert_eq!(received, names);
    assert!(client.is_acked(&RDS));
}

#[test]
fn acked_follows_when_the_type_is_unchanged_for_the_client() {
    let mut client = Driven::delta();
    client.publish(&[(EDS, "a", 1), (EDS, "b", 1)]);
    client.subscribe(&EDS, &["a"]);
    client.drain();
    client.publish(&[(EDS, "a", 1), (EDS, "b", 2)]);
    client.expect_nothing();
    assert!(client.is_acked(&EDS), "another's resource changed: the client holds all that it wants");
}

#[test]
fn a_client_that_holds_all_shares_the_snapshots_map() {
    let mut client = Driven::delta();
    client.publish(&[(CDS, "a", 1), (CDS, "b", 1)]);
    client.subscribe(&CDS, &[]);
    client.drain();
    client.publish(&[(CDS, "a", 2), (CDS, "b", 1)]);
    client.drain();
    let map = client.store.load().unwrap().map(&CDS);
    assert!(client.stream.subscriptions[&CDS].held().ptr_eq(&map));
}
