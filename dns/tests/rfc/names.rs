//! Which names exist, and what is said of those that do not.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RData;
use xcc_dns::Zones;
use xcc_model::Hostname;

use crate::common::sockets::serve;
use crate::common::{A, AAAA, ANY, DNSKEY, DS, HTTPS, NS, Request, SOA, TXT, zones, zones_with};
use crate::{bare, data, negative_soa};

#[tokio::test]
async fn rfc4343_names_match_in_any_case_and_the_case_comes_back() {
    let xcc = serve(zones());
    let message = xcc.ask(&Request::new("nGiNx.XcC.tEsT", A)).await;
    assert_eq!(data(&message), ["10.0.0.1"]);
    assert_eq!(message.answers[0].name.to_string(), "nGiNx.XcC.tEsT.");
    let message = xcc.ask(&Request::new("NONE.XcC.tEsT", A)).await;
    assert_eq!(negative_soa(&message, ResponseCode::NXDomain).name.to_string(), "XcC.tEsT.");
    // Only ASCII letters fold: the Kelvin sign's octets are no k, and a byte with the upper bit set stays itself.
    let message = xcc.ask(&Request::new("ngin\u{212a}.xcc.test", A)).await;
    negative_soa(&message, ResponseCode::NXDomain);
}

#[tokio::test]
async fn rfc8020_empty_non_terminal_is_nodata() {
    let xcc = serve(zones());
    negative_soa(&xcc.ask(&Request::new("team.xcc.test", A)).await, ResponseCode::NoError);
    negative_soa(&xcc.ask(&Request::new("dns.xcc.test", A)).await, ResponseCode::NoError);
    negative_soa(&xcc.ask(&Request::new("wild.xcc.test", A)).await, ResponseCode::NoError);
}

#[tokio::test]
async fn rfc4592_wildcard_answers_with_the_name_that_was_asked_for() {
    let xcc = serve(zones());
    for name in ["x.wild.xcc.test", "y.X.wild.xcc.test", "*.wild.xcc.test"] {
        let message = xcc.ask(&Request::new(name, A)).await;
        assert_eq!(data(&message), ["10.0.0.1"]);
        assert_eq!(message.answers[0].name, message.queries[0].name);
    }
}

#[tokio::test]
async fn rfc8499_outside_the_zones_is_refused_without_referral() {
    let xcc = serve(zones());
    for name in ["example.com", "test", ".", "xcc.test.example.com", "notxcc.test", "nginx"] {
        for record_type in [A, NS, SOA, DS, TXT, ANY] {
            bare(&xcc.ask(&Request::new(name, record_type)).await, ResponseCode::Refused);
        }
    }
}

#[tokio::test]
async fn rfc2308_nodata_has_soa() {
    let xcc = serve(zones());
    for record_type in [HTTPS, TXT, DNSKEY, 5, 15, 33, 43, 46, 64, 1000] {
        let message = xcc.ask(&Request::new("nginx.xcc.test", record_type)).await;
        let soa = negative_soa(&message, ResponseCode::NoError);
        assert_eq!(soa.ttl, 30);
    }
    let v4_only = serve(zones_with(&["10.0.0.1"]));
    negative_soa(&v4_only.ask(&Request::new("nginx.xcc.test", AAAA)).await, ResponseCode::NoError);
}

#[tokio::test]
async fn rfc2308_nxdomain_has_soa() {
    let xcc = serve(zones());
    let message = xcc.ask(&Request::new("none.xcc.test", A)).await;
    let soa = negative_soa(&message, ResponseCode::NXDomain);
    let RData::SOA(data) = &soa.data else { panic!("{soa}") };
    assert_eq!(data.mname.to_string(), "ns.dns.xcc.test.");
    assert_eq!(data.rname.to_string(), "hostmaster.xcc.test.");
    assert_eq!((data.refresh, data.retry, data.expire, data.minimum), (14_400, 3600, 1_209_600, 30));
    assert_eq!(data.serial, xcc.responder.load().unwrap().serial());
}

