//! The rules of the protocol that hold for both variants; numbers are those of the project's conformance list.

use std::collections::BTreeSet;

use super::{
    fixtures::{Driven, LIMITS, brief, strings},
    *,
};

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
    assert!(
        nonces.insert(other.next_response(std::time::SystemTime::UNIX_EPOCH).unwrap().nonce),
        "nonces are not valid across streams"
    );
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
        assert_eq!(status.parked["l"].version, *bad.resources[0].version());
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
    let error =
        stream.on_request(subscribe(&CDS, &["x".repeat(NAME_BYTES_MAX + 1).as_str()]), now).unwrap_err();
    assert_eq!(error, RequestError::NameTooLong);
    for index in 0..TYPES_MAX - 2 {
        stream.on_request(subscribe(&TypeUrl::from(format!("t{index}").as_str()), &[]), now).unwrap();
    }
    let error = stream.on_request(subscribe(&LDS, &[]), now).unwrap_err();
    assert_eq!(error, RequestError::TooManyTypes);
}
