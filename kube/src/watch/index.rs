//! What a watch has told so far, read. Pure: events in, differences out; the time is passed in.
//!
//! Owns the rules that keep what is known: a list counts only when it is complete, an object that cannot be read stays
//! what it was, and a list that would drop most of what is known waits for a second one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use xcc_model::Diagnostic;

use super::Event;

/// A list that drops more than this many and more than half of what is known waits for a second one.
const MASS_DELETION_MIN: usize = 10;
/// How long that takes: long enough for an API server that lost its storage or its mind to be noticed.
const MASS_DELETION_DELAY: Duration = Duration::from_secs(60);
/// Most objects that are reported as unreadable at a time.
const PROBLEMS_MAX: usize = 1_000;

/// A kind of objects and how they are read.
pub(crate) trait Kind {
    /// Which object.
    type Key: Ord + Clone + fmt::Display;
    /// What is kept of it.
    type Value: Clone + PartialEq;
    /// Most objects that are kept. New ones beyond it are dropped, old ones stay.
    const LIMIT: usize;
    /// Whether a list that drops most of what is known is doubted.
    const DOUBTED: bool = true;

    /// Reads an object.
    fn read(&self, object: &Value) -> Read<Self::Key, Self::Value>;
}

/// What an object says.
pub(crate) enum Read<K, V> {
    /// It is there.
    Present(K, V),
    /// It is not one of ours.
    Absent(K),
    /// It cannot be one of ours, whatever its name.
    Ignored,
    /// It has not the shape of its kind: what it was before stays in force. Without a key not even its name can be told.
    Malformed(Option<K>, Diagnostic),
}

/// What is different from before.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Delta<K, V> {
    /// A complete list.
    All(BTreeMap<K, V>),
    /// One was added or changed.
    Set(K, V),
    /// One is gone.
    Gone(K),
    /// What is wrong with an object, by its name, or that it is resolved.
    Problem(String, Option<Diagnostic>),
}

/// How far an event brought it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing to note.
    Same,
    /// A list is complete and in force.
    Listed,
    /// A complete list would drop this many: they stay until a list that is asked for at this time or later.
    Held {
        /// How many are held back.
        dropped: usize,
        /// When to list again.
        until: Instant,
    },
}

/// The objects of one kind.
pub(crate) struct Index<K: Kind> {
    kind: K,
    current: BTreeMap<K::Key, K::Value>,
    problems: BTreeMap<String, Diagnostic>,
    list: Option<List<K>>,
    listed: bool,
    held: Option<Held<K::Key>>,
}

/// A list that is not complete yet.
struct List<K: Kind> {
    objects: BTreeMap<K::Key, K::Value>,
    problems: BTreeMap<String, Diagnostic>,
    /// An object in it has no name, so it may be any.
    nameless: bool,
}

struct Held<K> {
    missing: BTreeSet<K>,
    until: Instant,
}

type Deltas<K> = Vec<Delta<<K as Kind>::Key, <K as Kind>::Value>>;

impl<K: Kind> Index<K> {
    /// Knows what was known before, of another process say, and what was reported; a complete list replaces both.
    pub(crate) fn new(
        kind: K,
        known: BTreeMap<K::Key, K::Value>,
        problems: BTreeMap<String, Diagnostic>,
    ) -> Self {
        Self { kind, current: known, problems, list: None, listed: false, held: None }
    }

    /// The kind, with what it was made with.
    pub(crate) fn kind(&self) -> &K {
        &self.kind
    }

    /// The objects as they are in force.
    pub(crate) fn current(&self) -> &BTreeMap<K::Key, K::Value> {
        &self.current
    }

    /// Whether there was a complete list.
    pub(crate) fn listed(&self) -> bool {
        self.listed
    }

    /// Whether objects are kept only because a list that lacks them waits for a second one.
    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Takes an event.
    pub(crate) fn take(&mut self, event: Event, now: Instant) -> (Deltas<K>, Progress) {
        match event {
            Event::Init => {
                self.list =
                    Some(List { objects: BTreeMap::new(), problems: BTreeMap::new(), nameless: false });
                (Vec::new(), Progress::Same)
            }
            Event::InitApply(object) => {
                self.stage(&object);
                (Vec::new(), Progress::Same)
            }
            Event::InitDone => self.complete(now),
            Event::Apply(object) => (self.apply(&object), Progress::Same),
            Event::Delete(object) => (self.delete(&object), Progress::Same),
            Event::Alive | Event::Skipped(_) | Event::Failed(..) => (Vec::new(), Progress::Same),
        }
    }

