//! The server over real connections, with the generated client of Envoy's API: what the state machine's own tests cannot
//! see, that is gRPC, identity, limits, shutdown and what other streams notice.

mod harness;
mod identity;
mod streams;
