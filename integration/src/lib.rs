//! The harness behind the demo and the tests of the whole: real processes (xcc, Envoy), real TLS servers behind
//! real SNI ingresses, a DNS client and an HTTPS client that resolve and verify as a pod would.
//!
//! It drives xcc from outside only, through its command line, its sockets and the files that it watches; it must
//! not know how xcc is built inside. Everything runs on loopback addresses that one [`loopback::Loopback`] owns,
//! and every process is killed, by its pid, when its owner is dropped.

#![deny(missing_docs)]

pub mod admin;
pub mod certificates;
pub mod client;
pub mod envoy;
pub mod golden;
pub mod ingress;
pub mod loopback;
pub mod manifests;
pub mod origin;
pub mod process;
pub mod project;
pub mod remote;
pub mod resolver;
pub mod scratch;
pub mod wait;
pub mod world;
pub mod xcc;
