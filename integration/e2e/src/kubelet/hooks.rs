//! What probes and lifecycle hooks have in common: a command in the container, or a request to it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Container, ExecAction, LifecycleHandler, Probe};

use super::pod::PodShared;
use super::request::{self, Target};
use super::runtime::Record;
use crate::process;

/// Runs a command in a container.
///
/// # Errors
/// When it fails or is not done within the limit.
async fn exec(record: &Record, action: &ExecAction, limit: Duration) -> Result<()> {
    let command = record.command(action.command.as_deref().unwrap_or_default());
    let output = tokio::time::timeout(limit, process::output(&command, "")).await.context("timed out")??;
    ensure!(
        output.status.success(),
        "the command failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

fn target<'a>(shared: &'a PodShared, container: &'a Container) -> Result<Target<'a>> {
    let ip = *shared.sandbox()?.pod_ips().first().context("the pod has no address")?;
    Ok(Target { from: shared.context.network.namespace(), ip, container })
}

/// Asks once.
///
/// # Errors
/// When the answer is no, or none within the probe's limit.
pub async fn probe(shared: &PodShared, container: &Container, record: &Record, probe: &Probe) -> Result<()> {
    let limit = seconds(probe.timeout_seconds, 1);
    let target = target(shared, container)?;
    let asked = async {
        if let Some(action) = &probe.exec {
            exec(record, action, limit).await
        } else if let Some(action) = &probe.http_get {
            request::http_get(target, action, limit).await
        } else if let Some(action) = &probe.tcp_socket {
            request::tcp(target, &action.port, action.host.as_deref(), limit).await
        } else if let Some(action) = &probe.grpc {
            request::grpc(target, action.port, action.service.as_deref().unwrap_or_default(), limit).await
        } else {
            Ok(())
        }
    };
    tokio::time::timeout(limit, asked).await.context("timed out")?
}

/// Runs a hook to its end.
///
/// # Errors
/// When it fails. It has no limit of its own: the caller's grace period is.
pub async fn run(
    shared: &PodShared,
    container: &Container,
    record: &Record,
    hook: &LifecycleHandler,
) -> Result<()> {
    /// The longest that anything in a Pod's life takes is its grace period; this is beyond any.
    const LIMIT: Duration = Duration::from_secs(3600);
    if let Some(action) = &hook.exec {
        exec(record, action, LIMIT).await
    } else if let Some(action) = &hook.http_get {
        request::http_get(target(shared, container)?, action, LIMIT).await
    } else if let Some(action) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(action.seconds.unsigned_abs())).await;
        Ok(())
    } else {
        Ok(())
    }
}

/// A number of seconds of a spec, with its default.
pub fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
}
