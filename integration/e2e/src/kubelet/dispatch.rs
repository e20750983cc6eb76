//! From the watch of the node's Pods to one worker per Pod.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::mirror::RETRY_AFTER;
use super::{NodeContext, pod};

/// How long the workers may take to kill their processes when the kubelet ends.
const END_LIMIT: Duration = Duration::from_secs(10);

struct Worker {
    pod: watch::Sender<Arc<Pod>>,
    /// The Pod is gone from the API, or the kubelet ends: nothing more is to be done gracefully.
    abandon: CancellationToken,
    task: JoinHandle<()>,
}

/// Watches the Pods that are bound to the node until it is stopped; then ends them all at once.
pub async fn run(context: Arc<NodeContext>, stop: CancellationToken) {
    let api: Api<Pod> = Api::all(context.client.clone());
    let selector = format!("spec.nodeName={}", context.node);
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default().fields(&selector)));
    let mut workers = Workers { context, by_uid: HashMap::new(), listed: Vec::new() };
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => break,
            event = events.next() => event,
        };
        match event {
            Some(Ok(event)) => workers.take(event),
            Some(Err(error)) => {
                tracing::debug!(%error, "the watch of pods broke");
                tokio::time::sleep(RETRY_AFTER).await;
            }
            None => break,
        }
    }
    workers.end().await;
}

struct Workers {
    context: Arc<NodeContext>,
    by_uid: HashMap<String, Worker>,
    /// The uids of a list that is not complete yet.
    listed: Vec<String>,
}

impl Workers {
    fn take(&mut self, event: Event<Pod>) {
        match event {
            Event::Apply(pod) => self.apply(pod),
            Event::Delete(pod) => self.gone(&pod.uid().unwrap_or_default()),
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.push(pod.uid().unwrap_or_default());
                self.apply(pod);
            }
            Event::InitDone => {
                let gone: Vec<_> =
                    self.by_uid.keys().filter(|uid| !self.listed.contains(uid)).cloned().collect();
                gone.iter().for_each(|uid| self.gone(uid));
            }
        }
    }

    fn apply(&mut self, pod: Pod) {
        self.by_uid.retain(|_uid, worker| !worker.task.is_finished());
        let uid = pod.uid().unwrap_or_default();
        if let Some(worker) = self.by_uid.get(&uid) {
            worker.pod.send_replace(Arc::new(pod));
            return;
        }
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) && pod.metadata.deletion_timestamp.is_none() {
            return;
        }
        let (sender, receiver) = watch::channel(Arc::new(pod));
        let abandon = CancellationToken::new();
        let task = tokio::spawn(pod::run(self.context.clone(), receiver, abandon.clone()));
        self.by_uid.insert(uid, Worker { pod: sender, abandon, task });
    }

    fn gone(&self, uid: &str) {
        if let Some(worker) = self.by_uid.get(uid) {
            worker.abandon.cancel();
        }
    }

    async fn end(self) {
        let tasks = self.by_uid.into_values().map(|worker| {
            worker.abandon.cancel();
            worker.task
        });
        let all = futures_util::future::join_all(tasks);
        if tokio::time::timeout(END_LIMIT, all).await.is_err() {
            tracing::warn!(node = self.context.node, "some pods did not end; their namespaces are swept");
        }
    }
}
