//! Where things are: the project's folder, what the build script made, and what one run leaves behind.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

/// The Envoy release that stands in every image of Envoy.
pub const ENVOY_VERSION: &str = "1.40.0";

/// The project's root folder.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_owned()
}

/// What is checked in beside this crate's sources.
pub fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Everything that is built or written here, never committed.
pub fn cache() -> PathBuf {
    root().join(".cache/e2e")
}

/// A binary that `parts/build.sh` makes.
///
/// # Errors
/// When it is not there: what to run.
pub fn binary(name: &str) -> Result<PathBuf> {
    let path = cache().join("bin").join(name);
    ensure!(path.exists(), "{} is missing: run integration/e2e/parts/build.sh", path.display());
    Ok(path)
}

/// The Envoy binary: `XCC_E2E_ENVOY` if that is set, else the installed release.
///
/// # Errors
/// When it is not there: what to run.
pub fn envoy() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("XCC_E2E_ENVOY") {
        return Ok(PathBuf::from(path));
    }
    let path = root().join(".cache/envoy").join(ENVOY_VERSION).join("envoy");
    ensure!(
        path.exists(),
        "{} is missing: run integration/tools/install-envoy.sh {ENVOY_VERSION}",
        path.display()
    );
    Ok(path)
}

/// The `xcc` binary that stands in the image of xcc: `XCC_BINARY` if that is set, else the newest that cargo built.
///
/// # Errors
/// When there is none: what to run.
pub fn xcc() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("XCC_BINARY") {
        return Ok(PathBuf::from(path));
    }
    let built = ["release", "demo", "debug"].map(|profile| root().join("target").join(profile).join("xcc"));
    let newest = built
        .into_iter()
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .max_by_key(|(modified, _path)| *modified);
    newest
        .map(|(_modified, path)| path)
        .ok_or_else(|| anyhow::anyhow!("xcc is not built: run cargo build -p xcc"))
}

/// The files of the run that is up: pods' volumes, keys, sockets. Removed with it.
pub fn run() -> PathBuf {
    cache().join("run")
}

/// The logs of the last run. They stay until the next one starts.
pub fn logs() -> PathBuf {
    cache().join("logs")
}

/// The kubeconfig that a cluster's users take, in the project's root as the ancestor had it.
pub fn kubeconfig(cluster: &str) -> PathBuf {
    root().join(format!("{cluster}.kubeconfig"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_holds_the_workspace() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }
}
