//! The kubeconfig Secret of a remote changes: a new token, another kind of kubeconfig.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::observe::condition;
use super::{NAME, changes_arrive};
use crate::client::{PATIENCE, by_name};
use crate::cluster::Cluster;
use crate::installation::{self, NAMESPACE};
use crate::load::Load;
use crate::progress::Progress;
use crate::world::World;
use crate::{pki, process, wait};

/// The token's Secret in the exporting cluster.
const TOKEN: [&str; 2] = ["xcc-remote-token", "--namespace=xcc-remote"];

/// The remote's token is revoked and a new one given, as the manifests' README says.
///
/// # Errors
/// The first step that did not hold.
pub async fn rotate(world: &mut World, progress: Progress) -> Result<()> {
    let from = world.shared_services.name();
    let load = Load::start(&world.workloads, NAME).await?;
    load.more(10).await?;
    let old = token(&world.shared_services).await?;
    ensure!(status_with(&world.shared_services, &old).await? == "200", "the old token is not accepted");
    world.shared_services.kubectl(&["delete", "secret", TOKEN[0], TOKEN[1]]).await?;
    installation::allow(&world.shared_services).await?;
    let secret = installation::remote_secret(&world.shared_services).await?;
    ensure!(token(&world.shared_services).await? != old, "the new token is the old one");
    world.workloads.kubectl_input(&["apply", "--filename", "-"], &secret).await?;
    wait::until("the old token is refused", PATIENCE, async || {
        Ok(wait::holds(status_with(&world.shared_services, &old).await? == "401"))
    })
    .await?;
    // Every watch has to begin anew after this, and cannot with the old token.
    world.shared_services.stop_api_server().await?;
    condition(&world.workloads, from, "Ready", "False", "Unreachable").await?;
    world.shared_services.start_api_server().await?;
    condition(&world.workloads, from, "Ready", "True", "Connected").await?;
    let report = load.finish().await?;
    changes_arrive(world).await?;
    progress.say(format!("the remote's token is rotated, the old one refused: {}", report.summary()));
    Ok(())
}

/// The Secret that Cluster API makes for a cluster is used as it is. Without any Secret the names stay.
///
/// # Errors
/// The first step that did not hold.
pub async fn cluster_api(world: &mut World, progress: Progress) -> Result<()> {
    let from = world.shared_services.name();
    let to = &world.workloads;
    let name = format!("{from}-kubeconfig");
    // A Secret's type cannot be changed.
    let delete = ["delete", "secret", &name, "--namespace", NAMESPACE];
    to.kubectl(&delete).await?;
    condition(to, from, "Ready", "False", "SecretNotFound").await?;
    let answer = by_name(to, NAME).await?;
    ensure!(answer.contains("HTTP/2 200"), "the name went with the Secret: {answer}");
    let kubeconfig =
        world.shared_services.control_plane().kubeconfig("kubernetes-admin", "system:masters")?;
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "cluster.x-k8s.io/secret",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"cluster.x-k8s.io/cluster-name": from},
        },
        "data": {"value": pki::base64(kubeconfig.as_bytes())},
    });
    to.kubectl_input(&["apply", "--filename", "-"], &secret.to_string()).await?;
    condition(to, from, "Ready", "True", "Connected").await?;
    changes_arrive(world).await?;
    progress.say("a kubeconfig Secret as Cluster API makes it is used as it is; without one the names stay");

    to.kubectl(&delete).await?;
    let secret = installation::remote_secret(&world.shared_services).await?;
    to.kubectl_input(&["apply", "--filename", "-"], &secret).await?;
    condition(to, from, "Ready", "True", "Connected").await.map(drop)
}

/// The remote's token, in base64.
async fn token(cluster: &Cluster) -> Result<String> {
    let token =
        cluster.kubectl(&["get", "secret", TOKEN[0], TOKEN[1], "--output=jsonpath={.data.token}"]).await?;
    ensure!(!token.is_empty(), "the Secret {} has no token", TOKEN[0]);
    Ok(token)
}

/// The status with which the API server answers one who has a token (in base64) and asks for what is exported.
async fn status_with(cluster: &Cluster, token: &str) -> Result<String> {
    let token = process::run_with_input(["base64", "--decode"], token).await?;
    let url =
        format!("https://{}/apis/projectcontour.io/v1/httpproxies", cluster.control_plane().forwarded());
    // By standard input: arguments are seen by everybody on the machine.
    let config = format!("header = \"Authorization: Bearer {token}\"\n");
    let argv = ["curl", "-sk", "--config", "-", "-o", "/dev/null", "-w", "%{http_code}", &url];
    process::run_with_input(argv, &config).await.context("asking with a token")
}
