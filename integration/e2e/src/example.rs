//! The project's example (`manifests/example`) in a cluster, under a name of its own, telling which cluster answers.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::layout;

/// The name in the example's manifests.
const EXAMPLE_NAME: &str = "nginx.xcc.test";

/// The namespace of the example.
pub const NAMESPACE: &str = "nginx-test";

/// How long nginx and its certificate may take.
const READY_LIMIT: Duration = Duration::from_secs(90);

/// Deploys nginx with a certificate for a name, and waits until both are there. Nothing routes to it yet.
///
/// # Errors
/// When a manifest is refused, or something does not come up in time.
pub async fn deploy(cluster: &Cluster, name: &str) -> Result<()> {
    apply(cluster, "manifests/example/certs.yaml", name).await?;
    apply(cluster, "integration/e2e/manifests/nginx-conf.yaml", name).await?;
    apply(cluster, "manifests/example/nginx.yaml", name).await?;
    let patch = format!("--patch-file={}", layout::own("manifests/nginx-patch.yaml").display());
    cluster.kubectl(&["patch", "deployment", "nginx", "--namespace", NAMESPACE, &patch]).await?;
    wait_for(cluster, "--for=condition=Ready", "certificate/nginx-tls-cert").await?;
    cluster.rollout(NAMESPACE, "deployment/nginx", READY_LIMIT).await
}

/// Applies the example's exported HTTPProxy.
///
/// # Errors
/// When it is refused.
pub async fn export(cluster: &Cluster, name: &str) -> Result<()> {
    apply(cluster, "manifests/example/exported_http_proxy.yaml", name).await
}

/// Waits until Contour has accepted the HTTPProxy.
///
/// # Errors
/// When it has not in time.
pub async fn wait_valid(cluster: &Cluster) -> Result<()> {
    wait_for(cluster, "--for=jsonpath={.status.currentStatus}=valid", "httpproxy/nginx-service-ingress").await
}

/// Takes the export label off.
///
/// # Errors
/// When there is no HTTPProxy.
pub async fn unexport(cluster: &Cluster) -> Result<()> {
    let label = "connectivity.tanzu.vmware.com/export-";
    cluster
        .kubectl(&["label", "httpproxy", "nginx-service-ingress", "--namespace", NAMESPACE, label])
        .await
        .map(drop)
}

/// Deletes all of it, and waits until it is gone.
///
/// # Errors
/// When it is not in time.
pub async fn delete(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=90s"]).await.map(drop)
}

async fn apply(cluster: &Cluster, path: &str, name: &str) -> Result<()> {
    let manifest =
        std::fs::read_to_string(layout::root().join(path)).with_context(|| format!("cannot read {path}"))?;
    let manifest = manifest.replace(EXAMPLE_NAME, name).replace("CLUSTER_NAME", cluster.name());
    cluster.kubectl_input(&["apply", "--filename", "-"], &manifest).await.map(drop)
}

async fn wait_for(cluster: &Cluster, condition: &str, object: &str) -> Result<()> {
    let timeout = format!("--timeout={}s", READY_LIMIT.as_secs());
    cluster.kubectl(&["wait", "--namespace", NAMESPACE, &timeout, condition, object]).await.map(drop)
}
