//! A reply as far as it is compared, read by hickory.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use hickory_proto::op::Message;
use hickory_proto::rr::Record;

/// What is compared of a reply.
///
/// Not the additional section, which nobody asked for and each server fills as it likes, nor EDNS options and payload
/// size, nor the order of records.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The response code with EDNS' upper bits.
    pub code: u16,
    /// Opcode, and the bits AA, RD, RA, Z, AD and CD, as in the header; not TC.
    pub flags: u16,
    /// The question as it came back, octet by octet.
    pub question: Vec<u8>,
    /// The answer section.
    pub answers: BTreeSet<String>,
    /// The authority section.
    pub authorities: BTreeSet<String>,
    /// Version and DO.
    pub edns: Option<(u8, bool)>,
    /// TC.
    pub truncated: bool,
    /// The length.
    pub udp_octets: usize,
}

/// A part of a reply that may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// The response code.
    Code,
    /// Opcode and bits.
    Flags,
    /// The question given back.
    Question,
    /// The answer section.
    Answers,
    /// The authority section.
    Authorities,
    /// The OPT record.
    Edns,
    /// TC.
    Truncation,
}

/// TC in the header's flags.
const TC: u16 = 0x0200;
const CODE: u16 = 0x000f;

impl Reply {
    /// Reads the reply to a request.
    pub fn read(request: &[u8], octets: &[u8]) -> Result<Self> {
        let message = Message::from_vec(octets)?;
        let field = |at: usize| u16::from_be_bytes([octets[at], octets[at + 1]]);
        let question_end = match (field(4), question_length(request)) {
            (1, Some(length)) => (12 + length).min(octets.len()),
            _ => 12,
        };
        Ok(Self {
            code: message.metadata.response_code.into(),
            flags: field(2) & !TC & !CODE,
            question: octets[12..question_end].to_vec(),
            answers: texts(&message.answers),
            authorities: texts(&message.authorities),
            edns: message.edns.as_ref().map(|edns| (edns.version(), edns.flags().dnssec_ok)),
            truncated: field(2) & TC != 0,
            udp_octets: octets.len(),
        })
    }

    /// What is different in theirs, with both sides in words.
    pub fn differences(&self, theirs: &Self) -> BTreeMap<Aspect, String> {
        let mut found = BTreeMap::new();
        let mut note = |aspect, ours: String, theirs: String| {
            if ours != theirs {
                found.insert(aspect, format!("{aspect:?} {theirs}, ours {ours}"));
            }
        };
        note(Aspect::Code, self.code.to_string(), theirs.code.to_string());
        note(Aspect::Flags, format!("{:#06x}", self.flags), format!("{:#06x}", theirs.flags));
        note(Aspect::Question, format!("{:?}", self.question), format!("{:?}", theirs.question));
        note(Aspect::Answers, format!("{:?}", self.answers), format!("{:?}", theirs.answers));
        note(Aspect::Authorities, format!("{:?}", self.authorities), format!("{:?}", theirs.authorities));
        note(Aspect::Edns, format!("{:?}", self.edns), format!("{:?}", theirs.edns));
        note(Aspect::Truncation, self.truncated.to_string(), theirs.truncated.to_string());
        found
    }
}

/// Names compare in lower case: each server spells those of its own as it likes.
fn texts(records: &[Record]) -> BTreeSet<String> {
    records.iter().map(|record| record.to_string().to_lowercase()).collect()
}

fn question_length(request: &[u8]) -> Option<usize> {
    let mut at = 12;
    while *request.get(at)? != 0 {
        at += usize::from(request[at]) + 1;
    }
    Some(at + 5 - 12)
}
