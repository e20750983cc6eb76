//! The API server of a remote dies: nothing of it is lost.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::observe::{condition, imported};
use super::{NAME, changes_arrive};
use crate::client::{PATIENCE, text};
use crate::cluster::Cluster;
use crate::installation::NAMESPACE;
use crate::load::Load;
use crate::progress::Progress;
use crate::wait;
use crate::world::World;

/// How long it is away: longer than the nodes may be silent (20 s here), so that what its controllers make of the
/// silence once it is back is part of it; and longer than the pauses between xcc's tries grow (8 s).
const OUTAGE: Duration = Duration::from_secs(60);

/// Requests after it is back: the time in which the node controller looks at the nodes.
const AFTERWARDS: usize = 100;

/// Requests go on while the API server of shared-services is killed; its RemoteCluster says so, and recovers.
///
/// # Errors
/// The first step that did not hold.
pub async fn walk(world: &mut World, progress: Progress) -> Result<()> {
    let from = world.shared_services.name();
    let before = imported(&world.workloads, NAME).await?;
    let load = Load::start(&world.workloads, NAME).await?;
    load.more(10).await?;
    world.shared_services.stop_api_server().await?;
    let unreachable = condition(&world.workloads, from, "Ready", "False", "Unreachable").await?;
    ensure!(unreachable.message.contains("check the server"), "no advice in {unreachable:?}");
    condition(&world.workloads, from, "Synced", "False", "Stale").await?;
    let age = wait::until("all replicas tell how old what they know is", PATIENCE, async || {
        let now = metrics(&world.workloads, from).await?;
        ensure!(now.iter().all(|metrics| metrics.connected == 0 && metrics.last_sync > 0), "{now:?}");
        Ok(Some(now))
    })
    .await?;
    progress.say("a remote's API server is killed: Ready=False, Unreachable; Synced=False, Stale; metrics tell its age");
    load.lasts(load.elapsed() + OUTAGE).await?;
    let during = imported(&world.workloads, NAME).await?;
    ensure!(during == before, "the ServiceRecord changed from {before:?} to {during:?}");
    world.shared_services.start_api_server().await?;
    condition(&world.workloads, from, "Ready", "True", "Connected").await?;
    condition(&world.workloads, from, "Synced", "True", "Synced").await?;
    wait::until("all replicas are in step again", PATIENCE, async || {
        let now = metrics(&world.workloads, from).await?;
        let newer = |(now, then): (&Metrics, &Metrics)| now.connected == 1 && now.last_sync > then.last_sync;
        ensure!(now.iter().zip(&age).all(newer), "{now:?}");
        Ok(Some(()))
    })
    .await?;
    load.more(AFTERWARDS).await?;
    let report = load.finish().await?;
    progress.say(format!("{} s without it, and it is back: {}", OUTAGE.as_secs(), report.summary()));

    changes_arrive(world).await?;
    progress.say("a change after it takes effect");
    Ok(())
}

/// What a replica's metrics say of a remote.
#[derive(Debug)]
struct Metrics {
    connected: i64,
    last_sync: i64,
}

/// Reads those of all replicas, in the order of their names.
async fn metrics(importing: &Cluster, remote: &str) -> Result<Vec<Metrics>> {
    let mut pods = importing.pods(NAMESPACE, "app.kubernetes.io/name=xcc").await?;
    pods.sort();
    let mut all = Vec::new();
    for pod in pods {
        let curl = ["curl", "-sS", "--max-time", "5", "http://localhost:9080/metrics"];
        let page = text(&importing.exec_in_pod(NAMESPACE, &pod, &curl).await?);
        let value = |name: &str| {
            let start = format!("xcc_{name}{{remote=\"{remote}\"}} ");
            let value = page.lines().find_map(|line| line.strip_prefix(&start));
            value.and_then(|value| value.parse().ok()).with_context(|| format!("no {start}in {page}"))
        };
        let (connected, last_sync) =
            (value("remote_connected")?, value("remote_last_sync_timestamp_seconds")?);
        all.push(Metrics { connected, last_sync });
    }
    Ok(all)
}
