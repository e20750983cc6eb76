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

    /// Reads an object.
    fn read(&self, object: &Value) -> Read<Self::Key, Self::Value>;
}

/// What an object says.
pub(crate) enum Read<K, V> {
    /// It is there.
    Present(K, V),
    /// It is not one of ours.
    Absent(K),
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
    /// Knows what was known before, of another process say; a complete list replaces it.
    pub(crate) fn new(kind: K, known: BTreeMap<K::Key, K::Value>) -> Self {
        Self { kind, current: known, problems: BTreeMap::new(), list: None, listed: false, held: None }
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
            Read::Absent(_) => {}
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
        if doubtful <= MASS_DELETION_MIN || doubtful * 2 <= self.current.len() {
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
            Read::Malformed(None, _) => Vec::new(),
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

fn note<K: fmt::Display>(problems: &mut BTreeMap<String, Diagnostic>, key: Option<&K>, diagnostic: Diagnostic) {
    let place = key.map_or_else(|| "an object without a name".to_owned(), ToString::to_string);
    if problems.len() < PROBLEMS_MAX || problems.contains_key(&place) {
        problems.insert(place, diagnostic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use xcc_model::{ObjectKind, ObjectRef, Reason, RemoteName};

    /// Objects are `{"k": key, "v": value}`; without a value they are none of ours, with a negative one malformed.
    struct Numbers;

    impl Kind for Numbers {
        type Key = u64;
        type Value = i64;
        const LIMIT: usize = 50;

        fn read(&self, object: &Value) -> Read<u64, i64> {
            let diagnostic = || Diagnostic {
                remote: RemoteName::parse("east").unwrap(),
                object: ObjectRef::new(ObjectKind::HTTPProxy, "a", "b"),
                reason: Reason::Malformed,
                message: "bad".to_owned(),
            };
            match (object["k"].as_u64(), object["v"].as_i64()) {
                (Some(key), Some(value)) if value >= 0 => Read::Present(key, value),
                (Some(key), None) => Read::Absent(key),
                (key, _) => Read::Malformed(key, diagnostic()),
            }
        }
    }

    fn index() -> Index<Numbers> {
        Index::new(Numbers, BTreeMap::new())
    }

    fn object(key: u64, value: i64) -> Value {
        json!({"k": key, "v": value})
    }

    fn list(
        index: &mut Index<Numbers>,
        objects: impl IntoIterator<Item = Value>,
        now: Instant,
    ) -> (Deltas<Numbers>, Progress) {
        assert_eq!(index.take(Event::Init, now), (vec![], Progress::Same));
        for object in objects {
            assert_eq!(index.take(Event::InitApply(object), now), (vec![], Progress::Same));
        }
        index.take(Event::InitDone, now)
    }

    fn numbers(keys: std::ops::Range<u64>) -> Vec<Value> {
        keys.map(|key| object(key, 1)).collect()
    }

    fn keys(index: &Index<Numbers>) -> Vec<u64> {
        index.current().keys().copied().collect()
    }

    #[tokio::test]
    async fn a_list_counts_when_it_is_complete_and_a_broken_one_is_void() {
        let (mut index, now) = (index(), Instant::now());
        list(&mut index, numbers(0..3), now);
        index.take(Event::Init, now);
        index.take(Event::InitApply(object(9, 1)), now);
        assert_eq!(keys(&index), [0, 1, 2]);
        let (deltas, progress) = list(&mut index, [object(1, 1), object(2, 5)], now);
        assert_eq!(progress, Progress::Listed);
        assert_eq!(deltas, [Delta::All(BTreeMap::from([(1, 1), (2, 5)]))]);
        let (deltas, _) = list(&mut index, [object(1, 1), object(2, 5)], now);
        assert_eq!(deltas, [], "an equal list is no news");
    }

    #[tokio::test]
    async fn the_first_list_is_told_even_when_it_is_empty_or_known() {
        let now = Instant::now();
        assert_eq!(list(&mut index(), [], now).0, [Delta::All(BTreeMap::new())]);
        let mut known = Index::new(Numbers, BTreeMap::from([(1, 1)]));
        assert_eq!(list(&mut known, [object(1, 1)], now).0.len(), 1);
    }

    #[tokio::test]
    async fn what_cannot_be_read_stays_what_it_was() {
        let (mut index, now) = (index(), Instant::now());
        list(&mut index, numbers(0..3), now);
        let (deltas, _) = index.take(Event::Apply(object(1, -1)), now);
        assert!(matches!(&deltas[..], [Delta::Problem(place, Some(_))] if place == "1"));
        let (deltas, _) = list(&mut index, [object(0, 1), object(1, -1)], now);
        assert_eq!(deltas, [Delta::All(BTreeMap::from([(0, 1), (1, 1)]))]);
        assert_eq!(index.take(Event::Apply(object(1, 1)), now).0, [Delta::Problem("1".into(), None)]);
        // One without a name may be any that the list lacks.
        list(&mut index, [json!({"v": 1})], now);
        assert_eq!(keys(&index), [0, 1]);
        assert_eq!(index.take(Event::Delete(object(1, -1)), now).0, [Delta::Gone(1)]);
    }

    #[tokio::test]
    async fn over_the_limit_the_old_ones_stay() {
        let (mut index, now) = (index(), Instant::now());
        list(&mut index, numbers(100..110), now);
        list(&mut index, numbers(0..110), now);
        assert_eq!(index.current().len(), 60);
        assert!(index.current().contains_key(&109));
        assert_eq!(index.take(Event::Apply(object(500, 1)), now).0, []);
        assert_eq!(index.take(Event::Apply(object(109, 2)), now).0, [Delta::Set(109, 2)]);
    }

    #[tokio::test]
    async fn a_list_that_drops_more_than_half_and_more_than_ten_waits_for_a_second_one() {
        for (before, after, held) in [(30, 0, true), (30, 14, true), (30, 15, false), (10, 0, false), (11, 0, true)] {
            let (mut index, now) = (index(), Instant::now());
            list(&mut index, numbers(0..before), now);
            let (deltas, progress) = list(&mut index, numbers(0..after), now);
            assert_eq!(matches!(progress, Progress::Held { .. }), held, "{before} -> {after}");
            assert_eq!(deltas.is_empty(), held);
            let later = now + MASS_DELETION_DELAY;
            let (_, progress) = list(&mut index, numbers(0..after), later);
            assert_eq!(progress, Progress::Listed);
            assert_eq!(index.current().len(), after as usize);
        }
    }

    #[tokio::test]
    async fn a_held_list_adds_at_once_and_one_before_its_time_confirms_nothing() {
        let (mut index, now) = (index(), Instant::now());
        list(&mut index, numbers(0..20), now);
        let (_, progress) = list(&mut index, numbers(30..31), now);
        assert_eq!(progress, Progress::Held { dropped: 20, until: now + MASS_DELETION_DELAY });
        assert_eq!(index.current().len(), 21);
        let (_, progress) = list(&mut index, [], now + MASS_DELETION_DELAY / 2);
        assert!(matches!(progress, Progress::Held { until, .. } if until == now + MASS_DELETION_DELAY));
        // Back in the meantime: not missing any more. A word of the API server itself is believed at once.
        assert_eq!(index.take(Event::Delete(object(3, 1)), now).0, [Delta::Gone(3)]);
        let (_, progress) = list(&mut index, numbers(0..20), now + MASS_DELETION_DELAY);
        assert_eq!(progress, Progress::Listed);
        assert!(!index.is_held());
        assert_eq!(index.current().len(), 20);
    }

    #[tokio::test]
    async fn a_second_list_confirms_only_what_the_first_lacked() {
        let (mut index, now) = (index(), Instant::now());
        list(&mut index, numbers(0..40), now);
        list(&mut index, numbers(0..15), now);
        let (_, progress) = list(&mut index, numbers(15..40), now + MASS_DELETION_DELAY);
        assert_eq!(progress, Progress::Listed, "15 of 40 are less than half");
        let (_, progress) = list(&mut index, numbers(0..0), now + MASS_DELETION_DELAY);
        assert!(matches!(progress, Progress::Held { dropped: 25, .. }));
    }

    proptest! {
        /// Any history with lost events that ends with a list ends as the API server has it.
        #[test]
        fn a_last_list_settles_everything(
            events in proptest::collection::vec((0_u64..8, 0_i64..3, 0_u8..4), 0..60),
            last in proptest::collection::btree_map(0_u64..8, 0_i64..3, 0..8),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _context = runtime.enter();
            let (mut index, now) = (index(), Instant::now());
            let mut told: BTreeMap<u64, i64> = BTreeMap::new();
            let mut hear = |deltas: Deltas<Numbers>| {
                for delta in deltas {
                    match delta {
                        Delta::All(all) => told = all,
                        Delta::Set(key, value) => { told.insert(key, value); }
                        Delta::Gone(key) => { told.remove(&key); }
                        Delta::Problem(..) => {}
                    }
                }
            };
            for (key, value, what) in events {
                let event = match what {
                    0 => Event::Init,
                    1 => Event::InitApply(object(key, value)),
                    2 => Event::Apply(object(key, value)),
                    _ => Event::Delete(object(key, value)),
                };
                hear(index.take(event, now).0);
            }
            hear(list(&mut index, last.iter().map(|(key, value)| object(*key, *value)), now).0);
            prop_assert_eq!(index.current(), &last);
            prop_assert_eq!(&told, &last);
        }
    }
}
