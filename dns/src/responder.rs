//! From a request's bytes to a reply's bytes, and the cell that holds the table in force.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};

use crate::answer::{Answer, Records, Soa};
use crate::record_type::RecordType;
use crate::request::{Edns, NoRequest, Request};
use crate::zone::Zones;
use crate::{fast, serial, slow};

/// Largest UDP reply, also what we say that we take (DNS flag day 2020).
pub(crate) const UDP_PAYLOAD_OCTETS: u16 = 1232;
/// UDP reply that every client takes (RFC 1035, section 4.2.1); a smaller size in OPT means this one
/// (RFC 6891, section 6.2.3).
const UDP_PAYLOAD_OCTETS_MIN: u16 = 512;
/// How many times as long as its request a reply should be at most. The SOA of a negative answer is longer: without it nobody
/// can remember the answer. So are records for clients that are not limited, who are taken for those that they say they are.
pub(crate) const AMPLIFICATION_MAX: usize = 2;
/// Where a message tells how many records its answer section has (RFC 1035, section 4.1.1).
const ANSWER_COUNT: Range<usize> = 6..8;
/// The only class that there is anything in (RFC 1035, section 3.2.4).
const CLASS_IN: u16 = 1;

/// The table that is in force, shared by all who answer. Clones share the table.
#[derive(Clone, Default)]
pub struct Responder {
    zones: Arc<ArcSwapOption<Zones>>,
}

/// What a request came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// One message per datagram; replies are limited to 1232 octets and what the client takes.
    Udp,
    /// Messages behind their length (RFC 7766).
    Tcp,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The reply stands in the buffer.
    Replied {
        /// Its response code.
        rcode: Rcode,
        /// The question's type, or [`RecordType::NONE`] without a readable question.
        record_type: RecordType,
        /// TC is set: records did not fit.
        truncated: bool,
    },
    /// No reply is due, and the buffer is empty.
    Dropped(DropReason),
}

/// Why there is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// Shorter than a header.
    Short,
    /// A response, not a request.
    Response,
    /// Over the rate that its network is answered at.
    RateLimit,
    /// Sent from a port whose service would answer to our answer, or from none.
    SourcePort,
}

/// A response code (RFC 6895, section 2.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rcode(pub u16);

/// A reply before it is encoded.
pub(crate) struct Reply<'z> {
    pub(crate) rcode: Rcode,
    pub(crate) body: Body<'z>,
}

/// The sections of a reply behind the question.
pub(crate) enum Body<'z> {
    /// Nothing.
    Empty,
    /// Nothing, and TC: whoever wants the answer asks again by TCP.
    Truncated,
    /// Records in the answer section.
    Records { ttl_seconds: u32, records: Records<'z> },
    /// The SOA in the authority section.
    Negative(Soa<'z>),
}

/// How long a reply may be.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) octets: usize,
    /// The same for a reply with records that nobody asked for.
    pub(crate) additional_octets: usize,
}

impl Responder {
    /// A responder without zones, which answers SERVFAIL.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts the zones in force, with a serial that is higher than the last one's if anything in them is different.
    pub fn publish(&self, zones: Zones) {
        let clock = serial::clock();
        self.zones
            .rcu(|before| Some(Arc::new(serial::put_in_force(zones.clone(), before.as_deref(), clock))));
    }

    /// The zones in force; none before the first [`Responder::publish`].
    pub fn load(&self) -> Option<Arc<Zones>> {
        self.zones.load_full()
    }

    /// The zones in force, without counting a reference: for a short time only.
    pub(crate) fn peek(&self) -> Guard<Option<Arc<Zones>>> {
        self.zones.load()
    }
}

/// Answers one request. The buffer is cleared first; afterwards it holds the reply, without TCP's length.
///
/// Without zones every question is answered with SERVFAIL: NXDOMAIN would be remembered (RFC 2308). Pure: of several
/// addresses the first one is chosen by the request's id.
pub fn respond(zones: Option<&Zones>, transport: Transport, request: &[u8], reply: &mut Vec<u8>) -> Outcome {
    respond_with(zones, transport, request, reply, fast::write)
}

/// [`respond`] with every reply encoded by hickory.
#[cfg(test)]
pub(crate) fn respond_slowly(
    zones: Option<&Zones>,
    transport: Transport,
    request: &[u8],
    reply: &mut Vec<u8>,
) -> Outcome {
    respond_with(zones, transport, request, reply, |_, _, _, _| None)
}

/// Whether the reply's answer section has anything.
pub(crate) fn has_records(reply: &[u8]) -> bool {
    reply.get(ANSWER_COUNT).is_some_and(|count| *count != [0, 0])
}

/// Replaces the reply by one that has its code and AA and else says only that it is incomplete, so that an honest client asks again
/// by TCP. NSD keeps the code, too.
pub(crate) fn truncate(request: &[u8], rcode: Rcode, reply: &mut Vec<u8>) {
    let Ok(request) = Request::read(request) else { return };
    reply.clear();
    let limit = usize::from(UDP_PAYLOAD_OCTETS_MIN);
    let limit = Limit { octets: limit, additional_octets: limit };
    fast::write(&request, &Reply { rcode, body: Body::Truncated }, limit, reply);
}

