//! The encoder for what nearly all replies are: addresses, a negative answer with its SOA, or a code alone.
//!
//! Every owner is a compression pointer into the question, which is copied byte for byte: the case that the client
//! chose comes back everywhere (RFC 4343; the 0x20 bits that resolvers check).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::answer::{Records, SOA_EXPIRE_SECONDS, SOA_REFRESH_SECONDS, SOA_RETRY_SECONDS, Soa};
use crate::record_type::RecordType;
use crate::request::{
    EDNS_DNSSEC_OK, FLAG_CHECKING_DISABLED, FLAG_RECURSION_DESIRED, FLAG_RESPONSE, HEADER_OCTETS,
    OPCODE_BITS, Question, Request,
};
use crate::responder::{Body, Limit, Reply, UDP_PAYLOAD_OCTETS};

/// AA in the header's third octet.
const FLAG_AUTHORITATIVE: u8 = 0x04;
/// TC in the header's third octet.
const FLAG_TRUNCATED: u8 = 0x02;
/// A compression pointer's mark (RFC 1035, section 4.1.4).
const POINTER: u16 = 0xc000;
/// Where the question's name starts.
const QUESTION_NAME: u16 = POINTER | HEADER_OCTETS as u16;
const CLASS_IN: [u8; 2] = [0, 1];
/// Name, type, class, TTL and data length of a record whose owner is a pointer.
const RECORD_FIXED_OCTETS: usize = 12;
const OPT_OCTETS: usize = 11;
/// The labels before the apex in SOA's two names.
const NAME_SERVER_LABELS: &[u8] = b"\x02ns\x03dns";
const MAILBOX_LABEL: &[u8] = b"\x0ahostmaster";
/// Data of SOA with both names ending in a pointer, and the record with it.
const SOA_DATA_OCTETS: usize = NAME_SERVER_LABELS.len() + 2 + MAILBOX_LABEL.len() + 2 + 20;

/// Appends the reply. True when its records do not fit: they are left out as a whole (RFC 2181, section 9), and TC is set.
/// None, with nothing written, when the reply is none of this encoder's.
pub(crate) fn write(
    request: &Request<'_>,
    reply: &Reply<'_>,
    limit: Limit,
    out: &mut Vec<u8>,
) -> Option<bool> {
    let question = request.question.as_ref();
    let (answers, authorities, octets) = match reply.body {
        Body::Empty | Body::Truncated => (0, 0, 0),
        Body::Records { records: Records::A(addresses), .. } => {
            (addresses.len(), 0, addresses.len() * (RECORD_FIXED_OCTETS + 4))
        }
        Body::Records { records: Records::Aaaa(addresses), .. } => {
            (addresses.len(), 0, addresses.len() * (RECORD_FIXED_OCTETS + 16))
        }
        Body::Records { records: Records::Data(set), .. } => {
            let octets = set.data().iter().map(|data| RECORD_FIXED_OCTETS + data.len()).sum();
            (set.data().len(), 0, octets)
        }
        Body::Records { .. } => return None,
        Body::Negative(_) => (0, 1, RECORD_FIXED_OCTETS + SOA_DATA_OCTETS),
    };
    let fixed = HEADER_OCTETS
        + question.map_or(0, |question| question.octets.len())
        + request.edns.map_or(0, |_| OPT_OCTETS);
    let truncated = fixed + octets > limit.octets || matches!(reply.body, Body::Truncated);
    let (answers, authorities) = if truncated { (0, 0) } else { (u16::try_from(answers).ok()?, authorities) };
    let counts = [u16::from(question.is_some()), answers, authorities];
    write_header(request, reply, truncated, counts, out);
    if let Some(question) = question {
        out.extend_from_slice(question.octets);
        if !truncated {
            write_body(request, question, reply, out);
        }
    }
    write_opt(request, reply, out);
    Some(truncated)
}

