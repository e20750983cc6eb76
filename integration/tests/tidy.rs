//! Rules of the project that no compiler checks: who may depend on whom, what every library says of itself, what
//! the documents promise.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests, too")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use xcc_integration::project::root;

/// What a crate may import of the workspace, and what of the outside it must never (ARCHITECTURE.md).
struct Rule {
    name: &'static str,
    may: &'static [&'static str],
    never: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule {
        name: "xcc-model",
        may: &[],
        never: &[
            "tokio",
            "kube",
            "k8s-openapi",
            "envoy-types",
            "prost",
            "hickory-proto",
            "hickory-server",
            "tracing",
        ],
    },
    Rule {
        name: "xcc-kube",
        may: &["xcc-model"],
        never: &["envoy-types", "prost", "hickory-proto", "hickory-server", "tonic"],
    },
    Rule {
        name: "xcc-envoy",
        may: &["xcc-model"],
        never: &["tokio", "kube", "k8s-openapi", "hickory-proto", "hickory-server", "tonic"],
    },
    Rule { name: "xcc-xds", may: &[], never: &["kube", "k8s-openapi", "hickory-proto", "hickory-server"] },
    Rule {
        name: "xcc-dns",
        may: &["xcc-model"],
        never: &["kube", "k8s-openapi", "envoy-types", "prost", "tonic"],
    },
    Rule {
        name: "xcc",
        may: &["xcc-model", "xcc-kube", "xcc-envoy", "xcc-xds", "xcc-dns"],
        never: &["hickory-proto", "hickory-server", "envoy-types"],
    },
    Rule {
        name: "xcc-integration",
        may: &["xcc-model", "xcc-kube", "xcc-envoy", "xcc-xds", "xcc-dns"],
        never: &[],
    },
    Rule {
        name: "xcc-bench",
        may: &["xcc-model", "xcc-kube", "xcc-envoy", "xcc-xds", "xcc-dns", "xcc-integration"],
        never: &[],
    },
    Rule {
        name: "xcc-e2e",
        may: &["xcc-model", "xcc-kube", "xcc-envoy", "xcc-xds", "xcc-dns", "xcc-integration"],
        never: &[],
    },
];

/// Where a file asks to be two, and where it has to be.
const FILE_LINES_NOTED: usize = 400;
const FILE_LINES_MAX: usize = 800;

/// The packages of the workspace, with the names of what they depend on outside of tests and builds.
fn packages() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter().map(|package| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let names = dependencies
            .filter(|dependency| dependency["kind"].is_null())
            .map(|dependency| dependency["name"].as_str().unwrap().to_owned());
        (package["name"].as_str().unwrap().to_owned(), names.collect())
    });
    packages.collect()
}

#[test]
fn crates_import_only_what_the_table_allows() {
    let packages = packages();
    let ours: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    for name in &ours {
        assert!(RULES.iter().any(|rule| rule.name == *name), "{name} has no rule here");
    }
    for rule in RULES {
        for dependency in packages.get(rule.name).into_iter().flatten() {
            let dependency = dependency.as_str();
            assert!(!rule.never.contains(&dependency), "{} must never import {dependency}", rule.name);
            let is_allowed = !ours.contains(dependency) || rule.may.contains(&dependency);
            assert!(is_allowed, "{} may not import {dependency}", rule.name);
        }
    }
}

/// The Rust files of the workspace.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for member in ["model", "kube", "envoy", "xds", "dns", "xcc", "integration"] {
        walk(&root().join(member), &mut |path| files.push(path));
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    assert!(files.len() > 50, "only {} source files", files.len());
    files
}

fn walk(folder: &Path, visit: &mut impl FnMut(PathBuf)) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        // What cargo and cargo-fuzz make, when somebody runs them in a crate's own folder.
        if path.is_dir() && !path.ends_with("target") {
            walk(&path, visit);
        } else if path.is_file() {
            visit(path);
        }
    }
}

/// Whether module documentation comes first; only attributes of the file may stand before it.
fn begins_with_documentation(text: &str) -> bool {
    let first = text.lines().find(|line| !line.is_empty() && !line.starts_with("#!["));
    first.is_some_and(|line| line.starts_with("//!"))
}

#[test]
fn libraries_deny_missing_documentation() {
    for member in ["model", "kube", "envoy", "xds", "dns", "integration"] {
        let text = std::fs::read_to_string(root().join(member).join("src/lib.rs")).unwrap();
        assert!(
            begins_with_documentation(&text),
            "{member}/src/lib.rs does not begin with what the crate is for"
        );
        assert!(
            text.contains("#![deny(missing_docs)]"),
            "{member}/src/lib.rs does not deny missing documentation"
        );
    }
}

#[test]
fn files_begin_with_what_they_own() {
    let silent: Vec<PathBuf> = sources()
        .into_iter()
        // Tests of more than a screen have a file of their own beside the code; its name says it all.
        .filter(|path| !path.to_string_lossy().ends_with("tests.rs"))
        .filter(|path| !begins_with_documentation(&std::fs::read_to_string(path).unwrap()))
        .collect();
    assert!(silent.is_empty(), "no module documentation in {silent:?}");
}

#[test]
fn files_are_not_too_long() {
    for path in sources() {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        if lines > FILE_LINES_NOTED {
            println!("{}: {lines} lines: is it two files?", path.display());
        }
        assert!(lines <= FILE_LINES_MAX, "{}: {lines} lines, {FILE_LINES_MAX} at most", path.display());
    }
}

#[test]
fn no_debugging_is_left() {
    // Spelt in two parts, or this file would be found.
    let words = [concat!("dbg", "!("), concat!("#[", "ignore")];
    for path in sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        for word in words {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}

/// The targets that the Makefile has.
fn make_targets() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let phony = text.lines().filter_map(|line| line.strip_prefix(".PHONY: "));
    phony.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

#[test]
fn make_targets_in_the_documents_exist() {
    let targets = make_targets();
    let mut named = 0;
    for document in ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", ".ci/run"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap_or_default();
        assert!(!text.is_empty(), "{document} is missing");
        for (_start, after) in
            text.match_indices("`make ").map(|(start, word)| (start, &text[start + word.len()..]))
        {
            let command = after.split('`').next().unwrap_or_default();
            for target in command.split_whitespace().filter(|word| !word.contains('=')) {
                named += 1;
                assert!(targets.contains(target), "{document} names `make {target}`, which does not exist");
            }
        }
    }
    assert!(named > 0, "no document names a make target");
}

#[test]
fn the_harness_and_the_makefile_mean_the_same_envoys() {
    let text = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let versions = text.lines().find_map(|line| line.strip_prefix("ENVOY_VERSIONS := ")).unwrap();
    assert_eq!(versions.split_whitespace().collect::<Vec<_>>(), xcc_integration::project::ENVOY_VERSIONS);
}

#[test]
fn scripts_can_be_run() {
    use std::os::unix::fs::PermissionsExt;
    let mut scripts = vec![root().join(".ci/run")];
    walk(&root().join("integration/tools"), &mut |path| scripts.push(path));
    for script in scripts {
        let text = std::fs::read_to_string(&script).unwrap();
        if text.starts_with("#!") {
            let mode = std::fs::metadata(&script).unwrap().permissions().mode();
            assert_eq!(mode & 0o111, 0o111, "{} is not executable", script.display());
            assert!(text.contains("set -euo pipefail"), "{} goes on after errors", script.display());
        }
    }
}
