//! Records whose data is made once, when the table changes, and copied into replies as it is.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::https::HTTPS_PORT;
use crate::name::Name;
use crate::record_type::RecordType;

/// Longest string in TXT data (RFC 1035, section 3.3).
const CHARACTER_STRING_OCTETS_MAX: usize = 255;
/// Most records of one set; more would help nobody who reads them.
const RECORDS_MAX: usize = 16;
/// Priority of the one service binding there is; 0 would make it an alias (RFC 9460, section 2.4.1).
const SERVICE_PRIORITY: u16 = 1;
/// Keys of service parameters (RFC 9460, section 14.3.2).
const KEY_ALPN: u16 = 1;
const KEY_PORT: u16 = 3;

/// Records of one owner and type, at least one, in order, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RrSet {
    record_type: RecordType,
    /// Each record's data in wire form without compression.
    data: Vec<Box<[u8]>>,
}

impl RrSet {
    /// The records' type.
    pub fn record_type(&self) -> RecordType {
        self.record_type
    }

    /// Each record's data in wire form without compression.
    pub fn data(&self) -> &[Box<[u8]>] {
        &self.data
    }

    /// One TXT record for each text, the first 255 octets of it; none without texts. At most 16 are taken.
    pub(crate) fn txt<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let record = |text: &str| {
            let octets = &text.as_bytes()[..text.floor_char_boundary(CHARACTER_STRING_OCTETS_MAX)];
            [&[octets.len() as u8], octets].concat().into_boxed_slice()
        };
        Self::new(RecordType::TXT, texts.into_iter().map(record).collect())
    }

    pub(crate) fn ptr(target: &Name) -> Option<Self> {
        Self::new(RecordType::PTR, vec![target.as_wire().into()])
    }

    /// The service at the owner itself (target `.`; RFC 9460, section 2.5.2).
    pub(crate) fn https(alpn: &[String], port: u16) -> Option<Self> {
        let mut data = [&SERVICE_PRIORITY.to_be_bytes()[..], &[0]].concat();
        let mut put = |key: u16, value: &[u8]| {
            let Ok(length) = u16::try_from(value.len()) else { return };
            data.extend(
                key.to_be_bytes().into_iter().chain(length.to_be_bytes()).chain(value.iter().copied()),
            );
        };
        let protocols = alpn.iter().filter_map(|protocol| {
            let length = u8::try_from(protocol.len()).ok().filter(|length| *length > 0)?;
            Some([&[length], protocol.as_bytes()].concat())
        });
        let alpn = protocols.take(RECORDS_MAX).collect::<Vec<_>>().concat();
        if !alpn.is_empty() {
            put(KEY_ALPN, &alpn);
        }
        if port != HTTPS_PORT {
            put(KEY_PORT, &port.to_be_bytes());
        }
        Self::new(RecordType::HTTPS, vec![data.into()])
    }

    fn new(record_type: RecordType, mut data: Vec<Box<[u8]>>) -> Option<Self> {
        data.sort_unstable();
        data.dedup();
        data.truncate(RECORDS_MAX);
        (!data.is_empty()).then_some(Self { record_type, data })
    }

    pub(crate) fn hash(&self, seed: u64) -> u64 {
        let seed = xxh3_64_with_seed(&self.record_type.0.to_be_bytes(), seed);
        self.data.iter().fold(seed, |hash, data| xxh3_64_with_seed(data, hash))
    }

    /// Each record's data as in a zone file.
    pub(crate) fn presentation(&self) -> impl Iterator<Item = String> {
        self.data.iter().map(|data| match self.record_type {
            RecordType::TXT => quoted(&data[1..]),
            RecordType::PTR => Name::from_wire(data).map_or_else(|| generic(data), |name| name.to_string()),
            _ => generic(data),
        })
    }
}

/// A string of TXT in quotation marks (RFC 1035, section 5.1).
fn quoted(octets: &[u8]) -> String {
    let mut text = "\"".to_owned();
    for octet in octets {
        match octet {
            b'"' | b'\\' => text.extend(['\\', char::from(*octet)]),
            0x20..=0x7e => text.push(char::from(*octet)),
            _ => text.push_str(&format!("\\{octet:03}")),
        }
    }
    text + "\""
}

/// Data of any type (RFC 3597, section 5).
fn generic(data: &[u8]) -> String {
    let octets: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("\\# {} {octets}", data.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn txt_is_sorted_bounded_and_quoted() {
        let set = RrSet::txt(["b \"x\" \\ ü", "a", "a"]).unwrap();
        assert_eq!(set.presentation().collect::<Vec<_>>(), ["\"a\"", "\"b \\\"x\\\" \\\\ \\195\\188\""]);
        let long = format!("{}ü", "x".repeat(254));
        assert_eq!(RrSet::txt([&*long]).unwrap().data[0].len(), 255, "no half letters");
        let many: Vec<String> = (0..40).map(|index| index.to_string()).collect();
        assert_eq!(RrSet::txt(many.iter().map(String::as_str)).unwrap().data.len(), RECORDS_MAX);
        assert_eq!(RrSet::txt([]), None);
    }

    #[test]
    fn rfc9460_service_parameters() {
        let set = |alpn: &[&str], port| {
            let alpn: Vec<String> = alpn.iter().map(|&protocol| protocol.to_owned()).collect();
            RrSet::https(&alpn, port).unwrap()
        };
        assert_eq!(&*set(&[], 443).data[0], b"\0\x01\0");
        let want = b"\0\x01\0\0\x01\0\x0c\x02h2\x08http/1.1\0\x03\0\x02\x20\xfb";
        assert_eq!(&*set(&["h2", "", "http/1.1"], 8443).data[0], want);
        assert_eq!(set(&[], 443).presentation().collect::<Vec<_>>(), ["\\# 3 000100"]);
    }
}
