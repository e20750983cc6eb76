//! How long it takes from the apply of an HTTPProxy to the first request by name that a client pod gets answered.
//! It measures and judges nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;

use crate::client::PATIENCE;
use crate::cluster::Cluster;
use crate::progress::Progress;
use crate::scenario::NAME;
use crate::world::World;
use crate::{client, example, installation, wait};

/// How many HTTPProxies are applied one after the other, in each series.
const CHANGES: usize = 50;

/// Asks until it is answered. Every try is a process, a look-up and a connection of its own.
const ASK: &str = "until curl -skf -o /dev/null --max-time 2 \"$@\" \"$0\"; do :; done";

const LABEL: &str = "connectivity.tanzu.vmware.com/export";

/// Measures with two remotes in workloads (shared-services, and workloads itself), and prints the figures.
///
/// # Errors
/// When something does not come up, or a name is never reached.
pub async fn measure(world: &World, progress: Progress) -> Result<()> {
    let (from, to) = (&world.shared_services, &world.workloads);
    installation::add_remote(to, to).await?;
    installation::ready(to).await?;
    example::deploy(from, NAME).await?;
    example::export(from, NAME).await?;
    client::reaches(to, NAME, from.name()).await?;

    let mut alone = Vec::new();
    for _request in 0..CHANGES {
        let start = Instant::now();
        ask(to, NAME).await?;
        alone.push(start.elapsed());
    }
    progress.say(format!("a request by itself, to a name that is there: {}", summary(alone)));

    let proxies = proxies(from);
    let (mut labelled, mut applied) = (Vec::new(), Vec::new());
    for change in 0..CHANGES {
        let name = format!("labelled-{change}");
        apply(&proxies, &name, false).await?;
        valid(&proxies, &name).await?;
        labelled.push(until_reached(to, &proxies, &name).await?);
    }
    progress.say(format!("apply of the label to the first answer: {}", summary(labelled)));
    for change in 0..CHANGES {
        applied.push(until_reached(to, &proxies, &format!("applied-{change}")).await?);
    }
    progress.say(format!(
        "apply of a new HTTPProxy to the first answer, Contour's part included: {}",
        summary(applied)
    ));
    let [node, _v6] = from.node_addresses("worker-1")?.map(|address| address.to_string());
    let mut contours = Vec::new();
    for change in 0..CHANGES {
        contours.push(until_served(to, &proxies, &format!("direct-{change}"), &node).await?);
    }
    progress.say(format!(
        "Contour's part by itself, apply of a new HTTPProxy to the first answer of a node, without xcc: {}",
        summary(contours)
    ));
    Ok(())
}

/// Applies an exported HTTPProxy while the client asks for its name; the time from the request to the answer.
async fn until_reached(to: &Cluster, proxies: &Api<DynamicObject>, name: &str) -> Result<Duration> {
    let host = host(name);
    let apply = async {
        let start = Instant::now();
        apply(proxies, name, true).await?;
        anyhow::Ok(start)
    };
    let asked = async {
        ask(to, &host).await?;
        anyhow::Ok(Instant::now())
    };
    let (start, answered) = tokio::try_join!(apply, asked)?;
    Ok(answered.duration_since(start))
}

/// Applies an HTTPProxy that is not exported while the client asks a node for its name; the time to the answer.
async fn until_served(
    to: &Cluster,
    proxies: &Api<DynamicObject>,
    name: &str,
    node: &str,
) -> Result<Duration> {
    let host = host(name);
    let resolve = format!("{host}:443:{node}");
    let apply = async {
        let start = Instant::now();
        apply(proxies, name, false).await?;
        anyhow::Ok(start)
    };
    let asked = async {
        ask_with(to, &host, &["--resolve", &resolve]).await?;
        anyhow::Ok(Instant::now())
    };
    let (start, answered) = tokio::try_join!(apply, asked)?;
    Ok(answered.duration_since(start))
}

async fn ask(to: &Cluster, host: &str) -> Result<()> {
    ask_with(to, host, &[]).await
}

/// With more options of curl.
async fn ask_with(to: &Cluster, host: &str, options: &[&str]) -> Result<()> {
    let url = format!("https://{host}/");
    let argv: Vec<&str> = ["sh", "-c", ASK, &url].iter().chain(options).copied().collect();
    let asked = to.exec_in_client(&argv);
    let answered =
        tokio::time::timeout(PATIENCE, asked).await.with_context(|| format!("{host} is not reached"))??;
    ensure!(answered.status.success(), "{}", client::text(&answered));
    Ok(())
}

fn host(name: &str) -> String {
    format!("{name}.xcc.test")
}

fn proxies(cluster: &Cluster) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("projectcontour.io", "v1", "HTTPProxy"));
    let kind = ApiResource { plural: "httpproxies".to_owned(), ..kind };
    Api::namespaced_with(cluster.client().clone(), example::NAMESPACE, &kind)
}

/// What `kubectl apply --server-side` asks for.
async fn apply(proxies: &Api<DynamicObject>, name: &str, exported: bool) -> Result<()> {
    let proxy = json!({
        "apiVersion": "projectcontour.io/v1",
        "kind": "HTTPProxy",
        "metadata": {"name": name, "labels": if exported { json!({LABEL: ""}) } else { json!({}) }},
        "spec": {
            "virtualhost": {"fqdn": host(name), "tls": {"secretName": "nginx-tls-secret"}},
            "routes": [{"services": [{"name": "nginx-service", "port": 80}]}],
        },
    });
    let parameters = PatchParams::apply("kubectl").force();
    proxies
        .patch(name, &parameters, &Patch::Apply(&proxy))
        .await
        .with_context(|| format!("cannot apply {name}"))?;
    Ok(())
}

async fn valid(proxies: &Api<DynamicObject>, name: &str) -> Result<()> {
    wait::until(&format!("Contour accepts {name}"), PATIENCE, async || {
        let proxy = proxies.get(name).await?;
        Ok(wait::holds(proxy.data["status"]["currentStatus"] == "valid"))
    })
    .await
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let [p50, p90, p99] = [50, 90, 99].map(|percent| percentile(&times, percent).as_millis());
    let longest: Vec<_> = times.iter().rev().take(5).map(|time| time.as_millis().to_string()).collect();
    format!("p50 {p50} ms, p90 {p90} ms, p99 {p99} ms of {}; the longest {}", times.len(), longest.join(", "))
}

/// The least of the sorted times that so many percent of them do not exceed (nearest rank).
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times: Vec<Duration> = (1..=50).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(25));
        assert_eq!(percentile(&times, 99), Duration::from_millis(50));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
