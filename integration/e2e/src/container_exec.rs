//! Commands in the containers of a run that is up, as `kubectl exec` would: found by the records that the kubelets
//! leave, so that any program of this machine's root can.

use std::path::PathBuf;
use std::process::Output;

use anyhow::{Context, Result, ensure};

use crate::kubelet::runtime::Record;
use crate::kubelet::sandbox;
use crate::process;

/// Which container: the only one of its Pod if it is not named.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The cluster.
    pub cluster: &'a str,
    /// The Pod's namespace.
    pub namespace: &'a str,
    /// The Pod, or `deployment/NAME` for the only one of a Deployment.
    pub pod: &'a str,
    /// The container.
    pub container: Option<&'a str>,
}

/// How to enter a container.
///
/// # Errors
/// When it does not run.
pub fn record(place: Place<'_>) -> Result<Record> {
    let Place { cluster, namespace, pod, container } = place;
    let prefix = match pod.strip_prefix("deployment/") {
        Some(deployment) => format!("{namespace}_{deployment}-"),
        None => format!("{namespace}_{pod}_"),
    };
    let folders = std::fs::read_dir(sandbox::pods_folder(cluster))
        .with_context(|| format!("the cluster {cluster} is not up"))?
        .filter_map(|entry| Some(entry.ok()?.path()));
    let records: Vec<PathBuf> = folders
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
        .filter_map(|path| std::fs::read_dir(path.join("containers")).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter(|path| container.is_none_or(|name| path.file_stem().is_some_and(|stem| stem == name)))
        .collect();
    ensure!(!records.is_empty(), "no container of {namespace}/{pod} runs in {cluster}");
    ensure!(records.len() == 1, "{namespace}/{pod} has several containers: name one");
    let bytes = std::fs::read(&records[0]).context("the container has just ended")?;
    serde_json::from_slice(&bytes).context("a container's record")
}

/// Runs a command in a container to its end, whatever that is.
///
/// # Errors
/// When the container does not run.
pub async fn output(place: Place<'_>, argv: &[&str]) -> Result<Output> {
    process::output(&record(place)?.command(argv), "").await
}