fn write_header(
    request: &Request<'_>,
    reply: &Reply<'_>,
    truncated: bool,
    counts: [u16; 3],
    out: &mut Vec<u8>,
) {
    let mut header = [0; HEADER_OCTETS];
    header[..2].copy_from_slice(&request.id.to_be_bytes());
    header[2] = FLAG_RESPONSE | request.flags[0] & (OPCODE_BITS | FLAG_RECURSION_DESIRED);
    if reply.is_authoritative() {
        header[2] |= FLAG_AUTHORITATIVE;
    }
    if truncated {
        header[2] |= FLAG_TRUNCATED;
    }
    header[3] = request.flags[1] & FLAG_CHECKING_DISABLED | (reply.rcode.0 & 0x0f) as u8;
    let counts = counts.into_iter().chain([u16::from(request.edns.is_some())]);
    for (field, count) in header[4..].chunks_exact_mut(2).zip(counts) {
        field.copy_from_slice(&count.to_be_bytes());
    }
    out.extend_from_slice(&header);
}

fn write_body(request: &Request<'_>, question: &Question<'_>, reply: &Reply<'_>, out: &mut Vec<u8>) {
    match reply.body {
        Body::Records { ttl_seconds, records: Records::A(addresses) } => {
            for address in rotated(addresses, request.id) {
                write_record(QUESTION_NAME, RecordType::A, ttl_seconds, &Ipv4Addr::octets(address), out);
            }
        }
        Body::Records { ttl_seconds, records: Records::Aaaa(addresses) } => {
            for address in rotated(addresses, request.id) {
                write_record(QUESTION_NAME, RecordType::AAAA, ttl_seconds, &Ipv6Addr::octets(address), out);
            }
        }
        Body::Records { ttl_seconds, records: Records::Data(set) } => {
            for data in set.data() {
                write_record(QUESTION_NAME, set.record_type(), ttl_seconds, data, out);
            }
        }
        Body::Negative(soa) => write_soa(question, soa, out),
        Body::Records { .. } | Body::Empty | Body::Truncated => {}
    }
}

/// All items, from one on that the id chooses: resolvers take random ids, and so each address is first equally often.
pub(crate) fn rotated<T>(items: &[T], id: u16) -> impl Iterator<Item = &T> {
    let (before, from) = items.split_at(usize::from(id).checked_rem(items.len()).unwrap_or(0));
    from.iter().chain(before)
}

fn write_record(owner: u16, record_type: RecordType, ttl_seconds: u32, data: &[u8], out: &mut Vec<u8>) {
    let mut fixed = [0; RECORD_FIXED_OCTETS];
    fixed[..2].copy_from_slice(&owner.to_be_bytes());
    fixed[2..4].copy_from_slice(&record_type.0.to_be_bytes());
    fixed[4..6].copy_from_slice(&CLASS_IN);
    fixed[6..10].copy_from_slice(&ttl_seconds.to_be_bytes());
    fixed[10..].copy_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(&fixed);
    out.extend_from_slice(data);
}

/// The SOA of the zone that the question's name lies in, so that the apex is a suffix of that name.
fn write_soa(question: &Question<'_>, soa: Soa<'_>, out: &mut Vec<u8>) {
    let apex = QUESTION_NAME + question.name.suffix_start(soa.apex.labels()) as u16;
    let mut data = [0; SOA_DATA_OCTETS];
    let mut at = 0;
    let numbers =
        [soa.serial, SOA_REFRESH_SECONDS, SOA_RETRY_SECONDS, SOA_EXPIRE_SECONDS, soa.minimum_seconds];
    let mut put = |part: &[u8]| {
        data[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    };
    put(NAME_SERVER_LABELS);
    put(&apex.to_be_bytes());
    put(MAILBOX_LABEL);
    put(&apex.to_be_bytes());
    numbers.iter().for_each(|number| put(&number.to_be_bytes()));
    write_record(apex, RecordType::SOA, soa.minimum_seconds, &data, out);
}

/// OPT if the request had one, with nothing of it but DO (RFC 6891, section 6.1.1; RFC 3225, section 3).
fn write_opt(request: &Request<'_>, reply: &Reply<'_>, out: &mut Vec<u8>) {
    let Some(edns) = request.edns else { return };
    let mut opt = [0; OPT_OCTETS];
    opt[1..3].copy_from_slice(&RecordType::OPT.0.to_be_bytes());
    opt[3..5].copy_from_slice(&UDP_PAYLOAD_OCTETS.to_be_bytes());
    opt[5] = (reply.rcode.0 >> 4) as u8;
    opt[7] = if edns.dnssec_ok { EDNS_DNSSEC_OK } else { 0 };
    out.extend_from_slice(&opt);
}
