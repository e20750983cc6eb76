//! A reply as far as it is compared, read by hickory.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use hickory_proto::op::Message;
use hickory_proto::rr::Record;

use crate::differential::generate::Question;

/// What is compared of a reply.
///
/// Not the additional section, which nobody asked for and each server fills as it likes, nor EDNS options and payload
/// size, nor the order of records. What ours may have of them is checked by itself ([`Reply::unsound`]).
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
    pub octets: usize,
    /// How many records the additional section has, without OPT.
    pub additionals: usize,
    /// The payload size that OPT tells, and how many options it has.
    pub opt: Option<(u16, usize)>,
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
/// Longest reply over UDP, and what OPT says that we take (DNS flag day 2020).
const UDP_OCTETS_MAX: u16 = 1232;
const NS: u16 = 2;

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
            octets: octets.len(),
            additionals: message.additionals.len(),
            opt: message.edns.as_ref().map(|edns| (edns.max_payload(), edns.options().as_ref().len())),
        })
    }

    /// What is wrong with a reply of ours by itself.
    pub fn unsound(&self, question: &Question, by_tcp: bool) -> Option<String> {
        let taken = question.edns.as_ref().map_or(512, |edns| edns.payload.clamp(512, UDP_OCTETS_MAX));
        let limit = if by_tcp { usize::from(u16::MAX) } else { usize::from(taken) };
        let modest = 2 * question.octets().len();
        let wrong = [
            (self.octets > limit, "is longer than the client takes"),
            (by_tcp && self.truncated, "is truncated over TCP"),
            (self.truncated && !self.answers.is_empty(), "is truncated and has answers"),
            (
                self.opt.is_some() != question.edns.is_some(),
                "has OPT though the question has none, or the other way round",
            ),
            (self.opt.is_some_and(|opt| opt != (UDP_OCTETS_MAX, 0)), "has another payload size, or options"),
            (
                self.additionals > 0 && (question.record_type != NS || !by_tcp && self.octets > modest),
                "has additional records that nobody wants",
            ),
        ];
        let wrong = wrong.into_iter().find_map(|(is_wrong, what)| is_wrong.then_some(what))?;
        Some(format!("ours {wrong}: {self:?}"))
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
