//! RFC 8906, section 8: the questions of its compliance tests, over UDP and TCP, IPv4 and IPv6.

use crate::common::sockets::{ask_tcp, ask_udp, start};
use crate::common::{AD, CD, DNSKEY, DO, RD, Request, SOA, Z, check_frame, header, zones};
use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use xcc_dns::DnsConfig;

const NOERROR: u16 = 0;
const NOTIMP: u16 = 4;
const BADVERS: u16 = 16;
/// EDNS options: one that nobody knows, and those that dig sends for `+nsid +cookie +expire +subnet=0.0.0.0/0`.
const OPTION_100: &[u8] = &[0, 100, 0, 0];
const OPTIONS: &[u8] = &[0, 3, 0, 0, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 0, 0, 0, 8, 0, 4, 0, 1, 0, 0];

/// Which transports a command is for.
#[derive(Clone, Copy, PartialEq)]
enum Over {
    Both,
    Tcp,
}

/// What stands in the reply.
#[derive(Clone, Copy, PartialEq)]
enum Body {
    /// The SOA as the answer.
    Answer,
    /// No answer, and the SOA in the authority section.
    NoData,
    Nothing,
}
use Body::{Answer, NoData, Nothing};
use Over::{Both, Tcp};

/// A command of dig, its request, and the reply's code, body, and DO if there is to be an OPT record.
type Case = (&'static str, Over, Request, u16, Body, Option<bool>);

fn commands() -> Vec<Case> {
    let soa = || Request::new("xcc.test", SOA);
    let (plain, edns, with_do) = (None, Some(false), Some(true));
    vec![
        ("+noedns soa", Both, soa(), NOERROR, Answer, plain),
        ("+noedns type1000", Both, Request::new("xcc.test", 1000), NOERROR, NoData, plain),
        ("+noedns +cd soa", Both, soa().flags(CD), NOERROR, Answer, plain),
        ("+noedns +ad soa", Both, soa().flags(AD), NOERROR, Answer, plain),
        ("+noedns +zflag soa", Both, soa().flags(Z), NOERROR, Answer, plain),
        ("+noedns +rec soa", Both, soa().flags(RD), NOERROR, Answer, plain),
        ("+noedns +opcode=15 soa", Both, soa().opcode(15), NOTIMP, Nothing, plain),
        ("+noedns +tcp soa", Tcp, soa(), NOERROR, Answer, plain),
        ("+edns=0 soa", Both, soa().edns(4096), NOERROR, Answer, edns),
        ("+edns=1 soa", Both, soa().edns_with(1, 0, &[]), BADVERS, Nothing, edns),
        ("+ednsopt=100 soa", Both, soa().edns_with(0, 0, OPTION_100), NOERROR, Answer, edns),
        ("+edns=1 +ednsopt=100 soa", Both, soa().edns_with(1, 0, OPTION_100), BADVERS, Nothing, edns),
        ("+ednsflags=0x40 soa", Both, soa().edns_with(0, 0x40, &[]), NOERROR, Answer, edns),
        ("+edns=1 +ednsflags=0x40 soa", Both, soa().edns_with(1, 0x40, &[]), BADVERS, Nothing, edns),
        ("+dnssec soa", Both, soa().edns_with(0, DO, &[]), NOERROR, Answer, with_do),
        ("+edns=1 +dnssec soa", Both, soa().edns_with(1, DO, &[]), BADVERS, Nothing, with_do),
        ("+dnssec +bufsize=512 dnskey", Both, small_buffer(), NOERROR, NoData, with_do),
        ("+nsid +cookie +expire +subnet soa", Both, soa().edns_with(0, 0, OPTIONS), NOERROR, Answer, edns),
        ("+tcp +dnssec soa", Tcp, soa().edns_with(0, DO, &[]), NOERROR, Answer, with_do),
    ]
}

fn small_buffer() -> Request {
    Request { opt: Some((512, 0, DO, vec![])), ..Request::new("xcc.test", DNSKEY) }
}

#[tokio::test]
async fn rfc8906_8_all_commands_over_udp_and_tcp_and_ipv4_and_ipv6() {
    let server = start(&["127.0.0.1:0", "[::1]:0"], DnsConfig::default());
    server.responder.publish(zones());
    assert_eq!(commands().len(), 19);
    for (command, over, request, code, body, opt) in commands() {
        for address in &server.addresses {
            let octets = request.octets();
            let tcp = ask_tcp(*address, &octets).await;
            check(command, &request, &tcp, code, body, opt);
            if over == Both {
                assert_eq!(ask_udp(*address, &octets).await, tcp, "{command}");
            }
        }
    }
    server.stop().await;
}

fn check(command: &str, request: &Request, reply: &[u8], code: u16, body: Body, opt: Option<bool>) {
    check_frame(request, reply);
    let message = Message::from_vec(reply).unwrap();
    // By number: hickory reads 16 as BADSIG, which TSIG calls the same number.
    assert_eq!(u16::from(message.metadata.response_code), code, "{command}");
    assert_eq!(message.metadata.authoritative, body != Nothing, "{command}");
    let types = |records: &[hickory_proto::rr::Record]| -> Vec<RecordType> {
        records.iter().map(hickory_proto::rr::Record::record_type).collect()
    };
    let want = |is: bool| if is { vec![RecordType::SOA] } else { vec![] };
    assert_eq!(types(&message.answers), want(body == Answer), "{command}");
    assert_eq!(types(&message.authorities), want(body == NoData), "{command}");
    let edns = message.edns.as_ref().map(|edns| {
        assert_eq!((edns.version(), edns.max_payload(), edns.flags().z), (0, 1232, 0), "{command}");
        assert!(edns.options().as_ref().is_empty(), "{command}: no option is echoed");
        edns.flags().dnssec_ok
    });
    assert_eq!(edns, opt, "{command}");
}

/// `+opcode=15 +header-only`: a message of nothing but a header has no question to give back.
#[tokio::test]
async fn rfc8906_8_1_4_a_header_alone_of_an_unknown_opcode_is_not_implemented() {
    let server = start(&["127.0.0.1:0", "[::1]:0"], DnsConfig::default());
    for address in &server.addresses {
        let request = header(7, 15 << 11, [0; 4]);
        let want = header(7, 0x8000 | 15 << 11 | NOTIMP, [0; 4]);
        assert_eq!(ask_udp(*address, &request).await, want);
        assert_eq!(ask_tcp(*address, &request).await, want);
    }
    server.stop().await;
}
