//! What must hold for the reply to any octets at all. Shared by the fuzz target and by a test that runs on stable.

use std::sync::OnceLock;

use hickory_proto::op::Message;
use hickory_proto::rr::Name;
use xcc_dns::{Outcome, Transport, ZoneConfig, Zones, respond};
use xcc_model::{Hostname, ZoneName};

const HEADER_OCTETS: usize = 12;
const UDP_OCTETS_MAX: usize = 1232;

/// Zones with everything that can be switched on, and too many addresses for one UDP reply.
fn zones() -> &'static Zones {
    static ZONES: OnceLock<Zones> = OnceLock::new();
    ZONES.get_or_init(|| {
        let zone = |name| ZoneName::parse(name).expect("a zone name");
        let host = |name| Hostname::parse(name).expect("a host name");
        let config = ZoneConfig {
            apexes: vec![zone("xcc.test"), zone("b.a.xcc.test")],
            ttl_seconds: 30,
            name_server_addresses: vec!["10.9.9.9".parse().expect("an address")],
        };
        let addresses: Vec<_> = (0..100).map(|index| [10, 0, 0, index].into()).collect();
        let names = ["nginx.xcc.test", "a.team.xcc.test", "*.wild.xcc.test", "x.b.a.xcc.test"].map(host);
        let texts = ["remote=east object=web/nginx"];
        Zones::new(&config)
            .with_addresses(&addresses)
            .with_changes(&names, [])
            .with_origins(names.iter().map(|name| (name, &texts[..])))
            .with_https(&["h2".to_owned()])
            .with_ports(names.iter().map(|name| (name, 8443)))
            .with_reverse(Some(&names[0]))
    })
}

/// Answers the octets over both transports, and panics when a reply is not what it has to be.
pub(crate) fn respond_soundly(octets: &[u8]) {
    let is_request = octets.len() >= HEADER_OCTETS && octets[2] & 0x80 == 0;
    for (transport, limit) in [(Transport::Udp, UDP_OCTETS_MAX), (Transport::Tcp, usize::from(u16::MAX))] {
        let mut reply = Vec::new();
        let outcome = respond(Some(zones()), transport, octets, &mut reply);
        let replied = matches!(outcome, Outcome::Replied { .. });
        assert_eq!(replied, is_request, "requests are answered, and nothing else is");
        assert_eq!(replied, !reply.is_empty());
        if replied {
            assert!(reply.len() <= limit, "{} octets", reply.len());
            check_reply(octets, &reply);
        }
    }
}

fn check_reply(request: &[u8], reply: &[u8]) {
    assert_eq!(reply[..2], request[..2], "the id comes back");
    assert_eq!(reply[2] & 0xf9, 0x80 | request[2] & 0x79, "QR set, opcode and RD copied");
    assert_eq!(reply[3] & 0xe0, 0, "RA, Z and AD clear");
    let message = Message::from_vec(reply).expect("hickory reads every reply");
    assert!(message.queries.len() <= 1);
    if reply[4..6] == [0, 1] {
        let end = question_end(reply);
        assert_eq!(reply[HEADER_OCTETS..end], request[HEADER_OCTETS..end], "the question byte for byte");
    }
    let ours = ["xcc.test.", "arpa."].map(|zone| Name::from_ascii(zone).expect("a name"));
    for record in message.answers.iter().chain(&message.authorities) {
        assert!(ours.iter().any(|zone| zone.zone_of(&record.name)), "{} is not ours", record.name);
        assert!(message.metadata.authoritative);
    }
}

/// Where the question ends in a reply, which has it uncompressed.
fn question_end(reply: &[u8]) -> usize {
    let mut at = HEADER_OCTETS;
    while reply[at] != 0 {
        at += usize::from(reply[at]) + 1;
    }
    at + 5
}
