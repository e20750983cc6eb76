//! The rules of the state-of-the-world variant; numbers are those of the project's conformance list.

use super::{
    fixtures::{Driven, resource, snapshot, strings},
    *,
};
use crate::store::SnapshotStore;

const CDS: TypeUrl = TypeUrl::Cluster;
const EDS: TypeUrl = TypeUrl::Endpoint;
const LDS: TypeUrl = TypeUrl::Listener;

#[test]
fn rule_7_and_13_sotw_sends_the_state_of_the_world_and_empty_deletes_all() {
    let mut client = Driven::sotw();
    client.publish(&[(CDS, "a", 1), (CDS, "b", 1)]);
    client.subscribe(&CDS, &[]);
    assert_eq!(client.drain(), ["Cluster a=1 b=1"]);
    client.publish(&[(CDS, "b", 1), (CDS, "c", 1)]);
    assert_eq!(client.drain(), ["Cluster b=1 c=1"]);
    client.publish(&[]);
    assert_eq!(client.drain(), ["Cluster"]);
    assert!(client.is_acked(&CDS));
}

#[test]
fn rule_7_sotw_first_wildcard_is_answered_even_if_empty() {
    let mut client = Driven::sotw();
    client.publish(&[]);
    client.subscribe(&LDS, &[]);
    assert_eq!(client.drain(), ["Listener"]);
}

#[test]
fn rule_9_sotw_stale_nonce_is_no_answer_but_its_subscription_counts() {
    let mut client = Driven::sotw();
    client.publish(&[(EDS, "a", 1), (EDS, "b", 1)]);
    client.subscribe(&EDS, &["a"]);
    let first = client.expect();
    client.ack(&first);
    client.publish(&[(EDS, "a", 2), (EDS, "b", 1)]);
    let second = client.expect();
    let stale = Request::Sotw(SotwRequest {
        type_url: EDS.as_str().to_owned(),
        response_nonce: first.nonce,
        resource_names: strings(&["a", "b"]),
        ..Default::default()
    });
    assert_eq!(client.request(stale), Acknowledged::Stale);
    client.expect_nothing();
    client.subscribe(&EDS, &["a", "b"]);
    client.ack(&second);
    assert_eq!(client.drain(), ["ClusterLoadAssignment b=1"]);
}

#[test]
fn rule_12_sotw_reconnect_at_the_same_version_is_sent_nothing() {
    let store = SnapshotStore::new();
    store.publish(snapshot(&[(CDS, "a", 1)]));
    let version = store.load().unwrap().version(&CDS);
    let reconnect = |version: &str, names: &[&str]| {
        let mut client = Driven::with_store(Variant::Sotw, store.clone());
        client.request(Request::Sotw(SotwRequest {
            type_url: CDS.as_str().to_owned(),
            version_info: version.to_owned(),
            resource_names: strings(names),
            ..Default::default()
        }));
        client
    };
    let mut same = reconnect(&version.to_string(), &[]);
    same.expect_nothing();
    assert!(same.is_acked(&CDS));
    same.publish(&[(CDS, "a", 2)]);
    assert_eq!(same.drain(), ["Cluster a=2"]);
    store.publish(snapshot(&[(CDS, "a", 1)]));
    assert_eq!(reconnect("old", &[]).drain(), ["Cluster a=1"]);
    assert_eq!(reconnect(&version.to_string(), &["a"]).drain(), ["Cluster a=1"], "may be new to the client");
}

#[test]
fn rule_14_sotw_grown_names_are_sent_and_vanished_ones_forgotten() {
    let mut client = Driven::sotw();
    client.publish(&[(EDS, "a", 1), (EDS, "b", 1)]);
    client.subscribe(&EDS, &["a"]);
    assert_eq!(client.drain(), ["ClusterLoadAssignment a=1"]);
    client.subscribe(&EDS, &["a", "b"]);
    assert_eq!(client.drain(), ["ClusterLoadAssignment b=1"]);
    client.subscribe(&EDS, &["b"]);
    client.expect_nothing();
    client.subscribe(&EDS, &["a", "b"]);
    assert_eq!(client.drain(), ["ClusterLoadAssignment a=1"], "re-added, so sent again");
}

