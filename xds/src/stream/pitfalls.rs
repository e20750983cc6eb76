//! What went wrong in other servers, by the server and the number of its issue, as tests of this one.
//!
//! Those that concern connections are tests over real ones, in `tests/server`: rust-control-plane's panic on a disconnect
//! and its watches that stay (`rule_37_a_reset_frees_the_stream`), its one slow client that blocks all others
//! (`rule_36_a_client_that_does_not_read_is_in_nobodys_way`).

use super::{
    fixtures::{Driven, brief, resource, snapshot, strings},
    *,
};

const SDS: TypeUrl = TypeUrl::Secret;
const CDS: TypeUrl = TypeUrl::Cluster;
const EDS: TypeUrl = TypeUrl::Endpoint;
const LDS: TypeUrl = TypeUrl::Listener;

fn both() -> [Driven; 2] {
    [Driven::delta(), Driven::sotw()]
}

/// Also cilium #8149, OSM #3254, xds-relay #165.
#[test]
fn go_control_plane_46_a_nack_is_no_reason_to_send_the_same_again() {
    for mut client in both() {
        client.publish(&[(CDS, "a", 1)]);
        client.subscribe(&CDS, &[]);
        client.drain();
        client.publish(&[(CDS, "a", 2)]);
        let refused = client.expect();
        client.nack(&refused, "no");
        client.expect_nothing();
        // A client may repeat itself: its nonce is stale by now.
        client.request(match refused.variant {
            Variant::Delta => Request::Delta(DeltaRequest {
                type_url: CDS.as_str().to_owned(),
                response_nonce: refused.nonce,
                error_detail: Some(ErrorDetail { code: 13, message: "no".to_owned() }),
                ..Default::default()
            }),
            Variant::Sotw => Request::Sotw(SotwRequest {
                type_url: CDS.as_str().to_owned(),
                response_nonce: refused.nonce,
                error_detail: Some(ErrorDetail { code: 13, message: "no".to_owned() }),
                ..Default::default()
            }),
        });
        client.expect_nothing();
    }
}

#[test]
fn nack_loops_end_when_a_client_refuses_everything() {
    for mut client in both() {
        let resources: Vec<(TypeUrl, String)> = (0..200).map(|index| (CDS, format!("{index:03}"))).collect();
        let resources: Vec<_> = resources.iter().map(|(t, name)| (t.clone(), name.as_str(), 1)).collect();
        client.publish(&resources);
        client.subscribe(&CDS, &[]);
        let mut responses = 0;
        while let Some(response) = client.next() {
            client.nack(&response, "I do not like it");
            responses += 1;
            assert!(responses <= 70, "the search for the culprit has an end");
        }
        assert_eq!(client.status(&CDS).parked.len(), 200);
        client.publish(&resources[..150]);
        assert!(client.next().is_none_or(|response| response.resources.is_empty()), "nothing of it again");
    }
}

#[test]
fn kuma_12098_a_request_for_some_endpoints_is_answered() {
    for mut client in both() {
        client.publish(&[(CDS, "a", 1), (CDS, "b", 1), (EDS, "a", 1), (EDS, "b", 1)]);
        client.subscribe(&CDS, &[]);
        client.drain();
        client.subscribe(&EDS, &["b"]);
        assert_eq!(client.drain(), ["ClusterLoadAssignment b=1"]);
    }
}

#[test]
fn go_control_plane_583_a_cluster_that_comes_back_is_sent_its_endpoints() {
    for mut client in both() {
        client.publish(&[(CDS, "a", 1), (EDS, "a", 1)]);
        client.subscribe(&CDS, &[]);
        client.subscribe(&EDS, &["a"]);
        client.drain();
        client.publish(&[(EDS, "a", 1)]);
        client.drain();
        client.publish(&[(CDS, "a", 1), (EDS, "a", 1)]);
        assert_eq!(client.drain(), ["Cluster a=1", "ClusterLoadAssignment a=1"]);
    }
}

#[test]
fn go_control_plane_245_a_cluster_that_changes_is_sent_its_endpoints() {
    for mut client in both() {
        client.publish(&[(CDS, "a", 1), (EDS, "a", 1)]);
        client.subscribe(&CDS, &[]);
        client.subscribe(&EDS, &["a"]);
        client.drain();
        client.publish(&[(CDS, "a", 2), (EDS, "a", 1)]);
        assert_eq!(client.drain(), ["Cluster a=2", "ClusterLoadAssignment a=1"]);
    }
}

#[test]
fn go_control_plane_488_a_name_that_is_missing_is_reported() {
    let mut client = Driven::delta();
    client.publish(&[(EDS, "a", 1)]);
    client.subscribe(&EDS, &["a", "missing"]);
    assert_eq!(client.drain(), ["ClusterLoadAssignment a=1 -missing"]);
}

