//! The zones as lines of a zone file (RFC 1035, section 5), for people to read and other servers to load.

use std::fmt::Display;

use crate::addresses::Addresses;
use crate::answer::{SOA_EXPIRE_SECONDS, SOA_REFRESH_SECONDS, SOA_RETRY_SECONDS, Soa};
use crate::name::Name;
use crate::rrset::RrSet;
use crate::zone::Zones;

impl Zones {
    /// The records, one per line: for each zone in order its SOA, its NS and the name server's addresses, then the
    /// names in order, then the zones of reverse lookup. A name whose addresses are not known stands in a comment.
    pub fn dump(&self) -> Vec<String> {
        let ttl = self.origin.ttl_seconds;
        let mut apexes: Vec<_> = self.origin.apexes.iter().collect();
        apexes.sort_unstable_by_key(|apex| &apex.zone);
        let mut lines = Vec::with_capacity(apexes.len() * 3 + self.len());
        for apex in apexes {
            self.push_apex(&mut lines, &apex.name);
        }
        for name in self.names() {
            match self.gateway.is_empty() {
                true => lines.push(format!("; {name}. has no address: the gateway's is not known")),
                false => push_addresses(&mut lines, &name, ttl, &self.gateway),
            }
            if let Some(https) = self.https(&name) {
                push_set(&mut lines, &name, ttl, https);
            }
            if let Some((owner, texts)) = self.origins(&name) {
                push_set(&mut lines, owner, ttl, texts);
            }
        }
        for (apex, target) in self.reverse.apexes.values().zip(self.reverse.target.iter().cycle()) {
            self.push_apex(&mut lines, apex);
            push_set(&mut lines, without_dot(apex), ttl, target);
        }
        lines
    }

    /// What every zone has.
    fn push_apex(&self, lines: &mut Vec<String>, apex: &Name) {
        let (zone, ttl) = (without_dot(apex), self.origin.ttl_seconds);
        let Soa { serial, minimum_seconds, .. } = self.soa_of(apex);
        lines.push(format!(
            "{zone}. {ttl} IN SOA ns.dns.{zone}. hostmaster.{zone}. {serial} {SOA_REFRESH_SECONDS} \
             {SOA_RETRY_SECONDS} {SOA_EXPIRE_SECONDS} {minimum_seconds}",
        ));
        lines.push(format!("{zone}. {ttl} IN NS ns.dns.{zone}."));
        push_addresses(lines, format!("ns.dns.{zone}"), ttl, &self.origin.name_server);
    }
}

fn without_dot(name: &Name) -> String {
    name.to_string().trim_end_matches('.').to_owned()
}

fn push_set(lines: &mut Vec<String>, name: impl Display, ttl: u32, set: &RrSet) {
    lines.extend(
        set.presentation().map(|data| format!("{name}. {ttl} IN {type} {data}", type = set.record_type())),
    );
}

fn push_addresses(lines: &mut Vec<String>, name: impl Display, ttl: u32, addresses: &Addresses) {
    lines.extend(addresses.v4.iter().map(|address| format!("{name}. {ttl} IN A {address}")));
    lines.extend(addresses.v6.iter().map(|address| format!("{name}. {ttl} IN AAAA {address}")));
}
