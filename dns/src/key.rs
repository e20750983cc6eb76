//! Keys of the table: names in wire form, the usual ones in place, so that comparing one needs no other memory.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
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
    /// The name in presentation form, if it is one that the gateway could carry.
    pub(crate) fn hostname(&self) -> Option<Hostname> {
        let name = Name::from_wire(self.borrow())?.to_string();
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

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        match self {
            Self::Short { length, octets } => &octets[..usize::from(*length)],
            Self::Long(wire) => wire,
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        Borrow::<[u8]>::borrow(self) == Borrow::<[u8]>::borrow(other)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Borrow::<[u8]>::borrow(self).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_names_are_found_by_their_octets() {
        let mut map = imbl::HashMap::new();
        let names: Vec<Vec<u8>> = (0..100).map(|length| vec![b'a'; length]).collect();
        for (index, name) in names.iter().enumerate() {
            map.insert(Key::from(&name[..]), index);
        }
        for (index, name) in names.iter().enumerate() {
            assert_eq!(map.get(&name[..]), Some(&index));
        }
    }
}
