//! The header and the question: what is answered at all, and with which code and flags.

use hickory_proto::op::{Message, OpCode, ResponseCode};

use crate::common::sockets::{serve, serve_nothing};
use crate::common::{A, CD, RD, Request, SOA, TXT, header, opt, wire, zones};
use crate::{bare, data};

#[tokio::test]
async fn rfc1035_requests_that_get_no_answer() {
    let xcc = serve(zones());
    let good = Request::new("nginx.xcc.test", A);
    for length in 0..12 {
        xcc.ignores(&good.octets()[..length]).await;
    }
    // A response, whatever else is in it: two servers would answer each other for ever.
    for flags in [0x8000, 0x8180, 0x8400, 0xa800, 0xffff] {
        xcc.ignores(&good.clone().flags(flags).octets()).await;
        xcc.ignores(&header(1, flags, [0; 4])).await;
    }
}

/// AA, RA, AD, Z and the code are ours to say; RD and CD come back.
#[tokio::test]
async fn rfc1035_4_1_1_flags_of_a_request_are_copied_or_cleared() {
    let xcc = serve(zones());
    for bit in 0..11 {
        let request = Request::new("nginx.xcc.test", A).flags(1 << bit);
        let message = xcc.ask(&request).await;
        assert_eq!(message.metadata.response_code, ResponseCode::NoError, "bit {bit}");
        assert!(message.metadata.authoritative && !message.metadata.truncation, "bit {bit}");
        assert_eq!(data(&message), ["10.0.0.1"], "bit {bit}");
    }
    let message = xcc.ask(&Request::new("example.com", A).flags(0x07ff)).await;
    bare(&message, ResponseCode::Refused);
    assert!(!message.metadata.recursion_available && !message.metadata.truncation);
    let message = xcc.ask(&Request::new("nginx.xcc.test", A).flags(RD | CD)).await;
    assert!(message.metadata.recursion_desired && message.metadata.checking_disabled);
}

#[tokio::test]
async fn rfc8906_3_1_4_other_opcodes_are_not_implemented() {
    let xcc = serve(zones());
    for opcode in 1..16 {
        for request in [Request::new("xcc.test", SOA), Request::new("xcc.test", SOA).edns(1232)] {
            let message = xcc.ask(&request.opcode(opcode)).await;
            bare(&message, ResponseCode::NotImp);
            assert_eq!(message.metadata.op_code, OpCode::from_u8(opcode as u8));
        }
        // Without a question, as DSO (6) is, with and without EDNS; and with two.
        let empty = xcc.ask_octets(&header(1, opcode << 11, [0; 4])).await;
        bare(&empty, ResponseCode::NotImp);
        let edns = [header(1, opcode << 11, [0, 0, 0, 1]), opt(1232, 0, 0, &[])].concat();
        let edns = xcc.ask_octets(&edns).await;
        bare(&edns, ResponseCode::NotImp);
        assert!(edns.edns.is_some() && edns.queries.is_empty());
        let question = Request::new("xcc.test", SOA).question();
        let two = [&header(1, opcode << 11, [2, 0, 0, 0])[..], &question, &question].concat();
        bare(&xcc.ask_octets(&two).await, ResponseCode::NotImp);
    }
}

#[tokio::test]
async fn rfc9619_one_question_exactly() {
    let xcc = serve(zones());
    let question = Request::new("nginx.xcc.test", A).question();
    let other = Request::new("none.xcc.test", A).question();
    for (count, questions) in [
        (0, vec![]),
        (0, question.clone()),
        (2, [&question[..], &question].concat()),
        (2, [&question[..], &other].concat()),
        (2, question.clone()),
        (65535, question.clone()),
    ] {
        let request = [&header(7, RD, [count, 0, 0, 0])[..], &questions].concat();
        let message = xcc.ask_octets(&request).await;
        bare(&message, ResponseCode::FormErr);
        assert!(message.queries.is_empty());
        assert_eq!((message.metadata.id, message.metadata.recursion_desired), (7, true));
    }
}

/// RFC 6891, section 6.1.1: an OPT record in the request has one in the reply, a format error's as well.
#[tokio::test]
async fn rfc9619_a_wrong_number_of_questions_is_told_with_edns_too() {
    let xcc = serve(zones());
    let question = Request::new("nginx.xcc.test", A).question();
    for questions in [vec![], vec![&question[..]; 2], vec![&question[..]; 3]] {
        let counts = [questions.len() as u16, 0, 0, 1];
        let request = [header(7, 0, counts), questions.concat(), opt(4096, 0, 0x8000, &[])].concat();
        let message = xcc.ask_octets(&request).await;
        bare(&message, ResponseCode::FormErr);
        assert!(message.queries.is_empty());
        let edns = message.edns.expect("OPT");
        assert_eq!((edns.version(), edns.max_payload(), edns.flags().dnssec_ok), (0, 1232, true));
    }
}

