//! The rules of the RFCs, octet by octet, each over UDP and TCP and over IPv4 and IPv6 ([`Running::ask`]).
//!
//! [`Running::ask`]: common::sockets::Running::ask

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[path = "../common/mod.rs"]
mod common;

mod edns;
mod header;
mod names;
mod records;
mod rfc8906;
mod truncation;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Record, RecordType};

/// The data of the answers.
fn data(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

/// Asserts the shape of a negative answer and returns its SOA.
fn negative_soa(message: &Message, code: ResponseCode) -> &Record {
    assert_eq!(message.metadata.response_code, code, "{message}");
    assert!(message.metadata.authoritative);
    assert!(message.answers.is_empty() && message.additionals.is_empty());
    let [soa] = &message.authorities[..] else { panic!("{:?}", message.authorities) };
    assert_eq!(soa.record_type(), RecordType::SOA);
    assert_eq!(soa.name.to_string().to_lowercase(), "xcc.test.");
    soa
}

/// Asserts a reply that says nothing but its code.
fn bare(message: &Message, code: ResponseCode) {
    assert_eq!(message.metadata.response_code, code, "{message}");
    assert!(!message.metadata.authoritative);
    assert!(message.answers.is_empty() && message.authorities.is_empty() && message.additionals.is_empty());
}
