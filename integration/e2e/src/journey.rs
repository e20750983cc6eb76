//! The journeys: what the clusters must do before xcc runs in them, and the ancestor's with xcc.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::client::{PATIENCE, by_name, reaches, text, unresolved};
use crate::cluster::Cluster;
use crate::kubelet::heartbeat::{AddressFamilies, NodeOptions};
use crate::progress::Progress;
use crate::wait;
use crate::world::World;
use crate::{example, installation};

/// What shared-services exports, and workloads.
const NAME: &str = "nginx.xcc.test";
const OTHER_NAME: &str = "nginx-workloads.xcc.test";

/// Walks it; says each step when it held.
///
/// # Errors
/// The first step that did not hold.
pub async fn walk(world: &mut World, progress: Progress) -> Result<()> {
    deploy(&world.shared_services).await?;
    progress.say("shared-services: nginx runs, its certificate is issued, its HTTPProxy is valid");
    dns(&world.workloads).await?;
    progress.say("workloads: CoreDNS answers in a pod, and says no such name for what nobody serves");
    services(&world.shared_services).await?;
    progress.say("shared-services: every pod of a Service answers through its ClusterIP, by name");
    host_ports(world).await?;
    progress.say("workloads -> shared-services: HTTP/2 200 through every worker's host port, IPv4 and IPv6");
    confined(&world.workloads).await?;
    progress.say("workloads: a container cannot write outside its volumes, and has no capability");
    refreshed(&world.shared_services).await?;
    progress.say("shared-services: a changed ConfigMap is seen in a running container");
    node_health(&world.shared_services).await?;
    progress.say("shared-services: a node not ready, cordoned and drained is seen as such");
    node_comes_and_goes(world).await?;
    progress.say("shared-services: a node of IPv6 only is added, serves, and is removed");
    outage(&mut world.shared_services).await?;
    progress.say("shared-services: the API server is killed and comes back; pods are as they were");
    Ok(())
}

async fn deploy(cluster: &Cluster) -> Result<()> {
    example::deploy(cluster, NAME).await?;
    example::export(cluster, NAME).await?;
    example::wait_valid(cluster).await
}

async fn dns(cluster: &Cluster) -> Result<()> {
    let found = cluster.exec_in_client(&["getent", "hosts", "kubernetes.default"]).await?;
    ensure!(text(&found).contains("10.96.0.1"), "kubernetes.default is not resolved: {}", text(&found));
    let absent =
        cluster.exec_in_client(&["curl", "-sS", "--max-time", "10", &format!("https://{NAME}")]).await?;
    ensure!(
        text(&absent).contains("Could not resolve host"),
        "{NAME} should not be resolved: {}",
        text(&absent)
    );
    Ok(())
}

async fn services(cluster: &Cluster) -> Result<()> {
    let url = "http://nginx-service.nginx-test.svc.cluster.local";
    let mut seen = std::collections::BTreeSet::new();
    wait::until("all three pods answer", PATIENCE, async || {
        let answer = cluster.exec_in_client(&["curl", "-sS", "--max-time", "5", url]).await?;
        ensure!(answer.status.success(), "{}", text(&answer));
        seen.insert(text(&answer));
        Ok(wait::holds(seen.len() == 3))
    })
    .await
}

async fn host_ports(world: &World) -> Result<()> {
    for node in ["worker-1", "worker-2"] {
        for address in world.shared_services.node_addresses(node)? {
            let what = format!("{NAME} answers through {node} ({address})");
            wait::until(&what, PATIENCE, async || {
                let answer = curl(&world.workloads, &address.to_string()).await?;
                Ok(wait::holds(
                    answer.contains("HTTP/2 200") && answer.contains("x-cluster: shared-services"),
                ))
            })
            .await?;
        }
    }
    Ok(())
}

/// The answer's head and body, or what went wrong.
async fn curl(from: &Cluster, address: &str) -> Result<String> {
    let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let resolve = format!("{NAME}:443:{address}");
    let url = format!("https://{NAME}/");
    let argv = ["curl", "-sS", "-k", "-i", "--max-time", "5", "--resolve", &resolve, &url];
    Ok(text(&from.exec_in_client(&argv).await?))
}

async fn confined(cluster: &Cluster) -> Result<()> {
    for path in ["/etc/x", "/usr/bin/x", "/tmp/x", "/x"] {
        let written = cluster.exec_in_client(&["touch", path]).await?;
        ensure!(!written.status.success(), "a container with a read-only root could write {path}");
    }
    let status = cluster.exec_in_client(&["cat", "/proc/self/status"]).await?;
    for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Uid:\t1000\t"] {
        ensure!(text(&status).contains(line), "expected {line:?} in {}", text(&status));
    }
    let processes = cluster.exec_in_client(&["cat", "/proc/1/comm"]).await?;
    ensure!(text(&processes).trim() == "sleep", "the container sees others' processes: {}", text(&processes));
    Ok(())
}

async fn refreshed(cluster: &Cluster) -> Result<()> {
    let pods = cluster.pods("nginx-test", "app=nginx").await?;
    let pod = pods.first().context("nginx does not run")?;
    let patch = r##"{"data": {"note": "changed"}}"##;
    cluster
        .kubectl(&["patch", "configmap", "nginx-conf", "--namespace=nginx-test", "--patch", patch])
        .await?;
    wait::until("the volume has the new key", Duration::from_secs(5), async || {
        let read = cluster.exec_in_pod("nginx-test", pod, &["cat", "/etc/nginx/conf.d/note"]).await?;
        Ok(wait::holds(read.stdout == b"changed"))
    })
    .await
}

