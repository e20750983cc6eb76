//! Conditions as they are merged with those before. Pure; the time is passed in.

use crate::crd::{Condition, ConditionStatus};

/// Longest message of a condition (Kubernetes API, `Condition`).
const MESSAGE_LENGTH_MAX: usize = 32_768;

/// A condition as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) kind: &'static str,
    pub(super) status: ConditionStatus,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Wanted {
    pub(super) fn new(
        kind: &'static str,
        status: ConditionStatus,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { kind, status, reason: reason.into(), message: message.into() }
    }
}

/// The conditions as they are written: the time of the last transition is that of before unless the status differs.
pub(super) fn merge(wanted: Vec<Wanted>, before: &[Condition], generation: i64, now: &str) -> Vec<Condition> {
    let condition = |wanted: Wanted| {
        let last = before.iter().find(|it| it.kind == wanted.kind && it.status == wanted.status);
        let message = match wanted.message.char_indices().nth(MESSAGE_LENGTH_MAX / 4) {
            Some((end, _)) => format!("{}...", &wanted.message[..end]),
            None => wanted.message,
        };
        Condition {
            kind: wanted.kind.to_owned(),
            status: wanted.status,
            reason: wanted.reason,
            message,
            last_transition_time: last.map_or_else(|| now.to_owned(), |it| it.last_transition_time.clone()),
            observed_generation: Some(generation),
        }
    };
    wanted.into_iter().map(condition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_changes_with_the_status_only() {
        let wanted = |status, reason: &str| vec![Wanted::new("Ready", status, reason, "m")];
        let first = merge(wanted(ConditionStatus::True, "A"), &[], 1, "t1");
        assert_eq!(first[0].last_transition_time, "t1");
        let second = merge(wanted(ConditionStatus::True, "B"), &first, 2, "t2");
        assert_eq!((second[0].last_transition_time.as_str(), second[0].reason.as_str()), ("t1", "B"));
        assert_eq!(second[0].observed_generation, Some(2));
        let third = merge(wanted(ConditionStatus::False, "B"), &second, 2, "t3");
        assert_eq!(third[0].last_transition_time, "t3");
        assert_eq!(merge(wanted(ConditionStatus::False, "B"), &third, 2, "t4"), third, "nothing to write");
    }
}
