//! The cluster's DNS: checked, taken out byte for byte, kept right by xcc itself.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::NAME;
use crate::client::{PATIENCE, reaches, unresolved};
use crate::cluster::Cluster;
use crate::installation::{self, NAMESPACE};
use crate::kubelet::plan;
use crate::progress::Progress;
use crate::world::World;
use crate::{layout, wait};

/// CoreDNS' ConfigMap.
const COREFILE: [&str; 3] = ["configmap", "coredns", "--namespace=kube-system"];

/// What begins the block that xcc puts in.
const BEGIN: &str = "### BEGIN CROSS CLUSTER CONNECTIVITY";

/// The Job that puts it in; the others are made of it.
const APPLY: &str = "xcc-dns-config-apply";
const CHECK: &str = "xcc-dns-config-check";
const REMOVE: &str = "xcc-dns-config-remove";

/// Checks it, removes the block, has xcc put it in and put it right, and leaves it to the Job again.
///
/// # Errors
/// The first step that did not hold.
pub async fn walk(world: &mut World, progress: Progress) -> Result<()> {
    let (from, to) = (world.shared_services.name(), &world.workloads);
    let said = check(to, "Complete").await?;
    ensure!(said.contains("zone xcc.test is answered by xcc"), "dns-config check says {said}");
    progress.say("dns-config check, in a pod: the cluster's DNS has xcc's SOA of xcc.test");

    let with_block = corefile(to).await?;
    ensure!(with_block.contains(BEGIN), "the Corefile has no block: {with_block}");
    apply(to, "manifests/cluster-dns/remove").await?;
    finished(to, REMOVE, "Complete").await?;
    let original = original_corefile(to).await?;
    let removed = corefile(to).await?;
    ensure!(removed == original, "the Corefile is not what it was before xcc: {removed:?}, {original:?}");
    unresolved(to, NAME).await?;
    let said = check(to, "Failed").await?;
    ensure!(said.contains("run xcc dns-config apply"), "dns-config check says {said}");
    progress.say("dns-config remove: the Corefile is what it was, byte for byte; check says so");

    apply(to, "manifests/managed-dns").await?;
    installation::ready(to).await?;
    reaches(to, NAME, from).await?;
    // As an upgrade of the cluster would overwrite it.
    set_corefile(to, &original).await?;
    wait::until("xcc has put the block in again", PATIENCE, async || {
        Ok(wait::holds(corefile(to).await? == with_block))
    })
    .await?;
    reaches(to, NAME, from).await?;
    progress.say("--manage-cluster-dns: the block is put in, and again after the Corefile was overwritten");

    apply(to, "manifests").await?;
    let rbac = layout::root().join("manifests/components/manage-cluster-dns/rbac.yaml");
    to.kubectl(&["delete", "--filename", &rbac.display().to_string()]).await?;
    installation::ready(to).await?;
    reaches(to, NAME, from).await
}

/// Runs `dns-config check` as a Job, waits until it has ended like this, and returns what it said.
async fn check(cluster: &Cluster, condition: &str) -> Result<String> {
    let kustomization = layout::root().join("manifests/cluster-dns").display().to_string();
    let objects = ["create", "--dry-run=client", "--output=json", "--kustomize", &kustomization];
    let objects = cluster.kubectl(&objects).await?;
    let mut job = job(&objects).context("manifests/cluster-dns has a Job")?;
    job["metadata"]["name"] = CHECK.into();
    // It says at once what is wrong.
    job["spec"]["backoffLimit"] = 0.into();
    let pod = &mut job["spec"]["template"]["spec"];
    pod["restartPolicy"] = "Never".into();
    pod["containers"][0]["args"] = serde_json::json!(["dns-config", "check"]);
    cluster.kubectl_input(&["apply", "--filename", "-"], &job.to_string()).await?;
    finished(cluster, CHECK, condition).await?;
    let said = logs(cluster, CHECK).await?;
    cluster.kubectl(&["delete", "job", CHECK, "--namespace", NAMESPACE]).await?;
    Ok(said)
}

/// The Job among objects that kubectl prints: a list, or one after the other.
fn job(objects: &str) -> Option<Value> {
    let documents = serde_json::Deserializer::from_str(objects).into_iter::<Value>();
    let mut jobs = documents.filter_map(Result::ok).flat_map(|document| match &document["items"] {
        Value::Array(items) => items.clone(),
        _ => vec![document],
    });
    let mut job = jobs.find(|object| object["kind"] == "Job" && object["metadata"]["name"] == APPLY)?;
    job["metadata"]
        .as_object_mut()?
        .retain(|field, _| ["name", "namespace", "labels"].contains(&field.as_str()));
    Some(job)
}

async fn finished(cluster: &Cluster, name: &str, condition: &str) -> Result<()> {
    let (object, condition) = (format!("job/{name}"), format!("--for=condition={condition}"));
    let timeout = format!("--timeout={}s", PATIENCE.as_secs());
    cluster.kubectl(&["wait", &object, "--namespace", NAMESPACE, &condition, &timeout]).await.map(drop)
}

/// What the only pod of a Job printed.
async fn logs(cluster: &Cluster, job: &str) -> Result<String> {
    let of_job = format!("--selector=job-name={job}");
    let name = "--output=jsonpath={.items[0].metadata.name}";
    let pod = cluster.kubectl(&["get", "pods", "--namespace", NAMESPACE, &of_job, name]).await?;
    let log = plan::log(cluster.name(), NAMESPACE, &pod, "xcc");
    std::fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))
}

async fn corefile(cluster: &Cluster) -> Result<String> {
    let [kind, name, namespace] = COREFILE;
    cluster.kubectl(&["get", kind, name, namespace, "--output=jsonpath={.data.Corefile}"]).await
}

/// What the addon's manifest says, as the API server has it.
async fn original_corefile(cluster: &Cluster) -> Result<String> {
    let manifest = layout::own("manifests/coredns.yaml").display().to_string();
    let path = "--output=jsonpath={.data.Corefile}";
    let all = ["create", "--dry-run=client", "--filename", &manifest, path];
    cluster.kubectl(&all).await
}

async fn set_corefile(cluster: &Cluster, text: &str) -> Result<()> {
    let [kind, name, namespace] = COREFILE;
    let patch = serde_json::json!({"data": {"Corefile": text}}).to_string();
    cluster.kubectl(&["patch", kind, name, namespace, "--type=merge", "--patch", &patch]).await.map(drop)
}

async fn apply(cluster: &Cluster, folder: &str) -> Result<()> {
    let path = layout::root().join(folder).display().to_string();
    cluster.kubectl(&["apply", "--kustomize", &path]).await.map(drop)
}