#[test]
fn rule_15_sotw_wildcard_in_four_steps() {
    let mut client = Driven::sotw();
    client.publish(&[(CDS, "a", 1), (CDS, "b", 1)]);
    client.subscribe(&CDS, &[]);
    assert_eq!(client.drain(), ["Cluster a=1 b=1"], "legacy wildcard");
    client.subscribe(&CDS, &["*", "a"]);
    assert_eq!(client.drain(), ["Cluster a=1 b=1"], "wildcard and a name");
    client.subscribe(&CDS, &["a"]);
    client.expect_nothing();
    client.publish(&[(CDS, "a", 1), (CDS, "b", 2)]);
    client.expect_nothing();
    client.subscribe(&CDS, &[]);
    client.publish(&[(CDS, "a", 2), (CDS, "b", 2)]);
    client.expect_nothing();
}

#[test]
fn rule_17_sotw_absent_names_are_sent_when_created() {
    let mut client = Driven::sotw();
    client.publish(&[(EDS, "a", 1)]);
    client.subscribe(&EDS, &["a", "z"]);
    assert_eq!(client.drain(), ["ClusterLoadAssignment a=1"]);
    client.publish(&[(EDS, "a", 1), (EDS, "z", 1)]);
    assert_eq!(client.drain(), ["ClusterLoadAssignment z=1"]);
}

#[test]
fn sotw_unsubscribing_by_an_empty_name_is_no_wildcard() {
    let mut client = Driven::sotw();
    client.publish(&[(CDS, "a", 1)]);
    client.subscribe(&CDS, &["a"]);
    assert_eq!(client.drain(), ["Cluster a=1"]);
    client.subscribe(&CDS, &[""]);
    client.drain();
    client.publish(&[(CDS, "a", 2)]);
    client.expect_nothing();
}

#[test]
fn sotw_another_label_is_an_update() {
    let mut client = Driven::sotw();
    let labelled = |label: &str, content| {
        let mut builder = Snapshot::builder();
        for name in ["a", "b"] {
            builder.insert(resource(&EDS, name, if name == "a" { content } else { 1 }));
        }
        builder.with_type_version(EDS, label).build().unwrap()
    };
    client.publish_snapshot(labelled("1", 1));
    client.subscribe(&EDS, &["a", "b"]);
    let first = client.expect();
    assert_eq!(first.version.to_string(), "1");
    client.ack(&first);
    client.publish_snapshot(labelled("2", 1));
    assert_eq!(client.drain(), ["ClusterLoadAssignment a=1 b=1"], "no resource differs: all");
    client.publish_snapshot(labelled("3", 2));
    assert_eq!(client.drain(), ["ClusterLoadAssignment a=2"], "only what differs");
}

#[test]
fn sotw_a_label_that_comes_with_what_was_not_subscribed_to_is_no_update() {
    for type_url in [CDS, EDS] {
        let mut client = Driven::sotw();
        let labelled = |label: &str, content| {
            let mut builder = Snapshot::builder();
            builder.insert(resource(&type_url, "a", 1)).insert(resource(&type_url, "b", content));
            builder.with_type_version(type_url.clone(), label).build().unwrap()
        };
        client.publish_snapshot(labelled("1", 1));
        client.subscribe(&type_url, &["a"]);
        assert_eq!(client.drain().len(), 1);
        client.publish_snapshot(labelled("2", 2));
        client.expect_nothing();
        assert!(client.is_acked(&type_url), "it holds all that it wants of this version");
        client.publish_snapshot(labelled("3", 2));
        assert_eq!(client.drain().len(), 1, "the label alone changed");
    }
}
