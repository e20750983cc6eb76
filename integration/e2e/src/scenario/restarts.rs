//! Rolling restarts of xcc and of the gateway under load: no request fails.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};

use super::NAME;
use crate::cluster::Cluster;
use crate::installation::NAMESPACE;
use crate::load::Load;
use crate::progress::Progress;
use crate::wait;
use crate::world::World;

/// How long a rollout may take: two pods after each other, each of which may wait for its predecessor's grace period.
const ROLLOUT_LIMIT: Duration = Duration::from_secs(180);

/// Requests after a rollout.
const AFTERWARDS: usize = 50;

/// Both are restarted, one after the other.
///
/// # Errors
/// When a request failed, or a rollout does not end.
pub async fn walk(world: &mut World, progress: Progress) -> Result<()> {
    for (deployment, what) in [("xcc", "xcc"), ("xcc-gateway", "the gateway")] {
        let load = Load::start(&world.workloads, NAME).await?;
        load.more(10).await?;
        let restarted = restart(&world.workloads, deployment).await;
        // What failed for the user comes first.
        load.check()?;
        restarted?;
        load.more(AFTERWARDS).await?;
        let report = load.finish().await.with_context(|| format!("while {what} was restarted"))?;
        progress.say(format!(
            "rolling restart of {what}, {} s: {}",
            report.lasted.as_secs(),
            report.summary()
        ));
    }
    Ok(())
}

/// Restarts a Deployment of xcc's and waits until all its pods are new and the old ones are gone.
///
/// # Errors
/// When it does not end.
pub async fn restart(cluster: &Cluster, deployment: &str) -> Result<()> {
    let label = format!("app.kubernetes.io/name={deployment}");
    let api: Api<Pod> = Api::namespaced(cluster.client().clone(), NAMESPACE);
    let names = async || {
        let pods = api.list(&ListParams::default().labels(&label)).await?;
        anyhow::Ok(pods.items.into_iter().filter_map(|pod| pod.metadata.name).collect::<Vec<_>>())
    };
    let old = names().await?;
    let object = format!("deployment/{deployment}");
    cluster.kubectl(&["rollout", "restart", "--namespace", NAMESPACE, &object]).await?;
    cluster.rollout(NAMESPACE, &object, ROLLOUT_LIMIT).await?;
    wait::until(&format!("the old pods of {deployment} are gone"), ROLLOUT_LIMIT, async || {
        let now = names().await?;
        Ok(wait::holds(old.iter().all(|pod| !now.contains(pod))))
    })
    .await
}
