//! Nodes of the exporting cluster come and go, drain and fail: the endpoints follow, and requests go on.

use anyhow::{Result, ensure};
use serde_json::json;

use super::NAME;
use super::observe::{imported_when, set_spec};
use crate::client::{PATIENCE, reaches};
use crate::cluster::Cluster;
use crate::example;
use crate::kubelet::heartbeat::{AddressFamilies, NodeOptions};
use crate::load::Load;
use crate::progress::Progress;
use crate::wait;
use crate::world::World;

/// The node that is added.
const ADDED: &str = "worker-3";

/// Whose drain is not waited for: xcc and its gateway, which shared-services runs as well. Restarts of those are a
/// scenario of their own.
const DRAINED: &str = "--pod-selector=app.kubernetes.io/name notin (xcc, xcc-gateway)";

/// Requests that are to succeed after each change.
const AFTERWARDS: usize = 30;

/// A node is added, one is drained, one is not ready; the added one is deleted and switched off.
///
/// # Errors
/// The first step that did not hold.
pub async fn walk(world: &mut World, progress: Progress) -> Result<()> {
    let load = Load::start(&world.workloads, NAME).await?;
    load.more(10).await?;
    world.shared_services.add_node(ADDED, NodeOptions::default()).await?;
    let [added, _v6] = addresses(&world.shared_services, ADDED)?;
    imported_when(&world.workloads, NAME, "has the new node", |it| it.addresses.contains(&added)).await?;
    load.more(AFTERWARDS).await?;
    load.check()?;
    progress.say("a node is added: it is an endpoint");

    let exporting = &world.shared_services;
    drain(exporting, "worker-2").await?;
    exporting.rollout(example::NAMESPACE, "deployment/nginx", PATIENCE).await?;
    let [drained, _v6] = addresses(exporting, "worker-2")?;
    // The ingress is a DaemonSet, which drains leave where it is.
    imported_when(&world.workloads, NAME, "still has the drained node", |it| it.addresses.contains(&drained))
        .await?;
    load.more(AFTERWARDS).await?;
    load.check()?;
    exporting.kubectl(&["uncordon", "worker-2"]).await?;
    progress.say("a node is drained: its ingress stays an endpoint");

    exporting.set_ready("worker-2", false).await?;
    imported_when(&world.workloads, NAME, "lacks the node not ready", |it| !it.addresses.contains(&drained))
        .await?;
    load.more(AFTERWARDS).await?;
    exporting.set_ready("worker-2", true).await?;
    imported_when(&world.workloads, NAME, "has it again", |it| it.addresses.contains(&drained)).await?;
    load.check()?;
    progress.say("a node is not ready, then ready: no endpoint, then one");

    drain(&world.shared_services, ADDED).await?;
    world.shared_services.set_ready(ADDED, false).await?;
    imported_when(&world.workloads, NAME, "lacks the node to go", |it| !it.addresses.contains(&added))
        .await?;
    world.shared_services.remove_node(ADDED).await?;
    load.more(AFTERWARDS).await?;
    let report = load.finish().await?;
    progress.say(format!("a node is drained, shut down and deleted. Nodes: {}", report.summary()));
    Ok(())
}

/// A node that has only an IPv6 address is an endpoint, and requests succeed through IPv6 alone.
///
/// # Errors
/// The first step that did not hold.
pub async fn walk_ipv6(world: &mut World, progress: Progress) -> Result<()> {
    let from = world.shared_services.name();
    let options = NodeOptions { families: AddressFamilies::V6, ..NodeOptions::default() };
    world.shared_services.add_node(ADDED, options).await?;
    let [v4, v6] = addresses(&world.shared_services, ADDED)?;
    let to = &world.workloads;
    let both = imported_when(to, NAME, "has the IPv6 node", |it| it.addresses.contains(&v6)).await?;
    ensure!(!both.addresses.contains(&v4), "the node has no IPv4 address: {both:?}");
    ingress_runs(&world.shared_services, ADDED).await?;
    set_spec(to, from, json!({"allowedEndpointCIDRs": [format!("{v6}/128")]})).await?;
    imported_when(to, NAME, "has it alone", |it| it.addresses.iter().eq([&v6])).await?;
    let load = Load::start(to, NAME).await?;
    load.more(AFTERWARDS).await?;
    let report = load.finish().await?;
    progress.say(format!("a node of IPv6 only as the only endpoint: {}", report.summary()));

    set_spec(to, from, json!({"allowedEndpointCIDRs": []})).await?;
    imported_when(to, NAME, "has all nodes", |it| it.addresses.len() > 1).await?;
    world.shared_services.remove_node(ADDED).await?;
    imported_when(to, NAME, "lacks the IPv6 node", |it| !it.addresses.contains(&v6)).await?;
    reaches(to, NAME, from).await
}

async fn drain(cluster: &Cluster, node: &str) -> Result<()> {
    let drain = ["drain", node, DRAINED, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=90s"];
    cluster.kubectl(&drain).await.map(drop)
}

/// Waits until the ingress of a node is ready.
async fn ingress_runs(cluster: &Cluster, node: &str) -> Result<()> {
    let of_node = format!("--field-selector=spec.nodeName={node}");
    let ready = "--output=jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
    let pods = ["get", "pods", "--namespace=projectcontour", "--selector=app=envoy", &of_node, ready];
    wait::until(&format!("the ingress of {node} is ready"), PATIENCE, async || {
        Ok(wait::holds(cluster.kubectl(&pods).await? == "True"))
    })
    .await
}

fn addresses(cluster: &Cluster, node: &str) -> Result<[String; 2]> {
    Ok(cluster.node_addresses(node)?.map(|address| address.to_string()))
}
