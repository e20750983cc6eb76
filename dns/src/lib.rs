//! An authoritative DNS responder for the names that the gateway carries.
//!
//! [`Zones`] is the immutable table of everything that is answered, [`Zones::answer`] the pure function from a
//! question to an [`Answer`], [`respond`] the pure function from a request's bytes to a reply's bytes. [`Responder`]
//! holds the table that is in force, and [`DnsServer`] serves it over UDP and TCP. [`ask_soa`] asks another server who is
//! responsible for a zone.
//!
//! The crate knows neither Kubernetes nor Envoy nor where a name comes from.

#![deny(missing_docs)]

mod addresses;
mod answer;
mod apex;
mod batch;
mod client;
mod connections;
#[cfg(test)]
mod differential;
mod dump;
mod fast;
mod https;
mod key;
mod latency;
mod metrics;
mod name;
mod query_log;
mod rate_limit;
mod record_type;
mod request;
mod responder;
mod reverse;
mod rrset;
mod serial;
mod server;
mod slow;
mod socket;
mod table;
mod tcp;
mod udp;
mod zone;

pub use addresses::Addresses;
pub use answer::{Answer, Records, Soa};
pub use apex::ZoneConfig;
pub use client::{AskError, SoaAnswer, ask_soa};
pub use metrics::DnsMetrics;
pub use name::Name;
pub use query_log::TARGET as QUERY_LOG_TARGET;
pub use rate_limit::RateLimit;
pub use record_type::RecordType;
pub use responder::{DropReason, Outcome, Rcode, Responder, Transport, respond};
pub use rrset::RrSet;
pub use server::{BindError, DnsConfig, DnsServer};
pub use zone::Zones;
