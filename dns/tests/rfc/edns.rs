//! EDNS: RFC 6891 and the options that ride on it.

use hickory_proto::op::ResponseCode;

use crate::common::sockets::serve;
use crate::common::{A, ANY, DO, NS, Request, SOA, TXT, header, opt, wire, zones};
use crate::{bare, data};

const BADVERS: u16 = 16;

#[tokio::test]
async fn rfc6891_6_1_1_opt_is_answered_with_opt() {
    let xcc = serve(zones());
    for name in ["nginx.xcc.test", "none.xcc.test", "team.xcc.test", "xcc.test", "example.com"] {
        for record_type in [A, SOA, NS, ANY, 252, 250, 0] {
            for (payload, flags) in [(4096, 0), (0, DO), (65535, 0x7fff), (1232, 0xffff)] {
                let request = Request::new(name, record_type);
                let request = Request { opt: Some((payload, 0, flags, vec![])), ..request };
                let message = xcc.ask(&request).await;
                let edns = message.edns.as_ref().expect("OPT");
                assert_eq!((edns.version(), edns.max_payload()), (0, 1232));
                assert_eq!(edns.flags().dnssec_ok, flags & DO != 0, "RFC 3225: DO is copied");
                assert_eq!(edns.flags().z, 0, "no flag else is");
                assert!(edns.options().as_ref().is_empty());
            }
            assert!(xcc.ask(&Request::new(name, record_type)).await.edns.is_none());
        }
    }
}

#[tokio::test]
async fn rfc6891_6_1_3_other_versions_are_badvers_with_ours() {
    let xcc = serve(zones());
    for name in ["nginx.xcc.test", "none.xcc.test", "example.com"] {
        for version in [1, 2, 100, 255] {
            for (record_type, class, flags) in [(A, 1, 0), (SOA, 1, DO), (TXT, 3, 0x40), (ANY, 255, 0)] {
                let request =
                    Request::new(name, record_type).class(class).edns_with(version, flags, &[0, 100, 0, 0]);
                let message = xcc.ask(&request).await;
                // By number: hickory reads 16 as BADSIG, which TSIG calls the same number.
                assert_eq!(u16::from(message.metadata.response_code), BADVERS);
                assert!(message.answers.is_empty() && message.authorities.is_empty());
                let edns = message.edns.as_ref().expect("OPT");
                assert_eq!((edns.version(), edns.max_payload(), edns.flags().z), (0, 1232, 0));
                assert_eq!(edns.flags().dnssec_ok, flags == DO);
                assert!(edns.options().as_ref().is_empty());
            }
        }
    }
    // The upper half of a code in a request means nothing.
    let request = Request::new("nginx.xcc.test", A).edns_with(0xff00, 0, &[]);
    assert_eq!(data(&xcc.ask(&request).await), ["10.0.0.1"]);
}

#[tokio::test]
async fn rfc6891_6_1_1_two_opts_or_one_elsewhere_is_a_format_error() {
    let xcc = serve(zones());
    let question = Request::new("nginx.xcc.test", A).question();
    let one = opt(1232, 0, 0, &[]);
    let other_version = opt(1232, 1, 0, &[]);
    let named = [&wire("a")[..], &one[1..]].concat();
    let pointer = [&b"\xc0\x0c"[..], &one[1..]].concat();
    for (counts, records) in [
        ([1, 0, 0, 2], [&one[..], &one].concat()),
        ([1, 0, 0, 2], [&one[..], &other_version].concat()),
        ([1, 0, 0, 3], one.repeat(3)),
        ([1, 0, 0, 1], named),
        ([1, 0, 0, 1], pointer),
        ([1, 1, 0, 0], one.clone()),
        ([1, 0, 1, 0], one.clone()),
        ([1, 0, 1, 1], one.repeat(2)),
    ] {
        let request = [&header(1, 0, counts)[..], &question, &records].concat();
        let message = xcc.ask_octets(&request).await;
        bare(&message, ResponseCode::FormErr);
        assert_eq!(message.queries.len(), 1);
    }
}

/// OPT may stand anywhere in the additional section.
#[tokio::test]
async fn rfc6891_6_1_1_other_additional_records_may_stand_around_opt() {
    let xcc = serve(zones());
    let question = Request::new("nginx.xcc.test", A).question();
    let record = [&wire("a.test")[..], &[0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]].concat();
    let opt = opt(4096, 0, DO, &[]);
    for records in [[&record[..], &opt].concat(), [&opt[..], &record].concat()] {
        let message = xcc.ask_octets(&[&header(1, 0, [1, 0, 0, 2])[..], &question, &records].concat()).await;
        assert_eq!(data(&message), ["10.0.0.1"]);
        assert!(message.edns.expect("OPT").flags().dnssec_ok);
    }
}

#[tokio::test]
async fn rfc6891_6_1_2_options_must_fill_the_record() {
    let xcc = serve(zones());
    for options in
        [&[0][..], &[0, 3], &[0, 3, 0], &[0, 3, 0, 1], &[0, 100, 0, 5, 1, 2, 3, 4], &[0, 100, 255, 255, 0]]
    {
        let request = Request::new("nginx.xcc.test", A).edns_with(0, 0, options);
        bare(&xcc.ask(&request).await, ResponseCode::FormErr);
    }
}

/// None of them is implemented, so that none is answered or judged, whatever stands in it: cookies (RFC 7873), NSID
/// (RFC 5001), client subnet (RFC 7871), EXPIRE (RFC 7314), keepalive (RFC 7828), padding (RFC 7830), chain (RFC 7901),
/// key tag (RFC 8145), extended errors (RFC 8914), and some that nobody has.
#[tokio::test]
async fn rfc6891_6_1_2_options_are_ignored_and_not_echoed() {
    let xcc = serve(zones());
    let option = |code: u16, octets: &[u8]| {
        [&code.to_be_bytes()[..], &(octets.len() as u16).to_be_bytes(), octets].concat()
    };
    let mut all = vec![];
    for (code, octets) in [
        (10, &[1, 2, 3, 4, 5, 6, 7, 8][..]),
        (10, &[7; 16]),
        (10, &[7; 40]),
        (10, &[7; 3]),
        (10, &[7; 41]),
        (3, &[]),
        (3, b"me"),
        (8, &[0, 1, 0, 0]),
        (8, &[0, 1, 24, 0, 192, 0, 2]),
        (8, &[0, 1, 200, 0]),
        (8, &[0, 9]),
        (9, &[]),
        (11, &[]),
        (11, &[0, 1]),
        (12, &[0; 200]),
        (13, &[0]),
        (14, &[0x4f, 0x66]),
        (15, &[0, 18]),
        (0, &[]),
        (100, b"unknown"),
        (65001, &[1]),
        (65535, &[]),
    ] {
        all.extend(option(code, octets));
        let request = Request::new("nginx.xcc.test", A).edns_with(0, 0, &option(code, octets));
        let message = xcc.ask(&request).await;
        assert_eq!(data(&message), ["10.0.0.1"], "option {code}");
        assert!(message.edns.as_ref().expect("OPT").options().as_ref().is_empty(), "option {code}");
    }
    let message = xcc.ask(&Request::new("none.xcc.test", A).edns_with(0, DO, &all)).await;
    assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
    assert!(message.edns.as_ref().expect("OPT").options().as_ref().is_empty());
}
