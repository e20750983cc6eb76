//! The state of a Pod's containers, and the Pod status that it makes. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIP, Pod, PodCondition, PodIP, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What a container is for in its Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container that restarts always: runs beside the Pod's containers.
    Sidecar,
    /// One of the Pod's containers.
    App,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The exit code.
    pub exit_code: i32,
    /// Why, when it was not by itself.
    pub message: Option<String>,
    /// When it started.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It does not run, and will or may.
    Waiting {
        /// The reason in the kubelet's words.
        reason: &'static str,
        /// What a person reads.
        message: String,
    },
    /// It runs since then.
    Running(Timestamp),
    /// It ended for good.
    Terminated(Ended),
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerProgress {
    /// What it is for.
    pub kind: Kind,
    /// Where it is in its life.
    pub phase: Phase,
    /// How it ended the last time.
    pub last: Option<Ended>,
    /// How often it was started again.
    pub restarts: i32,
    /// Its readiness probe holds (or it has none and runs).
    pub ready: bool,
    /// Its startup probe has held (or it has none and runs).
    pub started: bool,
}

/// The Pod as its node sees it.
#[derive(Debug, Clone, Default)]
pub struct PodProgress {
    /// The containers by name.
    pub containers: BTreeMap<String, ContainerProgress>,
    /// The Pod's addresses, once it has a network.
    pub pod_ips: Vec<IpAddr>,
    /// When the node took the Pod.
    pub taken: Option<Timestamp>,
}

impl PodProgress {
    /// All containers of a Pod, waiting.
    pub fn new(spec: &PodSpec, taken: Timestamp) -> Self {
        let init = spec.init_containers.iter().flatten().map(|container| {
            let sidecar = container.restart_policy.as_deref() == Some("Always");
            (container.name.clone(), if sidecar { Kind::Sidecar } else { Kind::Init })
        });
        let all = init.chain(spec.containers.iter().map(|container| (container.name.clone(), Kind::App)));
        let containers = all
            .map(|(name, kind)| {
                let reason = if kind == Kind::App { "ContainerCreating" } else { "PodInitializing" };
                let phase = Phase::Waiting { reason, message: String::new() };
                let (last, restarts) = (None, 0);
                (name, ContainerProgress { kind, phase, last, restarts, ready: false, started: false })
            })
            .collect();
        Self { containers, pod_ips: Vec::new(), taken: Some(taken) }
    }

    /// Every container that the Pod is done with has ended for good.
    pub fn ended(&self) -> bool {
        self.of(Kind::App).all(|(_name, one)| matches!(one.phase, Phase::Terminated(_))) || self.init_failed()
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = (&String, &ContainerProgress)> {
        self.containers.iter().filter(move |(_name, one)| one.kind == kind)
    }

    fn init_failed(&self) -> bool {
        self.of(Kind::Init)
            .any(|(_name, one)| matches!(&one.phase, Phase::Terminated(ended) if ended.exit_code != 0))
    }

    fn initialized(&self) -> bool {
        self.of(Kind::Init)
            .all(|(_name, one)| matches!(&one.phase, Phase::Terminated(ended) if ended.exit_code == 0))
            && self.of(Kind::Sidecar).all(|(_name, one)| one.started)
    }

    fn ready(&self) -> bool {
        self.initialized()
            && self.of(Kind::App).chain(self.of(Kind::Sidecar)).all(|(_name, one)| one.ready)
            && !self.ended()
    }

    fn phase(&self) -> &'static str {
        if self.init_failed() {
            return "Failed";
        }
        if !self.initialized() {
            return "Pending";
        }
        if self.ended() {
            let failed =
                |one: &ContainerProgress| matches!(&one.phase, Phase::Terminated(e) if e.exit_code != 0);
            return if self.of(Kind::App).any(|(_name, one)| failed(one)) { "Failed" } else { "Succeeded" };
        }
        let creating = |one: &ContainerProgress| {
            matches!(&one.phase, Phase::Waiting { .. }) && one.last.is_none() && one.restarts == 0
        };
        if self.of(Kind::App).any(|(_name, one)| creating(one)) { "Pending" } else { "Running" }
    }
}

