//! What a client pod sees that knows nothing but a name.

use std::process::Output;
use std::time::Duration;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::wait;

/// What a step may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Asks for `https://NAME/` in the client pod: the answer's head and body, or what went wrong.
///
/// # Errors
/// When the client pod does not run.
pub async fn by_name(from: &Cluster, name: &str) -> Result<String> {
    let url = format!("https://{name}/");
    Ok(text(&from.exec_in_client(&["curl", "-sS", "-k", "-i", "--max-time", "5", &url]).await?))
}

/// Waits until a name answers `HTTP/2 200` from an exporting cluster.
///
/// # Errors
/// When it does not in time.
pub async fn reaches(importing: &Cluster, name: &str, exporting: &str) -> Result<()> {
    let header = format!("x-cluster: {exporting}");
    wait::until(&format!("{} reaches {name} in {exporting}", importing.name()), PATIENCE, async || {
        let answer = by_name(importing, name).await?;
        Ok(wait::holds(answer.contains("HTTP/2 200") && answer.contains(&header)))
    })
    .await
}

/// Waits until a name is not resolved.
///
/// # Errors
/// When it still is after [`PATIENCE`].
pub async fn unresolved(importing: &Cluster, name: &str) -> Result<()> {
    wait::until(&format!("{} does not resolve {name}", importing.name()), PATIENCE, async || {
        Ok(wait::holds(by_name(importing, name).await?.contains("Could not resolve host")))
    })
    .await
}

/// What a command printed, on either side.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
