//! The API server of a remote dies: nothing of it is lost.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::NAME;
use super::observe::{condition, imported};
use crate::client::{reaches, unresolved};
use crate::example;
use crate::load::Load;
use crate::progress::Progress;
use crate::world::World;

/// How long it is away: longer than the nodes may be silent (20 s here), so that what its controllers make of the
/// silence once it is back is part of it; and longer than the pauses between xcc's tries grow (8 s).
const OUTAGE: Duration = Duration::from_secs(30);

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
    progress.say("a remote's API server is killed: Ready=False, Unreachable; Synced=False, Stale");
    load.lasts(load.elapsed() + OUTAGE).await?;
    let during = imported(&world.workloads, NAME).await?;
    ensure!(during == before, "the ServiceRecord changed from {before:?} to {during:?}");
    world.shared_services.start_api_server().await?;
    condition(&world.workloads, from, "Ready", "True", "Connected").await?;
    condition(&world.workloads, from, "Synced", "True", "Synced").await?;
    load.more(AFTERWARDS).await?;
    let report = load.finish().await?;
    progress.say(format!("{} s without it, and it is back: {}", OUTAGE.as_secs(), report.summary()));

    example::unexport(&world.shared_services).await?;
    unresolved(&world.workloads, NAME).await?;
    example::export(&world.shared_services, NAME).await?;
    reaches(&world.workloads, NAME, from).await?;
    progress.say("a change after it takes effect");
    Ok(())
}
