//! The rules of the RFCs, on the octets of requests and replies.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod common;

use common::{
    A, AAAA, ANY, DNSKEY, DO, HTTPS, NS, PTR, RD, Request, SOA, TXT, ask, header, opt, reply_over, wire,
    zones, zones_with,
};
use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use xcc_dns::{HttpsService, Transport, Zones};
use xcc_model::Hostname;

fn addresses(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

/// Asserts the shape of a negative answer and returns its SOA.
fn negative_soa(message: &Message, code: ResponseCode) -> &Record {
    assert_eq!(message.metadata.response_code, code);
    assert!(message.metadata.authoritative);
    assert!(message.answers.is_empty());
    let [soa] = &message.authorities[..] else { panic!("{:?}", message.authorities) };
    assert_eq!(soa.record_type(), RecordType::SOA);
    assert_eq!(soa.name.to_string().to_lowercase(), "xcc.test.");
    soa
}

/// Asserts a reply that says nothing but its code.
fn bare(message: &Message, code: ResponseCode) {
    assert_eq!(message.metadata.response_code, code);
    assert!(!message.metadata.authoritative);
    assert!(message.answers.is_empty() && message.authorities.is_empty() && message.additionals.is_empty());
}

fn raw(request: &[u8]) -> Message {
    let reply = reply_over(Transport::Udp, Some(&zones()), request).expect("a reply");
    Message::from_vec(&reply).expect("hickory reads the reply")
}

#[test]
fn rfc1035_addresses_of_a_known_name() {
    let zones = zones();
    for (record_type, want) in [(A, "10.0.0.1"), (AAAA, "2001:db8::1")] {
        let message = ask(&zones, &Request::new("nginx.xcc.test", record_type).flags(RD));
        assert_eq!(message.metadata.response_code, ResponseCode::NoError);
        assert!(message.metadata.authoritative && !message.metadata.truncation);
        assert_eq!(addresses(&message), [want]);
        assert_eq!(message.answers[0].ttl, 30);
        assert_eq!(message.answers[0].name.to_string(), "nginx.xcc.test.");
        assert!(message.authorities.is_empty() && message.edns.is_none());
    }
}

#[test]
fn rfc4343_names_match_in_any_case_and_the_case_comes_back() {
    let zones = zones();
    let message = ask(&zones, &Request::new("nGiNx.XcC.tEsT", A));
    assert_eq!(addresses(&message), ["10.0.0.1"]);
    assert_eq!(message.answers[0].name.to_string(), "nGiNx.XcC.tEsT.");
    let message = ask(&zones, &Request::new("NONE.XcC.tEsT", A));
    assert_eq!(negative_soa(&message, ResponseCode::NXDomain).name.to_string(), "XcC.tEsT.");
    // Only ASCII letters fold: the Kelvin sign's octets are no k, and a byte with the upper bit set stays itself.
    let message = ask(&zones, &Request::new("ngin\u{212a}.xcc.test", A));
    negative_soa(&message, ResponseCode::NXDomain);
}

#[test]
fn rfc2308_nodata_has_soa() {
    let zones = zones();
    for record_type in [HTTPS, TXT, DNSKEY, 5, 15, 33, 43, 46, 64, 1000] {
        let message = ask(&zones, &Request::new("nginx.xcc.test", record_type));
        let soa = negative_soa(&message, ResponseCode::NoError);
        assert_eq!(soa.ttl, 30);
    }
    let v4_only = zones_with(&["10.0.0.1"]);
    negative_soa(&ask(&v4_only, &Request::new("nginx.xcc.test", AAAA)), ResponseCode::NoError);
}

#[test]
fn rfc2308_nxdomain_has_soa() {
    let zones = zones();
    let message = ask(&zones, &Request::new("none.xcc.test", A));
    let soa = negative_soa(&message, ResponseCode::NXDomain);
    let RData::SOA(data) = &soa.data else { panic!("{soa}") };
    assert_eq!(data.mname.to_string(), "ns.dns.xcc.test.");
    assert_eq!(data.rname.to_string(), "hostmaster.xcc.test.");
    assert_eq!((data.refresh, data.retry, data.expire, data.minimum), (7200, 1800, 86400, 30));
    assert_eq!(data.serial, zones.serial());
}

#[test]
fn rfc8020_empty_non_terminal_is_nodata() {
    negative_soa(&ask(&zones(), &Request::new("team.xcc.test", A)), ResponseCode::NoError);
    negative_soa(&ask(&zones(), &Request::new("dns.xcc.test", A)), ResponseCode::NoError);
    negative_soa(&ask(&zones(), &Request::new("wild.xcc.test", A)), ResponseCode::NoError);
}

#[test]
fn rfc4592_wildcard_answers_with_the_name_that_was_asked_for() {
    for name in ["x.wild.xcc.test", "y.X.wild.xcc.test", "*.wild.xcc.test"] {
        let message = ask(&zones(), &Request::new(name, A));
        assert_eq!(addresses(&message), ["10.0.0.1"]);
        assert_eq!(message.answers[0].name, message.queries[0].name);
    }
}

#[test]
fn rfc1034_apex_has_soa_and_ns_whose_name_resolves() {
    let zones = zones();
    let message = ask(&zones, &Request::new("xcc.test", SOA));
    let [RData::SOA(soa)] = &message.answers.iter().map(|record| record.data.clone()).collect::<Vec<_>>()[..]
    else {
        panic!("{message:?}")
    };
    assert_eq!(soa.serial, zones.serial());
    let request = Request::new("xcc.test", NS);
    let message = ask(&zones, &request);
    assert_eq!(addresses(&message), ["ns.dns.xcc.test."]);
    assert!(message.metadata.authoritative);
    let tcp = reply_over(Transport::Tcp, Some(&zones), &request.octets()).unwrap();
    assert_eq!(Message::from_vec(&tcp).unwrap().additionals[0].data.to_string(), "10.9.9.9");
    assert_eq!(addresses(&ask(&zones, &Request::new("ns.dns.xcc.test", A))), ["10.9.9.9"]);
    negative_soa(&ask(&zones, &Request::new("ns.dns.xcc.test", AAAA)), ResponseCode::NoError);
    negative_soa(&ask(&zones, &Request::new("xcc.test", A)), ResponseCode::NoError);
}

#[test]
fn outside_the_zones_is_refused_without_referral() {
    for name in ["example.com", "test", ".", "xcc.test.example.com"] {
        bare(&ask(&zones(), &Request::new(name, A)), ResponseCode::Refused);
    }
}

#[test]
fn rfc4892_other_classes_are_refused() {
    for (name, class) in
        [("version.bind", 3), ("id.server", 3), ("nginx.xcc.test", 255), ("nginx.xcc.test", 254)]
    {
        bare(&ask(&zones(), &Request::new(name, TXT).class(class)), ResponseCode::Refused);
    }
}

#[test]
fn rfc8482_any_is_hinfo_for_names_that_exist() {
    for name in ["nginx.xcc.test", "xcc.test", "q.wild.xcc.test"] {
        let message = ask(&zones(), &Request::new(name, ANY));
        let [RData::HINFO(hinfo)] =
            &message.answers.iter().map(|record| record.data.clone()).collect::<Vec<_>>()[..]
        else {
            panic!("{message:?}")
        };
        assert_eq!((&*hinfo.cpu, &*hinfo.os), (&b"RFC8482"[..], &b""[..]));
    }
    negative_soa(&ask(&zones(), &Request::new("none.xcc.test", ANY)), ResponseCode::NXDomain);
}

#[test]
fn rfc5936_zone_transfers_are_refused() {
    for record_type in [251, 252] {
        bare(&ask(&zones(), &Request::new("xcc.test", record_type)), ResponseCode::Refused);
    }
}

#[test]
fn rfc6895_meta_types() {
    for (record_type, want) in
        [(0, ResponseCode::FormErr), (41, ResponseCode::FormErr), (128, ResponseCode::FormErr)]
    {
        bare(&ask(&zones(), &Request::new("nginx.xcc.test", record_type)), want);
    }
    for record_type in [130, 200, 249, 250, 253, 254] {
        bare(&ask(&zones(), &Request::new("nginx.xcc.test", record_type)), ResponseCode::NotImp);
    }
}

#[test]
fn rfc8906_3_1_4_other_opcodes_are_not_implemented() {
    for opcode in [1, 2, 3, 4, 5, 6, 7, 15] {
        let request = Request::new("xcc.test", SOA).opcode(opcode).edns(1232);
        let message = ask(&zones(), &request);
        bare(&message, ResponseCode::NotImp);
        assert_eq!(message.metadata.op_code, OpCode::from_u8(opcode as u8));
        let message = raw(&header(1, opcode << 11, [0; 4]));
        bare(&message, ResponseCode::NotImp);
    }
}

#[test]
fn rfc9619_one_question_exactly() {
    let question = Request::new("nginx.xcc.test", A).question();
    let with = |count: u16, octets: &[u8]| {
        let mut request = header(7, RD, [count, 0, 0, 0]);
        request.extend(octets);
        raw(&request)
    };
    for message in [with(0, &[]), with(2, &[&question[..], &question].concat()), with(65535, &question)] {
        bare(&message, ResponseCode::FormErr);
        assert!(message.queries.is_empty());
        assert_eq!(message.metadata.id, 7);
    }
}

#[test]
fn rfc1035_requests_that_get_no_answer() {
    let zones = zones();
    let good = Request::new("nginx.xcc.test", A).octets();
    for length in 0..12 {
        assert_eq!(reply_over(Transport::Udp, Some(&zones), &good[..length]), None, "{length} octets");
    }
    let response = Request::new("nginx.xcc.test", A).flags(0x8000).octets();
    assert_eq!(reply_over(Transport::Udp, Some(&zones), &response), None);
}

#[test]
fn rfc9267_broken_names_are_format_errors() {
    let rest = [0, 1, 0, 1];
    let long_name = [&b"\x3f"[..], &[b'a'; 63]].concat().repeat(4);
    for name in [
        &b"\xc0\x0c"[..],
        b"\xc0\x0e\xc0\x0c",
        b"\x01a\xc0\x0c",
        b"\xc0\xff",
        b"\xc0\x06",
        b"\x40a\0",
        b"\x80a\0",
        b"\x3fa\0",
        &[&long_name[..], b"\0"].concat(),
    ] {
        let request = [&header(9, 0, [1, 0, 0, 0])[..], name, &rest].concat();
        let message = raw(&request);
        bare(&message, ResponseCode::FormErr);
        assert_eq!(message.metadata.id, 9);
        assert!(message.queries.is_empty(), "{name:?}");
    }
}

#[test]
fn cut_short_or_followed_by_garbage_is_a_format_error() {
    let good = Request::new("nginx.xcc.test", A).edns(1232).octets();
    for length in 12..good.len() {
        bare(&raw(&good[..length]), ResponseCode::FormErr);
    }
    let message = raw(&[&good[..], b"x"].concat());
    bare(&message, ResponseCode::FormErr);
    assert_eq!(message.queries.len(), 1);
}

#[test]
fn rfc6891_6_1_1_opt_is_answered_with_opt() {
    for name in ["nginx.xcc.test", "none.xcc.test", "team.xcc.test", "xcc.test", "example.com"] {
        for record_type in [A, SOA, NS, ANY] {
            let message = ask(&zones(), &Request::new(name, record_type).edns(4096));
            let edns = message.edns.as_ref().expect("OPT");
            assert_eq!((edns.version(), edns.max_payload(), edns.flags().dnssec_ok), (0, 1232, false));
            assert!(edns.options().as_ref().is_empty());
            let message = ask(&zones(), &Request::new(name, record_type));
            assert!(message.edns.is_none());
        }
    }
}

#[test]
fn rfc6891_6_1_1_two_opts_or_one_elsewhere_is_a_format_error() {
    let question = Request::new("nginx.xcc.test", A).question();
    let one = opt(1232, 0, 0, &[]);
    let named = [&wire("a")[..], &one[1..]].concat();
    let pointer = [&b"\xc0\x0c"[..], &one[1..]].concat();
    for (counts, records) in [
        ([1, 0, 0, 2], [&one[..], &one].concat()),
        ([1, 0, 0, 1], named),
        ([1, 0, 0, 1], pointer),
        ([1, 1, 0, 0], one.clone()),
        ([1, 0, 1, 0], one.clone()),
    ] {
        let request = [&header(1, 0, counts)[..], &question, &records].concat();
        let message = raw(&request);
        bare(&message, ResponseCode::FormErr);
        assert_eq!(message.queries.len(), 1);
    }
}

#[test]
fn rfc6891_6_1_2_options_must_fill_the_record() {
    for options in [&[0, 3, 0][..], &[0, 3, 0, 1], &[0, 100, 0, 5, 1, 2, 3, 4], &[0, 100, 255, 255, 0]] {
        bare(
            &ask(&zones(), &Request::new("nginx.xcc.test", A).edns_with(0, 0, options)),
            ResponseCode::FormErr,
        );
    }
}

#[test]
fn rfc7873_cookies_and_other_options_are_ignored_and_not_echoed() {
    let cookie = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    let nsid = [0, 3, 0, 0];
    // An odd client subnet is nobody's business here either.
    let subnet = [0, 8, 0, 4, 0, 1, 200, 0];
    let options = [&cookie[..], &nsid, &subnet, &[0xff, 0xfe, 0, 1, 9]].concat();
    let message = ask(&zones(), &Request::new("nginx.xcc.test", A).edns_with(0, 0, &options));
    assert_eq!(addresses(&message), ["10.0.0.1"]);
    assert!(message.edns.as_ref().expect("OPT").options().as_ref().is_empty());
}

#[test]
fn rfc2181_9_what_does_not_fit_goes_as_a_whole() {
    let many: Vec<String> = (0..100).map(|index| format!("10.1.0.{index}")).collect();
    let zones = zones_with(&many.iter().map(String::as_str).collect::<Vec<_>>());
    for (request, limit) in [
        (Request::new("nginx.xcc.test", A), 512),
        (Request::new("nginx.xcc.test", A).edns(0), 512),
        (Request::new("nginx.xcc.test", A).edns(1000), 1000),
        (Request::new("nginx.xcc.test", A).edns(65535), 1232),
    ] {
        let octets = request.octets();
        let udp = reply_over(Transport::Udp, Some(&zones), &octets).unwrap();
        assert!(udp.len() <= limit);
        let message = ask(&zones, &request);
        assert!(message.metadata.truncation && message.answers.is_empty());
        assert_eq!(message.edns.is_some(), request.opt.is_some(), "OPT stays");
        let tcp = reply_over(Transport::Tcp, Some(&zones), &octets).unwrap();
        let tcp = Message::from_vec(&tcp).unwrap();
        assert!(!tcp.metadata.truncation);
        assert_eq!(tcp.answers.len(), 100);
    }
    // Thirty fit into 512 octets without EDNS, but not thirty-one.
    for (count, truncated) in [(29, false), (31, true)] {
        let zones = zones_with(&many[..count].iter().map(String::as_str).collect::<Vec<_>>());
        let message = ask(&zones, &Request::new("nginx.xcc.test", A));
        assert_eq!(message.metadata.truncation, truncated, "{count} addresses");
    }
}

#[test]
fn several_addresses_come_together_and_take_turns_at_the_front() {
    let gateway = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    let zones = zones_with(&gateway);
    let mut first = [0; 3];
    for id in 0..99 {
        let request = Request { id, ..Request::new("nginx.xcc.test", A) };
        let message = ask(&zones, &request);
        let mut got = addresses(&message);
        first[gateway.iter().position(|address| *address == got[0]).unwrap()] += 1;
        got.sort();
        assert_eq!(got, gateway);
    }
    assert_eq!(first, [33; 3]);
}

#[test]
fn without_zones_everything_in_them_is_servfail() {
    for request in [Request::new("nginx.xcc.test", A), Request::new("example.com", A).edns(1232)] {
        let reply = reply_over(Transport::Udp, None, &request.octets()).unwrap();
        common::check_frame(&request, &reply);
        bare(&Message::from_vec(&reply).unwrap(), ResponseCode::ServFail);
    }
    let no_address: Zones = zones().with_addresses(&[]);
    bare(&ask(&no_address, &Request::new("nginx.xcc.test", A)), ResponseCode::ServFail);
}

/// What a forged source gets out of one request over UDP. Three kinds of answers are longer than twice their request,
/// and the protocol leaves no choice: a negative answer needs the SOA (RFC 2308), whose 54 octets are too much for short
/// names without EDNS; the SOA itself; and all addresses of a name belong together (RFC 2181, section 5).
#[test]
fn rfc5358_no_answer_is_more_than_twice_the_request_unless_the_protocol_wants_it() {
    let zones = zones().with_origins([(
        &Hostname::parse("nginx.xcc.test").unwrap(),
        &["remote=east object=web/nginx", "remote=west object=web/nginx"][..],
    )]);
    let zones = zones.with_https(Some(&HttpsService { alpn: vec!["h2".to_owned()], port: 8443 }));
    let ratio = |request: Request| {
        let reply = reply_over(Transport::Udp, Some(&zones), &request.octets()).unwrap();
        reply.len() as f64 / request.octets().len() as f64
    };
    let names = [
        ("nginx.xcc.test", &[A, AAAA, HTTPS, ANY, 252][..]),
        ("a.xcc.test", &[252]),
        ("q.wild.xcc.test", &[A, AAAA, HTTPS, ANY]),
        ("xcc.test", &[NS, ANY]),
        ("_xcc.nginx.xcc.test", &[TXT, ANY]),
        ("example.com", &[A, ANY, TXT]),
        ("a-name-of-nearly-forty-octets-w.xcc.test", &[A, AAAA]),
    ];
    for (name, record_types) in names {
        for record_type in record_types {
            for request in [Request::new(name, *record_type), Request::new(name, *record_type).edns(4096)] {
                assert!(ratio(request) <= 2.0, "{name} TYPE{record_type}");
            }
        }
    }
    for (request, most) in [
        (Request::new("a.xcc.test", A), 2.93),
        (Request::new("a.xcc.test", A).edns(4096), 2.4),
        (Request::new("xcc.test", SOA), 3.1),
    ] {
        let ratio = ratio(request);
        assert!((2.0..=most).contains(&ratio), "{ratio}");
    }
}

#[test]
fn texts_about_origins_come_whole_over_tcp() {
    let name = Hostname::parse("nginx.xcc.test").unwrap();
    let zones = zones().with_origins([(&name, &["remote=east object=web/nginx"][..])]);
    let request = Request::new("_xcc.nginx.xcc.test", TXT);
    assert!(ask(&zones, &request).metadata.truncation);
    let tcp = reply_over(Transport::Tcp, Some(&zones), &request.octets()).unwrap();
    let message = Message::from_vec(&tcp).unwrap();
    assert_eq!(addresses(&message), ["remote=east object=web/nginx"]);
    negative_soa(&ask(&zones, &Request::new("_xcc.nginx.xcc.test", A)), ResponseCode::NoError);
}

#[test]
fn rfc9460_https_has_alpn_and_port() {
    let service = HttpsService { alpn: vec!["h2".to_owned(), "http/1.1".to_owned()], port: 8443 };
    let zones = zones().with_https(Some(&service));
    for name in ["nginx.xcc.test", "q.wild.xcc.test"] {
        let message = ask(&zones, &Request::new(name, HTTPS).edns(1232));
        let RData::HTTPS(data) = &message.answers[0].data else { panic!("{message:?}") };
        assert_eq!((data.0.svc_priority, data.0.target_name.to_string()), (1, ".".to_owned()));
        let parameters: Vec<String> =
            data.0.svc_params.iter().map(|(key, value)| format!("{key}={value}")).collect();
        // The comma is how hickory prints a list.
        assert_eq!(parameters, ["alpn=h2,http/1.1,", "port=8443"]);
    }
}

#[test]
fn rfc1035_3_5_reverse_lookup_of_the_gateway() {
    let zones = zones().with_reverse(Some(&Hostname::parse("nginx.xcc.test").unwrap()));
    let message = ask(&zones, &Request::new("1.0.0.10.in-addr.arpa", PTR));
    assert_eq!(addresses(&message), ["nginx.xcc.test."]);
    let message = ask(&zones, &Request::new("1.0.0.10.in-addr.arpa", NS));
    assert_eq!(addresses(&message), ["ns.dns.1.0.0.10.in-addr.arpa."]);
    let message = ask(&zones, &Request::new("ns.dns.1.0.0.10.in-addr.arpa", A));
    assert_eq!(addresses(&message), ["10.9.9.9"]);
    let message = ask(&zones, &Request::new("x.1.0.0.10.in-addr.arpa", A));
    assert_eq!(message.authorities[0].name.to_string(), "1.0.0.10.in-addr.arpa.");
    assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
    bare(&ask(&zones, &Request::new("7.0.0.10.in-addr.arpa", PTR)), ResponseCode::Refused);
}

#[test]
fn rfc4035_3_1_4_1_types_of_dnssec_are_nodata_in_an_unsigned_zone() {
    for name in ["xcc.test", "nginx.xcc.test", "q.wild.xcc.test"] {
        for record_type in [43, 46, 47, 48, 50, 51, 59, 60] {
            for request in
                [Request::new(name, record_type), Request::new(name, record_type).edns_with(0, DO, &[])]
            {
                negative_soa(&ask(&zones(), &request), ResponseCode::NoError);
            }
        }
    }
}
