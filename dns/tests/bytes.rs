//! What holds for any octets at all: no panic, no reply to what is no request, and id and question in every reply.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod common;

use common::{Request, opt, reply_over, wire, zones};
use hickory_proto::op::Message;
use hickory_proto::rr::Name;
use proptest::prelude::*;
use xcc_dns::Transport;

/// A request with some of its octets changed, some lost or some added.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec![
        "nginx.xcc.test",
        "x.wild.xcc.test",
        "none.xcc.test",
        "xcc.test",
        "a.example",
    ]);
    let record_type = prop::sample::select(vec![1u16, 2, 6, 28, 41, 65, 250, 252, 255]);
    let records = prop::collection::vec(record(), 0..3);
    let request =
        (name, record_type, any::<[u8; 4]>(), records).prop_map(|(name, record_type, counts, records)| {
            let mut octets = Request::new(name, record_type).octets();
            octets[11] = records.len() as u8;
            // Mostly true counts, so that the records behind the question are reached.
            if counts[0] < 32 {
                octets[7] = counts[1] % 4;
                octets[9] = counts[2] % 4;
                octets[11] = counts[3] % 4;
            }
            octets.extend(records.concat());
            octets
        });
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (request, changes, any::<prop::sample::Index>(), 0..8u8).prop_map(|(mut octets, changes, cut, how)| {
        for (index, octet) in changes {
            let index = index.index(octets.len());
            octets[index] = octet;
        }
        match how {
            0 => octets.truncate(cut.index(octets.len())),
            1 => octets.extend([0; 3]),
            _ => {}
        }
        octets
    })
}

fn record() -> impl Strategy<Value = Vec<u8>> {
    let owner = prop::sample::select(vec![
        wire(""),
        wire("a.b"),
        vec![0xc0, 0x0c],
        vec![0xc0, 0x30],
        vec![1, b'x', 0xc0, 0x0c],
    ]);
    let data = prop::collection::vec(any::<u8>(), 0..20);
    (owner, prop::sample::select(vec![1u16, 16, 41, 250]), data).prop_map(|(owner, record_type, data)| {
        [&owner[..], &record_type.to_be_bytes(), &opt(1232, 0, 0, &data)[3..]].concat()
    })
}

fn octets() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![1 => prop::collection::vec(any::<u8>(), 0..600), 4 => mutated()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_octets_get_a_sound_reply_or_none(request in octets()) {
        let zones = zones();
        let is_request = request.len() >= 12 && request[2] & 0x80 == 0;
        for (transport, limit) in [(Transport::Udp, 1232), (Transport::Tcp, 65535)] {
            for zones in [Some(&zones), None] {
                let reply = reply_over(transport, zones, &request);
                prop_assert_eq!(reply.is_some(), is_request);
                let Some(reply) = reply else { continue };
                prop_assert!(reply.len() <= limit);
                prop_assert_eq!(&reply[..2], &request[..2]);
                prop_assert_eq!(reply[2] & 0xf9, 0x80 | request[2] & 0x79);
                prop_assert_eq!(reply[3] & 0xf0, request[3] & 0x10);
                let message = Message::from_vec(&reply).unwrap();
                if let [question] = &message.queries[..] {
                    let length = wire(&question.name.to_ascii()).len();
                    if reply.len() >= 12 + length + 4 && !question.name.to_ascii().contains('\\') {
                        prop_assert_eq!(&reply[12..12 + length + 4], &request[12..12 + length + 4]);
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_outside_the_zones_is_answered(request in octets()) {
        let zones = zones();
        let Some(reply) = reply_over(Transport::Udp, Some(&zones), &request) else { return Ok(()) };
        let message = Message::from_vec(&reply).unwrap();
        let apex = Name::from_ascii("xcc.test.").unwrap();
        let said = message.answers.iter().chain(&message.authorities);
        for owner in said.map(|record| &record.name) {
            prop_assert!(apex.zone_of(owner), "{}", owner);
            prop_assert!(message.metadata.authoritative);
        }
    }

    /// Whatever is answered is also readable for hickory: our reader is not laxer than its.
    #[test]
    fn what_is_answered_is_a_message_for_hickory_too(request in octets()) {
        let Some(reply) = reply_over(Transport::Udp, Some(&zones()), &request) else { return Ok(()) };
        let answered = matches!(reply[3] & 0x0f, 0 | 3) && reply[2] & 0x78 == 0;
        let message = Message::from_vec(&reply).unwrap();
        if answered && message.metadata.authoritative {
            let question = Message::from_vec(&request).map(|request| request.queries);
            // Data that hickory knows the inside of may be refused there; the question never.
            if let Ok(question) = question {
                prop_assert_eq!(question, message.queries);
            }
        }
    }
}
