//! The status of a RemoteCluster. Pure; the time is passed in.

use jiff::{SignedDuration, Timestamp};

use super::conditions::{Wanted, merge};
use crate::crd::{ConditionStatus, RemoteClusterStatus};
use crate::importing::kinds::RemoteObject;
use crate::session::{RemoteHealth, Sync};

/// How old the written time of the last sync may get while nothing else changes.
const SYNC_TIME_AGE_MAX: SignedDuration = SignedDuration::from_mins(5);

/// The status as it should be; none when what is there is good enough.
pub(super) fn status(
    object: &RemoteObject,
    health: Option<&RemoteHealth>,
    exports: Option<usize>,
    now: Timestamp,
) -> Option<RemoteClusterStatus> {
    let unknown = RemoteHealth::default();
    let health = health.unwrap_or(&unknown);
    let wanted = vec![ready(object, health), synced(health), valid(object)];
    let before = &object.status;
    let conditions = merge(wanted, &before.conditions, object.generation, &seconds(now));
    let last_sync = health.last_sync.map(seconds).or_else(|| before.last_sync_time.clone());
    let mut status = RemoteClusterStatus {
        conditions,
        exports: exports.map(|number| i64::try_from(number).unwrap_or(i64::MAX)).or(before.exports),
        last_sync_time: before.last_sync_time.clone(),
        observed_generation: Some(object.generation),
    };
    let written = before.last_sync_time.as_deref().and_then(|time| time.parse::<Timestamp>().ok());
    let aged = match (health.last_sync, written) {
        (Some(last), Some(written)) => last.duration_since(written) >= SYNC_TIME_AGE_MAX,
        (Some(_), None) => true,
        (None, _) => false,
    };
    if status == *before && !aged {
        return None;
    }
    status.last_sync_time = last_sync;
    Some(status)
}

fn seconds(time: Timestamp) -> String {
    format!("{time:.0}")
}

fn ready(object: &RemoteObject, health: &RemoteHealth) -> Wanted {
    const READY: &str = "Ready";
    match (&health.kubeconfig, &health.connection) {
        (Some(Err(trouble)), _) | (_, Some(Err(trouble))) => {
            Wanted::new(READY, ConditionStatus::False, trouble.reason, &*trouble.message)
        }
        (_, Some(Ok(()))) => Wanted::new(
            READY,
            ConditionStatus::True,
            "Connected",
            "the API server answers and the remote is watched",
        ),
        _ if object.settings.is_err() => Wanted::new(
            READY,
            ConditionStatus::Unknown,
            "InvalidSettings",
            "nothing is watched before the settings are valid",
        ),
        _ => {
            Wanted::new(READY, ConditionStatus::Unknown, "Connecting", "the API server has not answered yet")
        }
    }
}

fn synced(health: &RemoteHealth) -> Wanted {
    const SYNCED: &str = "Synced";
    let well = health.connection == Some(Ok(()));
    match (health.sync, well) {
        (Sync::Pending, _) => Wanted::new(
            SYNCED,
            ConditionStatus::False,
            "Pending",
            "not everything was listed yet; what an earlier process knew stays in force",
        ),
        (Sync::Held, _) => Wanted::new(
            SYNCED,
            ConditionStatus::False,
            "HeldBack",
            "the API server's list lacks more than half of what is known: that stays until a second list, a minute \
             later, lacks it too",
        ),
        (Sync::Done, true) => Wanted::new(
            SYNCED,
            ConditionStatus::True,
            "Synced",
            "everything that the remote exports is known",
        ),
        (Sync::Done, false) => Wanted::new(
            SYNCED,
            ConditionStatus::False,
            "Stale",
            "the remote cannot be watched now; what it said last stays in force",
        ),
    }
}

