//! Removing what a run left: its namespaces with all that runs in them, and its files.

use std::path::Path;

use anyhow::Result;

use crate::layout;
use crate::netns::Namespace;

/// The clusters' names: they are in the names of files in the project's root.
pub const CLUSTERS: [&str; 2] = ["shared-services", "workloads"];

/// Removes all traces of this or an earlier run but the logs. What is there of it is said.
///
/// # Errors
/// When something cannot be removed; the rest has been.
pub async fn sweep() -> Result<usize> {
    let namespaces = Namespace::all()?;
    let count = namespaces.len();
    let mut result = Ok(count);
    let removals = namespaces.iter().map(|namespace| namespace.delete());
    for removed in futures_util::future::join_all(removals).await {
        if let Err(error) = removed {
            result = Err(error);
        }
    }
    remove(&layout::run());
    CLUSTERS.iter().for_each(|cluster| remove(&layout::kubeconfig(cluster)));
    result
}

/// Removes a file or a folder that may not be there.
pub fn remove(path: &Path) {
    let _absent = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
}
