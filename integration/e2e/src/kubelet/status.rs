//! The Pod's status, written whenever it changes.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;

use super::mirror::RETRY_AFTER;
use super::pod::PodShared;
use super::sandbox;
use super::state;

/// Writes the status on each change, for as long as it is polled.
pub async fn publish(shared: Arc<PodShared>) {
    let mut written = None;
    loop {
        let changed = shared.changed();
        let status = current(&shared);
        if written.as_ref() != Some(&status) {
            if !write(&shared, &status).await {
                return;
            }
            written = Some(status);
        }
        changed.await;
    }
}

/// Writes the status as it is now, until the API server has it.
pub async fn publish_once(shared: &PodShared) {
    let status = current(shared);
    write(shared, &status).await;
}

fn current(shared: &PodShared) -> PodStatus {
    let host_ips = shared.context.network.addresses().both();
    state::pod_status(&shared.pod(), &shared.progress(), &host_ips, Timestamp::now())
}

/// Says whether the Pod is still there. An API server that is away is waited for.
async fn write(shared: &PodShared, status: &PodStatus) -> bool {
    let pod = shared.pod();
    let (namespace, name, uid) = sandbox::identity(&pod);
    let api: Api<Pod> = Api::namespaced(shared.context.client.clone(), namespace);
    // With the uid the API server refuses to write to another Pod of the same name.
    let patch = json!({"metadata": {"uid": uid}, "status": status});
    loop {
        match api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_pod) => return true,
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => return false,
            Err(error) => tracing::debug!(%error, name, "cannot write a pod's status"),
        }
        tokio::select! {
            () = shared.abandon.cancelled() => return false,
            () = tokio::time::sleep(RETRY_AFTER) => {}
        }
    }
}

/// Takes the Pod out of the API: its node is done with it.
pub async fn delete(shared: &PodShared) {
    let pod = shared.pod();
    let (namespace, name, uid) = sandbox::identity(&pod);
    let api: Api<Pod> = Api::namespaced(shared.context.client.clone(), namespace);
    let preconditions = Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None });
    let parameters = DeleteParams { grace_period_seconds: Some(0), preconditions, ..DeleteParams::default() };
    loop {
        match api.delete(name, &parameters).await {
            Ok(_deleted) => return,
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => return,
            Err(error) => tracing::debug!(%error, name, "cannot delete a pod"),
        }
        tokio::select! {
            () = shared.abandon.cancelled() => return,
            () = tokio::time::sleep(RETRY_AFTER) => {}
        }
    }
}
