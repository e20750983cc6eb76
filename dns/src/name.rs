//! Domain names in wire form (RFC 1035, section 3.1), lower case, on the stack.

use std::fmt;

/// Longest name on the wire, with the root's empty label (RFC 1035, section 2.3.4).
const NAME_OCTETS_MAX: usize = 255;
/// Longest label (RFC 1035, section 2.3.4); the two upper bits of a length octet mark compression.
const LABEL_OCTETS_MAX: usize = 63;
/// Most labels that fit into a name, without the root's.
const LABELS_MAX: usize = 127;

/// A domain name as it is looked up: wire form without compression, ASCII letters in lower case (RFC 4343).
#[derive(Clone)]
pub struct Name {
    octets: [u8; NAME_OCTETS_MAX],
    length: u8,
    /// Where each label starts in `octets`.
    starts: [u8; LABELS_MAX],
    labels: u8,
}

impl Name {
    /// Reads a name in presentation form, with or without the trailing dot; `.` is the root. Escapes (`\.`, `\046`)
    /// are not known. None when a label or the name is empty or too long.
    pub fn parse(text: &str) -> Option<Self> {
        let mut wire = Vec::with_capacity(text.len() + 2);
        let text = text.strip_suffix('.').unwrap_or(text);
        for label in text.split('.').filter(|_| !text.is_empty()) {
            if label.is_empty() || label.len() > LABEL_OCTETS_MAX {
                return None;
            }
            wire.push(u8::try_from(label.len()).ok()?);
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        Self::from_wire(&wire)
    }

    /// Reads an uncompressed name from the start of the bytes; what follows it is ignored. None when the bytes end
    /// early, the name is longer than 255 octets, or a label's length has one of the two upper bits set.
    pub fn from_wire(wire: &[u8]) -> Option<Self> {
        let mut starts = [0; LABELS_MAX];
        let mut labels = 0;
        let mut at = 0;
        loop {
            let length = usize::from(*wire.get(at)?);
            if length == 0 {
                break;
            }
            if length > LABEL_OCTETS_MAX || at + length + 1 >= NAME_OCTETS_MAX {
                return None;
            }
            *starts.get_mut(labels)? = u8::try_from(at).ok()?;
            labels += 1;
            at += length + 1;
        }
        let end = at + 1;
        let mut octets = [0; NAME_OCTETS_MAX];
        octets[..end].copy_from_slice(&wire[..end]);
        // A length octet is below 64, so no length can be taken for a letter.
        octets[..end].make_ascii_lowercase();
        Some(Self { octets, length: u8::try_from(end).ok()?, starts, labels: u8::try_from(labels).ok()? })
    }

    /// The wire form, lower case, with the root's empty label.
    pub fn as_wire(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }

    /// How many labels the name has; the root has none.
    pub fn labels(&self) -> usize {
        usize::from(self.labels)
    }

    /// Where in the wire form the suffix of so many labels starts. All labels when the name has fewer.
    pub(crate) fn suffix_start(&self, labels: usize) -> usize {
        match labels {
            0 => usize::from(self.length) - 1,
            _ => usize::from(self.starts[self.labels().saturating_sub(labels)]),
        }
    }

    /// The wire form of the last so many labels.
    pub(crate) fn suffix(&self, labels: usize) -> &[u8] {
        &self.as_wire()[self.suffix_start(labels)..]
    }

    /// Whether the name is the domain or lies below it.
    pub(crate) fn is_within(&self, domain: &Self) -> bool {
        self.labels >= domain.labels && self.suffix(domain.labels()) == domain.as_wire()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_wire() == other.as_wire()
    }
}

impl Eq for Name {}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.labels == 0 {
            return f.write_str(".");
        }
        for start in &self.starts[..self.labels()] {
            let start = usize::from(*start);
            let length = usize::from(self.octets[start]);
            for octet in &self.octets[start + 1..=start + length] {
                match octet {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(*octet))?,
                    0x21..=0x7e => write!(f, "{}", char::from(*octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_end_at_label_boundaries() {
        let name = Name::parse("a.bc.xcc.TEST.").unwrap();
        assert_eq!(name.labels(), 4);
        assert_eq!(name.suffix(0), b"\0");
        assert_eq!(name.suffix(1), b"\x04test\0");
        assert_eq!(name.suffix(4), name.as_wire());
        assert!(name.is_within(&Name::parse("xcc.test").unwrap()));
        assert!(name.is_within(&Name::parse(".").unwrap()));
        assert!(!name.is_within(&Name::parse("c.xcc.test").unwrap()));
        assert!(!Name::parse("test").unwrap().is_within(&name));
        assert_eq!(name.to_string(), "a.bc.xcc.test.");
    }

    #[test]
    fn rfc1035_2_3_4_limits_hold() {
        let label = |length: usize| "a".repeat(length);
        assert!(Name::parse(&label(63)).is_some());
        assert!(Name::parse(&label(64)).is_none());
        assert!(Name::parse("a..b").is_none());
        let longest = format!("{0}.{0}.{0}.{1}", label(63), label(61));
        assert_eq!(Name::parse(&longest).unwrap().as_wire().len(), 255);
        let too_long = format!("{0}.{0}.{0}.{1}", label(63), label(62));
        assert!(Name::parse(&too_long).is_none());
        let most_labels = ["a"; 127].join(".");
        assert_eq!(Name::parse(&most_labels).unwrap().labels(), 127);
        assert!(Name::parse(&["a"; 128].join(".")).is_none());
    }

    #[test]
    fn wire_form_with_pointers_or_cut_short_is_no_name() {
        for wire in [&b"\x01a\xc0\x0c"[..], b"\x01a", b"\x05ab\0", b"", b"\x40a\0", b"\x80a\0"] {
            assert!(Name::from_wire(wire).is_none(), "{wire:?}");
        }
        assert_eq!(Name::from_wire(b"\x03a.\\\0rest").unwrap().to_string(), "a\\.\\\\.");
        assert_eq!(Name::from_wire(b"\0").unwrap().to_string(), ".");
    }
}
