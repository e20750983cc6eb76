//! Readiness: what still has to happen before users can rely on this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::info;

/// Shared by those who hold readiness back and by `/readyz`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ready(Arc<Mutex<BTreeMap<&'static str, &'static str>>>);

/// Holds readiness back until it is dropped.
#[derive(Debug)]
pub(crate) struct BlockReady {
    ready: Ready,
    task: &'static str,
}

impl Ready {
    /// Holds readiness back until the returned guard is dropped; `waiting_for` tells people what is missing.
    pub(crate) fn register(&self, task: &'static str, waiting_for: &'static str) -> BlockReady {
        self.tasks().insert(task, waiting_for);
        BlockReady { ready: self.clone(), task }
    }

    /// What is missing; empty when ready.
    pub(crate) fn waiting_for(&self) -> Vec<&'static str> {
        self.tasks().values().copied().collect()
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, &'static str>> {
        // A map of two strings cannot be left half changed by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for BlockReady {
    fn drop(&mut self) {
        // What ends in a panic was not done.
        if std::thread::panicking() {
            return;
        }
        let mut tasks = self.ready.tasks();
        tasks.remove(self.task);
        info!(done = self.task, waiting_for = tasks.len(), "readiness");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_guard_is_dropped() {
        let ready = Ready::default();
        assert!(ready.waiting_for().is_empty());
        let first = ready.register("a", "the first thing");
        let second = ready.register("b", "the second thing");
        drop(first);
        assert_eq!(ready.waiting_for(), ["the second thing"]);
        drop(second);
        assert!(ready.waiting_for().is_empty());
    }
}
