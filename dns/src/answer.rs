//! From a question to its answer, by RFC 1034, RFC 2308 and RFC 4592: pure, and independent of how replies are encoded.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::addresses::Addresses;
use crate::apex::Apex;
use crate::name::Name;
use crate::record_type::{Kind, RecordType};
use crate::rrset::RrSet;
use crate::zone::{Content, Node, Zones};

/// SOA's refresh, retry and expire, in seconds: what RFC 1912, section 2.2, recommends. Nobody transfers the zones, so that
/// only tools read them.
pub(crate) const SOA_REFRESH_SECONDS: u32 = 14_400;
pub(crate) const SOA_RETRY_SECONDS: u32 = 3600;
pub(crate) const SOA_EXPIRE_SECONDS: u32 = 1_209_600;
/// The wildcard's label on the wire (RFC 4592, section 2.1.1).
const WILDCARD_LABEL: &[u8] = b"\x01*";
/// Longest key: the wildcard's label before the longest name.
const KEY_OCTETS_MAX: usize = 257;

/// What a question is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'z> {
    /// NOERROR with one RRset, whose owner is the name that was asked for.
    Records {
        /// Life of the records in seconds.
        ttl_seconds: u32,
        /// The records.
        records: Records<'z>,
    },
    /// NOERROR without records: the name exists, but has none of the type (RFC 2308, section 2.2).
    NoData(Soa<'z>),
    /// There is no such name (RFC 2308, section 2.1), nor any below it (RFC 8020).
    NxDomain(Soa<'z>),
    /// The name exists, but what to answer is not known yet.
    ServFail,
    /// In none of the zones, or a zone transfer.
    Refused,
    /// A type that cannot be asked for.
    FormErr,
    /// A query type that is not implemented.
    NotImp,
}

/// The records of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records<'z> {
    /// IPv4 addresses, at least one.
    A(&'z [Ipv4Addr]),
    /// IPv6 addresses, at least one.
    Aaaa(&'z [Ipv6Addr]),
    /// The apex' SOA.
    Soa(Soa<'z>),
    /// The apex' name server `ns.dns.<zone>`, with its addresses for the additional section.
    Ns(&'z Addresses),
    /// HINFO `RFC8482`, the answer to ANY.
    Hinfo,
    /// Records of another type, such as TXT.
    Data(&'z RrSet),
}

/// Start of authority of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Soa<'z> {
    /// The zone's name.
    pub apex: &'z Name,
    /// Moves with the content.
    pub serial: u32,
    /// Life of negative answers in seconds, and of the SOA that comes with them.
    pub minimum_seconds: u32,
}

impl Zones {
    /// Answers a question of class IN.
    pub fn answer(&self, name: &Name, record_type: RecordType) -> Answer<'_> {
        match record_type.kind() {
            Kind::Data | Kind::Any => {}
            Kind::Transfer => return Answer::Refused,
            Kind::Nonsense => return Answer::FormErr,
            Kind::Unimplemented => return Answer::NotImp,
        }
        if let Some(node) = self.nodes.get(name.as_wire()) {
            return self.answer_at(node, record_type);
        }
        let Some(index) = self.origin.closest(name) else {
            return self.answer_reverse(name, record_type).unwrap_or(Answer::Refused);
        };
        let apex = &self.origin.apexes[index];
        match self.wildcard_for(name, apex) {
            Some(node) => self.answer_at(node, record_type),
            None => Answer::NxDomain(self.soa(apex)),
        }
    }

    /// The wildcard at the closest encloser (RFC 4592, section 3.3.1), for a name that does not exist itself.
    ///
    /// Goes downwards from the apex: every ancestor of a name exists, so that a long name that does not exist costs
    /// no more than the depth of what does.
    fn wildcard_for(&self, name: &Name, apex: &Apex) -> Option<&Node> {
        let mut encloser = apex.name.labels();
        while encloser + 1 < name.labels() && self.nodes.contains(name.suffix(encloser + 1)) {
            encloser += 1;
        }
        let domain = name.suffix(encloser);
        let length = WILDCARD_LABEL.len() + domain.len();
        let mut key = [0; KEY_OCTETS_MAX];
        key[..WILDCARD_LABEL.len()].copy_from_slice(WILDCARD_LABEL);
        key[WILDCARD_LABEL.len()..length].copy_from_slice(domain);
        self.nodes.get(&key[..length])
    }

    fn answer_at<'z>(&'z self, node: &'z Node, record_type: RecordType) -> Answer<'z> {
        let apex = &self.origin.apexes[node.apex as usize];
        let records = |records| Answer::Records { ttl_seconds: self.origin.ttl_seconds, records };
        match (&node.content, record_type) {
            (Content::Empty, _) => Answer::NoData(self.soa(apex)),
            (_, RecordType::ANY) => records(Records::Hinfo),
            (Content::Apex, RecordType::SOA) => records(Records::Soa(self.soa(apex))),
            (Content::Apex, RecordType::NS) => records(Records::Ns(&self.origin.name_server)),
            // RFC 4035, section 3.1.4.1: DS belongs to the parent's side of a zone cut.
            (Content::Apex, RecordType::DS) => {
                Answer::NoData(self.soa(apex.parent.map_or(apex, |parent| &self.origin.apexes[parent])))
            }
            (Content::Apex, _) => Answer::NoData(self.soa(apex)),
            (Content::NameServer, _) => self.addresses_of(&self.origin.name_server, &apex.name, record_type),
            (Content::Origins(texts), RecordType::TXT) => records(Records::Data(texts)),
            (Content::Origins(_), _) => Answer::NoData(self.soa(apex)),
            (Content::Gateway { .. }, RecordType::A | RecordType::AAAA) if self.gateway.is_empty() => {
                Answer::ServFail
            }
            (Content::Gateway { port }, RecordType::HTTPS)
                if let Some(set) = self.https.as_ref().and_then(|https| https.of(*port)) =>
            {
                records(Records::Data(set))
            }
            (Content::Gateway { .. }, _) => self.addresses_of(&self.gateway, &apex.name, record_type),
        }
    }

    /// A and AAAA of a name, the rest of whose types have no data.
    pub(crate) fn addresses_of<'z>(
        &'z self,
        addresses: &'z Addresses,
        apex: &'z Name,
        record_type: RecordType,
    ) -> Answer<'z> {
        let ttl_seconds = self.origin.ttl_seconds;
        match record_type {
            RecordType::A if !addresses.v4.is_empty() => {
                Answer::Records { ttl_seconds, records: Records::A(&addresses.v4) }
            }
            RecordType::AAAA if !addresses.v6.is_empty() => {
                Answer::Records { ttl_seconds, records: Records::Aaaa(&addresses.v6) }
            }
            _ => Answer::NoData(self.soa_of(apex)),
        }
    }

    fn soa<'z>(&self, apex: &'z Apex) -> Soa<'z> {
        self.soa_of(&apex.name)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use xcc_model::{Hostname, ZoneName};

    use super::*;
    use crate::apex::ZoneConfig;

    const GATEWAY: [&str; 3] = ["10.0.0.2", "10.0.0.1", "2001:db8::1"];

    fn zones(names: &[&str]) -> Zones {
        zones_of(&["xcc.test"], names)
    }

    fn zones_of(apexes: &[&str], names: &[&str]) -> Zones {
        let apexes = apexes.iter().map(|apex| ZoneName::parse(apex).unwrap()).collect();
        let name_server_addresses = vec!["10.9.9.9".parse().unwrap()];
        let config = ZoneConfig { apexes, ttl_seconds: 60, name_server_addresses };
        let gateway = GATEWAY.map(|address| address.parse::<IpAddr>().unwrap());
        Zones::new(&config).with_addresses(&gateway).with_changes(&hostnames(names), [])
    }

    fn hostnames(names: &[&str]) -> Vec<Hostname> {
        names.iter().map(|name| Hostname::parse(name).unwrap()).collect()
    }

    /// The answer in short: the rcode or what the records are.
    fn ask(zones: &Zones, name: &str, record_type: RecordType) -> &'static str {
        match zones.answer(&Name::parse(name).unwrap(), record_type) {
            Answer::Records { records: Records::A(_), .. } => "A",
            Answer::Records { records: Records::Aaaa(_), .. } => "AAAA",
            Answer::Records { records: Records::Soa(_), .. } => "SOA",
            Answer::Records { records: Records::Ns(_), .. } => "NS",
            Answer::Records { records: Records::Hinfo, .. } => "HINFO",
            Answer::Records { records: Records::Data(set), .. } => set.record_type().mnemonic().unwrap(),
            Answer::NoData(_) => "NODATA",
            Answer::NxDomain(_) => "NXDOMAIN",
            Answer::ServFail => "SERVFAIL",
            Answer::Refused => "REFUSED",
            Answer::FormErr => "FORMERR",
            Answer::NotImp => "NOTIMP",
        }
    }

    #[test]
    fn a_known_name_has_the_gateways_addresses() {
        let zones = zones(&["nginx.xcc.test"]);
        let name = Name::parse("NGINX.xcc.test").unwrap();
        let addresses = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        let want = Answer::Records { ttl_seconds: 60, records: Records::A(&addresses) };
        assert_eq!(zones.answer(&name, RecordType::A), want);
        assert_eq!(ask(&zones, "nginx.xcc.test", RecordType::AAAA), "AAAA");
    }

    #[test]
    fn rfc2308_nodata_for_other_types_of_a_known_name() {
        let zones = zones(&["nginx.xcc.test"]);
        for number in [2, 5, 6, 12, 13, 15, 16, 33, 43, 46, 48, 64, 65, 99, 127, 256, 257, 1000, 32769, 65535]
        {
            assert_eq!(ask(&zones, "nginx.xcc.test", RecordType(number)), "NODATA", "TYPE{number}");
        }
        let v4_only = zones.with_addresses(&["10.0.0.1".parse().unwrap()]);
        assert_eq!(ask(&v4_only, "nginx.xcc.test", RecordType::AAAA), "NODATA");
    }

    #[test]
    fn rfc2308_negative_ttl_is_the_ttl_but_at_most_30_seconds() {
        for (ttl_seconds, want) in [(60, 30), (30, 30), (5, 5), (0, 0)] {
            let apexes = vec![ZoneName::parse("xcc.test").unwrap()];
            let config = ZoneConfig { apexes, ttl_seconds, name_server_addresses: vec![] };
            let zones = Zones::new(&config);
            let Answer::NxDomain(soa) = zones.answer(&Name::parse("a.xcc.test").unwrap(), RecordType::A)
            else {
                panic!("a name that is not there is answered");
            };
            assert_eq!(soa.minimum_seconds, want, "ttl {ttl_seconds}");
        }
    }

    #[test]
    fn rfc8020_empty_non_terminals_exist() {
        let zones = zones(&["a.b.c.xcc.test"]);
        assert_eq!(ask(&zones, "b.c.xcc.test", RecordType::A), "NODATA");
        assert_eq!(ask(&zones, "c.xcc.test", RecordType::ANY), "NODATA");
        assert_eq!(ask(&zones, "dns.xcc.test", RecordType::A), "NODATA");
        assert_eq!(ask(&zones, "x.c.xcc.test", RecordType::A), "NXDOMAIN");
        assert_eq!(ask(&zones, "x.a.b.c.xcc.test", RecordType::A), "NXDOMAIN");
        let without = zones.with_changes([], &hostnames(&["a.b.c.xcc.test"]));
        assert_eq!(ask(&without, "b.c.xcc.test", RecordType::A), "NXDOMAIN");
    }

    #[test]
    fn rfc4592_2_2_1_the_wildcards_examples() {
        // The zone of the RFC's section 2.2.1, as far as its kinds of names exist here.
        let zones = zones(&["*.xcc.test", "host1.xcc.test", "a.b.xcc.test"]);
        for (name, want) in [
            ("host3.xcc.test", "A"),
            ("foo.bar.xcc.test", "A"),
            ("*.xcc.test", "A"),
            ("host1.xcc.test", "A"),
            // These exist, so that the wildcard does not cover them nor what is below them.
            ("x.host1.xcc.test", "NXDOMAIN"),
            ("b.xcc.test", "NODATA"),
            ("x.b.xcc.test", "NXDOMAIN"),
            ("ghost.*.xcc.test", "NXDOMAIN"),
            ("dns.xcc.test", "NODATA"),
            ("ns2.dns.xcc.test", "NXDOMAIN"),
            ("xcc.test", "NODATA"),
        ] {
            assert_eq!(ask(&zones, name, RecordType::A), want, "{name}");
        }
        assert_eq!(ask(&zones, "host3.xcc.test", RecordType::MX), "NODATA");
        assert_eq!(ask(&zones, "host3.xcc.test", RecordType::ANY), "HINFO");
    }

    #[test]
    fn rfc4592_the_closest_wildcard_wins_and_blocks_the_farther_one() {
        let zones = zones(&["*.xcc.test", "x.team.xcc.test", "*.deep.team.xcc.test"]);
        assert_eq!(ask(&zones, "any.thing.xcc.test", RecordType::A), "A");
        assert_eq!(ask(&zones, "y.team.xcc.test", RecordType::A), "NXDOMAIN");
        assert_eq!(ask(&zones, "y.deep.team.xcc.test", RecordType::A), "A");
        assert_eq!(ask(&zones, "z.y.deep.team.xcc.test", RecordType::A), "A");
        assert_eq!(ask(&zones, "deep.team.xcc.test", RecordType::A), "NODATA");
    }

    #[test]
    fn the_apex_and_the_name_server_have_their_own_records() {
        let zones = zones(&[]);
        for (name, record_type, want) in [
            ("xcc.test", RecordType::SOA, "SOA"),
            ("xcc.test", RecordType::NS, "NS"),
            ("xcc.test", RecordType::A, "NODATA"),
            ("xcc.test", RecordType::DS, "NODATA"),
            ("xcc.test", RecordType::ANY, "HINFO"),
            ("ns.dns.xcc.test", RecordType::A, "A"),
            ("ns.dns.xcc.test", RecordType::AAAA, "NODATA"),
            ("ns.dns.xcc.test", RecordType::SOA, "NODATA"),
            ("hostmaster.xcc.test", RecordType::A, "NXDOMAIN"),
        ] {
            assert_eq!(ask(&zones, name, record_type), want, "{name} {record_type}");
        }
    }

    #[test]
    fn outside_the_zones_everything_is_refused() {
        let zones = zones(&["nginx.xcc.test"]);
        for name in [".", "test", "example.com", "nginx.xcc.test.example", "axcc.test", "xxcc.test"] {
            assert_eq!(ask(&zones, name, RecordType::A), "REFUSED", "{name}");
            assert_eq!(ask(&zones, name, RecordType::ANY), "REFUSED", "{name}");
        }
    }

    #[test]
    fn rfc6895_meta_types_are_not_looked_up() {
        let zones = zones(&["nginx.xcc.test"]);
        for name in ["nginx.xcc.test", "xcc.test", "a.xcc.test", "example.com"] {
            for (number, want) in [(0, "FORMERR"), (41, "FORMERR"), (128, "FORMERR"), (129, "NOTIMP")] {
                assert_eq!(ask(&zones, name, RecordType(number)), want, "{name} TYPE{number}");
            }
            for (number, want) in [(249, "NOTIMP"), (250, "NOTIMP"), (253, "NOTIMP"), (254, "NOTIMP")] {
                assert_eq!(ask(&zones, name, RecordType(number)), want, "{name} TYPE{number}");
            }
            for number in [251, 252] {
                assert_eq!(ask(&zones, name, RecordType(number)), "REFUSED", "{name} TYPE{number}");
            }
        }
    }

    #[test]
    fn without_addresses_names_stay_and_fail() {
        let zones = zones(&["nginx.xcc.test", "*.w.xcc.test"]).with_addresses(&[]);
        assert_eq!(ask(&zones, "nginx.xcc.test", RecordType::A), "SERVFAIL");
        assert_eq!(ask(&zones, "a.w.xcc.test", RecordType::AAAA), "SERVFAIL");
        assert_eq!(ask(&zones, "nginx.xcc.test", RecordType::TXT), "NODATA");
        assert_eq!(ask(&zones, "other.xcc.test", RecordType::A), "NXDOMAIN");
    }

    #[test]
    fn the_closest_of_nested_zones_answers() {
        let zones =
            zones_of(&["xcc.test", "b.a.xcc.test", "other.test"], &["x.b.a.xcc.test", "y.other.test"]);
        let apex = |name: &str, record_type| match zones.answer(&Name::parse(name).unwrap(), record_type) {
            Answer::NoData(soa) | Answer::NxDomain(soa) => soa.apex.to_string(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(apex("none.b.a.xcc.test", RecordType::A), "b.a.xcc.test.");
        assert_eq!(apex("none.a.xcc.test", RecordType::A), "xcc.test.");
        assert_eq!(apex("none.other.test", RecordType::A), "other.test.");
        assert_eq!(ask(&zones, "a.xcc.test", RecordType::A), "NODATA", "the zone below makes it exist");
        assert_eq!(apex("b.a.xcc.test", RecordType::A), "b.a.xcc.test.");
        assert_eq!(apex("b.a.xcc.test", RecordType::DS), "xcc.test.");
        assert_eq!(ask(&zones, "x.b.a.xcc.test", RecordType::A), "A");
    }

    #[test]
    fn origins_stand_below_their_names_and_go_with_them() {
        let names = hostnames(&["nginx.xcc.test", "*.wild.xcc.test", "*.nginx.xcc.test"]);
        let bare = zones(&["nginx.xcc.test", "*.wild.xcc.test", "*.nginx.xcc.test"]);
        let absent = &hostnames(&["none.xcc.test"])[0];
        let texts = ["remote=east object=web/nginx", "remote=west object=web/nginx"];
        let told = bare.with_origins([(&names[0], &texts[..]), (&names[1], &texts[..1]), (absent, &texts)]);
        assert_eq!(told.len(), bare.len());
        for (name, record_type, want) in [
            ("_xcc.nginx.xcc.test", RecordType::TXT, "TXT"),
            ("_XCC.nginx.xcc.test", RecordType::TXT, "TXT"),
            ("_xcc.*.wild.xcc.test", RecordType::TXT, "TXT"),
            ("_xcc.nginx.xcc.test", RecordType::A, "NODATA"),
            ("_xcc.nginx.xcc.test", RecordType::ANY, "HINFO"),
            ("_xcc.none.xcc.test", RecordType::TXT, "NXDOMAIN"),
            ("x.nginx.xcc.test", RecordType::A, "A"),
            // Below a name that exists the wildcard does not hold.
            ("x._xcc.nginx.xcc.test", RecordType::A, "NXDOMAIN"),
            ("nginx.xcc.test", RecordType::TXT, "NODATA"),
        ] {
            assert_eq!(ask(&told, name, record_type), want, "{name} {record_type}");
        }
        assert_ne!(told.content_hash(), bare.content_hash());
        assert!(told.dump().contains(&format!("_xcc.nginx.xcc.test. 60 IN TXT \"{}\"", texts[1])));
        let repeated = told.with_origins([(&names[0], &texts[..1]), (&names[0], &texts[..])]);
        assert_eq!((repeated.content_hash(), repeated.dump()), (told.content_hash(), told.dump()));
        let cleared = told.with_origins([(&names[0], &texts[..0]), (&names[1], &[])]);
        let removed = told.with_changes([], &names).with_changes(&names, []);
        for other in [cleared, removed] {
            assert_eq!((other.content_hash(), other.dump()), (bare.content_hash(), bare.dump()));
            assert_eq!(other.nodes.len(), bare.nodes.len());
        }
    }

    #[test]
    fn rfc9460_https_is_told_at_every_name_or_at_none() {
        let bare = zones(&["nginx.xcc.test", "*.wild.xcc.test"]);
        let told = bare.with_https(&["h2".to_owned()]);
        for name in ["nginx.xcc.test", "a.wild.xcc.test"] {
            assert_eq!(ask(&told, name, RecordType::HTTPS), "HTTPS");
            assert_eq!(ask(&bare, name, RecordType::HTTPS), "NODATA");
        }
        assert_eq!(ask(&told, "xcc.test", RecordType::HTTPS), "NODATA");
        assert_eq!(ask(&told, "ns.dns.xcc.test", RecordType::HTTPS), "NODATA");
        assert_ne!(told.content_hash(), bare.content_hash());
        assert_eq!(told.with_https(&[]).content_hash(), bare.content_hash());
    }

    #[test]
    fn rfc9460_9_2_each_name_has_its_own_port() {
        let names = hostnames(&["nginx.xcc.test", "*.wild.xcc.test", "other.xcc.test"]);
        let bare = zones(&["nginx.xcc.test", "*.wild.xcc.test", "other.xcc.test"]);
        let alpn = ["h2".to_owned()];
        let ports = [(&names[0], 8443), (&names[1], 9443), (&names[2], 443)];
        let told = bare.with_https(&alpn).with_ports(ports);
        let data =
            |zones: &Zones, name: &str| match zones.answer(&Name::parse(name).unwrap(), RecordType::HTTPS) {
                Answer::Records { records: Records::Data(set), .. } => set.data()[0].to_vec(),
                other => panic!("{name}: {other:?}"),
            };
        for (name, port) in [("nginx.xcc.test", 8443), ("a.wild.xcc.test", 9443), ("other.xcc.test", 443)] {
            let want = RrSet::https(&alpn, port).unwrap();
            assert_eq!(data(&told, name), want.data()[0].to_vec(), "{name}");
        }
        let line = "nginx.xcc.test. 60 IN HTTPS \\# 16 000100000100030268320003000220fb";
        assert!(told.dump().iter().any(|found| found == line), "{:?}", told.dump());
        let reordered = bare.with_ports(ports).with_https(&alpn);
        assert_eq!((reordered.dump(), reordered.content_hash()), (told.dump(), told.content_hash()));
        // The serial moves with what can be asked for, and with nothing else.
        assert_eq!(bare.with_ports(ports).content_hash(), bare.content_hash());
        assert_ne!(told.content_hash(), bare.with_https(&alpn).content_hash());
        assert_ne!(told.with_ports([(&names[0], 8444)]).content_hash(), told.content_hash());
        let again = told.with_changes([], &names).with_changes(&names, []);
        assert_eq!(again.content_hash(), bare.with_https(&alpn).content_hash());
        assert_eq!(again.with_ports(ports).dump(), told.dump());
    }

    #[test]
    fn rfc1035_3_5_the_gateways_addresses_point_back_and_their_networks_do_not() {
        let bare = zones(&["nginx.xcc.test"]);
        let told = bare.with_reverse(Some(&hostnames(&["nginx.xcc.test"])[0]));
        let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        for (name, record_type, want) in [
            ("1.0.0.10.in-addr.arpa", RecordType::PTR, "PTR"),
            ("1.0.0.10.IN-ADDR.arpa", RecordType::SOA, "SOA"),
            (v6, RecordType::PTR, "PTR"),
            ("2.0.0.10.in-addr.arpa", RecordType::NS, "NS"),
            ("2.0.0.10.in-addr.arpa", RecordType::A, "NODATA"),
            ("2.0.0.10.in-addr.arpa", RecordType::ANY, "HINFO"),
            ("dns.2.0.0.10.in-addr.arpa", RecordType::A, "NODATA"),
            ("ns.dns.2.0.0.10.in-addr.arpa", RecordType::A, "A"),
            ("x.2.0.0.10.in-addr.arpa", RecordType::A, "NXDOMAIN"),
            ("3.0.0.10.in-addr.arpa", RecordType::PTR, "REFUSED"),
            ("0.0.10.in-addr.arpa", RecordType::SOA, "REFUSED"),
        ] {
            assert_eq!(ask(&told, name, record_type), want, "{name} {record_type}");
            assert_eq!(ask(&bare, name, record_type), "REFUSED", "{name} {record_type}");
        }
        let moved = told.with_addresses(&["10.0.0.9".parse().unwrap()]);
        assert_eq!(ask(&moved, "9.0.0.10.in-addr.arpa", RecordType::PTR), "PTR");
        assert_eq!(ask(&moved, v6, RecordType::PTR), "REFUSED");
        assert_eq!(told.with_reverse(None).content_hash(), bare.content_hash());
        assert_ne!(told.content_hash(), bare.content_hash());
        let line = "1.0.0.10.in-addr.arpa. 60 IN PTR nginx.xcc.test.";
        assert!(told.dump().iter().any(|found| found == line), "{:?}", told.dump());
    }
}
