//! The replica that writes dies without a word: another takes over when its lease has run out.

use anyhow::{Result, ensure};

use super::NAME;
use super::observe::imported_when;
use crate::client::{PATIENCE, reaches, unresolved};
use crate::cluster::Cluster;
use crate::installation::{self, NAMESPACE};
use crate::load::Load;
use crate::progress::Progress;
use crate::world::World;
use crate::{example, wait};

/// The leader is killed; the next change is written by another.
///
/// # Errors
/// The first step that did not hold.
pub async fn walk(world: &mut World, progress: Progress) -> Result<()> {
    let (from, to) = (&world.shared_services, &world.workloads);
    let old = holder(to).await?;
    ensure!(!old.is_empty(), "no replica leads");
    let load = Load::start(to, NAME).await?;
    load.more(10).await?;
    // Without a grace period: SIGKILL, and the lease is not given back.
    to.kubectl(&["delete", "pod", &old, "--namespace", NAMESPACE, "--grace-period=0", "--force"]).await?;
    let start = progress.elapsed();
    let new = wait::until("another replica leads", PATIENCE, async || {
        let holder = holder(to).await?;
        Ok((!holder.is_empty() && holder != old).then_some(holder))
    })
    .await?;
    let took = progress.elapsed().saturating_sub(start).as_secs();
    let report = load.so_far();
    installation::ready(to).await?;
    drop(load);

    example::unexport(from).await?;
    unresolved(to, NAME).await?;
    wait::until("its ServiceRecord is deleted", PATIENCE, async || {
        Ok(wait::holds(installation::service_records(to).await?.is_empty()))
    })
    .await?;
    example::export(from, NAME).await?;
    imported_when(to, NAME, "is written again", |it| !it.addresses.is_empty()).await?;
    reaches(to, NAME, from.name()).await?;
    progress.say(format!(
        "the leader {old} is killed: {new} leads {took} s later and writes what changes; of {} requests meanwhile \
         {} failed",
        report.requests,
        report.failures.len()
    ));
    Ok(())
}

/// Which replica has the lease.
async fn holder(cluster: &Cluster) -> Result<String> {
    let holder = "--output=jsonpath={.spec.holderIdentity}";
    cluster.kubectl(&["get", "lease", "xcc", "--namespace", NAMESPACE, holder]).await
}
