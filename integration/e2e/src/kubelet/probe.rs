//! A container's probes: startup first, then readiness and liveness beside each other.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::hooks;
use super::pod::PodShared;
use super::runtime::Record;

/// A readiness or startup probe that has never held is asked again this soon, whatever its period: a rollout need
/// not wait for a period of ten seconds because the first question came a moment too early.
const FIRST_PERIOD: Duration = Duration::from_millis(250);

/// What probes are asked about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The Pod.
    pub shared: Arc<PodShared>,
    /// The container.
    pub container: Container,
    /// How to enter it.
    pub record: Record,
}

/// Asks until it is stopped. What makes the container unhealthy is sent once.
pub async fn watch(subject: Subject, unhealthy: mpsc::Sender<String>, stop: CancellationToken) {
    let all = async {
        if let Some(probe) = subject.container.startup_probe.clone()
            && let Err(reason) = first_success(&subject, &probe, true).await
        {
            // A full channel has a reason already.
            let _full = unhealthy.try_send(format!("startup probe failed: {reason}"));
            return;
        }
        subject.shared.update(&subject.container.name, |one| one.started = true);
        tokio::join!(readiness(&subject), liveness(&subject, &unhealthy));
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = all => {}
    }
}

async fn readiness(subject: &Subject) {
    let name = &subject.container.name;
    let Some(probe) = subject.container.readiness_probe.clone() else {
        subject.shared.update(name, |one| one.ready = true);
        return;
    };
    // Without a limit it only ends with a success.
    let _held = first_success(subject, &probe, false).await;
    subject.shared.update(name, |one| one.ready = true);
    let mut ready = true;
    let mut streak = 0;
    loop {
        tokio::time::sleep(hooks::seconds(probe.period_seconds, 10)).await;
        let holds = ask(subject, &probe).await.is_ok();
        streak = if holds == ready { 0 } else { streak + 1 };
        let needed =
            if holds { probe.success_threshold.unwrap_or(1) } else { probe.failure_threshold.unwrap_or(3) };
        if streak >= needed.max(1) {
            (ready, streak) = (holds, 0);
            subject.shared.update(name, |one| one.ready = holds);
        }
    }
}

async fn liveness(subject: &Subject, unhealthy: &mpsc::Sender<String>) {
    let Some(probe) = subject.container.liveness_probe.clone() else { return };
    tokio::time::sleep(hooks::seconds(probe.initial_delay_seconds, 0)).await;
    let mut failures = 0;
    loop {
        tokio::time::sleep(hooks::seconds(probe.period_seconds, 10)).await;
        match ask(subject, &probe).await {
            Ok(()) => failures = 0,
            Err(reason) => {
                failures += 1;
                if failures >= probe.failure_threshold.unwrap_or(3).max(1) {
                    let _full = unhealthy.try_send(format!("liveness probe failed: {reason}"));
                    return;
                }
            }
        }
    }
}

/// Waits for the first success (of as many in a row as the probe wants); with a limit no longer than the probe's
/// failures would take.
async fn first_success(subject: &Subject, probe: &Probe, limited: bool) -> Result<(), String> {
    tokio::time::sleep(hooks::seconds(probe.initial_delay_seconds, 0)).await;
    let period = hooks::seconds(probe.period_seconds, 10);
    let failures = u32::try_from(probe.failure_threshold.unwrap_or(3)).unwrap_or(3);
    let deadline = tokio::time::Instant::now() + period * failures;
    let needed = probe.success_threshold.unwrap_or(1).max(1);
    let mut successes = 0;
    loop {
        match ask(subject, probe).await {
            Ok(()) => {
                successes += 1;
                if successes >= needed {
                    return Ok(());
                }
            }
            Err(reason) if limited && tokio::time::Instant::now() > deadline => return Err(reason),
            Err(_not_yet) => successes = 0,
        }
        tokio::time::sleep(period.min(FIRST_PERIOD)).await;
    }
}

async fn ask(subject: &Subject, probe: &Probe) -> Result<(), String> {
    let asked = hooks::probe(&subject.shared, &subject.container, &subject.record, probe).await;
    asked.map_err(|error| format!("{error:#}"))
}
