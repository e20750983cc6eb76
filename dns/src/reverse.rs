//! Reverse lookup of the gateway's addresses: for each of them a zone of its own, with the PTR at its apex.
//!
//! A zone for exactly one address takes nothing from the network that the address lies in: whoever runs that network's
//! zone delegates or forwards the one name to us (as RFC 2317 does for a few of them), or does not.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::addresses::Addresses;
use crate::answer::{Answer, Records, Soa};
use crate::name::Name;
use crate::record_type::RecordType;
use crate::rrset::RrSet;
use crate::zone::Zones;

/// How many labels the names of addresses have (RFC 1035, section 3.5; RFC 3596, section 2.5).
const LABELS_V4: usize = 6;
const LABELS_V6: usize = 34;
/// What stands below an apex, in wire form: the name server and the name above it.
const NAME_SERVER: &[u8] = b"\x02ns\x03dns";
const NAME_SERVER_DOMAIN: &[u8] = b"\x03dns";

/// The zones of reverse lookup; none by default.
#[derive(Debug, Default)]
pub(crate) struct Reverse {
    /// Where each address points to.
    pub(crate) target: Option<RrSet>,
    /// The apexes in wire form.
    pub(crate) apexes: BTreeMap<Box<[u8]>, Name>,
}

impl Reverse {
    pub(crate) fn new(target: Option<RrSet>, gateway: &Addresses) -> Self {
        let v4 = gateway.v4.iter().map(|address| IpAddr::V4(*address));
        let addresses = v4.chain(gateway.v6.iter().map(|address| IpAddr::V6(*address)));
        let names =
            addresses.filter(|_| target.is_some()).filter_map(|address| Name::parse(&reverse(address)));
        Self { apexes: names.map(|name| (name.as_wire().into(), name)).collect(), target }
    }

    /// The apex that the name is or lies below.
    fn closest(&self, name: &Name) -> Option<&Name> {
        let of = |labels| (name.labels() >= labels).then(|| self.apexes.get(name.suffix(labels)))?;
        of(LABELS_V4).or_else(|| of(LABELS_V6))
    }
}

impl Zones {
    /// Answers for a name in none of the configured zones, if it is one of reverse lookup.
    pub(crate) fn answer_reverse(&self, name: &Name, record_type: RecordType) -> Option<Answer<'_>> {
        let apex = self.reverse.closest(name)?;
        let target = self.reverse.target.as_ref()?;
        let soa = || self.soa_of(apex);
        let below = &name.as_wire()[..name.suffix_start(apex.labels())];
        let records = |records| Answer::Records { ttl_seconds: self.origin.ttl_seconds, records };
        Some(match (below, record_type) {
            ([], RecordType::ANY) => records(Records::Hinfo),
            ([], RecordType::SOA) => records(Records::Soa(soa())),
            ([], RecordType::NS) => records(Records::Ns(&self.origin.name_server)),
            ([], RecordType::PTR) => records(Records::Data(target)),
            ([] | NAME_SERVER_DOMAIN, _) => Answer::NoData(soa()),
            (NAME_SERVER, _) => self.addresses_of(&self.origin.name_server, apex, record_type),
            _ => Answer::NxDomain(soa()),
        })
    }

    pub(crate) fn soa_of<'z>(&self, apex: &'z Name) -> Soa<'z> {
        Soa { apex, serial: self.serial(), minimum_seconds: self.origin.negative_ttl_seconds }
    }
}

fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let labels: String = address.octets().iter().rev().map(|octet| format!("{octet}.")).collect();
            labels + "in-addr.arpa"
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|octet| [octet & 0x0f, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3596_names_of_addresses() {
        assert_eq!(reverse("10.1.2.3".parse().unwrap()), "3.2.1.10.in-addr.arpa");
        let name = reverse("2001:db8::567:89ab".parse().unwrap());
        assert_eq!(name, "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
        assert_eq!(Name::parse(&name).unwrap().labels(), LABELS_V6);
        assert_eq!(Name::parse(&reverse("10.1.2.3".parse().unwrap())).unwrap().labels(), LABELS_V4);
    }
}
