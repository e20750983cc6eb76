//! Sequences in which the books about what a client refused once went wrong; `convergence` found them.

use super::{
    fixtures::{Driven, brief},
    *,
};

const CDS: TypeUrl = TypeUrl::Cluster;
const EDS: TypeUrl = TypeUrl::Endpoint;

#[test]
fn rule_35_sotw_a_whole_state_that_was_refused_before_is_searched_for_the_bad() {
    let mut client = Driven::sotw();
    client.publish(&[(CDS, "bad", 9), (CDS, "good", 1)]);
    client.subscribe(&CDS, &["bad", "good"]);
    let both = client.expect();
    client.publish(&[(CDS, "good", 1)]);
    client.nack(&both, "no");
    let good = client.expect();
    assert_eq!(brief(&good), "Cluster good=1");
    // The same state comes back before the search has found out who is to blame.
    client.publish(&[(CDS, "bad", 9), (CDS, "good", 1)]);
    client.ack(&good);
    client.expect_nothing();
    assert_eq!(client.status(&CDS).parked.keys().map(|name| &**name).collect::<Vec<_>>(), ["bad"]);
    client.publish(&[(CDS, "bad", 9), (CDS, "good", 2)]);
    assert_eq!(client.drain(), ["Cluster good=2"]);
}

#[test]
fn rule_35_sotw_an_unsubscribed_resource_that_is_wanted_again_is_not_acked_but_parked() {
    let mut client = Driven::sotw();
    client.publish(&[(EDS, "bad", 9)]);
    client.subscribe(&EDS, &["bad"]);
    let response = client.expect();
    client.nack(&response, "no");
    client.subscribe(&EDS, &["other"]);
    client.expect_nothing();
    assert!(client.is_acked(&EDS), "it holds all that it wants, which is nothing");
    client.subscribe(&EDS, &["*", "other"]);
    client.expect_nothing();
    assert!(!client.is_acked(&EDS), "it wants what it refused");
}

#[test]
fn rule_18_an_ack_says_nothing_of_names_that_were_subscribed_to_meanwhile() {
    for mut client in [Driven::sotw(), Driven::delta()] {
        client.publish(&[(EDS, "a", 1), (EDS, "b", 1)]);
        client.subscribe(&EDS, &["a"]);
        let first = client.expect();
        client.subscribe(&EDS, &["a", "b"]);
        client.ack(&first);
        assert!(!client.is_acked(&EDS), "b was never sent");
        client.drain();
        assert!(client.is_acked(&EDS));
    }
}
