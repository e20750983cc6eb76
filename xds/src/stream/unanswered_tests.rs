//! Clients that do not answer: they are sent what is newer, and whatever they answer late is understood.

use super::{
    fixtures::{Driven, brief},
    *,
};

const CDS: TypeUrl = TypeUrl::Cluster;
const EDS: TypeUrl = TypeUrl::Endpoint;
const BOTH: [Variant; 2] = [Variant::Delta, Variant::Sotw];

/// A client that holds `a` and `b` of a type, and was sent `a` once more, to which it says nothing.
fn silent(variant: Variant, type_url: &TypeUrl) -> (Driven, Response) {
    let mut client = Driven::new(variant);
    client.publish(&[(type_url.clone(), "a", 1), (type_url.clone(), "b", 1)]);
    client.subscribe(type_url, &["a", "b"]);
    client.drain();
    client.publish(&[(type_url.clone(), "a", 2), (type_url.clone(), "b", 1)]);
    let unanswered = client.expect();
    (client, unanswered)
}

/// Publishes and lets the caller's clock run out: what is sent then.
fn overtake(client: &mut Driven, resources: &[(TypeUrl, &str, u8)]) -> Response {
    let type_url = resources[0].0.clone();
    client.publish(resources);
    client.expect_nothing();
    assert!(client.stream.is_blocked(&type_url));
    client.stream.overtake(&type_url);
    let newer = client.expect();
    client.expect_nothing();
    newer
}

#[test]
fn a_client_that_does_not_answer_is_sent_what_is_newer() {
    for variant in BOTH {
        let (mut client, older) = silent(variant, &CDS);
        assert!(client.status(&CDS).unanswered_since.is_some());
        client.expect_nothing();
        assert!(!client.stream.is_blocked(&CDS), "there is nothing newer");
        let newer = overtake(&mut client, &[(CDS, "a", 3), (CDS, "b", 1)]);
        assert_ne!(newer.nonce, older.nonce);
        assert_eq!(brief(&newer), if variant == Variant::Delta { "Cluster a=3" } else { "Cluster a=3 b=1" });
        client.ack(&older);
        assert!(!client.is_acked(&CDS), "the newer one is unanswered");
        assert!(client.status(&CDS).unanswered_since.is_some());
        client.ack(&newer);
        client.expect_nothing();
        assert!(client.is_acked(&CDS));
        assert_eq!(client.status(&CDS).unanswered_since, None);
    }
}

#[test]
fn without_news_nothing_is_sent_and_the_first_news_after_that_are_at_once() {
    let (mut client, _older) = silent(Variant::Delta, &CDS);
    client.stream.overtake(&CDS);
    client.expect_nothing();
    client.publish(&[(CDS, "a", 3), (CDS, "b", 1)]);
    assert_eq!(brief(&client.expect()), "Cluster a=3");
    client.publish(&[(CDS, "a", 4), (CDS, "b", 1)]);
    client.expect_nothing();
}

#[test]
fn a_late_nack_parks_what_is_still_current() {
    let (mut client, older) = silent(Variant::Delta, &CDS);
    let newer = overtake(&mut client, &[(CDS, "a", 2), (CDS, "b", 2)]);
    assert_eq!(brief(&newer), "Cluster b=2");
    client.nack(&older, "bad");
    client.ack(&newer);
    client.expect_nothing();
    assert_eq!(client.status(&CDS).parked.keys().map(|name| &**name).collect::<Vec<_>>(), ["a"]);
    assert!(!client.is_acked(&CDS), "it refuses a");
    client.publish(&[(CDS, "a", 1), (CDS, "b", 2)]);
    assert_eq!(client.drain(), ["Cluster a=1"], "whether it still holds that is unknown");
    assert!(client.is_acked(&CDS));
}

#[test]
fn a_late_nack_of_what_was_mended_since_changes_nothing() {
    for variant in BOTH {
        for type_url in [CDS, EDS] {
            let (mut client, older) = silent(variant, &type_url);
            let newer = overtake(&mut client, &[(type_url.clone(), "a", 3), (type_url.clone(), "b", 1)]);
            client.nack(&older, "bad");
            client.expect_nothing();
            client.ack(&newer);
            client.expect_nothing();
            assert!(client.status(&type_url).parked.is_empty());
            assert!(client.is_acked(&type_url), "{variant:?} {type_url}");
        }
    }
}

