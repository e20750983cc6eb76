//! The same input gives the same bytes in every process. A protobuf map that is kept in a hash map would not: its order
//! differs between two processes.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::net::Ipv4Addr;
use std::process::Command;

use common::fixture::many_names;
use prost::Message;
use xcc_envoy::{
    BootstrapConfig, BootstrapTls, GatewayConfig, MatcherForm, XdsAddress, bootstrap, sds_files, translate,
};
use xxhash_rust::xxh3::xxh3_128;

const CHILD: &str = "XCC_ENVOY_TEST_CHILD";
const TEST: &str = "bytes_are_equal_in_two_processes";
const CHILDREN: usize = 3;

fn digest() -> String {
    let table = many_names(500);
    let config = GatewayConfig::new(Ipv4Addr::UNSPECIFIED.into(), 10_000);
    let mut bytes = Vec::new();
    for form in [MatcherForm::ServerNames, MatcherForm::ExactMap] {
        let resources = translate(&table, &config, form);
        resources.clusters.iter().for_each(|cluster| cluster.encode(&mut bytes).unwrap());
        resources.endpoints.iter().for_each(|assignment| assignment.encode(&mut bytes).unwrap());
        resources.listeners.iter().for_each(|listener| listener.encode(&mut bytes).unwrap());
    }
    let mut config = BootstrapConfig::new("gateway", vec!["xcc.test:18000".parse::<XdsAddress>().unwrap()]);
    config.tls = Some(BootstrapTls {
        ca_file: "ca.crt".into(),
        cert_file: "tls.crt".into(),
        key_file: "tls.key".into(),
        server_name: None,
        sds_directory: Some("/etc/envoy".into()),
    });
    bootstrap(&config).encode(&mut bytes).unwrap();
    for file in sds_files(&config).unwrap() {
        bytes.extend(file.content.bytes());
    }
    format!("digest={:032x}/{}", xxh3_128(&bytes), bytes.len())
}

#[test]
fn bytes_are_equal_in_two_processes() {
    if std::env::var_os(CHILD).is_some() {
        println!("{}", digest());
        return;
    }
    let want = digest();
    assert_eq!(want, digest(), "two calls in one process");
    for _ in 0..CHILDREN {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([TEST, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(output.status.success());
        let output = String::from_utf8(output.stdout).unwrap();
        assert!(output.contains(&want), "{want} here, in another process: {output}");
    }
}
