//! The certificates between gateway and xcc are made anew: streams that are open stay open, new ones take the new ones.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::NAME;
use super::restarts::restart;
use crate::client::{PATIENCE, text};
use crate::cluster::Cluster;
use crate::installation::{self, NAMESPACE};
use crate::load::Load;
use crate::progress::Progress;
use crate::wait;
use crate::world::World;

/// The certificates of both sides; the authority that signs them stays.
const SECRETS: [&str; 2] = ["xcc-xds-server", "xcc-xds-gateway"];

/// Requests while nothing is to happen.
const AFTERWARDS: usize = 50;

/// Both are deleted and made anew; then the gateways are restarted, and have only the new ones.
///
/// # Errors
/// The first step that did not hold.
pub async fn walk(world: &mut World, progress: Progress) -> Result<()> {
    let to = &world.workloads;
    let before = certificates(to).await?;
    let streams = streams(to).await?;
    ensure!(!streams.is_empty(), "no gateway is connected");
    let load = Load::start(to, NAME).await?;
    to.kubectl(&["delete", "secret", SECRETS[0], SECRETS[1], "--namespace", NAMESPACE]).await?;
    wait::until("both certificates are made anew", PATIENCE, async || {
        let now = certificates(to).await?;
        Ok(wait::holds(now.iter().zip(&before).all(|(now, before)| now != before)))
    })
    .await?;
    load.more(AFTERWARDS).await?;
    let now = self::streams(to).await?;
    ensure!(now == streams, "gateways have connected anew: {streams:?}, {now:?}");
    progress.say("certificates between gateway and xcc made anew: every stream is the one that it was");

    restart(to, "xcc-gateway").await?;
    installation::ready(to).await?;
    let now = self::streams(to).await?;
    ensure!(now.is_disjoint(&streams) && !now.is_empty(), "old streams are left: {streams:?}, {now:?}");
    load.more(AFTERWARDS).await?;
    let report = load.finish().await?;
    progress.say(format!("gateways that start with the new ones connect: {}", report.summary()));
    Ok(())
}

/// The certificates in the Secrets.
async fn certificates(cluster: &Cluster) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for secret in SECRETS {
        let path = "--output=jsonpath={.data.tls\\.crt}";
        let get = ["get", "secret", secret, "--namespace", NAMESPACE, path];
        all.push(cluster.kubectl(&get).await?);
    }
    Ok(all)
}

/// The streams of gateways, by replica of xcc, gateway and number of the stream.
async fn streams(cluster: &Cluster) -> Result<BTreeSet<(String, String, u64)>> {
    let mut all = BTreeSet::new();
    for pod in cluster.pods(NAMESPACE, "app.kubernetes.io/name=xcc").await? {
        let curl = ["curl", "-sS", "--max-time", "5", "http://localhost:9080/debug/clients"];
        let page = text(&cluster.exec_in_pod(NAMESPACE, &pod, &curl).await?);
        let page: Value = serde_json::from_str(&page).with_context(|| format!("no clients in {page}"))?;
        for client in page["clients"].as_array().into_iter().flatten() {
            let (node, id) = (client["node_id"].as_str(), client["id"].as_u64());
            let (node, id) = node.zip(id).with_context(|| format!("a client without name: {client}"))?;
            all.insert((pod.clone(), node.to_owned(), id));
        }
    }
    Ok(all)
}