#[test]
fn both_refused_leaves_the_state_that_was_taken() {
    let (mut client, older) = silent(Variant::Sotw, &CDS);
    let newer = overtake(&mut client, &[(CDS, "a", 3), (CDS, "b", 2)]);
    client.nack(&older, "Error adding/updating cluster(s) a: bad");
    client.nack(&newer, "Error adding/updating cluster(s) a: bad");
    assert_eq!(client.drain(), ["Cluster a=1 b=2"]);
    client.publish(&[(CDS, "a", 4), (CDS, "b", 2)]);
    assert_eq!(client.drain(), ["Cluster a=4 b=2"]);
    assert!(client.is_acked(&CDS));
}

/// As Envoy does in SotW when it holds its answers back: only the last one is said.
#[test]
fn an_answer_to_the_newer_one_alone_makes_no_promise_about_the_older() {
    for (variant, again) in [(Variant::Delta, "Cluster a=2"), (Variant::Sotw, "")] {
        let (mut client, older) = silent(variant, &CDS);
        let newer = overtake(&mut client, &[(CDS, "a", 2), (CDS, "b", 2)]);
        client.ack(&newer);
        let sent = client.drain();
        assert_eq!(sent.join(", "), again, "a whole state is complete by itself");
        assert!(client.is_acked(&CDS));
        let late = Request::Delta(DeltaRequest {
            type_url: CDS.as_str().to_owned(),
            response_nonce: older.nonce.clone(),
            ..Default::default()
        });
        if variant == Variant::Delta {
            assert_eq!(client.request(late), Acknowledged::Stale);
        }
    }
}

#[test]
fn a_removal_that_was_never_answered_is_said_again() {
    let mut client = Driven::delta();
    client.publish(&[(CDS, "a", 1), (CDS, "b", 1)]);
    client.subscribe(&CDS, &["*"]);
    client.drain();
    client.publish(&[(CDS, "b", 1)]);
    assert_eq!(brief(&client.expect()), "Cluster -a");
    let newer = overtake(&mut client, &[(CDS, "b", 2)]);
    assert_eq!(brief(&newer), "Cluster b=2");
    client.ack(&newer);
    assert_eq!(client.drain(), ["Cluster -a"]);
    assert!(client.is_acked(&CDS));
}

#[test]
fn a_client_that_takes_the_state_it_never_answered_is_told_what_is_gone() {
    let (mut client, _older) = silent(Variant::Sotw, &CDS);
    let newer = overtake(&mut client, &[(CDS, "a", 3)]);
    client.nack(&newer, "Error adding/updating cluster(s) a: bad");
    assert_eq!(client.drain(), ["Cluster a=1"]);
}

#[test]
fn a_client_that_never_answers_costs_no_memory_without_bound() {
    for variant in BOTH {
        let (mut client, _older) = silent(variant, &CDS);
        let mut last = None;
        for content in 3..100 {
            client.publish(&[(CDS, "a", content), (CDS, "b", 1)]);
            client.expect_nothing();
            client.stream.overtake(&CDS);
            last = client.next();
        }
        assert_eq!(client.stream.unanswered(&CDS), 4);
        client.ack(&last.unwrap());
        client.drain();
        assert!(client.is_acked(&CDS));
    }
}

#[test]
fn what_is_forgotten_is_sent_again_once_the_client_answers_and_not_before() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut contents = [1; 6];
    let all = |contents: [u8; 6]| -> Vec<_> {
        names.into_iter().zip(contents).map(|(name, content)| (CDS, name, content)).collect()
    };
    let mut client = Driven::delta();
    client.publish(&all(contents));
    client.subscribe(&CDS, &names);
    client.drain();
    let mut last = None;
    for changed in 0..names.len() {
        contents[changed] = 2;
        client.publish(&all(contents));
        client.stream.overtake(&CDS);
        last = client.next();
    }
    client.stream.overtake(&CDS);
    client.expect_nothing();
    client.ack(&last.unwrap());
    // It has the last one; whether it took any before that nobody knows.
    assert_eq!(client.drain(), ["Cluster a=2 b=2 c=2 d=2 e=2"]);
    assert!(client.is_acked(&CDS));
}

