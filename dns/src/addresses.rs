//! The addresses of a name: sorted, each once, so that equal sets are equal answers and have equal hashes.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Most addresses of one family in an answer. 59 fit into a UDP reply, and all of these into a TCP reply.
const ADDRESSES_MAX: usize = 256;

/// IP addresses by family, sorted, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// What A is answered with.
    pub v4: Vec<Ipv4Addr>,
    /// What AAAA is answered with.
    pub v6: Vec<Ipv6Addr>,
}

impl Addresses {
    pub(crate) fn new(addresses: &[IpAddr]) -> Self {
        let mut sorted = Self::default();
        for address in addresses.iter().collect::<BTreeSet<_>>() {
            match address {
                IpAddr::V4(address) if sorted.v4.len() < ADDRESSES_MAX => sorted.v4.push(*address),
                IpAddr::V6(address) if sorted.v6.len() < ADDRESSES_MAX => sorted.v6.push(*address),
                _ => {}
            }
        }
        sorted
    }

    /// Whether there is no address of either family.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    pub(crate) fn hash(&self) -> u64 {
        let of = |seed, octets: &[u8]| xxh3_64_with_seed(octets, seed);
        let hash = self.v4.iter().fold(4, |hash, address| of(hash, &address.octets()));
        self.v6.iter().fold(hash, |hash, address| of(hash, &address.octets()))
    }
}
