//! The life of one container: started, watched over, started again with a back-off, ended gracefully.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::hooks;
use super::plan;
use super::pod::PodShared;
use super::probe::{self, Subject};
use super::runtime::Running;
use super::state::{Ended, Kind, Phase};

/// The pauses before a container is started again, after the first time, which is at once. The kubelet's are ten
/// times as long; tests wait for what comes back.
const BACK_OFF: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(10),
];

/// A container that ran this long is started again at once.
const RAN_WELL: Duration = Duration::from_secs(60);

/// How soon a start that was refused is tried again: what was missing may be there.
const REFUSED_RETRY: Duration = Duration::from_millis(500);

/// After a hook a container has at least this long to end by itself, as with the kubelet.
const GRACE_MIN: Duration = Duration::from_secs(2);

/// Runs a container until it is done for good, or it is stopped and has ended.
pub async fn supervise(shared: Arc<PodShared>, container: Container, kind: Kind, stop: CancellationToken) {
    let mut tries = 0_usize;
    loop {
        let Some(mut running) = start(&shared, &container, &stop).await else {
            finish_unstarted(&shared, &container, kind);
            return;
        };
        let (since, clock) = (Timestamp::now(), Instant::now());
        shared.update(&container.name, |one| {
            one.phase = Phase::Running(since);
            one.started = container.startup_probe.is_none();
        });
        let (exit_code, message) = watch_over(&shared, &container, &mut running, &stop).await;
        let ended = Ended { exit_code, message, started: since, finished: Timestamp::now() };
        if stop.is_cancelled() || !starts_again(&shared, kind, exit_code) {
            shared.update(&container.name, |one| {
                one.phase = Phase::Terminated(ended);
                (one.ready, one.started) = (kind == Kind::Init && exit_code == 0, false);
            });
            return;
        }
        tries = if clock.elapsed() > RAN_WELL { 0 } else { tries };
        let pause = BACK_OFF[tries.min(BACK_OFF.len() - 1)];
        tries += 1;
        shared.update(&container.name, |one| {
            let message = format!("back-off {} s restarting failed container", pause.as_secs());
            one.phase = Phase::Waiting { reason: "CrashLoopBackOff", message };
            one.last = Some(ended);
            one.restarts += 1;
            (one.ready, one.started) = (false, false);
        });
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// A container that was stopped before it ran: as the kubelet, it counts as killed unless it never began.
fn finish_unstarted(shared: &PodShared, container: &Container, kind: Kind) {
    let now = Timestamp::now();
    shared.update(&container.name, |one| {
        if kind == Kind::App || one.last.is_some() {
            let message = Some("the container could not be located when the pod was terminated".to_owned());
            one.phase = Phase::Terminated(Ended { exit_code: 137, message, started: now, finished: now });
        }
    });
}

fn starts_again(shared: &PodShared, kind: Kind, exit_code: i32) -> bool {
    let policy = shared.spec().restart_policy.unwrap_or_else(|| "Always".to_owned());
    match (kind, policy.as_str()) {
        (Kind::Sidecar, _) | (Kind::App, "Always") => true,
        (_, "Never") => false,
        // Init containers that are done are not started again by any policy.
        _ => exit_code != 0,
    }
}

/// Tries to start the container until it runs or is stopped.
async fn start(shared: &PodShared, container: &Container, stop: &CancellationToken) -> Option<Running> {
    loop {
        if stop.is_cancelled() {
            return None;
        }
        let (reason, message) = match try_start(shared, container).await {
            Ok(running) => return Some(running),
            Err(refused) => (refused.reason, refused.to_string()),
        };
        shared.update(&container.name, |one| one.phase = Phase::Waiting { reason, message });
        tokio::select! {
            () = tokio::time::sleep(REFUSED_RETRY) => {}
            () = stop.cancelled() => return None,
        }
    }
}

async fn try_start(shared: &PodShared, container: &Container) -> Result<Running, plan::Refused> {
    let refused = |cause| plan::Refused { reason: "CreateContainerError", cause };
    let sandbox = shared.sandbox().map_err(refused)?;
    let plan = plan::plan(&shared.context, sandbox, &shared.pod(), container)?;
    plan.start().await.map_err(refused)
}

/// Waits for the container's end, and brings it about when it is stopped or unhealthy.
async fn watch_over(
    shared: &Arc<PodShared>,
    container: &Container,
    running: &mut Running,
    stop: &CancellationToken,
) -> (i32, Option<String>) {
    let (unhealthy, mut reasons) = mpsc::channel(1);
    let probes_stop = CancellationToken::new();
    let _probes_end_with_this = probes_stop.clone().drop_guard();
    let subject =
        Subject { shared: shared.clone(), container: container.clone(), record: running.record().clone() };
    // After the hook: a container is not started before it is done.
    let post_start = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.clone());
    tokio::spawn(async move {
        if let Some(hook) = post_start
            && let Err(error) = hooks::run(&subject.shared, &subject.container, &subject.record, &hook).await
        {
            let _full = unhealthy.try_send(format!("postStart hook failed: {error:#}"));
            return;
        }
        probe::watch(subject, unhealthy, probes_stop).await;
    });
    tokio::select! {
        exit = running.wait() => (exit.unwrap_or(-1), None),
        () = stop.cancelled() => (terminate(shared, container, running, shared.grace()).await, None),
        Some(reason) = reasons.recv() => {
            tracing::info!(container = container.name, reason, "a container is ended");
            let grace = shared.spec().termination_grace_period_seconds.unwrap_or(30);
            let grace = Duration::from_secs(grace.unsigned_abs());
            (terminate(shared, container, running, grace).await, Some(reason))
        }
    }
}

/// The preStop hook, SIGTERM, and after the grace period SIGKILL.
async fn terminate(shared: &PodShared, container: &Container, running: &mut Running, grace: Duration) -> i32 {
    let deadline = Instant::now() + grace;
    if !shared.abandon.is_cancelled() && !grace.is_zero() {
        let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        if let Some(hook) = hook {
            let record = running.record().clone();
            tokio::select! {
                done = hooks::run(shared, container, &record, hook) => if let Err(error) = done {
                    tracing::info!(container = container.name, error = format!("{error:#}"), "a preStop hook failed");
                },
                exit = running.wait() => return exit.unwrap_or(-1),
                () = tokio::time::sleep_until(deadline) => {}
                () = shared.abandon.cancelled() => {}
            }
        }
        running.signal(Signal::TERM);
        let patience = deadline.max(Instant::now() + GRACE_MIN);
        tokio::select! {
            exit = running.wait() => return exit.unwrap_or(-1),
            () = tokio::time::sleep_until(patience) => {}
            () = shared.abandon.cancelled() => {}
        }
    }
    running.signal(Signal::KILL);
    running.wait().await.unwrap_or(-1)
}
