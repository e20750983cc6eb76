//! What every cluster runs beside its control plane: CoreDNS, Contour with its Envoys, cert-manager. Applied by the
//! real kubectl; Contour by the manifests of its own release.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::layout;

/// How long an addon may take to be there on a loaded machine.
const ROLLOUT_LIMIT: Duration = Duration::from_secs(180);

/// The objects that say that everything is there.
const ROLLOUTS: [(&str, &str); 5] = [
    ("kube-system", "deployment/coredns"),
    ("cert-manager", "deployment/cert-manager"),
    ("projectcontour", "deployment/contour"),
    ("projectcontour", "daemonset/envoy"),
    ("client", "deployment/client"),
];

/// Applies all of them and waits until they are there.
///
/// # Errors
/// When one cannot be applied or does not come up: kubectl's own words.
pub async fn install(cluster: &Cluster) -> Result<()> {
    // Server-side: the definitions are larger than what a client may remember in an annotation.
    let crds = layout::cache().join("crds");
    apply(cluster, &["--server-side", "--filename"], &crds).await?;
    cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).await?;
    for name in ["coredns", "cert-manager", "client"] {
        apply(cluster, &["--filename"], &layout::own(&format!("manifests/{name}.yaml"))).await?;
    }
    apply(cluster, &["--kustomize"], &layout::cache().join("contour")).await
}

/// Waits until all of them are there.
///
/// # Errors
/// When one is not in time: kubectl's own words.
pub async fn wait(cluster: &Cluster) -> Result<()> {
    for (namespace, object) in ROLLOUTS {
        cluster.rollout(namespace, object, ROLLOUT_LIMIT).await?;
    }
    Ok(())
}

async fn apply(cluster: &Cluster, flags: &[&str], path: &Path) -> Result<()> {
    let path = path.display().to_string();
    let arguments: Vec<&str> =
        ["apply"].into_iter().chain(flags.iter().copied()).chain([path.as_str()]).collect();
    cluster.kubectl(&arguments).await.map(drop)
}
