//! What several test binaries share.
#![allow(dead_code, unreachable_pub, reason = "each binary uses a part")]

pub mod evaluate;
pub mod fixture;
