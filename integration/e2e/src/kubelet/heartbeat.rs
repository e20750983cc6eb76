//! The Node object: registered, kept Ready by a status and a lease, or made to fail on purpose.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeAddress, NodeCondition, NodeStatus, NodeSystemInfo, Taint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::NodeContext;

/// How often the lease is renewed: often enough for the controller manager's shortened grace period (20 s).
const LEASE_PERIOD: Duration = Duration::from_secs(4);

/// The release of Kubernetes that the kubelet says it is of: that of the other parts.
const KUBELET_VERSION: &str = "v1.37.2";

/// What a node says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The condition Ready is True.
    Ready,
    /// The kubelet itself says that the node is not ready: noticed at once.
    NotReady,
    /// The kubelet says nothing any more: the node controller notices when the lease has run out.
    Silent,
}

/// Which of its addresses a node reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressFamilies {
    /// Both, IPv4 first.
    #[default]
    Dual,
    /// IPv6 only: nobody can come by IPv4, host ports included.
    V6,
}

/// How a node is registered.
#[derive(Debug, Clone, Default)]
pub struct NodeOptions {
    /// Labels beside those that every node has.
    pub labels: BTreeMap<String, String>,
    /// Taints from the start.
    pub taints: Vec<Taint>,
    /// Which addresses it reports.
    pub families: AddressFamilies,
}

impl NodeOptions {
    /// A node for the control plane: labelled and tainted as kubeadm does.
    pub fn control_plane() -> Self {
        let role = "node-role.kubernetes.io/control-plane";
        let taint = Taint { key: role.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
        Self {
            labels: BTreeMap::from([(role.to_owned(), String::new())]),
            taints: vec![taint],
            ..Self::default()
        }
    }
}

/// Creates the Node with its first status.
///
/// # Errors
/// When the API server refuses it.
pub async fn register(context: &NodeContext, options: &NodeOptions) -> Result<()> {
    let api: Api<Node> = Api::all(context.client.clone());
    let [v4, v6] = context.network.pod_cidrs();
    let mut labels = options.labels.clone();
    labels.insert("kubernetes.io/hostname".to_owned(), context.node.clone());
    labels.insert("kubernetes.io/os".to_owned(), "linux".to_owned());
    labels.insert("kubernetes.io/arch".to_owned(), architecture().to_owned());
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": context.node, "labels": labels},
        "spec": {"podCIDR": v4, "podCIDRs": [v4, v6], "taints": options.taints},
    }))?;
    api.create(&PostParams::default(), &node)
        .await
        .with_context(|| format!("cannot register {}", context.node))?;
    write_lease(context).await?;
    write_status(context, options, Health::Ready).await
}

/// Renews the lease, and writes the status whenever the Node says otherwise (the health has changed, or the node
/// controller heard nothing for too long), until it is stopped.
pub async fn run(
    context: Arc<NodeContext>,
    options: NodeOptions,
    mut health: watch::Receiver<Health>,
    stop: CancellationToken,
) {
    loop {
        let now = *health.borrow_and_update();
        if let Err(error) = beat(&context, &options, now).await {
            tracing::debug!(node = context.node, error = format!("{error:#}"), "no heartbeat");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = health.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LEASE_PERIOD) => {}
        }
    }
}

async fn beat(context: &NodeContext, options: &NodeOptions, now: Health) -> Result<()> {
    if now == Health::Silent {
        return Ok(());
    }
    write_lease(context).await?;
    let api: Api<Node> = Api::all(context.client.clone());
    let node = api.get(&context.node).await.context("cannot read the Node")?;
    let wanted = if now == Health::Ready { "True" } else { "False" };
    if says_ready(&node) == Some(wanted) { Ok(()) } else { write_status(context, options, now).await }
}

fn says_ready(node: &Node) -> Option<&str> {
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.find(|condition| condition.type_ == "Ready").map(|condition| condition.status.as_str())
}

async fn write_lease(context: &NodeContext) -> Result<()> {
    let api: Api<Lease> = Api::namespaced(context.client.clone(), "kube-node-lease");
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": context.node},
        "spec": {
            "holderIdentity": context.node,
            "leaseDurationSeconds": 40,
            "renewTime": format!("{:.6}", Timestamp::now()),
        },
    });
    let parameters = PatchParams::apply("kubelet").force();
    api.patch(&context.node, &parameters, &Patch::Apply(&lease)).await.context("cannot renew the lease")?;
    Ok(())
}

async fn write_status(context: &NodeContext, options: &NodeOptions, health: Health) -> Result<()> {
    let api: Api<Node> = Api::all(context.client.clone());
    let patch = json!({"status": node_status(context, options, health)});
    api.patch_status(&context.node, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .context("cannot write the node's status")?;
    Ok(())
}

fn node_status(context: &NodeContext, options: &NodeOptions, health: Health) -> NodeStatus {
    let addresses = context.network.addresses();
    let reported = match options.families {
        AddressFamilies::Dual => addresses.both().to_vec(),
        AddressFamilies::V6 => vec![addresses.v6.into()],
    };
    let address = |kind: &str, address: String| NodeAddress { type_: kind.to_owned(), address };
    let resources = BTreeMap::from(
        [("cpu", "16"), ("memory", "64Gi"), ("ephemeral-storage", "100Gi"), ("pods", "110")]
            .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))),
    );
    NodeStatus {
        addresses: Some(
            reported
                .into_iter()
                .map(|ip| address("InternalIP", ip.to_string()))
                .chain([address("Hostname", context.node.clone())])
                .collect(),
        ),
        allocatable: Some(resources.clone()),
        capacity: Some(resources),
        conditions: Some(conditions(health)),
        node_info: Some(NodeSystemInfo {
            architecture: architecture().to_owned(),
            kubelet_version: KUBELET_VERSION.to_owned(),
            kube_proxy_version: KUBELET_VERSION.to_owned(),
            container_runtime_version: "processes://1".to_owned(),
            operating_system: "linux".to_owned(),
            os_image: "Debian".to_owned(),
            machine_id: context.node.clone(),
            system_uuid: context.node.clone(),
            boot_id: context.node.clone(),
            kernel_version: std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            ..NodeSystemInfo::default()
        }),
        ..NodeStatus::default()
    }
}

fn conditions(health: Health) -> Vec<NodeCondition> {
    let now = Some(Time(Timestamp::now()));
    let condition = |kind: &str, status: &str, reason: &str| NodeCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(reason.to_owned()),
        last_heartbeat_time: now.clone(),
        last_transition_time: now.clone(),
    };
    let ready = if health == Health::Ready {
        condition("Ready", "True", "KubeletReady")
    } else {
        condition("Ready", "False", "KubeletNotReady")
    };
    vec![
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID"),
        ready,
    ]
}

/// The machine's architecture in Kubernetes' words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