/// The status of a Pod, with the conditions that others have set kept.
pub fn pod_status(pod: &Pod, progress: &PodProgress, host_ips: &[IpAddr], now: Timestamp) -> PodStatus {
    let spec = pod.spec.clone().unwrap_or_default();
    let before = pod.status.as_ref();
    let list = |init: bool| -> Vec<ContainerStatus> {
        let containers =
            if init { spec.init_containers.clone().unwrap_or_default() } else { spec.containers.clone() };
        let status = |one: k8s_openapi::api::core::v1::Container| {
            Some(container_status(&one.name, one.image.as_deref(), progress.containers.get(&one.name)?))
        };
        containers.into_iter().filter_map(status).collect()
    };
    PodStatus {
        phase: Some(progress.phase().to_owned()),
        conditions: Some(conditions(pod, progress, now)),
        host_ip: host_ips.first().map(IpAddr::to_string),
        host_ips: Some(host_ips.iter().map(|ip| HostIP { ip: ip.to_string() }).collect()),
        pod_ip: progress.pod_ips.first().map(IpAddr::to_string),
        pod_ips: Some(progress.pod_ips.iter().map(|ip| PodIP { ip: ip.to_string() }).collect()),
        start_time: before.and_then(|status| status.start_time.clone()).or_else(|| progress.taken.map(Time)),
        qos_class: before.and_then(|status| status.qos_class.clone()),
        container_statuses: Some(list(false)),
        init_container_statuses: spec.init_containers.is_some().then(|| list(true)),
        ..PodStatus::default()
    }
}

fn conditions(pod: &Pod, progress: &PodProgress, now: Timestamp) -> Vec<PodCondition> {
    let before = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let gates_open = gates.into_iter().all(|gate| {
        before.clone().any(|condition| condition.type_ == gate.condition_type && condition.status == "True")
    });
    let own = [
        ("PodReadyToStartContainers", !progress.pod_ips.is_empty() && !progress.ended()),
        ("Initialized", progress.initialized()),
        ("ContainersReady", progress.ready()),
        ("Ready", progress.ready() && gates_open),
    ];
    let mut conditions: Vec<PodCondition> = before
        .clone()
        .filter(|condition| !own.iter().any(|(kind, _holds)| condition.type_ == *kind))
        .cloned()
        .collect();
    for (kind, holds) in own {
        let status = if holds { "True" } else { "False" };
        let same = before.clone().find(|condition| condition.type_ == kind && condition.status == status);
        let since = same.and_then(|condition| condition.last_transition_time.clone()).unwrap_or(Time(now));
        conditions.push(PodCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            last_transition_time: Some(since),
            reason: reason(kind, holds, progress).map(str::to_owned),
            ..PodCondition::default()
        });
    }
    conditions
}

fn reason(kind: &str, holds: bool, progress: &PodProgress) -> Option<&'static str> {
    match kind {
        _ if holds => None,
        "Initialized" => Some("ContainersNotInitialized"),
        "ContainersReady" | "Ready" if progress.phase() == "Succeeded" => Some("PodCompleted"),
        "ContainersReady" | "Ready" => Some("ContainersNotReady"),
        _ => None,
    }
}