#[test]
fn go_control_plane_59_types_go_out_in_the_order_of_their_references() {
    for mut client in both() {
        client.publish(&[]);
        for type_url in [LDS, EDS, CDS] {
            client.subscribe(&type_url, if type_url == EDS { &["a"] } else { &[] });
        }
        client.drain();
        client.publish(&[(LDS, "l", 1), (EDS, "a", 1), (CDS, "a", 1)]);
        assert_eq!(client.drain(), ["Cluster a=1", "ClusterLoadAssignment a=1", "Listener l=1"]);
    }
}

/// Contour makes a new version for all types of each rebuild, and its listeners drained as their chains had no order
/// (#1635, #499).
#[test]
fn contour_1635_a_rebuild_of_the_same_is_no_change() {
    for mut client in both() {
        client.publish(&[(LDS, "l", 1), (CDS, "a", 1), (CDS, "b", 1)]);
        client.subscribe(&CDS, &[]);
        client.subscribe(&LDS, &[]);
        client.drain();
        client.stream.release();
        client.drain();
        let before = client.store.load().unwrap();
        client.publish(&[(CDS, "b", 1), (CDS, "a", 1), (LDS, "l", 1)]);
        client.expect_nothing();
        assert_eq!(before.version(&LDS), client.store.load().unwrap().version(&LDS));
    }
}

#[test]
fn contour_1187_a_stale_nonce_is_not_answered() {
    for mut client in both() {
        client.publish(&[(CDS, "a", 1)]);
        client.subscribe(&CDS, &[]);
        let first = client.expect();
        client.ack(&first);
        client.publish(&[(CDS, "a", 2)]);
        let second = client.expect();
        let type_url = CDS.as_str().to_owned();
        let response_nonce = first.nonce;
        let stale = match first.variant {
            Variant::Delta => Request::Delta(DeltaRequest { type_url, response_nonce, ..Default::default() }),
            Variant::Sotw => Request::Sotw(SotwRequest { type_url, response_nonce, ..Default::default() }),
        };
        assert_eq!(client.request(stale), Acknowledged::Stale);
        client.expect_nothing();
        client.ack(&second);
        assert!(client.is_acked(&CDS));
    }
}

/// One bad secret held up all listeners, also after a restart.
#[test]
fn envoy_gateway_9463_a_bad_secret_holds_up_no_listener() {
    let mut client = Driven::delta();
    client.publish(&[(SDS, "bad", 1), (SDS, "good", 1), (LDS, "l", 1)]);
    client.subscribe(&SDS, &["bad", "good"]);
    client.subscribe(&LDS, &[]);
    for _restart in 0..2 {
        let secrets = client.expect();
        assert_eq!(brief(&secrets), "Secret bad=1 good=1");
        client.nack(&secrets, "Failed to load certificate chain");
        let half = client.expect();
        assert_eq!(brief(&half), "Secret bad=1");
        client.nack(&half, "Failed to load certificate chain");
        assert_eq!(client.drain(), ["Secret good=1", "Listener l=1"]);
        assert_eq!(client.status(&SDS).parked.keys().map(|name| &**name).collect::<Vec<_>>(), ["bad"]);

        client = Driven::with_store(Variant::Delta, client.store.clone());
        client.subscribe(&SDS, &["bad", "good"]);
        client.subscribe(&LDS, &[]);
    }
}

#[test]
fn envoy_gateway_9198_and_rule_35_a_nack_is_in_the_status() {
    for mut client in both() {
        client.publish(&[(LDS, "l", 1)]);
        client.subscribe(&LDS, &[]);
        let response = client.expect();
        client.nack(&response, "no such filter");
        let status = client.status(&LDS);
        assert_eq!(&*status.parked["l"].message, "no such filter");
        assert_eq!((status.nacks, status.acked), (1, None));
        let nack = status.last_nack.unwrap();
        assert_eq!((nack.version, nack.nonce), (response.version, response.nonce));
    }
}

#[test]
fn kgateway_14264_a_corrected_resource_is_sent() {
    for mut client in both() {
        client.publish(&[(LDS, "l", 1)]);
        client.subscribe(&LDS, &[]);
        let response = client.expect();
        client.nack(&response, "no");
        client.expect_nothing();
        client.publish(&[(LDS, "l", 2)]);
        assert_eq!(client.drain(), ["Listener l=2"]);
        assert!(client.is_acked(&LDS));
        assert!(client.status(&LDS).parked.is_empty());
    }
}

#[test]
fn istio_41494_what_went_while_the_client_was_away_is_removed() {
    let mut client = Driven::delta();
    client.publish(&[(CDS, "b", 1)]);
    let held = snapshot(&[(CDS, "a", 1), (CDS, "b", 1)]);
    client.send_delta(DeltaRequest {
        type_url: CDS.as_str().to_owned(),
        initial_resource_versions: held
            .resources(&CDS)
            .map(|resource| (resource.name().to_string(), resource.version().to_string()))
            .collect(),
        ..Default::default()
    });
    client.stream.release();
    assert_eq!(client.drain(), ["Cluster -a"]);
}

/// An Envoy that initialises waits for all endpoints that it asked for; some in one response and the others never left it
/// waiting.
#[test]
fn envoy_21425_endpoints_are_answered_for_all_names_at_once() {
    let mut client = Driven::delta();
    client.publish(&[(EDS, "a", 1), (EDS, "b", 1)]);
    client.subscribe(&EDS, &["a", "b", "c"]);
    let response = client.expect();
    assert_eq!(brief(&response), "ClusterLoadAssignment a=1 b=1 -c");
}

