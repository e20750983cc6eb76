//! The cluster's ConfigMaps and Secrets, watched once for all nodes.
//!
//! The real kubelet watches what its Pods name and nothing else. This one trades that for one watch a cluster, and
//! volumes that follow a change at once rather than within a minute.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use tokio::sync::watch;

/// How long after an error a watch is tried again: soon, since tests wait for an API server that is back.
pub const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What is known; it follows the API server until it is dropped.
#[derive(Debug, Clone)]
pub struct Mirror {
    config_maps: Store<ConfigMap>,
    secrets: Store<Secret>,
    changes: watch::Receiver<u64>,
    _task: Arc<AbortOnDrop>,
}

#[derive(Debug)]
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Mirror {
    /// Starts to watch.
    pub fn start(client: &Client) -> Self {
        let (config_maps, config_map_writer) = reflector::store();
        let (secrets, secret_writer) = reflector::store();
        let (changed, changes) = watch::channel(0);
        let config_map_events = watcher(Api::all(client.clone()), watcher::Config::default());
        let secret_events = watcher(Api::all(client.clone()), watcher::Config::default());
        let task = tokio::spawn(async move {
            let config_maps = follow(reflector::reflector(config_map_writer, config_map_events), &changed);
            let secrets = follow(reflector::reflector(secret_writer, secret_events), &changed);
            tokio::join!(config_maps, secrets);
        });
        Self { config_maps, secrets, changes, _task: Arc::new(AbortOnDrop(task)) }
    }

    /// A ConfigMap, if there is one.
    pub fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>> {
        self.config_maps.get(&ObjectRef::new(name).within(namespace))
    }

    /// A Secret, if there is one.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<Arc<Secret>> {
        self.secrets.get(&ObjectRef::new(name).within(namespace))
    }

    /// A counter of changes, to wait for the next one.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

async fn follow<T>(events: impl Stream<Item = watcher::Result<T>>, changed: &watch::Sender<u64>) {
    let mut events = std::pin::pin!(events.into_stream());
    while let Some(event) = events.next().await {
        match event {
            Ok(_event) => changed.send_modify(|count| *count += 1),
            Err(error) => {
                tracing::debug!(%error, "a watch of the kubelets broke");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}
