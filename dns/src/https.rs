//! HTTPS records (RFC 9460): the same protocols for every name, and the port that clients of a name connect to.

use std::collections::BTreeMap;

use crate::rrset::RrSet;

/// The port that an HTTPS record need not name (RFC 9460, section 9.2).
pub(crate) const HTTPS_PORT: u16 = 443;

/// A set for each port that a name has.
#[derive(Clone)]
pub(crate) struct Https {
    alpn: Vec<String>,
    sets: BTreeMap<u16, RrSet>,
}

impl Https {
    pub(crate) fn new(alpn: &[String]) -> Self {
        let mut https = Self { alpn: alpn.to_vec(), sets: BTreeMap::new() };
        https.add(HTTPS_PORT);
        https
    }

    /// Makes the set of the port, if it is not there.
    pub(crate) fn add(&mut self, port: u16) {
        if !self.sets.contains_key(&port) {
            self.sets.extend(RrSet::https(&self.alpn, port).map(|set| (port, set)));
        }
    }

    /// What a name with this port is answered with.
    pub(crate) fn of(&self, port: u16) -> Option<&RrSet> {
        self.sets.get(&port)
    }

    /// Of what all names have.
    pub(crate) fn hash(&self) -> u64 {
        self.of(HTTPS_PORT).map_or(0, |set| set.hash(1))
    }
}
