//! Writes `descriptors/resources.binpb`: `cargo run -p xcc-xds --example xds-descriptors`.
//!
//! To be run when envoy-types is updated.

use anyhow::{Context, Result};

#[path = "../descriptors/generate.rs"]
mod descriptor_set;

fn main() -> Result<()> {
    let path = descriptor_set::checked_in();
    let set = descriptor_set::generate()?;
    std::fs::write(&path, set).with_context(|| format!("{} cannot be written", path.display()))
}
