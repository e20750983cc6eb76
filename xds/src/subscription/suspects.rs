//! Who is to blame for a NACK that names nobody: the resources of a refused response are sent again in halves, until those
//! are found that the client refuses alone.
//!
//! With one to blame among n this takes 2·log2(n) responses at most; the number is bounded, as a client may refuse
//! everything, or for reasons that lie in no resource.

use std::{collections::BTreeSet, sync::Arc};

use crate::{resource::Resource, version::ResourceVersion};

/// How many responses one search may cost. What is not cleared by then counts as refused.
pub(super) const ROUNDS_MAX: usize = 64;

/// Resources that were refused in company, and have not been tried in a smaller one.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// The groups to try; the last one is the next.
    groups: Vec<Vec<Arc<Resource>>>,
    /// All that is in the groups.
    waiting: BTreeSet<(Arc<str>, ResourceVersion)>,
    rounds: usize,
}

impl Suspects {
    /// Whether no search is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Takes note of a refused response: its resources, and those of them that the client named. Returns the convicted.
    pub(super) fn accuse(
        &mut self,
        blamed: Vec<Arc<Resource>>,
        is_named: impl Fn(&Resource) -> bool,
    ) -> Vec<Arc<Resource>> {
        self.rounds += 1;
        let (mut convicted, mut rest): (Vec<_>, Vec<_>) =
            blamed.into_iter().partition(|resource| is_named(resource));
        if self.rounds > ROUNDS_MAX || (convicted.is_empty() && rest.len() == 1) {
            convicted.append(&mut rest);
        } else if convicted.is_empty() {
            let second = rest.split_off(rest.len() / 2);
            self.push(second);
            self.push(rest);
        } else if !rest.is_empty() {
            // Whether the client took those that it did not name depends on the client: they are sent again by themselves.
            self.push(rest);
        }
        if self.rounds > ROUNDS_MAX {
            convicted.extend(self.groups.drain(..).flatten());
            self.waiting.clear();
        }
        self.end_if_empty();
        convicted
    }

    /// Takes note of resources that were refused in the company of others that are no longer of interest.
    pub(super) fn try_again(&mut self, group: Vec<Arc<Resource>>) {
        if !group.is_empty() {
            self.push(group);
        }
    }

    fn push(&mut self, group: Vec<Arc<Resource>>) {
        self.waiting.extend(group.iter().map(|resource| key(resource)));
        self.groups.push(group);
    }

    /// The next group to try, without those that are no longer what would be sent.
    pub(super) fn next(&mut self, is_current: impl Fn(&Resource) -> bool) -> Option<Vec<Arc<Resource>>> {
        while let Some(mut group) = self.groups.pop() {
            for resource in &group {
                self.waiting.remove(&key(resource));
            }
            group.retain(|resource| is_current(resource));
            if !group.is_empty() {
                return Some(group);
            }
        }
        None
    }

    /// Drops what is sent again for another reason: the answer to that tells as much.
    pub(super) fn forget(&mut self, sent: &[Arc<Resource>]) {
        if self.is_empty() {
            return;
        }
        for key in sent.iter().map(|resource| key(resource)) {
            self.waiting.remove(&key);
        }
        for group in &mut self.groups {
            group.retain(|resource| self.waiting.contains(&key(resource)));
        }
        self.groups.retain(|group| !group.is_empty());
    }

    /// Called when the client took a response: the search is over if nothing is left to try.
    pub(super) fn end_if_empty(&mut self) {
        if self.groups.is_empty() {
            self.rounds = 0;
        }
    }

    /// Whether this resource, at this version, waits for its trial.
    pub(super) fn contains(&self, resource: &Resource) -> bool {
        !self.waiting.is_empty() && self.waiting.contains(&key(resource))
    }
}

fn key(resource: &Resource) -> (Arc<str>, ResourceVersion) {
    (Arc::clone(resource.name()), resource.version().clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::type_url::TypeUrl;

    fn resources(count: usize) -> Vec<Arc<Resource>> {
        let make = |index: usize| {
            let value = Bytes::from(vec![0x08, 1]);
            Arc::new(Resource::from_encoded(TypeUrl::VirtualHost, format!("{index:04}"), value))
        };
        (0..count).map(make).collect()
    }

    /// A client that takes a response only if it holds no bad name. Returns what it was convinced of, and the rounds.
    fn search(count: usize, bad: &BTreeSet<String>, names_them: bool) -> (BTreeSet<String>, usize) {
        let mut suspects = Suspects::default();
        let mut convicted = BTreeSet::new();
        let mut sent = Some(resources(count));
        let mut rounds = 0;
        while let Some(group) = sent {
            rounds += 1;
            if group.iter().any(|r| bad.contains(&**r.name())) {
                let named = |r: &Resource| names_them && bad.contains(&**r.name());
                convicted.extend(suspects.accuse(group, named).iter().map(|r| r.name().to_string()));
            }
            sent = suspects.next(|_| true);
            suspects.end_if_empty();
        }
        (convicted, rounds)
    }

    proptest! {
        #[test]
        fn exactly_the_bad_ones_are_convicted(
            count in 1usize..600,
            bad in proptest::collection::btree_set(0usize..600, 0..4),
            names_them: bool,
        ) {
            let bad: BTreeSet<_> = bad.into_iter().filter(|i| *i < count).map(|i| format!("{i:04}")).collect();
            let (convicted, rounds) = search(count, &bad, names_them);
            prop_assert_eq!(&convicted, &bad);
            let depth = count.next_power_of_two().ilog2() as usize;
            let bound = if names_them { 2 } else { 1 + 2 * depth * bad.len().max(1) };
            prop_assert!(rounds <= bound, "{} rounds for {} bad ones among {}", rounds, bad.len(), count);
        }
    }

    #[test]
    fn a_client_that_refuses_everything_is_given_up() {
        let bad = (0..1000).map(|index| format!("{index:04}")).collect();
        let (convicted, rounds) = search(1000, &bad, false);
        assert_eq!(convicted.len(), 1000);
        assert!(rounds <= ROUNDS_MAX + 1, "{rounds}");
    }
}
