//! What benchmarks share: peers as processes, their processor time, statistics, and the table of results.
//!
//! Every figure is a ratio of two programs that ran in turns on one machine in one run; what a run measured is merged by
//! id into `docs/benchmarks.json`, from which `docs/benchmarks.md` is written.

#![deny(missing_docs)]

pub mod cpu;
pub mod differential;
pub mod dns;
pub mod hot_paths;
pub mod machine;
pub mod peer;
pub mod random;
pub mod statistics;
pub mod table;
pub mod xds;