#[tokio::test]
async fn rfc4892_other_classes_are_refused() {
    let xcc = serve(zones());
    for (name, class) in [
        ("version.bind", 3),
        ("version.server", 3),
        ("id.server", 3),
        ("hostname.bind", 3),
        ("authors.bind", 3),
        ("nginx.xcc.test", 0),
        ("nginx.xcc.test", 3),
        ("nginx.xcc.test", 4),
        ("nginx.xcc.test", 254),
        ("nginx.xcc.test", 255),
        ("nginx.xcc.test", 65535),
    ] {
        for record_type in [A, TXT, SOA] {
            let request = Request::new(name, record_type).class(class);
            bare(&xcc.ask(&request).await, ResponseCode::Refused);
            bare(&xcc.ask(&request.edns(4096)).await, ResponseCode::Refused);
        }
    }
}

#[tokio::test]
async fn rfc9267_broken_names_are_format_errors() {
    let xcc = serve(zones());
    let rest = [0, 1, 0, 1];
    let long_name = [&b"\x3f"[..], &[b'a'; 63]].concat().repeat(4);
    for name in [
        // Pointers: to itself, in a circle, behind a label, behind the end, into the header.
        &b"\xc0\x0c"[..],
        b"\xc0\x0e\xc0\x0c",
        b"\x01a\xc0\x0c",
        b"\xc0\xff",
        b"\xc0\x06",
        b"\xc0\x00",
        b"\x05nginx\x03xcc\xc0\x18\x04test\0",
        // Label types that nobody has (RFC 6891, section 5).
        b"\x40a\0",
        b"\x41\0\0",
        b"\x80a\0",
        b"\x3fa\0",
        &[&long_name[..], b"\0"].concat(),
        &b"\x01a".repeat(128),
    ] {
        let request = [&header(9, 0, [1, 0, 0, 0])[..], name, &rest].concat();
        let message = xcc.ask_octets(&request).await;
        bare(&message, ResponseCode::FormErr);
        assert_eq!(message.metadata.id, 9);
        assert!(message.queries.is_empty(), "{name:?}");
    }
}

#[tokio::test]
async fn rfc1035_4_1_cut_short_or_followed_by_garbage_is_a_format_error() {
    let xcc = serve(zones());
    let good = Request::new("nginx.xcc.test", A).edns(1232).octets();
    for length in 12..good.len() {
        bare(&xcc.ask_octets(&good[..length]).await, ResponseCode::FormErr);
    }
    for garbage in [&b"x"[..], &[0], &[0; 100]] {
        let message = xcc.ask_octets(&[&good[..], garbage].concat()).await;
        bare(&message, ResponseCode::FormErr);
        assert_eq!(message.queries.len(), 1);
    }
}

/// Counts that promise more or fewer records than there are.
#[tokio::test]
async fn rfc1035_4_1_1_counts_are_true() {
    let xcc = serve(zones());
    let question = Request::new("nginx.xcc.test", A).question();
    let record = [&wire("a.test")[..], &[0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]].concat();
    let with = |counts: [u16; 4], records: &[u8]| [&header(3, 0, counts)[..], &question, records].concat();
    for request in [
        with([1, 1, 0, 0], &[]),
        with([1, 0, 65535, 0], &[]),
        with([1, 0, 0, 2], &record),
        with([1, 0, 0, 0], &record),
        with([1, 1, 0, 0], &record[..record.len() - 1]),
    ] {
        bare(&xcc.ask_octets(&request).await, ResponseCode::FormErr);
    }
    // As IXFR has a SOA there: nothing forbids other records, and nobody reads them.
    for counts in [[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]] {
        assert_eq!(data(&xcc.ask_octets(&with(counts, &record)).await), ["10.0.0.1"]);
    }
}

#[tokio::test]
async fn rfc2308_7_1_without_zones_everything_is_servfail() {
    let xcc = serve_nothing();
    for request in [Request::new("nginx.xcc.test", A), Request::new("example.com", A).edns(1232)] {
        bare(&xcc.ask(&request).await, ResponseCode::ServFail);
    }
    let no_address = serve(zones().with_addresses(&[]));
    let message: Message = no_address.ask(&Request::new("nginx.xcc.test", A)).await;
    bare(&message, ResponseCode::ServFail);
}
