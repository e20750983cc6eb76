//! Requests as bytes: header, question and EDNS, read strictly and without allocation.
//!
//! hickory's decoder is not used for this: it takes options that run over their record as none (and logs each), takes
//! an OPT that is not at the root, and ignores what follows the message.

use crate::name::Name;
use crate::record_type::RecordType;

/// The header's length (RFC 1035, section 4.1.1).
pub(crate) const HEADER_OCTETS: usize = 12;
/// QR in the header's third octet: the message is a response.
pub(crate) const FLAG_RESPONSE: u8 = 0x80;
/// The opcode's bits in the third octet.
pub(crate) const OPCODE_BITS: u8 = 0x78;
/// RD in the third octet.
pub(crate) const FLAG_RECURSION_DESIRED: u8 = 0x01;
/// CD in the fourth octet: copied (RFC 4035, section 3), though section 3.1.6 would have it cleared.
pub(crate) const FLAG_CHECKING_DISABLED: u8 = 0x10;
/// DO in the flags of OPT (RFC 3225).
pub(crate) const EDNS_DNSSEC_OK: u8 = 0x80;

/// Type, class, TTL and data length of a record.
const RECORD_FIXED_OCTETS: usize = 10;
/// The two bits that mark a compression pointer.
const POINTER_BITS: u8 = 0xc0;
/// Longest name on the wire.
const NAME_OCTETS_MAX: usize = 255;

/// A request whose header can be read.
pub(crate) struct Request<'a> {
    /// The header's first four octets: id, then the two octets of flags.
    pub(crate) id: u16,
    pub(crate) flags: [u8; 2],
    /// The question, if there is exactly one and it can be read.
    pub(crate) question: Option<Question<'a>>,
    /// The OPT record, if the whole message can be read and has one.
    pub(crate) edns: Option<Edns>,
    /// Whether question count, question and all records are as they must be.
    pub(crate) well_formed: bool,
}

/// The question of a request.
pub(crate) struct Question<'a> {
    /// As it came: name, type and class.
    pub(crate) octets: &'a [u8],
    pub(crate) name: Name,
    pub(crate) record_type: RecordType,
    pub(crate) class: u16,
}

/// What a request's OPT record says (RFC 6891, section 6.1.2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edns {
    pub(crate) payload_octets: u16,
    pub(crate) version: u8,
    pub(crate) dnssec_ok: bool,
}

/// Why bytes are no request and get no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRequest {
    /// Shorter than a header.
    Short,
    /// QR is set; an answer could go back and forth forever.
    Response,
}

impl<'a> Request<'a> {
    pub(crate) fn read(octets: &'a [u8]) -> Result<Self, NoRequest> {
        let Some(header) = octets.first_chunk::<HEADER_OCTETS>() else { return Err(NoRequest::Short) };
        if header[2] & FLAG_RESPONSE != 0 {
            return Err(NoRequest::Response);
        }
        let count = |at: usize| u32::from(u16::from_be_bytes([header[at], header[at + 1]]));
        let mut request = Self {
            id: u16::from_be_bytes([header[0], header[1]]),
            flags: [header[2], header[3]],
            question: None,
            edns: None,
            well_formed: false,
        };
        if count(4) == 1 {
            request.question = Question::read(octets);
        }
        let sections = match &request.question {
            Some(question) => Some(HEADER_OCTETS + question.octets.len()),
            None if count(4) == 1 => None,
            None => skip_questions(octets, count(4)),
        };
        let Some(sections) = sections else { return Ok(request) };
        if let Some(edns) = read_records(octets, sections, count(6) + count(8), count(10)) {
            request.edns = edns;
            // RFC 9619: a query has exactly one question. Other messages may have none.
            request.well_formed = request.question.is_some() || count(4) == 0 && request.opcode() != 0;
        }
        Ok(request)
    }

    pub(crate) fn opcode(&self) -> u8 {
        (self.flags[0] & OPCODE_BITS) >> 3
    }
}

impl<'a> Question<'a> {
    /// Reads the question behind the header. A pointer in it could lead into the header only, and is not read.
    fn read(octets: &'a [u8]) -> Option<Self> {
        let name = Name::from_wire(&octets[HEADER_OCTETS..])?;
        let at = HEADER_OCTETS + name.as_wire().len();
        let fixed = octets.get(at..)?.first_chunk::<4>()?;
        Some(Self {
            octets: &octets[HEADER_OCTETS..at + 4],
            name,
            record_type: RecordType(u16::from_be_bytes([fixed[0], fixed[1]])),
            class: u16::from_be_bytes([fixed[2], fixed[3]]),
        })
    }
}

/// Where questions end that are not to be answered, all of them together; their EDNS has a reply all the same.
#[cold]
fn skip_questions(octets: &[u8], count: u32) -> Option<usize> {
    (0..count).try_fold(HEADER_OCTETS, |at, _| Some(skip_name(octets, at)? + 4))
}

/// Walks over all records to the message's end. None when something is wrong with any of them, when OPT stands
/// elsewhere than in the additional section or more than once, or when something follows the last record.
fn read_records(octets: &[u8], start: usize, before: u32, additional: u32) -> Option<Option<Edns>> {
    let mut at = start;
    let mut edns = None;
    for index in 0..before + additional {
        let name_end = skip_name(octets, at)?;
        let fixed = octets.get(name_end..)?.first_chunk::<RECORD_FIXED_OCTETS>()?;
        let data_start = name_end + RECORD_FIXED_OCTETS;
        let data_end = data_start + usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        let data = octets.get(data_start..data_end)?;
        if RecordType(u16::from_be_bytes([fixed[0], fixed[1]])) == RecordType::OPT {
            let at_root = octets[at] == 0;
            if index < before || edns.is_some() || !at_root || !options_fit(data) {
                return None;
            }
            edns = Some(Edns {
                payload_octets: u16::from_be_bytes([fixed[2], fixed[3]]),
                version: fixed[5],
                dnssec_ok: fixed[6] & EDNS_DNSSEC_OK != 0,
            });
        }
        at = data_end;
    }
    (at == octets.len()).then_some(edns)
}

/// Where the name at the position ends. A pointer must lead backwards, and is not followed: nobody reads these names, and
/// a message can be made of pointers that each lead through all before them (RFC 9267, section 3).
fn skip_name(octets: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while at - start < NAME_OCTETS_MAX {
        let octet = *octets.get(at)?;
        match octet & POINTER_BITS {
            0 if octet == 0 => return Some(at + 1),
            0 => at += usize::from(octet) + 1,
            POINTER_BITS => {
                let target = usize::from(octet & !POINTER_BITS) << 8 | usize::from(*octets.get(at + 1)?);
                return (HEADER_OCTETS..start).contains(&target).then_some(at + 2);
            }
            _ => return None,
        }
    }
    None
}

/// Whether the options fill the record's data (RFC 6891, section 6.1.2). None of them is read.
fn options_fit(mut data: &[u8]) -> bool {
    while let Some(option) = data.first_chunk::<4>() {
        let end = 4 + usize::from(u16::from_be_bytes([option[2], option[3]]));
        match data.get(end..) {
            Some(rest) => data = rest,
            None => return false,
        }
    }
    data.is_empty()
}
