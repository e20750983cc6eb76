//! The nginx example of `manifests/example`, applied to a remote with and without its label.

use anyhow::{Context, Result, ensure};
use xcc_integration::manifests::EXPORT_LABEL;
use xcc_integration::project;
use xcc_integration::world::World;

/// The name that the example exports.
pub(crate) const FQDN: &str = "nginx.xcc.test";

/// The file that holds the labelled HTTPProxy.
pub(crate) const FILE: &str = "exported_http_proxy.yaml";

/// Applies all of the example to the remote `east`, without the label.
pub(crate) fn deploy(world: &World) -> Result<()> {
    for file in ["certs.yaml", "nginx.yaml"] {
        world.east.apply(file, &read(file)?)?;
    }
    withdraw(world)
}

/// Sets the label, as `kubectl label` would.
pub(crate) fn export(world: &World) -> Result<()> {
    world.east.apply(FILE, &read(FILE)?)
}

/// Takes the label away.
pub(crate) fn withdraw(world: &World) -> Result<()> {
    let labelled = read(FILE)?;
    let lines: Vec<&str> =
        labelled.lines().filter(|line| !line.trim_start().starts_with(EXPORT_LABEL)).collect();
    ensure!(lines.len() + 1 == labelled.lines().count(), "{FILE} should have the label {EXPORT_LABEL} once");
    world.east.apply(FILE, &(lines.join("\n") + "\n"))
}

fn read(file: &str) -> Result<String> {
    let path = project::root().join("manifests/example").join(file);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}
