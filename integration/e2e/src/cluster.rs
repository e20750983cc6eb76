//! One cluster: its control plane, its nodes, and what tests do with both.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::container_exec::{self, Place};
use crate::control_plane::{ControlPlane, flags, write_private};
use crate::kubelet::heartbeat::{AddressFamilies, Health, NodeOptions};
use crate::kubelet::images::Images;
use crate::kubelet::mirror::Mirror;
use crate::kubelet::{Kubelet, NodeContext};
use crate::lan::Lan;
use crate::layout;
use crate::node::{NodeNetwork, POD_CIDR_V4, POD_CIDR_V6};
use crate::process::{self, Daemon};
use crate::wait;

/// How long a node may take to be seen as Ready or not, beyond the node controller's grace period.
const NODE_LIMIT: Duration = Duration::from_secs(60);

/// The name of the node that the control plane is on.
const CONTROL_PLANE: &str = "control-plane";

/// A running cluster.
pub struct Cluster {
    name: &'static str,
    control_plane: ControlPlane,
    nodes: BTreeMap<String, RunningNode>,
    lan: Arc<Lan>,
    mirror: Mirror,
    images: Arc<Images>,
    /// The number on the link of the cluster's first node.
    first_number: u8,
    next_index: u8,
}

struct RunningNode {
    kubelet: Kubelet,
    proxy: Daemon,
}

impl Cluster {
    /// Starts a cluster with this many workers. Its nodes have numbers on the link from `first_number`.
    ///
    /// # Errors
    /// When a part does not come up.
    pub async fn start(
        name: &'static str,
        lan: Arc<Lan>,
        images: Arc<Images>,
        first_number: u8,
        workers: usize,
    ) -> Result<Self> {
        let network = NodeNetwork::create(&lan, &format!("{name}.{CONTROL_PLANE}"), first_number, 0).await?;
        let control_plane =
            ControlPlane::start(name, network.namespace().clone(), network.addresses().v4).await?;
        let mirror = Mirror::start(control_plane.client());
        let nodes = BTreeMap::new();
        let mut cluster =
            Self { name, control_plane, nodes, lan, mirror, images, first_number, next_index: 1 };
        cluster.run_node(CONTROL_PLANE, network, NodeOptions::control_plane()).await?;
        for number in 1..=workers {
            cluster.add_node(&format!("worker-{number}"), NodeOptions::default()).await?;
        }
        Ok(cluster)
    }

    /// The cluster's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A client with all rights.
    pub fn client(&self) -> &Client {
        self.control_plane.client()
    }

    /// The control plane.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The names of the nodes; the control plane's is `control-plane`.
    pub fn nodes(&self) -> Vec<&str> {
        self.nodes.keys().map(String::as_str).collect()
    }

