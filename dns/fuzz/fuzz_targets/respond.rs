//! libFuzzer's way into the wire path: any octets, and what must hold for the reply.
#![no_main]

#[path = "../check.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| check::respond_soundly(octets));
