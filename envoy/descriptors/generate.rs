//! Makes the descriptor set that `src/yaml.rs` reads, from the proto files that the envoy-types package ships.
//!
//! Shared by the example `descriptors`, which writes the set, and by a test, which finds it stale. Nothing of this is
//! part of the library.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use prost::Message;
use prost_reflect::prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

/// The messages that the translator and the bootstrap emit, at the top or inside of an Any. What they refer to follows.
const ROOTS: &[(&str, &str)] = &[
    ("envoy/config/bootstrap/v3/bootstrap.proto", "envoy.config.bootstrap.v3.Bootstrap"),
    ("envoy/config/cluster/v3/cluster.proto", "envoy.config.cluster.v3.Cluster"),
    ("envoy/config/endpoint/v3/endpoint.proto", "envoy.config.endpoint.v3.ClusterLoadAssignment"),
    ("envoy/config/listener/v3/listener.proto", "envoy.config.listener.v3.Listener"),
    (
        "envoy/extensions/access_loggers/stream/v3/stream.proto",
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
    ),
    (
        "envoy/extensions/filters/http/router/v3/router.proto",
        "envoy.extensions.filters.http.router.v3.Router",
    ),
    (
        "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto",
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    ),
    (
        "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    ),
    (
        "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    ),
    (
        "envoy/extensions/matching/common_inputs/network/v3/network_inputs.proto",
        "envoy.extensions.matching.common_inputs.network.v3.ServerNameInput",
    ),
    (
        "envoy/extensions/resource_monitors/downstream_connections/v3/downstream_connections.proto",
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
    ),
    (
        "envoy/extensions/resource_monitors/fixed_heap/v3/fixed_heap.proto",
        "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
    ),
    (
        "envoy/extensions/transport_sockets/tls/v3/secret.proto",
        "envoy.extensions.transport_sockets.tls.v3.Secret",
    ),
    (
        "envoy/extensions/transport_sockets/tls/v3/tls.proto",
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    ),
    (
        "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    ),
    ("envoy/service/discovery/v3/discovery.proto", "envoy.service.discovery.v3.DiscoveryResponse"),
    ("google/protobuf/wrappers.proto", "google.protobuf.StringValue"),
    ("xds/type/matcher/v3/domain.proto", "xds.type.matcher.v3.ServerNameMatcher"),
];

/// Where the checked-in set lies.
pub(crate) fn checked_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("descriptors/envoy.binpb")
}

/// Compiles and prunes the set: no comments, no options, no services, only messages that the roots refer to.
pub(crate) fn generate() -> Result<Vec<u8>> {
    let mut includes = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("descriptors/proto")];
    includes.extend(published_proto_roots()?);
    let set = protox::compile(ROOTS.iter().map(|(file, _)| file), includes)
        .context("proto files do not compile")?;
    let wanted = reachable(&set, ROOTS.iter().map(|(_, message)| *message))?;
    Ok(prune(set, &wanted).encode_to_vec())
}

/// The folders below `proto/` in the package that Cargo has put on this machine.
fn published_proto_roots() -> Result<Vec<PathBuf>> {
    let version = cargo(&["-vV"])?;
    let host =
        version.lines().find_map(|line| line.strip_prefix("host: ")).context("cargo -vV names no host")?;
    // Without the filter Cargo fetches the packages of all other platforms too.
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let arguments = ["metadata", "--format-version=1", "--locked", "--manifest-path", manifest];
    let output = cargo(&[&arguments[..], &["--filter-platform", host]].concat())?;
    let metadata: serde_json::Value = serde_json::from_str(&output)?;
    let package = metadata["packages"]
        .as_array()
        .and_then(|packages| packages.iter().find(|package| package["name"] == "envoy-types"))
        .context("envoy-types is no dependency")?;
    let manifest = package["manifest_path"].as_str().context("envoy-types has no manifest path")?;
    let protos = Path::new(manifest).with_file_name("proto");
    let mut roots = std::fs::read_dir(&protos)
        .with_context(|| format!("{} cannot be read", protos.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    roots.sort();
    Ok(roots)
}

fn cargo(arguments: &[&str]) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).output().context("cargo cannot be run")?;
    ensure!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The full names, with a leading dot, of all messages and enums that the roots refer to, and of those that enclose them.
fn reachable<'a>(set: &FileDescriptorSet, roots: impl Iterator<Item = &'a str>) -> Result<BTreeSet<String>> {
    let mut messages = BTreeMap::new();
    for file in &set.file {
        for message in &file.message_type {
            index(&format!(".{}", file.package()), message, &mut messages);
        }
    }
    let mut wanted = BTreeSet::new();
    let mut pending = roots.map(|root| format!(".{root}")).collect::<Vec<_>>();
    for root in &pending {
        ensure!(messages.contains_key(root.as_str()), "{root} is in none of the proto files");
    }
    while let Some(name) = pending.pop() {
        if !wanted.insert(name.clone()) {
            continue;
        }
        let enclosing = name.rsplit_once('.').map(|(enclosing, _)| enclosing.to_owned());
        pending.extend(enclosing.filter(|enclosing| messages.contains_key(enclosing)));
        let fields = messages.get(&name).map(|message| message.field.as_slice()).unwrap_or_default();
        pending.extend(fields.iter().filter_map(|field| field.type_name.clone()));
    }
    Ok(wanted)
}

fn index<'a>(
    scope: &str,
    message: &'a DescriptorProto,
    messages: &mut BTreeMap<String, &'a DescriptorProto>,
) {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        index(&name, nested, messages);
    }
    messages.insert(name, message);
}

