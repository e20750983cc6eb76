//! Manifests in, Envoy configuration, zone and diagnostics out: the same code as `xcc translate`, since it is.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests, too")]

use anyhow::Result;
use serde_json::Value;
use xcc_integration::golden::{self, Case};
use xcc_integration::project::ENVOY_VERSIONS;
use xcc_integration::scratch::Scratch;
use xcc_integration::{envoy, manifests};

/// Runs a check on every case and fails with all that went wrong.
fn for_each_case(mut check: impl FnMut(&Case) -> Result<()>) {
    let cases = golden::cases().unwrap();
    assert!(
        cases.len() > 10,
        "where are the cases? only {} in {}",
        cases.len(),
        golden::testdata().display()
    );
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| check(case).err().map(|error| format!("{}: {error:#}", case.name())))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn outputs_are_as_recorded() {
    for_each_case(Case::check);
}

#[test]
fn both_forms_are_accepted_by_every_envoy() {
    let scratch = Scratch::new("golden").unwrap();
    for_each_case(|case| {
        for form in ["server-names", "exact-map"] {
            let document = case.translate(&["--matcher-form", form])?;
            let file = scratch.path().join(format!("{}.{form}.json", case.name()));
            std::fs::write(&file, golden::bootstrap(&document).to_string())?;
            for version in ENVOY_VERSIONS {
                envoy::validate(version, &file)?;
            }
        }
        Ok(())
    });
}

#[test]
fn validation_can_fail() {
    let scratch = Scratch::new("golden").unwrap();
    let mut bootstrap = golden::bootstrap(&Value::Null);
    let file = scratch.path().join("bootstrap.json");
    std::fs::write(&file, bootstrap.to_string()).unwrap();
    envoy::validate(ENVOY_VERSIONS[0], &file).unwrap();
    bootstrap["static_resources"]["listeners"] = serde_json::json!([{"name": "tls/443"}]);
    std::fs::write(&file, bootstrap.to_string()).unwrap();
    envoy::validate(ENVOY_VERSIONS[0], &file).unwrap_err();
}

#[test]
fn json_and_yaml_say_the_same() {
    for_each_case(|case| {
        anyhow::ensure!(case.translate(&["-o", "json"])? == case.translate(&["-o", "yaml"])?);
        Ok(())
    });
}

/// The names of a thousand exports, in an order that is not theirs.
const MANY: usize = 1_000;

#[test]
fn a_thousand_hostnames_are_in_order_and_small() {
    let scratch = Scratch::new("golden").unwrap();
    let mut text = manifests::node("node-0", std::net::IpAddr::from([10, 1, 0, 1]), true);
    for number in (0..MANY).rev() {
        let name = format!("service-{number:04}");
        text.push_str(&manifests::HttpProxy::exported(&name, &format!("{name}.xcc.test")).manifest());
    }
    let file = scratch.path().join("many.yaml");
    std::fs::write(&file, text).unwrap();
    let mut source = std::ffi::OsString::from("east=");
    source.push(&file);
    let run = || {
        xcc_integration::xcc::run([&"translate".into(), &"-f".into(), &source, &"-o".into(), &"json".into()])
    };
    let (first, second) = (run().unwrap(), run().unwrap());
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    assert_eq!(first.stdout, second.stdout, "two processes give different bytes");

    let document: Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!(document["clusters"].as_array().unwrap().len(), 1);
    assert_eq!(document["endpoints"].as_array().unwrap().len(), 1);
    let listeners = document["listeners"].to_string();
    let positions: Vec<Option<usize>> =
        (0..MANY).map(|number| listeners.find(&format!("service-{number:04}.xcc.test"))).collect();
    assert!(positions.iter().all(Option::is_some) && positions.is_sorted(), "not all names, or not in order");
    // 34 bytes a name on the wire; some more in JSON. A chain or a cluster for each would be hundreds.
    assert!(listeners.len() < MANY * 60 + 10_000, "{} bytes", listeners.len());

    let bootstrap = golden::bootstrap(&document).to_string();
    let file = scratch.path().join("bootstrap.json");
    std::fs::write(&file, bootstrap).unwrap();
    for version in ENVOY_VERSIONS {
        envoy::validate(version, &file).unwrap();
    }
}
