//! How much memory xcc takes with many exports, and whether changes make it grow. It measures and judges nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::json;

use crate::cluster::Cluster;
use crate::control_plane::{Sibling, write_private};
use crate::installation::{self, NAMESPACE};
use crate::progress::Progress;
use crate::world::World;
use crate::{layout, pki, process, wait};

/// Remotes, each with an API server of its own.
const REMOTES: u16 = 10;
/// HTTPProxies of each.
const EXPORTS: usize = 1_000;
/// Changes of a label after which memory is looked at, and whose objects take turns.
const FLIPS: usize = 10_000;
const FLIPPED: usize = 100;
/// Requests to one API server at a time.
const AT_ONCE: usize = 16;
/// How long so many objects may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(600);

const LABEL: &str = "connectivity.tanzu.vmware.com/export";

/// Measures in workloads, and prints the figures.
///
/// # Errors
/// When something does not come up, or an export is not imported.
pub async fn measure(world: &World, progress: Progress) -> Result<()> {
    let to = &world.workloads;
    progress.say(format!("no exports: {}", resident(to).await?));
    let mut remotes = Vec::new();
    for number in 1..=REMOTES {
        let remote = world.shared_services.control_plane().start_sibling(number).await?;
        fill(&remote).await?;
        import(to, &remote).await?;
        remotes.push(remote);
    }
    let all = usize::from(REMOTES) * EXPORTS;
    records(to, all).await?;
    progress.say(format!("{all} exports over {REMOTES} remotes: {}", resident(to).await?));

    let flipped = &remotes[0];
    // What the first changes leave behind is no growth.
    flip(flipped, FLIPS / 10).await?;
    records(to, all).await?;
    progress.say(format!("after {} changes of a label: {}", FLIPS / 10, resident(to).await?));
    for round in 1..=2 {
        flip(flipped, FLIPS).await?;
        records(to, all).await?;
        progress.say(format!("after {} more: {}", round * FLIPS, resident(to).await?));
    }
    Ok(())
}

/// Makes a node and the HTTPProxies in a remote.
async fn fill(remote: &Sibling) -> Result<()> {
    let kubeconfig = layout::run().join(format!("{}.kubeconfig", remote.name));
    write_private(&kubeconfig, &remote.forwarded_kubeconfig)?;
    let binary = layout::binary("kubernetes")?.display().to_string();
    let kubectl = [binary, "kubectl".to_owned(), format!("--kubeconfig={}", kubeconfig.display())];
    let crds = layout::cache().join("crds/contour.yaml").display().to_string();
    let apply = ["apply", "--server-side", "--filename", &crds].map(str::to_owned);
    process::run(kubectl.iter().chain(&apply)).await?;
    let established =
        ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"].map(str::to_owned);
    process::run(kubectl.iter().chain(&established)).await?;

    let nodes: Api<DynamicObject> = Api::all_with(
        remote.client.clone(),
        &ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Node")),
    );
    let node = serde_json::from_value(json!({"metadata": {"name": "n1"}}))?;
    nodes.create(&PostParams::default(), &node).await?;
    let status = json!({"status": {
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
    }});
    // Who made it is tainted as not ready by the API server.
    nodes.patch("n1", &PatchParams::default(), &Patch::Merge(json!({"spec": {"taints": null}}))).await?;
    nodes.patch_status("n1", &PatchParams::default(), &Patch::Merge(status)).await?;

    let proxies = proxies(remote);
    stream::iter(0..EXPORTS)
        .map(|number| {
            let proxies = &proxies;
            async move {
                let name = format!("export-{number}");
                let fqdn = format!("{name}.{}.xcc.test", remote.name);
                let proxy = json!({
                    "apiVersion": "projectcontour.io/v1",
                    "kind": "HTTPProxy",
                    "metadata": {"name": name, "labels": {LABEL: ""}},
                    "spec": {
                        "virtualhost": {"fqdn": fqdn, "tls": {"secretName": "tls"}},
                        "routes": [{"services": [{"name": "nginx", "port": 80}]}],
                    },
                });
                proxies.create(&PostParams::default(), &serde_json::from_value(proxy)?).await?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Makes the RemoteCluster.
async fn import(to: &Cluster, remote: &Sibling) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": format!("{}-kubeconfig", remote.name), "namespace": NAMESPACE},
        "data": {"value": pki::base64(remote.kubeconfig.as_bytes())},
    });
    to.kubectl_input(&["apply", "--filename", "-"], &secret.to_string()).await?;
    let object = installation::remote_cluster(&remote.name);
    to.kubectl_input(&["apply", "--filename", "-"], &object).await.map(drop)
}

/// Takes the label off and puts it on again, of one object after the other.
async fn flip(remote: &Sibling, times: usize) -> Result<()> {
    let proxies = proxies(remote);
    // Both changes of an object after each other; several objects at a time.
    stream::iter(0..times / 2)
        .map(|number| {
            let proxies = &proxies;
            async move {
                let name = format!("export-{}", number % FLIPPED);
                for value in [json!(null), json!("")] {
                    let patch = json!({"metadata": {"labels": {LABEL: value}}});
                    proxies.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
                }
                anyhow::Ok(())
            }
        })
        .buffer_unordered(4)
        .try_collect()
        .await
}

fn proxies(remote: &Sibling) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("projectcontour.io", "v1", "HTTPProxy"));
    let kind = ApiResource { plural: "httpproxies".to_owned(), ..kind };
    Api::namespaced_with(remote.client.clone(), "default", &kind)
}

/// Waits until there are so many ServiceRecords, all of which the gateways have.
async fn records(to: &Cluster, wanted: usize) -> Result<()> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "connectivity.tanzu.vmware.com",
        "v1alpha1",
        "ServiceRecord",
    ));
    let records: Api<DynamicObject> = Api::namespaced_with(to.client().clone(), NAMESPACE, &kind);
    wait::until(&format!("{wanted} ServiceRecords are programmed"), PATIENCE, async || {
        let listed = records.list(&ListParams::default()).await?;
        let programmed = |record: &&DynamicObject| {
            let conditions = record.data["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|it| it["type"] == "Programmed" && it["status"] == "True")
        };
        let is = listed.items.iter().filter(programmed).count();
        ensure!(is == wanted, "{is} of {} are", listed.items.len());
        Ok(Some(()))
    })
    .await
}

/// The resident memory of each replica.
async fn resident(cluster: &Cluster) -> Result<String> {
    let mut told = Vec::new();
    for pod in cluster.pods(NAMESPACE, "app.kubernetes.io/name=xcc").await? {
        let status = cluster.exec_in_pod(NAMESPACE, &pod, &["cat", "/proc/1/status"]).await?;
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        let kilobytes = |field: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(field));
            let number = line.and_then(|line| line.split_whitespace().next());
            number
                .and_then(|number| number.parse::<u64>().ok())
                .with_context(|| format!("no {field} in {text}"))
        };
        let (now, peak) = (kilobytes("VmRSS:")?, kilobytes("VmHWM:")?);
        told.push(format!("{pod} {} MB, at most {} MB", now / 1024, peak / 1024));
    }
    Ok(told.join("; "))
}