    fn stage(&mut self, object: &Value) {
        let Some(list) = &mut self.list else { return };
        match self.kind.read(object) {
            Read::Present(key, value) => {
                // Old ones have precedence over new ones, wherever in the list they stand.
                if list.objects.len() < K::LIMIT || self.current.contains_key(&key) {
                    list.objects.insert(key, value);
                }
            }
            Read::Absent(_) | Read::Ignored => {}
            Read::Malformed(key, diagnostic) => {
                list.nameless |= key.is_none();
                note(&mut list.problems, key.as_ref(), diagnostic);
                if let Some((key, value)) =
                    key.and_then(|key| Some((key.clone(), self.current.get(&key)?.clone())))
                {
                    list.objects.insert(key, value);
                }
            }
        }
    }

    fn complete(&mut self, now: Instant) -> (Deltas<K>, Progress) {
        let Some(mut list) = self.list.take() else { return (Vec::new(), Progress::Same) };
        let missing: BTreeSet<K::Key> =
            self.current.keys().filter(|key| !list.objects.contains_key(key)).cloned().collect();
        let progress = self.brake(&missing, now);
        if list.nameless || progress != Progress::Listed {
            let kept = missing.iter().filter_map(|key| Some((key.clone(), self.current.get(key)?.clone())));
            list.objects.extend(kept);
        }
        let mut deltas = self.problems_differ(list.problems);
        if self.current != list.objects || !self.listed {
            self.current = list.objects;
            deltas.push(Delta::All(self.current.clone()));
        }
        self.listed = true;
        (deltas, progress)
    }

    /// Decides whether a complete list without these objects is believed.
    fn brake(&mut self, missing: &BTreeSet<K::Key>, now: Instant) -> Progress {
        let confirmed = match &self.held {
            Some(held) if now >= held.until => missing.intersection(&held.missing).count(),
            _ => 0,
        };
        let doubtful = missing.len() - confirmed;
        if !K::DOUBTED || doubtful <= MASS_DELETION_MIN || doubtful * 2 <= self.current.len() {
            self.held = None;
            return Progress::Listed;
        }
        let dropped = missing.len();
        // A list that comes before its time confirms nothing, but what is in it was not missing all along.
        if let Some(held) = &mut self.held
            && now < held.until
        {
            held.missing.retain(|key| missing.contains(key));
            return Progress::Held { dropped, until: held.until };
        }
        let until = now + MASS_DELETION_DELAY;
        self.held = Some(Held { missing: missing.clone(), until });
        Progress::Held { dropped, until }
    }

    fn apply(&mut self, object: &Value) -> Deltas<K> {
        match self.kind.read(object) {
            Read::Present(key, value) => {
                let mut deltas = self.resolved(&key);
                if let Some(held) = &mut self.held {
                    held.missing.remove(&key);
                }
                let room = self.current.len() < K::LIMIT || self.current.contains_key(&key);
                if room && self.current.get(&key) != Some(&value) {
                    self.current.insert(key.clone(), value.clone());
                    deltas.push(Delta::Set(key, value));
                }
                deltas
            }
            Read::Absent(key) => self.gone(key),
            Read::Ignored => Vec::new(),
            Read::Malformed(key, diagnostic) => {
                let mut problems = self.problems.clone();
                note(&mut problems, key.as_ref(), diagnostic);
                self.problems_differ(problems)
            }
        }
    }

    fn delete(&mut self, object: &Value) -> Deltas<K> {
        match self.kind.read(object) {
            Read::Present(key, _) | Read::Absent(key) | Read::Malformed(Some(key), _) => self.gone(key),
            Read::Ignored | Read::Malformed(None, _) => Vec::new(),
        }
    }

    fn gone(&mut self, key: K::Key) -> Deltas<K> {
        let mut deltas = self.resolved(&key);
        if self.current.remove(&key).is_some() {
            deltas.push(Delta::Gone(key));
        }
        deltas
    }

    fn resolved(&mut self, key: &K::Key) -> Deltas<K> {
        if self.problems.is_empty() {
            return Vec::new();
        }
        let place = key.to_string();
        self.problems.remove(&place).map(|_| Delta::Problem(place, None)).into_iter().collect()
    }

    fn problems_differ(&mut self, problems: BTreeMap<String, Diagnostic>) -> Deltas<K> {
        let gone = self.problems.keys().filter(|place| !problems.contains_key(*place));
        let mut deltas: Deltas<K> = gone.map(|place| Delta::Problem(place.clone(), None)).collect();
        for (place, problem) in &problems {
            if self.problems.get(place) != Some(problem) {
                deltas.push(Delta::Problem(place.clone(), Some(problem.clone())));
            }
        }
        self.problems = problems;
        deltas
    }
}

fn note<K: fmt::Display>(
    problems: &mut BTreeMap<String, Diagnostic>,
    key: Option<&K>,
    diagnostic: Diagnostic,
) {
    let place = key.map_or_else(|| "an object without a name".to_owned(), ToString::to_string);
    if problems.len() < PROBLEMS_MAX || problems.contains_key(&place) {
        problems.insert(place, diagnostic);
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
