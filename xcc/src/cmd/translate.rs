//! `xcc translate`: the same code as `serve`, offline.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};
use xcc_envoy::Resources;
use xcc_kube::read_once;
use xcc_model::{Inventory, Update, derive};

use crate::cli::TranslateArgs;
use crate::publisher::describe_omitted;
use crate::serve::{gateway_config, import_policy, zones};

/// Reserved for documentation (RFC 5737): stands for the gateway's address when none is given.
const DEFAULT_GATEWAY_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// There is something that a person should know.
const EXIT_DIAGNOSTICS: u8 = 1;

/// Prints what serve would make of the manifests.
pub(crate) fn run(args: &TranslateArgs) -> anyhow::Result<ExitCode> {
    let mut addresses = args.gateway_addresses.clone();
    if addresses.is_empty() {
        addresses.push(DEFAULT_GATEWAY_ADDRESS);
    }
    let (table, mut diagnostics) = derive(&read(args)?, &import_policy(&args.gateway, &addresses));
    let resources = xcc_envoy::translate(&table, &gateway_config(&args.gateway), args.matcher_form.into());
    diagnostics.extend(describe_omitted(&table, &resources.omitted));
    diagnostics.sort();
    let mut document = describe(&resources)?;
    document.insert("diagnostics".to_owned(), serde_json::to_value(&diagnostics)?);
    let zones = zones(&args.gateway, &addresses).with_changes(table.imports.keys(), []);
    document.insert("zone".to_owned(), serde_json::to_value(zones.dump())?);
    super::print(&super::render(&Value::Object(document), args.output)?)?;
    Ok(if diagnostics.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_DIAGNOSTICS) })
}

fn read(args: &TranslateArgs) -> anyhow::Result<Inventory> {
    let mut paths: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for file in &args.files {
        paths.entry(&file.remote).or_default().push(&file.path);
    }
    let mut inventory = Inventory::default();
    for (remote, paths) in paths {
        let changes = read_once(remote, &paths).with_context(|| format!("remote {remote}"))?;
        inventory.apply(Update { remote: remote.clone(), changes });
    }
    Ok(inventory)
}

fn describe(resources: &Resources) -> anyhow::Result<serde_json::Map<String, Value>> {
    let Value::Object(document) = json!({
        "clusters": values(&resources.clusters)?,
        "endpoints": values(&resources.endpoints)?,
        "listeners": values(&resources.listeners)?,
    }) else {
        unreachable!("the macro makes an object")
    };
    Ok(document)
}

fn values<M: prost::Message + prost::Name>(messages: &[M]) -> anyhow::Result<Vec<Value>> {
    messages.iter().map(|message| Ok(xcc_envoy::yaml::to_value(message)?)).collect()
}
