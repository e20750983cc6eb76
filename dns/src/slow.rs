//! The encoder for every reply, by hickory: what is rare enough to be worth no code of our own, and the yardstick for the
//! [fast](crate::fast) one.

use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, HINFO, NS, NULL, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, DecodeError};

use crate::addresses::Addresses;
use crate::answer::{Records, SOA_EXPIRE_SECONDS, SOA_REFRESH_SECONDS, SOA_RETRY_SECONDS, Soa};
use crate::fast::rotated;
use crate::request::{FLAG_CHECKING_DISABLED, FLAG_RECURSION_DESIRED, Question, Request};
use crate::responder::{Body, Limit, Reply, UDP_PAYLOAD_OCTETS};

/// What ANY is answered with (RFC 8482, section 4.2).
const ANY_HINFO: &str = "RFC8482";

/// Puts the reply into the buffer. True when records had to go and TC is set.
///
/// What does not fit goes as a whole (RFC 2181, section 9): first the additional addresses, which nobody asked for,
/// then the answer.
pub(crate) fn write(
    request: &Request<'_>,
    reply: &Reply<'_>,
    limit: Limit,
    out: &mut Vec<u8>,
) -> Result<bool, ProtoError> {
    let mut message = Message::response(request.id, OpCode::from_u8(request.opcode()));
    let metadata = &mut message.metadata;
    metadata.authoritative = reply.is_authoritative();
    metadata.recursion_desired = request.flags[0] & FLAG_RECURSION_DESIRED != 0;
    metadata.checking_disabled = request.flags[1] & FLAG_CHECKING_DISABLED != 0;
    metadata.response_code = ResponseCode::from((reply.rcode.0 >> 4) as u8, (reply.rcode.0 & 0x0f) as u8);
    if let Some(edns) = request.edns {
        let mut own = Edns::new();
        own.set_version(0).set_max_payload(UDP_PAYLOAD_OCTETS).set_dnssec_ok(edns.dnssec_ok);
        message.set_edns(own);
    }
    if let Some(question) = &request.question {
        let name = question_name(question)?;
        fill_sections(&mut message, &name, request.id, reply)?;
        let mut query = Query::query(name, RecordType::from(question.record_type.0));
        query.set_query_class(DNSClass::from(question.class));
        message.add_query(query);
    }
    *out = message.to_vec()?;
    if out.len() > limit.additional_octets && !message.additionals.is_empty() {
        message.additionals.clear();
        *out = message.to_vec()?;
    }
    let truncated = out.len() > limit.octets || matches!(reply.body, Body::Truncated);
    if truncated {
        message.answers.clear();
        message.metadata.truncation = true;
        *out = message.to_vec()?;
    }
    Ok(truncated)
}

fn question_name(question: &Question<'_>) -> Result<Name, DecodeError> {
    Name::read(&mut BinDecoder::new(question.octets))
}

fn fill_sections(message: &mut Message, name: &Name, id: u16, reply: &Reply<'_>) -> Result<(), ProtoError> {
    match reply.body {
        Body::Empty | Body::Truncated => {}
        Body::Negative(soa) => {
            message.add_authority(soa_record(name, soa, soa.minimum_seconds)?);
        }
        Body::Records { ttl_seconds, records } => {
            let record = |data| Record::from_rdata(name.clone(), ttl_seconds, data);
            match records {
                Records::A(addresses) => {
                    message.add_answers(rotated(addresses, id).map(|address| record(RData::A(A(*address)))));
                }
                Records::Aaaa(addresses) => {
                    message.add_answers(
                        rotated(addresses, id).map(|address| record(RData::AAAA(AAAA(*address)))),
                    );
                }
                Records::Soa(soa) => {
                    message.add_answer(soa_record(name, soa, ttl_seconds)?);
                }
                Records::Hinfo => {
                    let hinfo = HINFO::new(ANY_HINFO.to_owned(), String::new());
                    message.add_answer(record(RData::HINFO(hinfo)));
                }
                Records::Data(set) => {
                    let code = RecordType::from(set.record_type().0);
                    let data = |data: &[u8]| RData::Unknown { code, rdata: NULL::with(data.to_vec()) };
                    message.add_answers(set.data().iter().map(|octets| record(data(octets))));
                }
                Records::Ns(addresses) => {
                    let server = name_server(name)?;
                    message.add_answer(record(RData::NS(NS(server.clone()))));
                    message.add_additionals(address_records(&server, ttl_seconds, addresses));
                }
            }
        }
    }
    Ok(())
}

/// The SOA with the apex as the question spells it.
fn soa_record(name: &Name, soa: Soa<'_>, ttl_seconds: u32) -> Result<Record, ProtoError> {
    let apex = name.trim_to(soa.apex.labels());
    let data = SOA::new(
        name_server(&apex)?,
        apex.prepend_label("hostmaster")?,
        soa.serial,
        SOA_REFRESH_SECONDS.cast_signed(),
        SOA_RETRY_SECONDS.cast_signed(),
        SOA_EXPIRE_SECONDS.cast_signed(),
        soa.minimum_seconds,
    );
    Ok(Record::from_rdata(apex, ttl_seconds, RData::SOA(data)))
}

fn name_server(apex: &Name) -> Result<Name, ProtoError> {
    apex.prepend_label("dns")?.prepend_label("ns")
}

fn address_records(name: &Name, ttl_seconds: u32, addresses: &Addresses) -> Vec<Record> {
    let v4 = addresses.v4.iter().map(|address| RData::A(A(*address)));
    let v6 = addresses.v6.iter().map(|address| RData::AAAA(AAAA(*address)));
    v4.chain(v6).map(|data| Record::from_rdata(name.clone(), ttl_seconds, data)).collect()
}
