//! The life of one Pod on its node: sandbox, volumes, init containers, containers, and the end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::NodeContext;
use super::mount::Volumes;
use super::sandbox::Sandbox;
use super::state::{ContainerProgress, Kind, Phase, PodProgress};
use super::status;
use super::supervise::supervise;

/// How soon a sandbox or a volume that could not be made is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What the tasks of one Pod share.
#[derive(Debug)]
pub struct PodShared {
    /// What everything on the node needs.
    pub context: Arc<NodeContext>,
    /// Nothing more is to be done gracefully: the Pod is gone from the API, or the kubelet ends.
    pub abandon: CancellationToken,
    pod: watch::Receiver<Arc<Pod>>,
    progress: Mutex<PodProgress>,
    changed: Notify,
    sandbox: OnceLock<Sandbox>,
}

impl PodShared {
    /// The Pod as last seen.
    pub fn pod(&self) -> Arc<Pod> {
        self.pod.borrow().clone()
    }

    /// The Pod's spec.
    pub fn spec(&self) -> PodSpec {
        self.pod.borrow().spec.clone().unwrap_or_default()
    }

    /// The Pod as it is to be seen.
    pub fn watch(&self) -> watch::Receiver<Arc<Pod>> {
        self.pod.clone()
    }

    /// The sandbox.
    ///
    /// # Errors
    /// Before it is made.
    pub fn sandbox(&self) -> Result<&Sandbox> {
        self.sandbox.get().context("the pod has no sandbox yet")
    }

    /// Where the Pod is in its life.
    pub fn progress(&self) -> PodProgress {
        self.lock().clone()
    }

    /// Changes a container's state, and has the Pod's status written.
    pub fn update(&self, container: &str, change: impl FnOnce(&mut ContainerProgress)) {
        let mut progress = self.lock();
        if let Some(one) = progress.containers.get_mut(container) {
            change(one);
        }
        drop(progress);
        self.changed.notify_waiters();
    }

    /// The next change. What changes after this call is not missed.
    pub fn changed(&self) -> impl Future<Output = ()> {
        let mut changed = Box::pin(self.changed.notified());
        changed.as_mut().enable();
        changed
    }

    /// How long the Pod has to end.
    pub fn grace(&self) -> Duration {
        let pod = self.pod.borrow();
        let of_spec = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let seconds = pod.metadata.deletion_grace_period_seconds.or(of_spec).unwrap_or(30);
        Duration::from_secs(seconds.unsigned_abs())
    }

    fn lock(&self) -> MutexGuard<'_, PodProgress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_waiting(&self, reason: &'static str, message: &str) {
        for one in self.lock().containers.values_mut() {
            if matches!(one.phase, Phase::Waiting { .. }) {
                one.phase = Phase::Waiting { reason, message: message.to_owned() };
            }
        }
        self.changed.notify_waiters();
    }
}

/// Runs a Pod until it is deleted, or abandoned.
pub async fn run(context: Arc<NodeContext>, pod: watch::Receiver<Arc<Pod>>, abandon: CancellationToken) {
    let spec = pod.borrow().spec.clone().unwrap_or_default();
    let shared = Arc::new(PodShared {
        context,
        abandon,
        progress: Mutex::new(PodProgress::new(&spec, Timestamp::now())),
        pod,
        changed: Notify::new(),
        sandbox: OnceLock::new(),
    });
    let stop = shared.abandon.child_token();
    let publisher = tokio::spawn(status::publish(shared.clone()));
    {
        let mut lived = std::pin::pin!(live(&shared, &spec, &stop));
        tokio::select! {
            () = &mut lived => {}
            () = deleted(&shared) => {
                stop.cancel();
                lived.await;
            }
        }
    }
    publisher.abort();
    let _aborted = publisher.await;
    status::publish_once(&shared).await;
    if let Ok(sandbox) = shared.sandbox() {
        sandbox.remove(&shared.context).await;
    }
    // With its containers ended, a Pod waits for its deletion, which is then the node's to complete.
    tokio::select! {
        () = deleted(&shared) => status::delete(&shared).await,
        () = shared.abandon.cancelled() => {}
    }
}

