//! How long clients are waited for: when a response has been unanswered for so long that a newer one is sent all the same.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{
    metrics::{Metrics, Overdue},
    type_url::TypeUrl,
};

/// How often the time doubles.
const DOUBLINGS_MAX: usize = 6;

/// The responses that one client has not answered, by type.
#[derive(Debug)]
pub(crate) struct Patience {
    answer_timeout: Duration,
    types: BTreeMap<TypeUrl, Unanswered>,
}

#[derive(Debug)]
struct Unanswered {
    deadline: Instant,
    /// Counts the type while the deadline has passed.
    overdue: Option<Overdue>,
}

impl Patience {
    pub(crate) fn new(answer_timeout: Duration) -> Self {
        Self { answer_timeout, types: BTreeMap::new() }
    }

    /// Takes note that a response was sent, the last of so many that are unanswered. A client that is only slow must not be
    /// drowned: each further one waits twice as long.
    pub(crate) fn sent(&mut self, type_url: &TypeUrl, unanswered: usize) {
        let doublings = unanswered.saturating_sub(1).min(DOUBLINGS_MAX);
        let deadline = Instant::now() + self.answer_timeout * (1 << doublings);
        match self.types.get_mut(type_url) {
            Some(old) => {
                old.deadline = deadline;
                if unanswered == 1 {
                    // The one that was overdue has been answered.
                    old.overdue = None;
                }
            }
            None => drop(self.types.insert(type_url.clone(), Unanswered { deadline, overdue: None })),
        }
    }

    /// Forgets types of which all is answered.
    pub(crate) fn retain(&mut self, is_unanswered: impl Fn(&TypeUrl) -> bool) {
        self.types.retain(|type_url, _| is_unanswered(type_url));
    }

    /// When the next response will have been unanswered for too long. `is_blocked` says whether something newer waits: a
    /// deadline that passed already is of interest only then.
    pub(crate) fn next(&self, is_blocked: impl Fn(&TypeUrl) -> bool) -> Option<Instant> {
        let of_interest =
            |(type_url, it): &(&TypeUrl, &Unanswered)| it.overdue.is_none() || is_blocked(type_url);
        self.types.iter().filter(of_interest).map(|(_, it)| it.deadline).min()
    }

    /// The types whose time is up.
    pub(crate) fn passed(&mut self, metrics: &Metrics) -> Vec<TypeUrl> {
        let now = Instant::now();
        let mut passed = Vec::new();
        for (type_url, unanswered) in self.types.iter_mut().filter(|(_, it)| it.deadline <= now) {
            unanswered.overdue.get_or_insert_with(|| metrics.overdue(type_url));
            passed.push(type_url.clone());
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CDS: TypeUrl = TypeUrl::Cluster;

    #[tokio::test(start_paused = true)]
    async fn each_further_response_waits_twice_as_long_up_to_a_limit() {
        let mut patience = Patience::new(Duration::from_secs(5));
        let mut waited = Vec::new();
        for unanswered in 1..=8 {
            patience.sent(&CDS, unanswered);
            let deadline = patience.next(|_| true).unwrap();
            waited.push((deadline - Instant::now()).as_secs());
            assert!(patience.passed(&Metrics::default()).is_empty());
            tokio::time::sleep_until(deadline).await;
            assert_eq!(patience.passed(&Metrics::default()), [CDS]);
        }
        assert_eq!(waited, [5, 10, 20, 40, 80, 160, 320, 320]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_that_is_up_wakes_again_only_for_news() {
        let metrics = Metrics::default();
        let mut patience = Patience::new(Duration::from_secs(5));
        patience.sent(&CDS, 1);
        assert!(patience.next(|_| false).is_some(), "the metric counts it even without news");
        tokio::time::advance(Duration::from_secs(5)).await;
        patience.passed(&metrics);
        assert_eq!(metrics.overdue_count(&CDS), 1);
        assert_eq!(patience.next(|_| false), None);
        assert!(patience.next(|_| true).unwrap() <= Instant::now());
        patience.retain(|_| false);
        assert_eq!(metrics.overdue_count(&CDS), 0);
        assert_eq!(patience.next(|_| true), None);
    }
}
