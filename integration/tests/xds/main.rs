//! The xDS server as other people's software sees it: the program `serve-dir` of the crate `xcc-xds`, and clients that
//! share no code with it.

mod envoy;

use std::process::Command;

use anyhow::{Context, Result, ensure};
use xcc_integration::project;

/// gRPC's and Envoy's own Python packages against every rule of the protocol, in its four variants.
#[test]
fn a_foreign_client_finds_every_rule_kept() -> Result<()> {
    let output = Command::new(project::python()?)
        .arg(project::root().join("integration/tests/xds/foreign/run.py"))
        .arg(project::serve_dir()?)
        // Forks of the test process would else warn about gRPC's threads.
        .env("GRPC_ENABLE_FORK_SUPPORT", "0")
        .output()
        .context("cannot start python")?;
    let report = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{report}{errors}");
    // A script that checks nothing succeeds, too.
    ensure!(report.contains(" checks passed, 0 failed"), "{report}");
    ensure!(report.contains("98 scenarios of ii/xds-test-harness"), "{report}");
    Ok(())
}
