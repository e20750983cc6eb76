//! Where things are: the project's folder, the tools below `.cache`, the binary under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};

/// The Envoy releases that everything is tested against: the oldest and the newest supported.
pub const ENVOY_VERSIONS: [&str; 2] = ["1.36.4", "1.40.0"];

/// The release that stands where a test does not ask for a certain one: ingresses, and the demo's gateway.
pub const ENVOY_NEWEST: &str = ENVOY_VERSIONS[1];

/// The project's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").components().fold(PathBuf::new(), |mut path, part| {
        if part.as_os_str() == ".." {
            path.pop();
        } else {
            path.push(part);
        }
        path
    })
}

/// The binary of an Envoy release, installed if it is missing.
///
/// # Errors
/// When the installer fails; the message is the installer's own.
pub fn envoy(version: &str) -> Result<PathBuf> {
    install("install-envoy.sh", &[version])?;
    Ok(root().join(".cache/envoy").join(version).join("envoy"))
}

/// A Python interpreter that has dnspython, gRPC and Envoy's API, installed if it is missing.
///
/// # Errors
/// When the installer fails; the message is the installer's own.
pub fn python() -> Result<PathBuf> {
    install("install-python.sh", &[])?;
    Ok(root().join(".cache/python/bin/python"))
}

/// BIND's `dig`, installed if it is missing and that is possible.
///
/// # Errors
/// When the installer fails; the message is the installer's own.
pub fn dig() -> Result<PathBuf> {
    install("install-dig.sh", &[])?;
    Ok(PathBuf::from("dig"))
}

/// Runs one of the installers. They do nothing when the tool is there, and lock against each other.
fn install(script: &str, arguments: &[&str]) -> Result<()> {
    let path = root().join("integration/tools").join(script);
    let output =
        Command::new(&path).args(arguments).output().with_context(|| format!("{}", path.display()))?;
    ensure!(
        output.status.success(),
        "{script} {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// The `xcc` binary under test: `XCC_BINARY` if that is set, else what `cargo build` makes of the working tree,
/// once per process.
///
/// # Errors
/// When it does not build.
pub fn xcc() -> Result<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let binary = BINARY.get_or_init(|| find_xcc().map_err(|error| format!("{error:#}")));
    binary.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn find_xcc() -> Result<PathBuf> {
    match std::env::var_os("XCC_BINARY") {
        Some(binary) => Ok(PathBuf::from(binary)),
        // With --workspace the features are those that the tests were built with: nothing is compiled a second time.
        None => build("xcc", &["--workspace", "--bin", "xcc"]),
    }
}

/// The example server of the crate `xcc-xds`, built from the working tree.
///
/// # Errors
/// When it does not build.
pub fn serve_dir() -> Result<PathBuf> {
    build("serve-dir", &["--workspace", "--example", "serve-dir"])
}

fn build(name: &str, arguments: &[&str]) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--message-format=json-render-diagnostics"])
        .args(arguments)
        .current_dir(root())
        .output()
        .context("cargo build")?;
    if !output.status.success() {
        bail!("{name} does not build: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    executable(name, &output.stdout).with_context(|| format!("cargo build named no executable called {name}"))
}

/// The executable that cargo's JSON messages name for a target.
fn executable(name: &str, messages: &[u8]) -> Option<PathBuf> {
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_holds_the_workspace() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }

    #[test]
    fn executable_is_read_from_cargo_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"anyhow"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"xcc"},"executable":"/t/debug/xcc"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable("xcc", messages.as_bytes()), Some(PathBuf::from("/t/debug/xcc")));
        assert_eq!(executable("xcc", b"not json"), None);
    }
}
