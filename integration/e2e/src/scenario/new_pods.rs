//! Every pod of xcc and of the gateway is new while a remote's API server is away: what is kept in the importing cluster
//! is enough.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{Api, ResourceExt};

use super::observe::{condition, imported};
use super::{NAME, changes_arrive};
use crate::client::{PATIENCE, reaches, text};
use crate::cluster::Cluster;
use crate::installation::NAMESPACE;
use crate::progress::Progress;
use crate::world::World;
use crate::{layout, wait};

/// How long new pods may take to be ready: xcc waits 10 s for the remote.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// Deletes all pods in an outage, and uses the name.
///
/// # Errors
/// The first step that did not hold.
pub async fn walk(world: &mut World, progress: Progress) -> Result<()> {
    let from = world.shared_services.name();
    let record = imported(&world.workloads, NAME).await?;
    let kept = kept(&world.workloads).await?;
    let secret = ["token", "password", "client-key", "PRIVATE KEY"].iter().find(|word| kept.contains(**word));
    ensure!(secret.is_none(), "a {} is in what is no Secret", secret.unwrap_or(&""));
    apply_again(&world.workloads).await?;
    ensure!(newest(&world.workloads).await? == Some(kept), "applying the manifests again changed the state");
    progress.say("the state is in a ConfigMap, and applying the manifests again leaves it alone");

    world.shared_services.stop_api_server().await?;
    condition(&world.workloads, from, "Ready", "False", "Unreachable").await?;
    let start = progress.elapsed();
    replace_pods(&world.workloads, "xcc").await?;
    answered(&world.workloads).await?;
    let took = progress.elapsed().saturating_sub(start).as_secs();
    replace_pods(&world.workloads, "xcc-gateway").await?;
    reaches(&world.workloads, NAME, from).await?;
    // This is written by the new leader, which has never reached the remote.
    condition(&world.workloads, from, "Synced", "False", "Pending").await?;
    let now = imported(&world.workloads, NAME).await?;
    ensure!(now == record, "the ServiceRecord changed from {record:?} to {now:?}");
    progress.say(format!(
        "a remote's API server is away and all pods are new: they answer {NAME} after {took} s, and it is reached \
         through new gateways"
    ));

    world.shared_services.start_api_server().await?;
    condition(&world.workloads, from, "Synced", "True", "Synced").await?;
    changes_arrive(world).await?;
    progress.say("it is back, and a change takes effect");
    Ok(())
}

/// Waits until the name is in what is kept.
async fn kept(importing: &Cluster) -> Result<String> {
    wait::until(&format!("{NAME} is in the state that is kept"), PATIENCE, async || {
        Ok(newest(importing).await?.filter(|state| state.contains(&format!("\"{NAME}\""))))
    })
    .await
}

/// The newest state that is kept, as JSON.
async fn newest(importing: &Cluster) -> Result<Option<String>> {
    let api: Api<ConfigMap> = Api::namespaced(importing.client().clone(), NAMESPACE);
    let mut newest = None;
    for set in ["a", "b"] {
        let first = api.get(&format!("xcc-state-{set}-0")).await?;
        let Some(header) = first.data.as_ref().and_then(|data| data.get("header")) else { continue };
        let header: serde_json::Value = serde_json::from_str(header)?;
        ensure!(header["parts"] == 1, "so few names take one part: {header}");
        let generation = header["generation"].as_u64().context("no generation")?;
        newest = newest.max(Some((generation, first.binary_data.unwrap_or_default())));
    }
    let Some((_, data)) = newest else { return Ok(None) };
    let ByteString(bytes) = data.get("state").context("no state beside the header")?;
    let state =
        miniz_oxide::inflate::decompress_to_vec_zlib(bytes).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(Some(String::from_utf8(state)?))
}

/// As an upgrade does, in both ways.
async fn apply_again(importing: &Cluster) -> Result<()> {
    let path = |path: &str| layout::root().join(path).display().to_string();
    let objects = path("manifests/base/state.yaml");
    importing.kubectl(&["apply", "--server-side", "--force-conflicts", "--filename", &objects]).await?;
    importing.kubectl(&["apply", "--kustomize", &path("manifests")]).await.map(drop)
}

/// Kills all pods of a Deployment at once, and waits until others have taken their place.
async fn replace_pods(importing: &Cluster, deployment: &str) -> Result<()> {
    let label = format!("app.kubernetes.io/name={deployment}");
    let pods: Api<Pod> = Api::namespaced(importing.client().clone(), NAMESPACE);
    let names = async || {
        let list = pods.list(&kube::api::ListParams::default().labels(&label)).await?;
        anyhow::Ok(list.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>())
    };
    let old = names().await?;
    let delete =
        ["delete", "pods", "--namespace", NAMESPACE, "--selector", &label, "--grace-period=0", "--force"];
    importing.kubectl(&delete).await?;
    wait::until(&format!("the old pods of {deployment} are gone"), PATIENCE, async || {
        Ok(wait::holds(names().await?.iter().all(|pod| !old.contains(pod))))
    })
    .await?;
    importing.rollout(NAMESPACE, &format!("deployment/{deployment}"), READY_LIMIT).await
}

/// Waits until all replicas answer the name. Clients may have an answer from before.
async fn answered(importing: &Cluster) -> Result<()> {
    wait::until(&format!("all replicas answer {NAME}"), PATIENCE, async || {
        for pod in importing.pods(NAMESPACE, "app.kubernetes.io/name=xcc").await? {
            let curl = ["curl", "-sS", "--max-time", "5", "http://localhost:9080/debug/zone"];
            let zone = text(&importing.exec_in_pod(NAMESPACE, &pod, &curl).await?);
            ensure!(zone.contains(NAME), "{pod} answers {zone}");
        }
        Ok(Some(()))
    })
    .await
}
