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
    Index::new(Numbers, BTreeMap::new(), BTreeMap::new())
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
    let mut known = Index::new(Numbers, BTreeMap::from([(1, 1)]), BTreeMap::new());
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
    for (before, after, held) in
        [(30, 0, true), (30, 14, true), (30, 15, false), (10, 0, false), (11, 0, true)]
    {
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
