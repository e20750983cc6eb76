//! The zones as lines of a zone file (RFC 1035, section 5), for people to read and other servers to load.

use std::fmt::Display;

use crate::answer::{SOA_EXPIRE_SECONDS, SOA_REFRESH_SECONDS, SOA_RETRY_SECONDS, Soa};
use crate::zone::{Addresses, Zones};

impl Zones {
    /// The records, one per line: for each zone in order its SOA, its NS and the name server's addresses, then the
    /// names in order. A name whose addresses are not known stands in a comment.
    pub fn dump(&self) -> Vec<String> {
        let ttl = self.origin.ttl_seconds;
        let mut apexes: Vec<_> = self.origin.apexes.iter().collect();
        apexes.sort_unstable_by_key(|apex| &apex.zone);
        let mut lines = Vec::with_capacity(apexes.len() * 3 + self.len());
        for apex in apexes {
            let zone = &apex.zone;
            let server = zone.name_server();
            let Soa { serial, minimum_seconds, .. } = self.soa(apex);
            lines.push(format!(
                "{zone}. {ttl} IN SOA {server}. {mailbox}. {serial} {SOA_REFRESH_SECONDS} {SOA_RETRY_SECONDS} \
                 {SOA_EXPIRE_SECONDS} {minimum_seconds}",
                mailbox = zone.mailbox(),
            ));
            lines.push(format!("{zone}. {ttl} IN NS {server}."));
            push_addresses(&mut lines, &server, ttl, &self.origin.name_server);
        }
        for name in self.names() {
            match self.gateway.is_empty() {
                true => lines.push(format!("; {name}. has no address: the gateway's is not known")),
                false => push_addresses(&mut lines, name, ttl, &self.gateway),
            }
        }
        lines
    }
}

fn push_addresses(lines: &mut Vec<String>, name: impl Display, ttl: u32, addresses: &Addresses) {
    lines.extend(addresses.v4.iter().map(|address| format!("{name}. {ttl} IN A {address}")));
    lines.extend(addresses.v6.iter().map(|address| format!("{name}. {ttl} IN AAAA {address}")));
}
