//! A stand-in for the kubelet: the containers of the Pods that are bound to its node run as processes.
//!
//! Kept as the kubelet has it: what ends up in the API (Node and Pod status, leases, tokens), the order of a Pod's
//! life (sandbox, volumes, init containers, containers, probes, hooks, grace period), and what a container can see
//! and do: its own root, read-only where asked, its own process ids, its Pod's network, its user, groups and
//! capabilities. Not kept: images (a table names binaries of this machine, [`images`]), resource limits, seccomp
//! and AppArmor, ephemeral and windows containers, the kubelet's own HTTP API (`kubectl logs` and `exec`).

pub mod atomic;
pub mod dispatch;
pub mod environment;
pub mod heartbeat;
pub mod hooks;
pub mod images;
pub mod mirror;
pub mod mount;
pub mod plan;
pub mod pod;
pub mod probe;
pub mod request;
pub mod rootfs;
pub mod runtime;
pub mod sandbox;
pub mod security;
pub mod state;
pub mod status;
pub mod supervise;
pub mod volumes;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::layout;
use crate::node::NodeNetwork;
use heartbeat::{Health, NodeOptions};
use images::Images;
use mirror::Mirror;

/// What everything on one node needs.
pub struct NodeContext {
    /// The cluster's name.
    pub cluster: String,
    /// The node's name.
    pub node: String,
    /// A client with all rights.
    pub client: Client,
    /// The cluster's ConfigMaps and Secrets.
    pub mirror: Mirror,
    /// The node's network.
    pub network: NodeNetwork,
    /// What the names of images stand for.
    pub images: Arc<Images>,
}

impl std::fmt::Debug for NodeContext {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("NodeContext").field("node", &self.node).finish_non_exhaustive()
    }
}

impl NodeContext {
    /// The folder of the node's files.
    pub fn folder(&self) -> PathBuf {
        layout::run().join(&self.cluster).join("nodes").join(&self.node)
    }
}

impl Drop for Kubelet {
    /// One that is dropped (its cluster did not come up) starts nothing any more.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The kubelet of one node.
pub struct Kubelet {
    context: Arc<NodeContext>,
    health: watch::Sender<Health>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Kubelet {
    /// Registers the node, and runs what is bound to it from now on.
    ///
    /// # Errors
    /// When the Node cannot be registered.
    pub async fn start(context: NodeContext, options: NodeOptions) -> Result<Self> {
        let context = Arc::new(context);
        heartbeat::register(&context, &options).await?;
        let (health, health_seen) = watch::channel(Health::Ready);
        let stop = CancellationToken::new();
        let tasks = vec![
            tokio::spawn(heartbeat::run(context.clone(), options, health_seen, stop.clone())),
            tokio::spawn(dispatch::run(context.clone(), stop.clone())),
        ];
        Ok(Self { context, health, stop, tasks })
    }

    /// What everything on the node needs.
    pub fn context(&self) -> &NodeContext {
        &self.context
    }

    /// Makes the node Ready, NotReady or silent.
    pub fn set_health(&self, health: Health) {
        self.health.send_replace(health);
    }

    /// Ends the kubelet. Its pods' processes are killed.
    pub async fn stop(mut self) {
        self.stop.cancel();
        for task in std::mem::take(&mut self.tasks) {
            // A task that panicked has been reported by the runtime; the processes die with their namespaces.
            let _panicked = task.await;
        }
    }
}
