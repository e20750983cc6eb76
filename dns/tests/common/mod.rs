//! Requests made by hand, octet by octet, and what holds for every reply.
// Each test program uses a part of it.
#![allow(dead_code)]

pub(crate) mod sockets;

use xcc_dns::{Outcome, Transport, ZoneConfig, Zones, respond};
use xcc_model::{Hostname, ZoneName};

pub(crate) const A: u16 = 1;
pub(crate) const NS: u16 = 2;
pub(crate) const SOA: u16 = 6;
pub(crate) const PTR: u16 = 12;
pub(crate) const TXT: u16 = 16;
pub(crate) const AAAA: u16 = 28;
pub(crate) const OPT: u16 = 41;
pub(crate) const DS: u16 = 43;
pub(crate) const DNSKEY: u16 = 48;
pub(crate) const HTTPS: u16 = 65;
pub(crate) const ANY: u16 = 255;
/// RD in the header's flags.
pub(crate) const RD: u16 = 0x0100;
pub(crate) const CD: u16 = 0x0010;
pub(crate) const AD: u16 = 0x0020;
pub(crate) const Z: u16 = 0x0040;
/// DO in OPT's flags.
pub(crate) const DO: u16 = 0x8000;

/// Zone `xcc.test` with two names, a wildcard and an empty non-terminal, and a dual-stack gateway.
pub(crate) fn zones() -> Zones {
    zones_with(&["10.0.0.1", "2001:db8::1"])
}

pub(crate) fn zones_with(gateway: &[&str]) -> Zones {
    let names = ["nginx.xcc.test", "a.team.xcc.test", "*.wild.xcc.test"];
    let names = names.map(|name| Hostname::parse(name).unwrap());
    let gateway: Vec<_> = gateway.iter().map(|address| address.parse().unwrap()).collect();
    Zones::new(&config(30)).with_addresses(&gateway).with_changes(&names, [])
}

/// Zone `xcc.test` with records of this life.
pub(crate) fn config(ttl_seconds: u32) -> ZoneConfig {
    ZoneConfig {
        apexes: vec![ZoneName::parse("xcc.test").unwrap()],
        ttl_seconds,
        name_server_addresses: vec!["10.9.9.9".parse().unwrap()],
    }
}

/// A request, made into octets by [`Request::octets`].
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) id: u16,
    pub(crate) flags: u16,
    pub(crate) name: Vec<u8>,
    pub(crate) record_type: u16,
    pub(crate) class: u16,
    /// Payload size, version and extended code, flags, options.
    pub(crate) opt: Option<(u16, u16, u16, Vec<u8>)>,
}

impl Request {
    pub(crate) fn new(name: &str, record_type: u16) -> Self {
        Self { id: 0x1234, flags: 0, name: wire(name), record_type, class: 1, opt: None }
    }

    pub(crate) fn flags(self, flags: u16) -> Self {
        Self { flags, ..self }
    }

    pub(crate) fn opcode(self, opcode: u16) -> Self {
        Self { flags: self.flags | opcode << 11, ..self }
    }

    pub(crate) fn class(self, class: u16) -> Self {
        Self { class, ..self }
    }

    pub(crate) fn edns(self, payload: u16) -> Self {
        Self { opt: Some((payload, 0, 0, vec![])), ..self }
    }

    /// EDNS of a version, with flags and options.
    pub(crate) fn edns_with(self, version: u16, flags: u16, options: &[u8]) -> Self {
        Self { opt: Some((1232, version, flags, options.to_vec())), ..self }
    }

    pub(crate) fn question(&self) -> Vec<u8> {
        let mut octets = self.name.clone();
        octets.extend(self.record_type.to_be_bytes());
        octets.extend(self.class.to_be_bytes());
        octets
    }

    pub(crate) fn octets(&self) -> Vec<u8> {
        let mut octets = header(self.id, self.flags, [1, 0, 0, u16::from(self.opt.is_some())]);
        octets.extend(self.question());
        if let Some((payload, version, flags, options)) = &self.opt {
            octets.extend(opt(*payload, *version, *flags, options));
        }
        octets
    }
}

pub(crate) fn header(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    [id, flags].into_iter().chain(counts).flat_map(u16::to_be_bytes).collect()
}

pub(crate) fn opt(payload: u16, version: u16, flags: u16, options: &[u8]) -> Vec<u8> {
    let mut octets = vec![0];
    for field in [OPT, payload, version, flags, u16::try_from(options.len()).unwrap()] {
        octets.extend(field.to_be_bytes());
    }
    octets.extend(options);
    octets
}

/// Wire form of a name in presentation form, case kept.
pub(crate) fn wire(name: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        octets.push(u8::try_from(label.len()).unwrap());
        octets.extend(label.as_bytes());
    }
    octets.push(0);
    octets
}

/// The reply's octets over a transport, none when the request is dropped.
pub(crate) fn reply_over(transport: Transport, zones: Option<&Zones>, request: &[u8]) -> Option<Vec<u8>> {
    let mut reply = Vec::new();
    match respond(zones, transport, request, &mut reply) {
        Outcome::Replied { .. } => Some(reply),
        Outcome::Dropped(_) => {
            assert!(reply.is_empty());
            None
        }
    }
}

pub(crate) fn check_frame(request: &Request, reply: &[u8]) {
    let question = request.question();
    assert_eq!(reply[..2], request.id.to_be_bytes(), "id");
    assert_eq!(reply[2] & 0xf8, 0x80 | (request.flags >> 8) as u8 & 0x78, "QR, and the opcode copied");
    assert_eq!(reply[2] & 0x01, (request.flags >> 8) as u8 & 0x01, "RD copied");
    assert_eq!(reply[3] & 0xe0, 0, "RA, Z and AD clear");
    assert_eq!(reply[3] & 0x10, request.flags as u8 & 0x10, "CD copied");
    assert_eq!(reply[4..6], [0, 1], "one question");
    assert_eq!(reply[12..12 + question.len()], question, "the question byte for byte");
}
