//! `testdata/in/<case>.yaml`, a service table, gives `testdata/out/<case>.*.yaml`, Envoy's configuration in the form of
//! files that Envoy reads. `UPDATE_GOLDEN=1 cargo test -p xcc-envoy --test golden` writes them anew and removes those that
//! no case makes.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;

use common::fixture::{Case, folder, many_names};
use prost::Message;
use serde_json::json;
use xcc_envoy::{
    BootstrapConfig, BootstrapTls, GatewayConfig, MatcherForm, Resources, XdsAddress, bootstrap, sds_files,
    standalone_bootstrap, static_bootstrap, translate, yaml,
};
use xxhash_rust::xxh3::xxh3_128;

#[test]
fn golden_files_are_what_is_made() {
    let mut made = BTreeMap::new();
    for entry in fs::read_dir(folder("testdata/in")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        translate_case(&name, &Case::parse(&fs::read_to_string(path).unwrap()), &mut made);
    }
    assert!(!made.is_empty());
    thousand_names(&mut made);
    bootstraps(&mut made);
    compare(&made);
}

type Files = BTreeMap<String, String>;

fn translate_case(name: &str, case: &Case, made: &mut Files) {
    let table = case.table();
    let resources = translate(&table, &case.config(), MatcherForm::ServerNames);
    assert_eq!(resources.omitted, []);
    let exact_map = translate(&table, &case.config(), MatcherForm::ExactMap);
    assert_eq!(resources.clusters, exact_map.clusters);
    assert_eq!(resources.endpoints, exact_map.endpoints);
    assert_bootstraps_hold_all(&resources);
    assert_bootstraps_hold_all(&exact_map);
    for (kind, value) in [
        ("clusters", yaml::resources(&resources.clusters)),
        ("endpoints", yaml::resources(&resources.endpoints)),
        ("listeners", yaml::resources(&resources.listeners)),
        ("listeners-exact-map", yaml::resources(&exact_map.listeners)),
    ] {
        let text = yaml::value_to_yaml(&value.unwrap()).unwrap();
        made.insert(format!("{name}.{kind}.yaml"), text);
    }
}

/// The two forms of a bootstrap that Envoy can be tried with by hand have a text form and lack nothing.
fn assert_bootstraps_hold_all(resources: &Resources) {
    let config = BootstrapConfig::new("gateway", vec!["127.0.0.1:18000".parse().unwrap()]);
    let listeners = yaml::resources(&resources.listeners).unwrap()["resources"].clone();
    for (bootstrap, own_clusters) in
        [(static_bootstrap(&config, resources), 1), (standalone_bootstrap(resources, None), 0)]
    {
        let fixed = yaml::to_value(&bootstrap).unwrap()["staticResources"].clone();
        let count = |key: &str| fixed[key].as_array().map_or(0, Vec::len);
        assert_eq!(count("clusters"), resources.clusters.len() + own_clusters);
        assert_eq!(count("listeners"), listeners.as_array().unwrap().len());
        for (fixed, listener) in
            fixed["listeners"].as_array().into_iter().flatten().zip(listeners.as_array().unwrap())
        {
            assert_eq!(fixed["filterChainMatcher"], listener["filterChainMatcher"]);
        }
    }
}

/// Sizes and hashes only: the files themselves would be large and say nothing new.
fn thousand_names(made: &mut Files) {
    let table = many_names(1_000);
    let config = GatewayConfig::new(Ipv4Addr::UNSPECIFIED.into(), 10_000);
    let mut digests = BTreeMap::new();
    for (form, key) in [(MatcherForm::ServerNames, "serverNames"), (MatcherForm::ExactMap, "exactMap")] {
        let resources = translate(&table, &config, form);
        let [listener] = resources.listeners.as_slice() else { panic!("one port, one listener") };
        let bytes = listener.encode_to_vec();
        let hash = format!("{:032x}", xxh3_128(&bytes));
        let chains = listener.filter_chains.len();
        digests.insert(key, json!({"bytes": bytes.len(), "chains": chains, "xxh3": hash}));
    }
    made.insert("thousand-names.digest.yaml".into(), yaml::value_to_yaml(&json!(digests)).unwrap());
}

fn bootstraps(made: &mut Files) {
    let addresses =
        |texts: &[&str]| texts.iter().map(|text| text.parse::<XdsAddress>().unwrap()).collect::<Vec<_>>();
    let mut plain = BootstrapConfig::new("gateway-0", addresses(&["127.0.0.1:18000", "[::1]:18000"]));
    plain.admin_address = Some("127.0.0.1:9901".parse().unwrap());
    let mut mutual =
        BootstrapConfig::new("gateway-0", addresses(&["xcc-xds.cross-cluster-connectivity.svc:18000"]));
    mutual.tls = Some(BootstrapTls {
        ca_file: "/etc/xcc/tls/ca.crt".into(),
        cert_file: "/etc/xcc/tls/tls.crt".into(),
        key_file: "/etc/xcc/tls/tls.key".into(),
        server_name: None,
        sds_directory: None,
    });
    let mut rotating = mutual.clone();
    rotating.tls.as_mut().unwrap().sds_directory = Some("/etc/envoy".into());
    let mut ready = plain.clone();
    ready.ready_address = Some("[::]:9902".parse().unwrap());
    assert_eq!(sds_files(&plain).unwrap(), []);
    assert_eq!(sds_files(&mutual).unwrap(), []);
    for (name, config) in
        [("plain", &plain), ("mtls", &mutual), ("mtls-rotating", &rotating), ("ready", &ready)]
    {
        made.insert(format!("bootstrap-{name}.yaml"), yaml::to_yaml(&bootstrap(config)).unwrap());
        for file in sds_files(config).unwrap() {
            made.insert(format!("bootstrap-{name}.{}", file.name), file.content);
        }
    }
}

fn compare(made: &Files) {
    let out = folder("testdata/out");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut present = BTreeMap::new();
    for entry in fs::read_dir(&out).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        present.insert(name, fs::read_to_string(entry.path()).unwrap());
    }
    if update {
        for name in present.keys().filter(|name| !made.contains_key(*name)) {
            fs::remove_file(out.join(name)).unwrap();
        }
        for (name, text) in made.iter().filter(|(name, text)| present.get(*name) != Some(text)) {
            fs::write(out.join(name), text).unwrap();
        }
        return;
    }
    let hint = "UPDATE_GOLDEN=1 cargo test -p xcc-envoy --test golden writes the files anew";
    for (name, text) in made {
        let have = present.remove(name).unwrap_or_else(|| panic!("testdata/out/{name} is missing; {hint}"));
        assert_eq!(&have, text, "testdata/out/{name}; {hint}");
    }
    assert!(present.is_empty(), "no case makes {:?}; {hint}", present.keys());
}
