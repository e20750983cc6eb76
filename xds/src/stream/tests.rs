//! The rules of the protocol, one by one; numbers are those of the project's conformance list.

use super::{
    fixtures::{Driven, LIMITS, brief, resource, snapshot, strings},
    *,
};
use crate::{store::SnapshotStore, version::ResourceVersion};

const CDS: TypeUrl = TypeUrl::Cluster;
const EDS: TypeUrl = TypeUrl::Endpoint;
const LDS: TypeUrl = TypeUrl::Listener;
const RDS: TypeUrl = TypeUrl::RouteConfiguration;

#[test]
fn before_the_first_snapshot_requests_are_held() {
    for mut client in [Driven::delta(), Driven::sotw()] {
        client.subscribe(&CDS, &[]);
        client.expect_nothing();
        assert!(client.stream.is_held());
        client.publish(&[(CDS, "a", 1)]);
        assert!(!client.stream.is_held());
        assert_eq!(client.drain(), ["Cluster a=1"]);
    }
}

#[test]
fn rule_2_type_url_is_required_on_ads_and_implied_elsewhere() {
    let mut ads = AdsStream::new(1, None, LIMITS);
    let request = || Request::Delta(DeltaRequest::default());
    assert_eq!(ads.on_request(request(), SystemTime::UNIX_EPOCH), Err(RequestError::NoTypeUrl));
    let mut single = AdsStream::new(1, Some(CDS), LIMITS);
    assert_eq!(single.on_request(request(), SystemTime::UNIX_EPOCH).unwrap().0, CDS);
    let other = DeltaRequest { type_url: LDS.as_str().to_owned(), ..Default::default() };
    assert!(matches!(
        single.on_request(Request::Delta(other), SystemTime::UNIX_EPOCH),
        Err(RequestError::OtherTypeUrl { .. })
    ));
}

#[test]
fn rule_3_unknown_types_are_answered_empty_in_delta_and_not_in_sotw() {
    let unknown = TypeUrl::from("type.googleapis.com/no.such.Type");
    let mut delta = Driven::delta();
    delta.publish(&[(CDS, "a", 1)]);
    delta.subscribe(&unknown, &[]);
    assert_eq!(delta.drain(), ["other"]);
    delta.subscribe(&unknown, &["x"]);
    assert_eq!(delta.drain(), ["other -x"]);
    let mut sotw = Driven::sotw();
    sotw.publish(&[(CDS, "a", 1)]);
    sotw.subscribe(&unknown, &[]);
    sotw.subscribe(&unknown, &["x"]);
    sotw.expect_nothing();
    sotw.subscribe(&CDS, &[]);
    assert_eq!(sotw.drain(), ["Cluster a=1"]);
}

#[test]
fn rule_4_types_do_not_mix() {
    let mut client = Driven::delta();
    client.publish(&[(CDS, "a", 1), (RDS, "a", 1)]);
    client.subscribe(&RDS, &["a"]);
    client.subscribe(&EDS, &["a"]);
    let endpoint = client.expect();
    assert_eq!(brief(&endpoint), "ClusterLoadAssignment -a");
    client.nack(&endpoint, "no");
    let route = client.expect();
    assert_eq!(brief(&route), "RouteConfiguration a=1");
    client.ack(&route);
    assert!(client.is_acked(&RDS));
}

#[test]
fn rule_5_nonces_are_unique_and_not_empty() {
    let mut client = Driven::delta();
    let mut nonces = BTreeSet::new();
    client.subscribe(&CDS, &[]);
    for content in 0..10 {
        client.publish(&[(CDS, "a", content)]);
        let response = client.expect();
        assert!(!response.nonce.is_empty());
        assert!(nonces.insert(response.nonce.clone()));
        client.ack(&response);
    }
    let mut other = AdsStream::new(2, None, LIMITS);
    other.on_published(&client.store.published().unwrap());
    let request = DeltaRequest { type_url: CDS.as_str().to_owned(), ..Default::default() };
    other.on_request(Request::Delta(request), SystemTime::UNIX_EPOCH).unwrap();
    assert!(nonces.insert(other.next_response().unwrap().nonce), "nonces are not valid across streams");
}

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
fn rule_8_and_10_nack_parks_until_the_next_version() {
    for mut client in [Driven::delta(), Driven::sotw()] {
        client.subscribe(&LDS, &[]);
        client.publish(&[(LDS, "l", 1)]);
        assert_eq!(client.drain(), ["Listener l=1"]);
        let good = client.status(&LDS).acked;
        client.publish(&[(LDS, "l", 2)]);
        let bad = client.expect();
        client.nack(&bad, "no such filter");
        client.expect_nothing();
        let status = client.status(&LDS);
        assert_eq!((status.nacks, &status.acked), (1, &good), "acked stays at the old version");
        let nack = status.last_nack.unwrap();
        assert_eq!((nack.message.as_str(), nack.nonce), ("no such filter", bad.nonce));
        assert_eq!(nack.resources, ["l".into()]);
        assert_eq!(status.parked["l"], *bad.resources[0].version());
        // Another type changes: the parked one is not sent.
        client.publish(&[(LDS, "l", 2), (CDS, "a", 1)]);
        client.expect_nothing();
        client.publish(&[(LDS, "l", 3), (CDS, "a", 1)]);
        assert_eq!(client.drain(), ["Listener l=3"]);
        assert!(client.is_acked(&LDS));
        assert!(client.status(&LDS).parked.is_empty());
        // Back to what was refused: never again on this stream.
        client.publish(&[(LDS, "l", 2)]);
        client.expect_nothing();
        assert!(!client.is_acked(&LDS));
        client.publish(&[(LDS, "l", 3)]);
        client.expect_nothing();
        assert!(client.is_acked(&LDS), "the client still holds it");
    }
}