async fn node_health(cluster: &Cluster) -> Result<()> {
    let node = "worker-1";
    cluster.set_ready(node, false).await?;
    wait::until("the node is tainted", PATIENCE, async || {
        let taints =
            cluster.kubectl(&["get", "node", node, "--output=jsonpath={.spec.taints[*].key}"]).await?;
        Ok(wait::holds(taints.contains("node.kubernetes.io/not-ready")))
    })
    .await?;
    cluster.set_ready(node, true).await?;
    let drain = ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=90s"];
    cluster.kubectl(&drain).await?;
    let taints = cluster.kubectl(&["get", "node", node, "--output=jsonpath={.spec.taints[*].key}"]).await?;
    ensure!(taints.contains("node.kubernetes.io/unschedulable"), "a drained node is tainted: {taints}");
    cluster.rollout("nginx-test", "deployment/nginx", PATIENCE).await?;
    let nodes = "--output=jsonpath={.items[*].spec.nodeName}";
    let placed =
        cluster.kubectl(&["get", "pods", "--namespace=nginx-test", "--selector=app=nginx", nodes]).await?;
    ensure!(!placed.contains(node), "pods are still on the drained node: {placed}");
    cluster.kubectl(&["uncordon", node]).await.map(drop)
}

async fn node_comes_and_goes(world: &mut World) -> Result<()> {
    let node = "worker-3";
    let options = NodeOptions { families: AddressFamilies::V6, ..NodeOptions::default() };
    world.shared_services.add_node(node, options).await?;
    world.shared_services.wait_ready(node, true).await?;
    let [v4, v6] = world.shared_services.node_addresses(node)?.map(|address| address.to_string());
    let path = "--output=jsonpath={.status.addresses[?(@.type==\"InternalIP\")].address}";
    let reported = world.shared_services.kubectl(&["get", "node", node, path]).await?;
    ensure!(reported == v6, "the node should report {v6} only: {reported}");
    wait::until("the new node serves", PATIENCE, async || {
        Ok(wait::holds(curl(&world.workloads, &v6).await?.contains("HTTP/2 200")))
    })
    .await?;
    let answer = curl(&world.workloads, &v4).await?;
    ensure!(!answer.contains("HTTP/2 200"), "a node of IPv6 only answers on {v4}: {answer}");
    world.shared_services.remove_node(node).await?;
    let nodes = world.shared_services.kubectl(&["get", "nodes", "--output=name"]).await?;
    ensure!(!nodes.contains(node), "the node is still there: {nodes}");
    Ok(())
}

async fn outage(cluster: &mut Cluster) -> Result<()> {
    let before = cluster.pods("nginx-test", "app=nginx").await?;
    cluster.stop_api_server().await?;
    ensure!(
        cluster.kubectl(&["get", "nodes", "--request-timeout=2s"]).await.is_err(),
        "the API server still answers"
    );
    cluster.start_api_server().await?;
    let after = cluster.pods("nginx-test", "app=nginx").await?;
    ensure!(before == after, "pods changed: {before:?}, {after:?}");
    example::delete(cluster).await
}

/// Installs xcc in both clusters, each importing from the other.
///
/// # Errors
/// When a manifest is refused, or something does not come up in time.
pub async fn install(world: &World, progress: Progress) -> Result<()> {
    let (one, two) = (&world.shared_services, &world.workloads);
    tokio::try_join!(installation::import(two, one), installation::import(one, two))?;
    progress.say("both: xcc and its gateway are ready, and the cluster's DNS asks xcc");
    Ok(())
}

/// The ancestor's journey, in both directions at once.
///
/// # Errors
/// The first step that did not hold.
pub async fn walk_xcc(world: &World, progress: Progress) -> Result<()> {
    let (one, two) = (&world.shared_services, &world.workloads);
    tokio::try_join!(direction(one, two, NAME, progress), direction(two, one, OTHER_NAME, progress))?;
    Ok(())
}

async fn direction(exporting: &Cluster, importing: &Cluster, name: &str, progress: Progress) -> Result<()> {
    let (from, to) = (exporting.name(), importing.name());
    example::deploy(exporting, name).await?;
    let answer = by_name(importing, name).await?;
    ensure!(answer.contains("Could not resolve host"), "{name} is resolved before it is exported: {answer}");
    progress.say(format!("{to}: {name} is not resolved before the export"));

    example::export(exporting, name).await?;
    let start = progress.elapsed();
    reaches(importing, name, from).await?;
    let took = progress.elapsed().saturating_sub(start).as_millis();
    progress
        .say(format!("{to}: https://{name} answers HTTP/2 200 from {from}, {took} ms after it was applied"));

    example::unexport(exporting).await?;
    unresolved(importing, name).await?;
    progress.say(format!("{to}: {name} is not resolved after the label is removed"));

    example::delete(exporting).await?;
    wait::until("no ServiceRecord is left", PATIENCE, async || {
        Ok(wait::holds(installation::service_records(importing).await?.is_empty()))
    })
    .await?;
    progress.say(format!("{to}: no ServiceRecord is left after the namespace is deleted"));
    Ok(())
}