    /// The addresses of a node on the link, IPv4 first.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn node_addresses(&self, node: &str) -> Result<[IpAddr; 2]> {
        Ok(self.node(node)?.kubelet.context().network.addresses().both())
    }

    /// Adds a node: it is registered and runs pods from now on.
    ///
    /// # Errors
    /// When there is one of that name, or a part does not come up.
    pub async fn add_node(&mut self, name: &str, options: NodeOptions) -> Result<()> {
        ensure!(!self.nodes.contains_key(name), "there is a node {name} already");
        let index = self.next_index;
        self.next_index = index.checked_add(1).context("a cluster has at most 255 nodes in its life")?;
        let number = self.first_number.checked_add(index).context("no number left on the link")?;
        let network = NodeNetwork::create(&self.lan, &format!("{}.{name}", self.name), number, index).await?;
        for other in self.nodes.values() {
            let other = &other.kubelet.context().network;
            network.route_to(other).await?;
            other.route_to(&network).await?;
        }
        self.run_node(name, network, options).await
    }

    async fn run_node(&mut self, name: &str, network: NodeNetwork, options: NodeOptions) -> Result<()> {
        if options.families == AddressFamilies::V6 {
            network.refuse_v4().await?;
        }
        let proxy = self.start_proxy(name, &network)?;
        let context = NodeContext {
            cluster: self.name.to_owned(),
            node: name.to_owned(),
            client: self.client().clone(),
            mirror: self.mirror.clone(),
            network,
            images: self.images.clone(),
        };
        let kubelet = Kubelet::start(context, options).await?;
        self.nodes.insert(name.to_owned(), RunningNode { kubelet, proxy });
        Ok(())
    }

    fn start_proxy(&self, node: &str, network: &NodeNetwork) -> Result<Daemon> {
        let folder = layout::run().join(self.name);
        let kubeconfig = folder.join(format!("kube-proxy.{node}.kubeconfig"));
        // kubeadm's own group for it has the role of a node's proxy too.
        write_private(
            &kubeconfig,
            &self.control_plane.kubeconfig("system:kube-proxy", "system:kube-proxy")?,
        )?;
        let configuration = folder.join(format!("kube-proxy.{node}.json"));
        write_private(&configuration, &proxy_configuration(&kubeconfig, node).to_string())?;
        let flags = flags(&[("config", &configuration.display().to_string())]);
        let binary = layout::binary("kubernetes")?.display().to_string();
        let argv = [binary, "kube-proxy".to_owned()].into_iter().chain(flags);
        let log = layout::logs().join(self.name).join(format!("kube-proxy.{node}.log"));
        Daemon::start(&format!("kube-proxy of {}/{node}", self.name), network.namespace(), argv, &log)
    }

    /// Removes a node as a machine that is switched off and deleted: its processes die, its Node goes.
    ///
    /// # Errors
    /// When there is no such node, or it cannot be removed.
    pub async fn remove_node(&mut self, name: &str) -> Result<()> {
        let mut node = self.nodes.remove(name).with_context(|| format!("no node {name}"))?;
        node.proxy.kill().await?;
        let network = &node.kubelet.context().network;
        self.lan.disconnect(network.port()).await?;
        let namespace = network.namespace().clone();
        node.kubelet.stop().await;
        namespace.delete().await?;
        let api: Api<Node> = Api::all(self.client().clone());
        api.delete(name, &DeleteParams::default()).await.with_context(|| format!("cannot delete {name}"))?;
        Ok(())
    }

    /// Makes a node Ready or not: the kubelet says so itself. Waits until the Node object shows it.
    ///
    /// # Errors
    /// When there is no such node, or nothing is seen in time.
    pub async fn set_ready(&self, name: &str, ready: bool) -> Result<()> {
        self.set_health(name, if ready { Health::Ready } else { Health::NotReady })?;
        self.wait_ready(name, ready).await
    }

    /// Sets what a node says about itself, or that it says nothing.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn set_health(&self, name: &str, health: Health) -> Result<()> {
        self.node(name)?.kubelet.set_health(health);
        Ok(())
    }

    /// Waits until the condition Ready of a Node is True, or is not.
    ///
    /// # Errors
    /// When it is not so in time.
    pub async fn wait_ready(&self, name: &str, ready: bool) -> Result<()> {
        let api: Api<Node> = Api::all(self.client().clone());
        let what = format!("the node {name} is {}", if ready { "ready" } else { "not ready" });
        wait::until(&what, NODE_LIMIT, async || Ok(wait::holds(is_ready(&api.get(name).await?) == ready)))
            .await
    }

    /// Cuts a node from the link, or connects it again.
    ///
    /// # Errors
    /// When there is no such node.
    pub async fn set_connected(&self, name: &str, connected: bool) -> Result<()> {
        self.lan.set_port(self.node(name)?.kubelet.context().network.port(), connected).await
    }

    /// Kills the API server: all connections to it break, and nobody answers.
    ///
    /// # Errors
    /// When it cannot be reaped.
    pub async fn stop_api_server(&mut self) -> Result<()> {
        self.control_plane.stop_api_server().await
    }

    /// Starts the API server again and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_api_server(&mut self) -> Result<()> {
        self.control_plane.start_api_server().await
    }

    /// Fails when one of the cluster's own programs has ended.
    ///
    /// # Errors
    /// Which one, with the end of its log.
    pub fn check_running(&mut self) -> Result<()> {
        self.control_plane.check_running()?;
        self.nodes.values_mut().try_for_each(|node| node.proxy.check_running())
    }

    /// Runs the real kubectl with all rights.
    ///
    /// # Errors
    /// When it fails: with what it printed.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_input(arguments, "").await
    }

    /// Runs the real kubectl with something to read (`apply --filename -`).
    ///
    /// # Errors
    /// When it fails: with what it printed.
    pub async fn kubectl_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        let binary = layout::binary("kubernetes")?.display().to_string();
        let kubeconfig = format!("--kubeconfig={}", layout::kubeconfig(self.name).display());
        let argv = [binary.as_str(), "kubectl", &kubeconfig].into_iter().chain(arguments.iter().copied());
        process::run_with_input(argv, input).await.with_context(|| format!("on {}", self.name))
    }

    /// Waits for a rollout.
    ///
    /// # Errors
    /// When it is not done in time.
    pub async fn rollout(&self, namespace: &str, object: &str, limit: Duration) -> Result<()> {
        let timeout = format!("--timeout={}s", limit.as_secs());
        self.kubectl(&["rollout", "status", "--namespace", namespace, object, &timeout]).await.map(drop)
    }

    /// The names of the Pods that have a label (`key=value`) and run.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn pods(&self, namespace: &str, label: &str) -> Result<Vec<String>> {
        let api: Api<Pod> = Api::namespaced(self.client().clone(), namespace);
        let pods = api.list(&ListParams::default().labels(label)).await?;
        let runs = |pod: &Pod| {
            pod.metadata.deletion_timestamp.is_none()
                && pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
        };
        Ok(pods.items.iter().filter(|pod| runs(pod)).map(ResourceExt::name_any).collect())
    }

    /// Runs a command in the only container of a Pod, as its own process would.
    ///
    /// # Errors
    /// When the Pod does not run here.
    pub async fn exec_in_pod(&self, namespace: &str, pod: &str, argv: &[&str]) -> Result<Output> {
        container_exec::output(Place { cluster: self.name, namespace, pod, container: None }, argv).await
    }

    /// Runs a command in the client Pod.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn exec_in_client(&self, argv: &[&str]) -> Result<Output> {
        let pods = self.pods("client", "app=client").await?;
        let pod = pods.first().context("the client pod does not run")?;
        self.exec_in_pod("client", pod, argv).await
    }

    /// The file that a container's output goes to.
    pub fn log(&self, namespace: &str, pod: &str, container: &str) -> PathBuf {
        crate::kubelet::plan::log(self.name, namespace, pod, container)
    }

    /// Ends all kubelets. What else runs ends when this is dropped.
    pub async fn stop(self) {
        let kubelets = self.nodes.into_values().map(|node| node.kubelet.stop());
        futures_util::future::join_all(kubelets).await;
    }

    fn node(&self, name: &str) -> Result<&RunningNode> {
        self.nodes.get(name).with_context(|| format!("no node {name} in {}", self.name))
    }
}

fn proxy_configuration(kubeconfig: &Path, node: &str) -> serde_json::Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig, "qps": 100, "burst": 200},
        "hostnameOverride": node,
        "mode": "nftables",
        "clusterCIDR": format!("{POD_CIDR_V4},{POD_CIDR_V6}"),
        // These limits are the machine's, not the namespace's.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        // A second by default, which every change of a Service would wait for.
        "nftables": {"minSyncPeriod": "50ms"},
    })
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
