//! A remote whose ingress is reached through its Service: by NodePort, then by a load balancer.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::NAME;
use super::observe::{endpoints_when, set_spec};
use crate::client::reaches;
use crate::cluster::Cluster;
use crate::load::Load;
use crate::progress::Progress;
use crate::world::World;

/// Contour's Service, as its own manifests make it: of type LoadBalancer, which nobody gives an address here.
const SERVICE: [&str; 3] = ["service", "envoy", "--namespace=projectcontour"];

/// Requests that are to succeed through the NodePort.
const REQUESTS: usize = 30;

/// The endpoints are the NodePort on the nodes, then what the load balancer's status says, then the nodes again.
///
/// # Errors
/// The first step that did not hold.
pub async fn walk(world: &mut World, progress: Progress) -> Result<()> {
    let (from, to) = (&world.shared_services, &world.workloads);
    let node_port = node_port(from).await?;
    let workers = ["worker-1", "worker-2"].map(|node| from.node_addresses(node));
    let mut addresses = Vec::new();
    for worker in workers {
        addresses.extend(worker?);
    }
    // The nodes have both families, Contour's Service only IPv4.
    let on = |port: u16| {
        let usable = addresses.iter().filter(|ip| port == 443 || ip.is_ipv4());
        let mut all: Vec<String> = usable.map(|ip| endpoint(*ip, port)).collect();
        all.sort();
        all
    };
    endpoints_when(to, NAME, "has the nodes", |it| *it == on(443)).await?;

    set_spec(to, from.name(), json!({"ingress": {"source": "Service", "service": "projectcontour/envoy"}}))
        .await?;
    endpoints_when(to, NAME, "has the NodePort", |it| *it == on(node_port)).await?;
    reaches(to, NAME, from.name()).await?;
    let load = Load::start(to, NAME).await?;
    load.more(REQUESTS).await?;
    let report = load.finish().await?;
    progress.say(format!(
        "ingress.source Service, without a load balancer: NodePort {node_port} of the nodes, {}",
        report.summary()
    ));

    // What a controller of load balancers writes. The address is a node's, so that something answers there. kube-proxy
    // takes it over and gives it back, with connections that are open at that moment: a load balancer that comes or goes
    // is not a smooth change.
    let balanced = addresses[0];
    set_load_balancer(from, &json!([{"ip": balanced}])).await?;
    endpoints_when(to, NAME, "has the load balancer", |it| *it == [endpoint(balanced, 443)]).await?;
    reaches(to, NAME, from.name()).await?;
    set_load_balancer(from, &json!([])).await?;
    endpoints_when(to, NAME, "has the NodePort again", |it| *it == on(node_port)).await?;
    reaches(to, NAME, from.name()).await?;
    progress.say("it gets a load balancer and loses it: the endpoints follow, the name is reached");

    set_spec(to, from.name(), json!({"ingress": null})).await?;
    endpoints_when(to, NAME, "has the nodes again", |it| *it == on(443)).await?;
    reaches(to, NAME, from.name()).await
}

fn endpoint(ip: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(ip, port).to_string()
}

async fn set_load_balancer(cluster: &Cluster, ingress: &Value) -> Result<()> {
    let patch = json!({"status": {"loadBalancer": {"ingress": ingress}}}).to_string();
    let [kind, name, namespace] = SERVICE;
    let patch = ["patch", kind, name, namespace, "--subresource=status", "--type=merge", "--patch", &patch];
    cluster.kubectl(&patch).await.map(drop)
}

async fn node_port(cluster: &Cluster) -> Result<u16> {
    let [kind, name, namespace] = SERVICE;
    let path = "--output=jsonpath={.spec.ports[?(@.port==443)].nodePort}";
    let port = cluster.kubectl(&["get", kind, name, namespace, path]).await?;
    ensure!(!port.is_empty(), "the Service envoy has no NodePort");
    port.parse().context("a NodePort is a number")
}
