//! Golden cases: folders of manifests, and the files that `xcc translate` makes of them.
//!
//! A case is `testdata/<case>/in/<remote>/*.yaml`, with flags for the gateway in `in/gateway.yaml` where it needs
//! others than the usual, and `testdata/<case>/out/<section>.yaml` for what comes out.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{project, xcc};

/// The parts of `xcc translate`'s document, each a file.
pub const SECTIONS: [&str; 5] = ["clusters", "endpoints", "listeners", "zone", "diagnostics"];

/// The environment variable that has the golden files rewritten.
pub const UPDATE_VARIABLE: &str = "UPDATE_GOLDEN";

/// The flags that every case is translated with; those of its `gateway.yaml` come after.
const USUAL_FLAGS: [&str; 4] = ["--gateway-address", "192.0.2.10", "--gateway-port-offset", "10000"];

/// What a translation may end with: 0 when all is well, 1 when there are diagnostics.
const EXIT_CLEAN: i32 = 0;
const EXIT_DIAGNOSTICS: i32 = 1;

/// A golden case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    folder: PathBuf,
}

/// The folder of all cases.
pub fn testdata() -> PathBuf {
    project::root().join("integration/testdata")
}

/// All cases, by name.
///
/// # Errors
/// When the folder cannot be read.
pub fn cases() -> Result<Vec<Case>> {
    Ok(entries(&testdata())?.into_iter().filter(|path| path.is_dir()).map(|folder| Case { folder }).collect())
}

/// The entries of a folder in order; none if it does not exist.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

impl Case {
    /// The case's name.
    pub fn name(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Translates the case's manifests, with more flags if need be.
    ///
    /// # Errors
    /// When `xcc translate` fails, or its exit status does not go with its diagnostics.
    pub fn translate(&self, more_flags: &[&str]) -> Result<Value> {
        let mut arguments: Vec<OsString> = vec!["translate".into()];
        for remote in entries(&self.folder.join("in"))?.into_iter().filter(|path| path.is_dir()) {
            let mut source = remote.file_name().unwrap_or_default().to_owned();
            source.push("=");
            source.push(&remote);
            arguments.extend(["-f".into(), source]);
        }
        arguments.extend(USUAL_FLAGS.map(OsString::from));
        arguments.extend(self.flags()?.into_iter().map(OsString::from));
        arguments.extend(more_flags.iter().map(OsString::from));
        let output = xcc::run(arguments)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        let document = std::str::from_utf8(&output.stdout).context("the output is not text")?;
        let document: Value =
            serde_saphyr::from_str(document).with_context(|| format!("the output is not YAML: {errors}"))?;
        let is_clean = document["diagnostics"].as_array().is_some_and(Vec::is_empty);
        let expected = if is_clean { EXIT_CLEAN } else { EXIT_DIAGNOSTICS };
        ensure!(
            output.status.code() == Some(expected),
            "exit status {}, not {expected}: {errors}",
            output.status
        );
        Ok(document)
    }

    /// The case's own flags: a list of words.
    fn flags(&self) -> Result<Vec<String>> {
        let file = self.folder.join("in/gateway.yaml");
        if !file.exists() {
            return Ok(Vec::new());
        }
        let text = std::fs::read_to_string(&file)?;
        let settings: BTreeMap<String, Vec<String>> =
            serde_saphyr::from_str(&text).with_context(|| format!("{}", file.display()))?;
        let flags = settings.into_iter().flat_map(|(flag, values)| {
            values.into_iter().flat_map(move |value| [format!("--{flag}"), value])
        });
        Ok(flags.collect())
    }

    /// Compares what comes out with the files, or rewrites the files when [`UPDATE_VARIABLE`] is set.
    ///
    /// # Errors
    /// When they differ: the first different line of each file; when a file belongs to no section.
    pub fn check(&self) -> Result<()> {
        let document = self.translate(&[])?;
        let out = self.folder.join("out");
        let is_update = std::env::var_os(UPDATE_VARIABLE).is_some();
        if is_update {
            std::fs::create_dir_all(&out)?;
        }
        let mut differences = Vec::new();
        for section in SECTIONS {
            let is = yaml(&document[section]).with_context(|| format!("no section {section}"))?;
            let file = out.join(format!("{section}.yaml"));
            if is_update {
                std::fs::write(&file, is)?;
            } else {
                let want = std::fs::read_to_string(&file).unwrap_or_default();
                differences.extend(difference(&want, &is).map(|line| format!("{}: {line}", file.display())));
            }
        }
        for orphan in self.orphans()? {
            if is_update {
                std::fs::remove_file(&orphan)?;
            } else {
                differences.push(format!("{}: belongs to no section", orphan.display()));
            }
        }
        if !differences.is_empty() {
            bail!("{}\n(`make golden-update` rewrites the files)", differences.join("\n"));
        }
        Ok(())
    }

    /// Files among the golden files that no section makes.
    fn orphans(&self) -> Result<Vec<PathBuf>> {
        let files = entries(&self.folder.join("out"))?;
        let is_section = |path: &PathBuf| {
            let section = path.file_stem().unwrap_or_default().to_string_lossy();
            path.extension().is_some_and(|extension| extension == "yaml")
                && SECTIONS.contains(&section.as_ref())
        };
        Ok(files.into_iter().filter(|path| !is_section(path)).collect())
    }
}

fn yaml(value: &Value) -> Result<String> {
    ensure!(!value.is_null(), "null");
    // A value on a line of its own: folded texts make differences hard to read.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let mut text = serde_saphyr::to_string_with_options(value, options)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// The first line in which two texts differ.
fn difference(want: &str, is: &str) -> Option<String> {
    if want == is {
        return None;
    }
    let (mut want, mut is) = (want.lines(), is.lines());
    for number in 1.. {
        match (want.next(), is.next()) {
            (None, None) => break,
            (want, is) if want != is => {
                let [want, is] = [want, is].map(|line| line.unwrap_or("(end of file)"));
                return Some(format!("line {number}: want {want:?}, is {is:?}"));
            }
            _ => {}
        }
    }
    Some("the ends of the files differ".to_owned())
}

/// A bootstrap that holds the clusters, endpoints and listeners of a translation, for `envoy --mode validate`.
/// What comes over ADS in service stands in it as it is; the endpoints are in clusters of their own, since nobody
/// serves them here.
pub fn bootstrap(document: &Value) -> Value {
    let list = |section: &str| document[section].as_array().cloned().unwrap_or_default();
    let mut clusters = list("clusters");
    for (index, assignment) in list("endpoints").into_iter().enumerate() {
        clusters.push(json!({
            "name": format!("endpoints {index}"), "type": "STATIC", "connect_timeout": "1s",
            "load_assignment": assignment,
        }));
    }
    clusters.push(json!({
        "name": "xDS", "type": "STATIC", "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            },
        },
        "load_assignment": {"cluster_name": "xDS"},
    }));
    json!({
        "node": {"id": "golden", "cluster": "xcc-gateway"},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xDS"}}],
            },
        },
        "static_resources": {"clusters": clusters, "listeners": list("listeners")},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_different_line_is_told() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(difference("a\nb\n", "a\nc\n"), Some(r#"line 2: want "b", is "c""#.to_owned()));
        assert_eq!(difference("", "a\n"), Some(r#"line 1: want "(end of file)", is "a""#.to_owned()));
        assert_eq!(difference("a", "a\n"), Some("the ends of the files differ".to_owned()));
    }
}
