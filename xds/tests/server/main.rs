//! The server over real connections, with the generated client of Envoy's API: what the state machine's own tests cannot
//! see, that is gRPC, identity, limits, shutdown and what other streams notice.

// Helpers outside of test functions may fail as those do.
#![allow(clippy::unwrap_used)]

mod harness;
mod identity;
mod serve_dir;
mod streams;
mod variants;
