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

/// Writes the status on each change, and again when somebody else has written it (the node controller, which takes the
/// Pods of a silent node for not ready), for as long as it is polled.
pub async fn publish(shared: Arc<PodShared>) {
    let mut written = None;
    let mut version = 0;
    let mut pod = shared.watch();
    loop {
        let changed = shared.changed();
        let status = current(&shared);
        if written.as_ref() != Some(&status) {
            match write(&shared, &status).await {
                Some(of_pod) => (version, written) = (of_pod, Some(status)),
                None => return,
            }
        }
        let ours = ready(written.as_ref());
        // What is heard may be older than what was written.
        let overwritten = pod.wait_for(|pod| version_of(pod) > version && ready(pod.status.as_ref()) != ours);
        tokio::select! {
            () = changed => {}
            Ok(_pod) = overwritten => written = None,
        }
    }
}

/// The resource version, which is a number that grows (Kubernetes API concepts, since 1.35).
fn version_of(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

fn ready(status: Option<&PodStatus>) -> Option<&str> {
    let conditions = status?.conditions.iter().flatten();
    conditions
        .into_iter()
        .find(|condition| condition.type_ == "Ready")
        .map(|condition| condition.status.as_str())
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

/// The Pod's version with it, unless the Pod is gone. An API server that is away is waited for.
async fn write(shared: &PodShared, status: &PodStatus) -> Option<u64> {
    let pod = shared.pod();
    let (namespace, name, uid) = sandbox::identity(&pod);
    let api: Api<Pod> = Api::namespaced(shared.context.client.clone(), namespace);
    // With the uid the API server refuses to write to another Pod of the same name.
    let patch = json!({"metadata": {"uid": uid}, "status": status});
    loop {
        match api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(pod) => return Some(version_of(&pod)),
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => return None,
            Err(error) => tracing::debug!(%error, name, "cannot write a pod's status"),
        }
        tokio::select! {
            () = shared.abandon.cancelled() => return None,
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