fn respond_with(
    zones: Option<&Zones>,
    transport: Transport,
    octets: &[u8],
    out: &mut Vec<u8>,
    write: impl Fn(&Request<'_>, &Reply<'_>, Limit, &mut Vec<u8>) -> Option<bool>,
) -> Outcome {
    out.clear();
    let request = match Request::read(octets) {
        Ok(request) => request,
        Err(NoRequest::Short) => return Outcome::Dropped(DropReason::Short),
        Err(NoRequest::Response) => return Outcome::Dropped(DropReason::Response),
    };
    let mut reply = decide(zones, &request);
    let limit = reply_limit(transport, request.edns, &reply, octets.len());
    let truncated = write(&request, &reply, limit, out).unwrap_or_else(|| {
        slow::write(&request, &reply, limit, out).unwrap_or_else(|error| {
            tracing::debug!(%error, "cannot encode a reply");
            out.clear();
            reply = Reply::code(Rcode::SERVFAIL);
            fast::write(&request, &reply, limit, out).unwrap_or_default()
        })
    });
    let record_type = request.question.map_or(RecordType::NONE, |question| question.record_type);
    Outcome::Replied { rcode: reply.rcode, record_type, truncated }
}

/// The checks in the order in which their failures matter: what we do not understand at all comes first.
fn decide<'z>(zones: Option<&'z Zones>, request: &Request<'_>) -> Reply<'z> {
    if request.opcode() != 0 {
        return Reply::code(Rcode::NOTIMP);
    }
    let (Some(question), true) = (&request.question, request.well_formed) else {
        return Reply::code(Rcode::FORMERR);
    };
    if request.edns.is_some_and(|edns| edns.version > 0) {
        return Reply::code(Rcode::BADVERS);
    }
    if question.class != CLASS_IN {
        return Reply::code(Rcode::REFUSED);
    }
    let Some(zones) = zones else { return Reply::code(Rcode::SERVFAIL) };
    match zones.answer(&question.name, question.record_type) {
        Answer::Records { ttl_seconds, records } => {
            Reply { rcode: Rcode::NOERROR, body: Body::Records { ttl_seconds, records } }
        }
        Answer::NoData(soa) => Reply { rcode: Rcode::NOERROR, body: Body::Negative(soa) },
        Answer::NxDomain(soa) => Reply { rcode: Rcode::NXDOMAIN, body: Body::Negative(soa) },
        Answer::ServFail => Reply::code(Rcode::SERVFAIL),
        Answer::Refused => Reply::code(Rcode::REFUSED),
        Answer::FormErr => Reply::code(Rcode::FORMERR),
        Answer::NotImp => Reply::code(Rcode::NOTIMP),
    }
}

/// The limit of the transport, and over UDP, where a source may be forged, twice the request for what can be had another
/// way: additional records by a question of their own, and texts by TCP.
fn reply_limit(transport: Transport, edns: Option<Edns>, reply: &Reply<'_>, request_octets: usize) -> Limit {
    let octets = match (transport, edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, None) => UDP_PAYLOAD_OCTETS_MIN,
        (Transport::Udp, Some(edns)) => edns.payload_octets.clamp(UDP_PAYLOAD_OCTETS_MIN, UDP_PAYLOAD_OCTETS),
    };
    let octets = usize::from(octets);
    let modest = match transport {
        Transport::Tcp => octets,
        Transport::Udp => octets.min(AMPLIFICATION_MAX * request_octets),
    };
    let is_text = |records| matches!(records, Records::Data(set) if set.record_type() == RecordType::TXT);
    match reply.body {
        Body::Records { records, .. } if is_text(records) => {
            Limit { octets: modest, additional_octets: modest }
        }
        _ => Limit { octets, additional_octets: modest },
    }
}

impl Transport {
    /// The transport as logs and metrics call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

impl Reply<'_> {
    fn code(rcode: Rcode) -> Self {
        Self { rcode, body: Body::Empty }
    }

    /// AA: what is said comes from our own zones (RFC 1035, section 4.1.1). All other codes say why nothing is.
    pub(crate) fn is_authoritative(&self) -> bool {
        matches!(self.rcode, Rcode::NOERROR | Rcode::NXDOMAIN)
    }
}

impl Rcode {
    /// No error; also what a name without records of the type is answered with.
    pub const NOERROR: Self = Self(0);
    /// The request cannot be read.
    pub const FORMERR: Self = Self(1);
    /// The answer is not known now.
    pub const SERVFAIL: Self = Self(2);
    /// There is no such name.
    pub const NXDOMAIN: Self = Self(3);
    /// Not implemented.
    pub const NOTIMP: Self = Self(4);
    /// Not ours to answer.
    pub const REFUSED: Self = Self(5);
    /// EDNS of a version that we do not know (RFC 6891, section 6.1.3).
    pub const BADVERS: Self = Self(16);

    pub(crate) fn mnemonic(self) -> Option<&'static str> {
        Some(match self {
            Self::NOERROR => "NOERROR",
            Self::FORMERR => "FORMERR",
            Self::SERVFAIL => "SERVFAIL",
            Self::NXDOMAIN => "NXDOMAIN",
            Self::NOTIMP => "NOTIMP",
            Self::REFUSED => "REFUSED",
            Self::BADVERS => "BADVERS",
            _ => return None,
        })
    }
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(mnemonic) => f.write_str(mnemonic),
            None => write!(f, "RCODE{}", self.0),
        }
    }
}

impl fmt::Debug for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