fn valid(object: &RemoteObject) -> Wanted {
    const VALID: &str = "Valid";
    match &object.settings {
        Ok(_) => Wanted::new(VALID, ConditionStatus::True, "Valid", "the settings are in force"),
        Err(problem) => {
            let of_domains = problem.message.contains("spec.allowedDomains");
            let reason = if of_domains { "InvalidDomain" } else { "InvalidSettings" };
            Wanted::new(VALID, ConditionStatus::False, reason, &*problem.message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::importing::kinds::RemoteClusters;
    use crate::session::Trouble;
    use crate::watch::{Kind, Read};
    use serde_json::json;

    fn object(spec: serde_json::Value) -> RemoteObject {
        let object = json!({"metadata": {"name": "east", "uid": "u", "generation": 7}, "spec": spec});
        match RemoteClusters.read(&object) {
            Read::Present(_, object) => object,
            _ => panic!(),
        }
    }

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn reasons(status: &RemoteClusterStatus) -> Vec<(&str, ConditionStatus, &str)> {
        status.conditions.iter().map(|it| (it.kind.as_str(), it.status, it.reason.as_str())).collect()
    }

    fn healthy(second: i64) -> RemoteHealth {
        RemoteHealth {
            kubeconfig: Some(Ok(())),
            connection: Some(Ok(())),
            sync: Sync::Done,
            last_sync: Some(time(second)),
        }
    }

    #[test]
    fn conditions_follow_the_remotes_health() {
        use ConditionStatus::{False, True, Unknown};
        let trouble = |reason| Some(Err(Trouble { reason, message: "m".to_owned() }));
        for (health, ready, synced) in [
            (RemoteHealth::default(), (Unknown, "Connecting"), (False, "Pending")),
            (healthy(1), (True, "Connected"), (True, "Synced")),
            (RemoteHealth { sync: Sync::Held, ..healthy(1) }, (True, "Connected"), (False, "HeldBack")),
            (
                RemoteHealth { connection: trouble("Forbidden"), ..healthy(1) },
                (False, "Forbidden"),
                (False, "Stale"),
            ),
            (
                RemoteHealth { kubeconfig: trouble("KubeconfigRefused"), ..healthy(1) },
                (False, "KubeconfigRefused"),
                (True, "Synced"),
            ),
        ] {
            let status = status(&object(json!({})), Some(&health), Some(3), time(5)).unwrap();
            assert_eq!(
                reasons(&status),
                [("Ready", ready.0, ready.1), ("Synced", synced.0, synced.1), ("Valid", True, "Valid")]
            );
            assert_eq!((status.exports, status.observed_generation), (Some(3), Some(7)));
        }
    }

    #[test]
    fn c11_invalid_domains_are_all_in_the_message_and_a_fix_is_seen() {
        let bad = object(json!({"allowedDomains": ["a b.com", "ok.test", "-x.com"]}));
        let status_of = |object: &RemoteObject| status(object, Some(&healthy(1)), None, time(5)).unwrap();
        let first = status_of(&bad);
        let valid = &first.conditions[2];
        assert_eq!((valid.status, valid.reason.as_str()), (ConditionStatus::False, "InvalidDomain"));
        for part in ["[0]", "Invalid characters", "[2]", "Invalid use of hyphen", "stay in force"] {
            assert!(valid.message.contains(part), "{}", valid.message);
        }
        let mut fixed = object(json!({"allowedDomains": ["ok.test"]}));
        fixed.status = first;
        assert_eq!(status_of(&fixed).conditions[2].status, ConditionStatus::True);
    }

    #[test]
    fn nothing_is_written_when_only_a_little_time_has_passed() {
        let mut object = object(json!({}));
        object.status = status(&object, Some(&healthy(1_000)), Some(3), time(1_000)).unwrap();
        assert_eq!(object.status.last_sync_time.as_deref(), Some("1970-01-01T00:16:40Z"));
        assert_eq!(status(&object, Some(&healthy(1_299)), Some(3), time(1_299)), None);
        let later = status(&object, Some(&healthy(1_300)), Some(3), time(1_300)).unwrap();
        assert_eq!(later.last_sync_time.as_deref(), Some("1970-01-01T00:21:40Z"));
        assert_eq!(later.conditions, object.status.conditions);
        // Another leader that has not heard of it yet takes nothing back.
        let unheard = status(&object, None, None, time(1_300)).unwrap();
        assert_eq!(
            (unheard.exports, unheard.last_sync_time),
            (Some(3), object.status.last_sync_time.clone())
        );
    }
}