/// Stale endpoints for hours on one replica, and nobody saw it (#11480).
#[test]
fn linkerd_11480_a_client_that_is_behind_is_seen() {
    let mut client = Driven::delta();
    client.publish(&[(EDS, "a", 1)]);
    client.subscribe(&EDS, &["a"]);
    client.drain();
    assert!(client.is_acked(&EDS));
    client.publish(&[(EDS, "a", 2)]);
    client.expect();
    assert!(!client.is_acked(&EDS), "sent, and not answered");
    let status = client.status(&EDS);
    assert_ne!(status.sent, status.acked);
}

#[test]
fn rule_11_versions_are_those_of_content_before_and_after_a_restart() {
    let resources = [(CDS, "a", 1), (CDS, "b", 2)];
    let (one, other) = (snapshot(&resources), snapshot(&resources));
    assert_eq!(one.version(&CDS), other.version(&CDS));
    assert_ne!(one.version(&CDS), snapshot(&[(CDS, "a", 2), (CDS, "b", 1)]).version(&CDS));
    assert_ne!(one.version(&CDS), snapshot(&resources[..1]).version(&CDS));
}

#[test]
fn rule_16_only_the_newest_request_of_a_type_counts_in_sotw() {
    let mut client = Driven::sotw();
    client.publish(&[(EDS, "a", 1), (EDS, "b", 1)]);
    client.subscribe(&EDS, &["a"]);
    client.subscribe(&EDS, &["b"]);
    assert_eq!(client.drain(), ["ClusterLoadAssignment b=1"]);
}

#[test]
fn rule_27_the_version_of_the_type_is_in_delta_responses() {
    let mut client = Driven::delta();
    client.publish(&[(CDS, "a", 1)]);
    client.subscribe(&CDS, &[]);
    assert_eq!(client.expect().version, client.store.load().unwrap().version(&CDS));
}

/// An assignment without endpoints is a resource; one that does not exist is reported, which ends the client's wait.
#[test]
fn rule_30_an_assignment_is_answered_whether_it_has_endpoints_exists_or_not() {
    let mut client = Driven::delta();
    client.publish(&[(CDS, "a", 1), (CDS, "b", 1), (EDS, "a", 0)]);
    client.subscribe(&CDS, &[]);
    client.drain();
    client.subscribe(&EDS, &["a", "b"]);
    assert_eq!(client.drain(), ["ClusterLoadAssignment a=0 -b"]);
}

/// `Resource.ttl` is field 6, `Resource.cache_control` field 7: an outage must not delete configuration.
#[test]
fn rule_34_no_resource_has_a_time_to_live() {
    use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
    use prost::Message;

    let field = resource(&LDS, "l", 1).delta_field();
    let response = DeltaDiscoveryResponse::decode(field).unwrap();
    assert!(response.resources[0].ttl.is_none() && response.resources[0].cache_control.is_none());
}

#[test]
fn rule_35_sotw_what_is_refused_is_served_as_it_was_last_taken() {
    let mut client = Driven::sotw();
    client.publish(&[(CDS, "a", 1), (CDS, "b", 1), (CDS, "c", 1)]);
    client.subscribe(&CDS, &[]);
    client.drain();
    client.publish(&[(CDS, "a", 2), (CDS, "b", 2), (CDS, "new", 9)]);
    let all = client.expect();
    assert_eq!(brief(&all), "Cluster a=2 b=2 new=9");
    client.nack(&all, "Error adding/updating cluster(s) b: bad; new: bad");
    let rest = client.expect();
    assert_eq!(brief(&rest), "Cluster a=2 b=1", "b as it was, new not at all, c is gone");
    assert_ne!(rest.version, all.version);
    client.ack(&rest);
    client.expect_nothing();
    assert!(!client.is_acked(&CDS));
    client.publish(&[(CDS, "a", 2), (CDS, "b", 3)]);
    assert_eq!(client.drain(), ["Cluster a=2 b=3"]);
    assert!(client.is_acked(&CDS));
}

/// What it holds is from an earlier stream: a state with half of its clusters would delete those that it uses.
#[test]
fn rule_35_sotw_a_client_that_reconnects_is_not_tried_with_halves() {
    let mut client = Driven::sotw();
    client.publish(&[(CDS, "a", 2), (CDS, "b", 2)]);
    client.request(Request::Sotw(SotwRequest {
        type_url: CDS.as_str().to_owned(),
        version_info: "of an earlier stream".to_owned(),
        resource_names: strings(&[]),
        ..Default::default()
    }));
    let all = client.expect();
    client.nack(&all, "no");
    client.expect_nothing();
    client.publish(&[(CDS, "a", 3), (CDS, "b", 2)]);
    assert_eq!(client.drain(), ["Cluster a=3 b=2"]);
    assert!(client.is_acked(&CDS), "b was not to blame");
}
