//! xcc in the clusters, installed as its manifests' README says.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::{layout, process};

/// The namespace of xcc.
pub const NAMESPACE: &str = "cross-cluster-connectivity";

/// How long xcc and its gateway may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// Installs xcc, its gateway and the cluster's DNS configuration in the importing cluster, with the other one as
/// its remote, and waits until all are ready.
///
/// # Errors
/// When a manifest is refused, or something does not come up in time.
pub async fn import(importing: &Cluster, exporting: &Cluster) -> Result<()> {
    apply(importing, "manifests").await?;
    add_remote(importing, exporting).await?;
    apply(importing, "manifests/cluster-dns").await?;
    ready(importing).await?;
    wait_for(importing, "--for=condition=Complete", "job/xcc-dns-config-apply").await
}

/// Adds a RemoteCluster of a cluster's own name, with all that it needs on both sides.
///
/// # Errors
/// When a manifest is refused.
pub async fn add_remote(importing: &Cluster, exporting: &Cluster) -> Result<()> {
    allow(exporting).await?;
    let secret = remote_secret(exporting).await?;
    importing.kubectl_input(&["apply", "--filename", "-"], &secret).await?;
    importing.kubectl_input(&["apply", "--filename", "-"], &remote_cluster(exporting.name())).await.map(drop)
}

/// Makes the ServiceAccount that may read what a cluster exports, or what is missing of it.
///
/// # Errors
/// When a manifest is refused.
pub async fn allow(exporting: &Cluster) -> Result<()> {
    apply(exporting, "manifests/remote").await
}

/// Deletes a RemoteCluster and its Secret.
///
/// # Errors
/// When they are not there.
pub async fn remove_remote(importing: &Cluster, name: &str) -> Result<()> {
    let (remote, secret) = (format!("remotecluster/{name}"), format!("secret/{name}-kubeconfig"));
    importing.kubectl(&["delete", "--namespace", NAMESPACE, &remote, &secret]).await.map(drop)
}

/// Waits until xcc, its gateway and all RemoteClusters are ready.
///
/// # Errors
/// When they are not in time.
pub async fn ready(importing: &Cluster) -> Result<()> {
    for object in ["deployment/xcc", "deployment/xcc-gateway"] {
        importing.rollout(NAMESPACE, object, READY_LIMIT).await?;
    }
    let timeout = format!("--timeout={}s", READY_LIMIT.as_secs());
    let all =
        ["wait", "--namespace", NAMESPACE, &timeout, "--for=condition=Ready", "remoteclusters", "--all"];
    importing.kubectl(&all).await.map(drop)
}

/// The Secret with which others read a cluster, made by the script that the manifests come with.
///
/// # Errors
/// When the script fails: with what it printed.
pub async fn remote_secret(exporting: &Cluster) -> Result<String> {
    let script = layout::root().join("manifests/remote/kubeconfig.sh");
    let server = format!("https://{}", exporting.control_plane().address());
    let path = format!("PATH={}:/usr/bin:/bin", layout::cache().join("bin").display());
    let kubeconfig = format!("KUBECONFIG={}", layout::kubeconfig(exporting.name()).display());
    let script = script.display().to_string();
    let argv = ["env", &path, &kubeconfig, "sh", &script, exporting.name(), "--server", &server];
    process::run(argv).await.context("the remote's kubeconfig")
}

/// A RemoteCluster that may export all of the default zone.
pub fn remote_cluster(name: &str) -> String {
    serde_json::json!({
        "apiVersion": "connectivity.tanzu.vmware.com/v1alpha1",
        "kind": "RemoteCluster",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "kubeconfigSecretRef": {"name": format!("{name}-kubeconfig"), "key": "value"},
            "allowedDomains": ["xcc.test"],
        },
    })
    .to_string()
}

/// The names of the ServiceRecords.
///
/// # Errors
/// When the API server does not say.
pub async fn service_records(importing: &Cluster) -> Result<Vec<String>> {
    let names = "--output=jsonpath={.items[*].spec.fqdn}";
    let listed = importing.kubectl(&["get", "servicerecords", "--namespace", NAMESPACE, names]).await?;
    Ok(listed.split_whitespace().map(str::to_owned).collect())
}

async fn apply(cluster: &Cluster, folder: &str) -> Result<()> {
    let path = layout::root().join(folder);
    ensure!(path.is_dir(), "{folder} is missing");
    cluster.kubectl(&["apply", "--kustomize", &path.display().to_string()]).await.map(drop)
}

async fn wait_for(cluster: &Cluster, condition: &str, object: &str) -> Result<()> {
    let timeout = format!("--timeout={}s", READY_LIMIT.as_secs());
    cluster.kubectl(&["wait", "--namespace", NAMESPACE, &timeout, condition, object]).await.map(drop)
}