fn container_status(name: &str, image: Option<&str>, progress: &ContainerProgress) -> ContainerStatus {
    let image = image.unwrap_or_default().to_owned();
    let state = match &progress.phase {
        Phase::Waiting { reason, message } => ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some((*reason).to_owned()),
                message: (!message.is_empty()).then(|| message.clone()),
            }),
            ..ContainerState::default()
        },
        Phase::Running(since) => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(Time(*since)) }),
            ..ContainerState::default()
        },
        Phase::Terminated(ended) => terminated(ended),
    };
    ContainerStatus {
        name: name.to_owned(),
        image_id: image.clone(),
        image,
        container_id: matches!(progress.phase, Phase::Running(_))
            .then(|| format!("processes://{name}-{}", progress.restarts)),
        last_state: progress.last.as_ref().map(terminated),
        ready: progress.ready,
        started: Some(progress.started),
        restart_count: progress.restarts,
        state: Some(state),
        ..ContainerStatus::default()
    }
}

fn terminated(ended: &Ended) -> ContainerState {
    let reason = if ended.exit_code == 0 { "Completed" } else { "Error" };
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: ended.exit_code,
            reason: Some(reason.to_owned()),
            message: ended.message.clone(),
            started_at: Some(Time(ended.started)),
            finished_at: Some(Time(ended.finished)),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "spec": {"initContainers": [{"name": "init"}], "containers": [{"name": "a"}, {"name": "b"}]},
            "status": {"conditions": [{"type": "PodScheduled", "status": "True"}]},
        }))
        .unwrap()
    }

    fn ended(exit_code: i32) -> Phase {
        let time = Timestamp::UNIX_EPOCH;
        Phase::Terminated(Ended { exit_code, message: None, started: time, finished: time })
    }

    fn progress(init: Phase, a: Phase, b: Phase) -> PodProgress {
        let mut progress = PodProgress::new(pod().spec.as_ref().unwrap(), Timestamp::UNIX_EPOCH);
        for (name, phase) in [("init", init), ("a", a), ("b", b)] {
            let one = progress.containers.get_mut(name).unwrap();
            one.ready = matches!(phase, Phase::Running(_));
            one.started = one.ready;
            one.phase = phase;
        }
        progress
    }

    fn waiting() -> Phase {
        Phase::Waiting { reason: "PodInitializing", message: String::new() }
    }

    fn running() -> Phase {
        Phase::Running(Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn phases_follow_the_containers() {
        for (progress, expected, ready) in [
            (progress(waiting(), waiting(), waiting()), "Pending", "False"),
            (progress(ended(1), waiting(), waiting()), "Failed", "False"),
            (progress(ended(0), running(), waiting()), "Pending", "False"),
            (progress(ended(0), running(), running()), "Running", "True"),
            (progress(ended(0), ended(0), running()), "Running", "False"),
            (progress(ended(0), ended(0), ended(0)), "Succeeded", "False"),
            (progress(ended(0), ended(0), ended(3)), "Failed", "False"),
        ] {
            let status = pod_status(&pod(), &progress, &[], Timestamp::UNIX_EPOCH);
            assert_eq!(status.phase.as_deref(), Some(expected));
            let condition = |kind: &str| {
                status
                    .conditions
                    .iter()
                    .flatten()
                    .find(|condition| condition.type_ == kind)
                    .unwrap()
                    .status
                    .clone()
            };
            assert_eq!(condition("Ready"), ready, "{expected}");
            assert_eq!(condition("PodScheduled"), "True", "the scheduler's own condition is kept");
        }
    }

    #[test]
    fn a_readiness_gate_keeps_a_pod_from_being_ready() {
        let mut pod = pod();
        let gate = serde_json::from_value(json!([{"conditionType": "example.com/gate"}])).unwrap();
        pod.spec.as_mut().unwrap().readiness_gates = Some(gate);
        let status = pod_status(&pod, &progress(ended(0), running(), running()), &[], Timestamp::UNIX_EPOCH);
        let of = |kind: &str| {
            status
                .conditions
                .iter()
                .flatten()
                .find(|condition| condition.type_ == kind)
                .unwrap()
                .status
                .clone()
        };
        assert_eq!((of("ContainersReady"), of("Ready")), ("True".to_owned(), "False".to_owned()));
    }
}
