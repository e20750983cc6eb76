//! Versions: what tells whether a client holds the bytes that the snapshot holds.
//!
//! A version is a hash of content, so two servers, or one before and after a restart, give equal versions to equal
//! content and a client that reconnects is sent nothing (xDS protocol, rule "must not repeat with other content").

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

/// How many hexadecimal digits a content hash has.
pub(crate) const HASH_DIGITS: usize = 16;

/// The version of a resource, or of all resources of a type; opaque to clients.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceVersion(Repr);

// Text that looks like a hash always becomes `Hash`, so equal text means equal values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Repr {
    Hash(u64),
    Label(Arc<str>),
}

impl ResourceVersion {
    /// The version of this content: its 64-bit XXH3, written as 16 hexadecimal digits.
    pub fn of(content: &[u8]) -> Self {
        Self(Repr::Hash(xxh3_64(content)))
    }

    /// The length of the text in bytes.
    pub(crate) fn text_len(&self) -> usize {
        match &self.0 {
            Repr::Hash(_) => HASH_DIGITS,
            Repr::Label(label) => label.len(),
        }
    }
}

impl From<&str> for ResourceVersion {
    fn from(text: &str) -> Self {
        let is_hash = text.len() == HASH_DIGITS
            && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match u64::from_str_radix(text, 16) {
            Ok(hash) if is_hash => Self(Repr::Hash(hash)),
            _ => Self(Repr::Label(Arc::from(text))),
        }
    }
}

impl fmt::Display for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Hash(hash) => write!(f, "{hash:016x}"),
            Repr::Label(label) => f.write_str(label),
        }
    }
}

impl Serialize for ResourceVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_text_is_an_equal_version() {
        let hash = ResourceVersion::of(b"content");
        assert_eq!(ResourceVersion::from(hash.to_string().as_str()), hash);
        assert_eq!(hash.to_string().len(), hash.text_len());
        for text in ["", "1", "v2", "0123456789abcdeF", "+123456789abcdef"] {
            let label = ResourceVersion::from(text);
            assert_eq!(label.to_string(), text);
            assert_eq!(label.text_len(), text.len());
        }
    }

    #[test]
    fn other_content_is_another_version() {
        assert_ne!(ResourceVersion::of(b"a"), ResourceVersion::of(b"b"));
    }
}
