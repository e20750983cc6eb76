//! The gateway's Service gets a load balancer, and is deleted and made anew: DNS follows, and never says that a name does
//! not exist.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::json;

use super::NAME;
use crate::client::{PATIENCE, reaches, text};
use crate::cluster::Cluster;
use crate::installation::NAMESPACE;
use crate::progress::Progress;
use crate::world::World;
use crate::{layout, wait};

const SERVICE: &str = "xcc-gateway";

/// A load balancer's address (RFC 5737): kube-proxy leads it to the gateway on every node.
const BALANCED: &str = "192.0.2.10";

/// The address becomes a load balancer's, none, and a new one.
///
/// # Errors
/// The first step that did not hold.
pub async fn walk(world: &mut World, progress: Progress) -> Result<()> {
    let (from, to) = (world.shared_services.name(), &world.workloads);
    let before = cluster_ips(to).await?;
    ensure!(before.len() == 2, "the gateway's Service should have both families: {before:?}");
    answered(to, &before).await?;
    name_server_resolves(to).await?;
    progress.say("the zone's name server resolves to the Service xcc-dns");

    patch(to, &json!({"spec": {"type": "LoadBalancer"}}), &[]).await?;
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": BALANCED}]}}});
    patch(to, &status, &["--subresource=status"]).await?;
    answered(to, &BTreeSet::from([BALANCED.to_owned()])).await?;
    reaches(to, NAME, from).await?;
    progress.say(format!("the gateway's Service gets a load balancer: {NAME} is answered with its address"));

    to.kubectl(&["delete", "service", SERVICE, "--namespace", NAMESPACE]).await?;
    wait::until("DNS says that it cannot answer", PATIENCE, async || {
        let said = text(&dig(to, &["+noall", "+comments", "A"]).await?);
        ensure!(!said.contains("NXDOMAIN"), "it says that the name does not exist: {said}");
        ensure!(said.contains("SERVFAIL"), "it says {said}");
        Ok(Some(()))
    })
    .await?;
    let base = layout::root().join("manifests").display().to_string();
    to.kubectl(&["apply", "--kustomize", &base]).await?;
    let after = cluster_ips(to).await?;
    answered(to, &after).await?;
    reaches(to, NAME, from).await?;
    progress.say(format!(
        "it is deleted: SERVFAIL, not NXDOMAIN; it is made anew: {}",
        after.into_iter().collect::<Vec<_>>().join(" and ")
    ));
    Ok(())
}

/// Waits until xcc itself answers the name with these addresses.
async fn answered(cluster: &Cluster, addresses: &BTreeSet<String>) -> Result<()> {
    wait::until(&format!("{NAME} is answered with {addresses:?}"), PATIENCE, async || {
        let answers = text(&dig(cluster, &["+short", "A", NAME, "AAAA"]).await?);
        let is: BTreeSet<String> = answers.lines().map(|line| line.trim().to_owned()).collect();
        ensure!(is == *addresses, "it is answered with {is:?}");
        Ok(Some(()))
    })
    .await
}

/// The name server that NS names is where the cluster's DNS asks xcc: the addresses of that Service.
async fn name_server_resolves(cluster: &Cluster) -> Result<()> {
    let path = "--output=jsonpath={.spec.clusterIPs[*]}";
    let ips = cluster.kubectl(&["get", "service", "xcc-dns", "--namespace", NAMESPACE, path]).await?;
    let want: BTreeSet<&str> = ips.split_whitespace().collect();
    ensure!(!want.is_empty(), "the Service xcc-dns has no address");
    let server = "ns.dns.xcc.test";
    wait::until(&format!("{server} is {want:?}"), PATIENCE, async || {
        // Through the cluster's DNS, as a pod asks.
        let argv = ["dig", "+short", "+time=2", "+tries=2", server, "A", server, "AAAA"];
        let answers = text(&cluster.exec_in_client(&argv).await?);
        let is: BTreeSet<&str> = answers.lines().map(str::trim).collect();
        ensure!(is == want, "it is {is:?}");
        Ok(Some(()))
    })
    .await
}

/// Asks xcc for the name from the client pod, past the cache of the cluster's DNS.
async fn dig(cluster: &Cluster, options: &[&str]) -> Result<std::process::Output> {
    let address = "--output=jsonpath={.spec.clusterIP}";
    let server = cluster.kubectl(&["get", "service", "xcc-dns", "--namespace", NAMESPACE, address]).await?;
    let server = format!("@{server}");
    let argv: Vec<&str> =
        ["dig", &server, "+time=2", "+tries=2", NAME].iter().chain(options).copied().collect();
    cluster.exec_in_client(&argv).await
}

async fn cluster_ips(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let path = "--output=jsonpath={.spec.clusterIPs[*]}";
    let ips = cluster.kubectl(&["get", "service", SERVICE, "--namespace", NAMESPACE, path]).await?;
    Ok(ips.split_whitespace().map(str::to_owned).collect())
}

async fn patch(cluster: &Cluster, patch: &serde_json::Value, flags: &[&str]) -> Result<()> {
    let text = patch.to_string();
    let command =
        ["patch", "service", SERVICE, "--namespace", NAMESPACE, "--type=merge", "--patch", text.as_str()];
    let command: Vec<&str> = command.iter().chain(flags).copied().collect();
    cluster.kubectl(&command).await.map(drop)
}
