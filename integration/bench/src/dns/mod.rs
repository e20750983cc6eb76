//! DNS servers to compare with, what they are asked, and how the asking is measured.

pub mod dnsperf;
pub mod load;
pub mod query;
pub mod servers;
pub mod workload;
