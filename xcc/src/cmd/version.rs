//! `xcc version`.

use std::process::ExitCode;

/// The Envoys that the integration tests run against, oldest and newest.
const ENVOY_VERSIONS: &str = "1.36 to 1.40";
/// The API server that the tests run against. Older ones serve the same objects.
const KUBERNETES_VERSIONS: &str = "1.37";

/// Prints what this binary is and what it works with.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    super::print(&format!(
        "xcc {}\ncommit: {}\nenvoy: {ENVOY_VERSIONS}\nkubernetes: {KUBERNETES_VERSIONS}\n",
        env!("CARGO_PKG_VERSION"),
        env!("XCC_COMMIT"),
    ))?;
    Ok(ExitCode::SUCCESS)
}