fn prune(set: FileDescriptorSet, wanted: &BTreeSet<String>) -> FileDescriptorSet {
    let mut files = set.file.into_iter().map(|file| prune_file(file, wanted)).collect::<Vec<_>>();
    let defining = files
        .iter()
        .filter(|file| !file.message_type.is_empty() || !file.enum_type.is_empty())
        .map(|file| file.name().to_owned())
        .collect::<BTreeSet<_>>();
    files.retain(|file| defining.contains(file.name()));
    for file in &mut files {
        file.dependency.retain(|import| defining.contains(import));
    }
    FileDescriptorSet { file: files }
}

fn prune_file(mut file: FileDescriptorProto, wanted: &BTreeSet<String>) -> FileDescriptorProto {
    let scope = format!(".{}", file.package());
    file.message_type.retain(|message| wanted.contains(&format!("{scope}.{}", message.name())));
    file.enum_type.retain(|each| wanted.contains(&format!("{scope}.{}", each.name())));
    for message in &mut file.message_type {
        prune_message(&scope, message, wanted);
    }
    for each in &mut file.enum_type {
        each.options = None;
        each.value.iter_mut().for_each(|value| value.options = None);
    }
    file.service.clear();
    file.extension.clear();
    file.options = None;
    file.source_code_info = None;
    // Indexes into the imports, which change; nothing here re-exports.
    file.public_dependency.clear();
    file.weak_dependency.clear();
    file
}

fn prune_message(scope: &str, message: &mut DescriptorProto, wanted: &BTreeSet<String>) {
    let scope = format!("{scope}.{}", message.name());
    message.nested_type.retain(|nested| wanted.contains(&format!("{scope}.{}", nested.name())));
    message.enum_type.retain(|nested| wanted.contains(&format!("{scope}.{}", nested.name())));
    for nested in &mut message.nested_type {
        prune_message(&scope, nested, wanted);
    }
    for each in &mut message.enum_type {
        // Aliases are legal only with their option.
        each.options = each.options.take().filter(|options| options.allow_alias());
        each.value.iter_mut().for_each(|value| value.options = None);
    }
    message.extension.clear();
    message.field.iter_mut().for_each(|field| field.options = None);
    message.oneof_decl.iter_mut().for_each(|oneof| oneof.options = None);
    // What makes a nested message the entry of a map.
    message.options = message.options.take().filter(|options| options.map_entry());
}

/// Fails unless the checked-in set is what [`generate`] gives.
#[allow(dead_code, reason = "the example writes the set, the test compares it")]
pub(crate) fn check() -> Result<()> {
    let path = checked_in();
    let have = std::fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    if have != generate()? {
        bail!("{} is stale: run `cargo run -p xcc-envoy --example descriptors`", path.display());
    }
    Ok(())
}