#[test]
fn a_refused_resource_does_not_hold_up_others() {
    let mut client = Driven::delta();
    client.publish(&[(LDS, "good", 1), (LDS, "bad", 1)]);
    client.subscribe(&LDS, &[]);
    let response = client.expect();
    client.nack(&response, "Error adding/updating listener(s) bad: no");
    assert_eq!(client.status(&LDS).parked.keys().map(|k| &**k).collect::<Vec<_>>(), ["bad"]);
    client.publish(&[(LDS, "good", 2), (LDS, "bad", 1)]);
    assert_eq!(client.drain(), ["Listener good=2"]);
    assert!(!client.is_acked(&LDS), "bad is still current");
    client.publish(&[(LDS, "good", 2)]);
    assert_eq!(client.drain(), ["Listener -bad"]);
    assert!(client.is_acked(&LDS));
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
fn growing_a_subscription_ends_what_was_acked_if_it_is_refused() {
    for mut client in [Driven::delta(), Driven::sotw()] {
        client.publish(&[(EDS, "a", 1), (EDS, "b", 1)]);
        client.subscribe(&EDS, &["a"]);
        client.drain();
        assert!(client.is_acked(&EDS));
        client.subscribe(&EDS, &["a", "b"]);
        let response = client.expect();
        client.nack(&response, "no");
        assert!(!client.is_acked(&EDS));
    }
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
fn rule_36_changes_are_coalesced_while_a_response_is_in_flight() {
    let mut client = Driven::delta();
    client.publish(&[(CDS, "a", 0), (CDS, "b", 0)]);
    client.subscribe(&CDS, &[]);
    let first = client.expect();
    for content in 1..100 {
        client.publish(&[(CDS, "a", content), (CDS, "b", 0)]);
        client.expect_nothing();
    }
    client.ack(&first);
    assert!(!client.is_acked(&CDS));
    assert_eq!(client.drain(), ["Cluster a=99"], "also where the store's history no longer reaches");
}

#[test]
fn a_change_and_its_return_while_in_flight_send_nothing() {
    let mut client = Driven::delta();
    client.publish(&[(CDS, "a", 1)]);
    client.subscribe(&CDS, &[]);
    let first = client.expect();
    client.publish(&[(CDS, "a", 2)]);
    client.publish(&[(CDS, "a", 1)]);
    client.ack(&first);
    client.expect_nothing();
    assert!(client.is_acked(&CDS));
}

#[test]
fn rule_39_names_are_taken_literally() {
    let name = "xdstp://authority/envoy.config.listener.v3.Listener/a?x=y";
    let mut client = Driven::delta();
    client.publish(&[(RDS, name, 1)]);
    client.subscribe(&RDS, &[name]);
    assert_eq!(client.drain(), [format!("RouteConfiguration {name}=1")]);
}

#[test]
fn limits_end_the_stream() {
    let limits = StreamLimits { names_max: 3, ..LIMITS };
    let subscribe = |type_url: &TypeUrl, names: &[&str]| {
        Request::Delta(DeltaRequest {
            type_url: type_url.as_str().to_owned(),
            resource_names_subscribe: strings(names),
            ..Default::default()
        })
    };
    let now = SystemTime::UNIX_EPOCH;
    let mut stream = AdsStream::new(1, None, limits);
    stream.on_request(subscribe(&CDS, &["a", "b"]), now).unwrap();
    stream.on_request(subscribe(&EDS, &["a"]), now).unwrap();
    let error = stream.on_request(subscribe(&EDS, &["b"]), now).unwrap_err();
    assert_eq!(error, RequestError::TooManyNames { max: 3 });
    let error = stream.on_request(subscribe(&CDS, &["x".repeat(NAME_BYTES_MAX + 1).as_str()]), now).unwrap_err();
    assert_eq!(error, RequestError::NameTooLong);
    for index in 0..TYPES_MAX - 2 {
        stream.on_request(subscribe(&TypeUrl::from(format!("t{index}").as_str()), &[]), now).unwrap();
    }
    let error = stream.on_request(subscribe(&LDS, &[]), now).unwrap_err();
    assert_eq!(error, RequestError::TooManyTypes);
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