async fn deleted(shared: &PodShared) {
    let mut pod = shared.watch();
    let asked = pod.wait_for(|pod| pod.metadata.deletion_timestamp.is_some()).await.is_ok();
    if !asked {
        // Nobody sends any more: the kubelet ends, and abandons.
        shared.abandon.cancelled().await;
    }
}

/// From the sandbox to the end of the last container.
async fn live(shared: &Arc<PodShared>, spec: &PodSpec, stop: &CancellationToken) {
    let Some(volumes) = prepare(shared, spec, stop).await else { return };
    let refresh = tokio::spawn(volumes.follow(shared.clone()));
    let mut sidecars = JoinSet::new();
    let sidecars_stop = shared.abandon.child_token();
    let initialized = initialize(shared, spec, stop, &mut sidecars, &sidecars_stop).await;
    if initialized {
        let mut apps = JoinSet::new();
        for container in &spec.containers {
            apps.spawn(supervise(shared.clone(), container.clone(), Kind::App, stop.clone()));
        }
        while apps.join_next().await.is_some() {}
    }
    // Sidecars end after all others, last first.
    sidecars_stop.cancel();
    while sidecars.join_next().await.is_some() {}
    refresh.abort();
    let _aborted = refresh.await;
}

/// Makes the sandbox and the volumes, again and again until it succeeds or the Pod is stopped.
async fn prepare(shared: &Arc<PodShared>, spec: &PodSpec, stop: &CancellationToken) -> Option<Volumes> {
    let mut volumes = Volumes::new(spec);
    loop {
        if stop.is_cancelled() {
            return None;
        }
        let made = tokio::select! {
            made = prepare_once(shared, &mut volumes) => made,
            () = stop.cancelled() => return None,
        };
        match made {
            Ok(()) => return Some(volumes),
            Err(error) => shared.set_waiting("ContainerCreating", &format!("{error:#}")),
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY_AFTER) => {}
            () = stop.cancelled() => return None,
        }
    }
}

async fn prepare_once(shared: &Arc<PodShared>, volumes: &mut Volumes) -> Result<()> {
    if shared.sandbox.get().is_none() {
        let sandbox = Sandbox::create(&shared.context, &shared.pod()).await?;
        shared.lock().pod_ips = sandbox.pod_ips().to_vec();
        let _first = shared.sandbox.set(sandbox);
        shared.changed.notify_waiters();
    }
    volumes.write(shared).await
}

/// Runs the init containers one after the other; says whether the Pod's containers may start.
async fn initialize(
    shared: &Arc<PodShared>,
    spec: &PodSpec,
    stop: &CancellationToken,
    sidecars: &mut JoinSet<()>,
    sidecars_stop: &CancellationToken,
) -> bool {
    for container in spec.init_containers.iter().flatten() {
        if container.restart_policy.as_deref() == Some("Always") {
            let sidecar = supervise(shared.clone(), container.clone(), Kind::Sidecar, sidecars_stop.clone());
            sidecars.spawn(sidecar);
            if !started(shared, container, stop).await {
                return false;
            }
        } else {
            supervise(shared.clone(), container.clone(), Kind::Init, stop.clone()).await;
            let progress = shared.progress();
            let one = progress.containers.get(&container.name);
            let done =
                one.is_some_and(|one| matches!(&one.phase, Phase::Terminated(ended) if ended.exit_code == 0));
            if !done || stop.is_cancelled() {
                return false;
            }
        }
    }
    !stop.is_cancelled()
}

/// Waits until a sidecar has started (its startup probe holds), or the Pod is stopped.
async fn started(shared: &PodShared, container: &Container, stop: &CancellationToken) -> bool {
    loop {
        let changed = shared.changed();
        let containers: BTreeMap<_, _> = shared.progress().containers;
        if containers.get(&container.name).is_some_and(|one| one.started) {
            return true;
        }
        tokio::select! {
            () = changed => {}
            () = stop.cancelled() => return false,
        }
    }
}
