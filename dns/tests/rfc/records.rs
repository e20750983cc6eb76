//! What stands at the names.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RData;
use xcc_model::Hostname;

use crate::common::sockets::{ask_tcp, serve};
use crate::common::{A, AAAA, ANY, DO, HTTPS, NS, PTR, RD, Request, SOA, zones, zones_with};
use crate::{bare, data, negative_soa};

#[tokio::test]
async fn rfc1035_addresses_of_a_known_name() {
    let xcc = serve(zones());
    for (record_type, want) in [(A, "10.0.0.1"), (AAAA, "2001:db8::1")] {
        let message = xcc.ask(&Request::new("nginx.xcc.test", record_type).flags(RD)).await;
        assert_eq!(message.metadata.response_code, ResponseCode::NoError);
        assert!(message.metadata.authoritative && !message.metadata.truncation);
        assert_eq!(data(&message), [want]);
        assert_eq!(message.answers[0].ttl, 30);
        assert_eq!(message.answers[0].name.to_string(), "nginx.xcc.test.");
        assert!(message.authorities.is_empty() && message.edns.is_none());
    }
}

#[tokio::test]
async fn rfc1034_apex_has_soa_and_ns_whose_name_resolves() {
    let xcc = serve(zones());
    let message = xcc.ask(&Request::new("xcc.test", SOA)).await;
    let [RData::SOA(soa)] = &message.answers.iter().map(|record| record.data.clone()).collect::<Vec<_>>()[..]
    else {
        panic!("{message:?}")
    };
    assert_eq!(soa.serial, xcc.responder.load().unwrap().serial());
    let request = Request::new("xcc.test", NS);
    let message = xcc.ask(&request).await;
    assert_eq!(data(&message), ["ns.dns.xcc.test."]);
    assert!(message.metadata.authoritative);
    let tcp = Message::from_vec(&ask_tcp(xcc.addresses[0], &request.octets()).await).unwrap();
    assert_eq!(tcp.additionals[0].data.to_string(), "10.9.9.9");
    assert_eq!(data(&xcc.ask(&Request::new("ns.dns.xcc.test", A)).await), ["10.9.9.9"]);
    negative_soa(&xcc.ask(&Request::new("ns.dns.xcc.test", AAAA)).await, ResponseCode::NoError);
    negative_soa(&xcc.ask(&Request::new("xcc.test", A)).await, ResponseCode::NoError);
}

#[tokio::test]
async fn rfc8482_any_is_hinfo_for_names_that_exist() {
    let xcc = serve(zones());
    for name in ["nginx.xcc.test", "xcc.test", "q.wild.xcc.test"] {
        let message = xcc.ask(&Request::new(name, ANY)).await;
        let [RData::HINFO(hinfo)] =
            &message.answers.iter().map(|record| record.data.clone()).collect::<Vec<_>>()[..]
        else {
            panic!("{message:?}")
        };
        assert_eq!((&*hinfo.cpu, &*hinfo.os), (&b"RFC8482"[..], &b""[..]));
    }
    negative_soa(&xcc.ask(&Request::new("none.xcc.test", ANY)).await, ResponseCode::NXDomain);
}

#[tokio::test]
async fn rfc5936_zone_transfers_are_refused() {
    let xcc = serve(zones());
    for record_type in [251, 252] {
        for name in ["xcc.test", "nginx.xcc.test", "none.xcc.test", "example.com"] {
            bare(&xcc.ask(&Request::new(name, record_type)).await, ResponseCode::Refused);
        }
    }
}

#[tokio::test]
async fn rfc6895_meta_types() {
    let xcc = serve(zones());
    for (record_type, want) in
        [(0, ResponseCode::FormErr), (41, ResponseCode::FormErr), (128, ResponseCode::FormErr)]
    {
        bare(&xcc.ask(&Request::new("nginx.xcc.test", record_type)).await, want);
    }
    for record_type in [130, 200, 249, 250, 253, 254] {
        bare(&xcc.ask(&Request::new("nginx.xcc.test", record_type)).await, ResponseCode::NotImp);
    }
}

#[tokio::test]
async fn rfc1794_several_addresses_come_together_and_take_turns_at_the_front() {
    let gateway = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    let xcc = serve(zones_with(&gateway));
    let mut first = [0; 3];
    for id in 0..99 {
        let request = Request { id, ..Request::new("nginx.xcc.test", A) };
        let message = xcc.ask(&request).await;
        let mut got = data(&message);
        first[gateway.iter().position(|address| *address == got[0]).unwrap()] += 1;
        got.sort();
        assert_eq!(got, gateway);
        // RFC 2181, section 5.2: one TTL for the whole set.
        assert!(message.answers.iter().all(|record| record.ttl == 30));
    }
    assert_eq!(first, [33; 3]);
}

#[tokio::test]
async fn rfc9460_https_has_alpn_and_port() {
    let names = ["nginx.xcc.test", "*.wild.xcc.test"].map(|name| Hostname::parse(name).unwrap());
    let zones = zones().with_https(&["h2".to_owned(), "http/1.1".to_owned()]);
    let xcc = serve(zones.with_ports(names.iter().map(|name| (name, 8443))));
    for name in ["nginx.xcc.test", "q.wild.xcc.test"] {
        let message = xcc.ask(&Request::new(name, HTTPS).edns(1232)).await;
        let RData::HTTPS(data) = &message.answers[0].data else { panic!("{message:?}") };
        assert_eq!((data.0.svc_priority, data.0.target_name.to_string()), (1, ".".to_owned()));
        let parameters: Vec<String> =
            data.0.svc_params.iter().map(|(key, value)| format!("{key}={value}")).collect();
        // The comma is how hickory prints a list.
        assert_eq!(parameters, ["alpn=h2,http/1.1,", "port=8443"]);
    }
}

#[tokio::test]
async fn rfc1035_3_5_reverse_lookup_of_the_gateway() {
    let xcc = serve(zones().with_reverse(Some(&Hostname::parse("nginx.xcc.test").unwrap())));
    let message = xcc.ask(&Request::new("1.0.0.10.in-addr.arpa", PTR)).await;
    assert_eq!(data(&message), ["nginx.xcc.test."]);
    let message = xcc.ask(&Request::new("1.0.0.10.in-addr.arpa", NS)).await;
    assert_eq!(data(&message), ["ns.dns.1.0.0.10.in-addr.arpa."]);
    let message = xcc.ask(&Request::new("ns.dns.1.0.0.10.in-addr.arpa", A)).await;
    assert_eq!(data(&message), ["10.9.9.9"]);
    let message = xcc.ask(&Request::new("x.1.0.0.10.in-addr.arpa", A)).await;
    assert_eq!(message.authorities[0].name.to_string(), "1.0.0.10.in-addr.arpa.");
    assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
    bare(&xcc.ask(&Request::new("7.0.0.10.in-addr.arpa", PTR)).await, ResponseCode::Refused);
}

#[tokio::test]
async fn rfc4035_3_1_4_1_types_of_dnssec_are_nodata_in_an_unsigned_zone() {
    let xcc = serve(zones());
    for name in ["xcc.test", "nginx.xcc.test", "q.wild.xcc.test"] {
        for record_type in [43, 46, 47, 48, 50, 51, 59, 60] {
            for request in
                [Request::new(name, record_type), Request::new(name, record_type).edns_with(0, DO, &[])]
            {
                negative_soa(&xcc.ask(&request).await, ResponseCode::NoError);
            }
        }
    }
}
