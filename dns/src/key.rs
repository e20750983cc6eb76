//! Keys of the table: names in wire form, the usual ones in place, so that comparing one needs no other memory.

use std::sync::Arc;

use xcc_model::Hostname;

use crate::name::Name;

/// Names up to this length stand in the table itself; most names are shorter.
const SHORT_OCTETS_MAX: usize = 46;

/// A name in wire form, lower case.
#[derive(Clone)]
pub(crate) enum Key {
    Short { length: u8, octets: [u8; SHORT_OCTETS_MAX] },
    Long(Arc<[u8]>),
}

impl Key {
    pub(crate) fn as_wire(&self) -> &[u8] {
        match self {
            Self::Short { length, octets } => &octets[..usize::from(*length)],
            Self::Long(wire) => wire,
        }
    }

    /// The name in presentation form, if it is one that the gateway could carry.
    pub(crate) fn hostname(&self) -> Option<Hostname> {
        let name = Name::from_wire(self.as_wire())?.to_string();
        Hostname::parse(name.trim_end_matches('.')).ok()
    }
}

impl From<&[u8]> for Key {
    fn from(wire: &[u8]) -> Self {
        let mut octets = [0; SHORT_OCTETS_MAX];
        match octets.get_mut(..wire.len()) {
            Some(place) => {
                place.copy_from_slice(wire);
                Self::Short { length: wire.len() as u8, octets }
            }
            None => Self::Long(wire.into()),
        }
    }
}