/// The zone of the RFC's section 2.2.1, as far as its kinds of names exist here, and section 4.2's asterisk inside a name.
#[tokio::test]
async fn rfc4592_2_2_1_where_wildcards_end() {
    let names = ["*.xcc.test", "host1.xcc.test", "a.b.xcc.test", "x.team.xcc.test", "*.deep.team.xcc.test"];
    let names = names.map(|name| Hostname::parse(name).unwrap());
    let none: [Hostname; 0] = [];
    let xcc = serve(zones().with_changes(&names, &none));
    for (name, covered) in [
        ("host3.xcc.test", true),
        ("foo.bar.xcc.test", true),
        ("*.xcc.test", true),
        ("y.deep.team.xcc.test", true),
        ("z.y.deep.team.xcc.test", true),
        ("_service._tcp.host3.xcc.test", true),
        // These exist, so that the wildcard covers neither them nor what is below them.
        ("x.host1.xcc.test", false),
        ("x.b.xcc.test", false),
        ("ghost.*.xcc.test", false),
        ("y.team.xcc.test", false),
        ("x.nginx.xcc.test", false),
        ("ns2.dns.xcc.test", false),
    ] {
        let message = xcc.ask(&Request::new(name, A)).await;
        if covered {
            assert_eq!(data(&message), ["10.0.0.1"], "{name}");
            assert_eq!(message.answers[0].name, message.queries[0].name);
            // Section 2.2.1 again: the other types of a covered name are NODATA.
            negative_soa(&xcc.ask(&Request::new(name, TXT)).await, ResponseCode::NoError);
        } else {
            negative_soa(&message, ResponseCode::NXDomain);
        }
    }
    for name in ["b.xcc.test", "dns.xcc.test", "deep.team.xcc.test", "team.xcc.test", "xcc.test"] {
        negative_soa(&xcc.ask(&Request::new(name, A)).await, ResponseCode::NoError);
    }
}

#[tokio::test]
async fn rfc1035_2_3_4_the_longest_names_are_asked_for_like_others() {
    let label = "a".repeat(63);
    // 255 octets on the wire: with three more labels, with 123 of one octet, and outside of the zones.
    let longest = format!("{label}.{label}.{label}.{}.xcc.test", "b".repeat(52));
    let deepest = format!("{}xcc.test", "c.".repeat(122));
    let outside = format!("{label}.{label}.{label}.{}", "d".repeat(61));
    let names = [&longest[2..], &format!("*.{}", &deepest[4..])].map(|name| Hostname::parse(name).unwrap());
    let none: [Hostname; 0] = [];
    let xcc = serve(zones().with_changes(&names, &none));
    assert_eq!(Request::new(&longest, A).name.len(), 255);
    assert_eq!(Request::new(&deepest, A).name.len(), 254);
    assert_eq!(Request::new(&outside, A).name.len(), 255);
    negative_soa(&xcc.ask(&Request::new(&longest, A)).await, ResponseCode::NXDomain);
    assert_eq!(data(&xcc.ask(&Request::new(&longest[2..], A)).await), ["10.0.0.1"]);
    assert_eq!(data(&xcc.ask(&Request::new(&deepest, A).edns(1232)).await), ["10.0.0.1"]);
    bare(&xcc.ask(&Request::new(&outside, A)).await, ResponseCode::Refused);
    let one_label = format!("{label}.xcc.test");
    negative_soa(&xcc.ask(&Request::new(&one_label, A)).await, ResponseCode::NXDomain);
}

/// A name is any octets (RFC 2181, section 11): none of these is looked up as another one, nor does any break a reply.
#[tokio::test]
async fn rfc2181_11_labels_of_any_octets_are_names() {
    let xcc = serve(zones());
    for label in [&b"ngi.nx"[..], b"\0", b"\xff\xfe", b"a b", b"*", b"nginx\0", b"nginx.xcc"] {
        let mut name = vec![label.len() as u8];
        name.extend_from_slice(label);
        name.extend_from_slice(b"\x03xcc\x04test\0");
        let request = Request { name, ..Request::new("", A) };
        negative_soa(&xcc.ask(&request).await, ResponseCode::NXDomain);
    }
}

#[tokio::test]
async fn rfc2308_5_negative_answers_live_as_long_as_their_soa_says() {
    for (ttl_seconds, want) in [(5, 5), (30, 30), (300, 30)] {
        let config = crate::common::config(ttl_seconds);
        let xcc = serve(Zones::new(&config).with_addresses(&["10.0.0.1".parse().unwrap()]));
        for (name, code) in [("xcc.test", ResponseCode::NoError), ("a.xcc.test", ResponseCode::NXDomain)] {
            let message = xcc.ask(&Request::new(name, A)).await;
            let soa = negative_soa(&message, code);
            let RData::SOA(data) = &soa.data else { panic!("{soa}") };
            assert_eq!((soa.ttl, data.minimum), (want, want));
        }
        let message = xcc.ask(&Request::new("xcc.test", SOA)).await;
        let RData::SOA(data) = &message.answers[0].data else { panic!("{message}") };
        assert_eq!(message.answers[0].ttl.min(data.minimum), want);
    }
}