#[test]
fn endpoints_that_nobody_asks_for_are_given_up() {
    for variant in BOTH {
        let mut client = Driven::new(variant);
        client.publish(&[(CDS, "a", 1), (EDS, "a", 1)]);
        client.subscribe(&CDS, &[]);
        let cluster = client.expect();
        assert_eq!(client.stream.awaited_growths(), None, "it has not read its clusters yet");
        client.ack(&cluster);
        let growths = client.stream.awaited_growths();
        assert!(growths.is_some());
        client.publish(&[(CDS, "a", 1), (CDS, "b", 1), (EDS, "a", 1)]);
        client.drain();
        assert_ne!(client.stream.awaited_growths(), growths, "the time begins anew");
        client.stream.give_up_awaited();
        assert_eq!(client.stream.awaited_growths(), None);
        client.publish(&[(CDS, "a", 1), (CDS, "b", 1), (EDS, "a", 1), (TypeUrl::Listener, "l", 1)]);
        client.subscribe(&TypeUrl::Listener, &[]);
        assert_eq!(client.drain(), ["Listener l=1"]);
    }
}

#[test]
fn what_was_refused_in_the_company_of_what_was_mended_is_tried_alone() {
    let mut client = Driven::delta();
    client.publish(&[(CDS, "a", 1), (CDS, "b", 1)]);
    client.subscribe(&CDS, &["a", "b"]);
    let older = client.expect();
    let newer = overtake(&mut client, &[(CDS, "a", 2), (CDS, "b", 1)]);
    client.nack(&older, "bad");
    client.ack(&newer);
    assert_eq!(client.drain(), ["Cluster b=1"]);
    assert!(client.is_acked(&CDS));
}

/// Envoy cannot send its refusal while Clusters are warming, and says it in the answer to what mended them.
#[test]
fn an_error_that_envoy_carries_over_to_the_response_that_it_took_is_about_the_older_one() {
    for type_url in [CDS, EDS] {
        let (mut client, older) = silent(Variant::Sotw, &type_url);
        let newer = overtake(&mut client, &[(type_url.clone(), "a", 3), (type_url.clone(), "b", 1)]);
        let carried_over = client.request(Request::Sotw(SotwRequest {
            type_url: type_url.as_str().to_owned(),
            version_info: newer.version.to_string(),
            response_nonce: newer.nonce.clone(),
            resource_names: super::fixtures::strings(&["a", "b"]),
            error_detail: Some(ErrorDetail {
                code: 13,
                message: "Error adding cluster(s) a: bad".to_owned(),
            }),
            ..Default::default()
        }));
        assert_eq!(carried_over, Acknowledged::Nack);
        client.expect_nothing();
        assert!(client.is_acked(&type_url));
        let status = client.status(&type_url);
        assert!(status.parked.is_empty());
        assert_eq!(status.last_nack.unwrap().nonce, older.nonce);
    }
}

#[test]
fn what_is_asked_for_during_the_search_for_the_one_to_blame_is_not_tried_again() {
    let mut client = Driven::delta();
    client.publish(&[(CDS, "a", 1), (CDS, "b", 1)]);
    client.subscribe(&CDS, &["*"]);
    let refused = client.expect();
    client.nack(&refused, "bad");
    let trial = client.expect();
    assert_eq!(brief(&trial), "Cluster a=1");
    client.subscribe(&CDS, &["*"]);
    client.expect_nothing();
    client.stream.overtake(&CDS);
    let newer = client.expect();
    assert_eq!(brief(&newer), "Cluster a=1 b=1");
    client.ack(&trial);
    client.ack(&newer);
    client.expect_nothing();
    assert!(client.is_acked(&CDS));
}
