use std::collections::BTreeSet;

use k8s_openapi::ByteString;
use proptest::prelude::*;
use serde_json::json;

use super::parts::{PARTS_MAX, TooLarge};
use super::*;
use crate::fake_api::{FakeApi, Fault};

pub(super) const COLLECTION: &str = "/api/v1/namespaces/xcc/configmaps";
pub(super) const FORMAT: u32 = 1;

pub(super) fn shared(api: &FakeApi, format: u32) -> SharedState {
    ImportingCluster::with_connection(api.connection(), "xcc").shared_state(format)
}

/// All ConfigMaps.
fn names() -> impl Iterator<Item = String> {
    (0..SETS.len()).flat_map(|set| (0..PARTS_MAX).map(move |part| parts::name(set, part)))
}

/// An API server with the ConfigMaps as the manifests have them.
pub(super) fn api() -> FakeApi {
    let api = FakeApi::new();
    for name in names() {
        let labels = json!({"app.kubernetes.io/part-of": "cross-cluster-connectivity"});
        api.put(COLLECTION, json!({"metadata": {"name": name, "labels": labels}}));
    }
    api
}

/// Different from all others, and with so many bytes that do not compress.
fn state(number: u64, size: usize) -> Vec<u8> {
    let mut random = number.wrapping_add(1);
    let next = |_| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 56) as u8
    };
    number.to_le_bytes().into_iter().chain((0..size).map(next)).collect()
}

async fn write(shared: &SharedState, state: &[u8]) -> Result<Turn, PartError> {
    let (_, turn) = shared.read().await.unwrap();
    shared.write(&PackedState::new(state).unwrap(), turn, Timestamp::UNIX_EPOCH).await
}

async fn read(shared: &SharedState) -> Option<Vec<u8>> {
    shared.read().await.unwrap().0.map(|kept| kept.state)
}

#[tokio::test]
async fn what_is_written_is_read_and_the_rest_of_the_object_stays() {
    let api = api();
    let shared = shared(&api, FORMAT);
    let (kept, mut turn) = shared.read().await.unwrap();
    assert_eq!(kept, None);
    for number in 1..6 {
        let now = Timestamp::from_second(i64::try_from(number).unwrap()).unwrap();
        let state = state(number, 50 * usize::try_from(number % 4).unwrap());
        turn = shared.write(&PackedState::new(&state).unwrap(), turn, now).await.unwrap();
        assert_eq!(shared.read().await.unwrap(), (Some(KeptState { state, written: now }), turn));
    }
    let object = api.get(&format!("{COLLECTION}/xcc-state-a-0")).unwrap();
    assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/part-of"], "cross-cluster-connectivity");
    let header: Value = serde_json::from_str(object["data"]["header"].as_str().unwrap()).unwrap();
    assert_eq!((&header["generation"], &header["parts"]), (&json!(5), &json!(2)), "people can read it");
}

#[tokio::test]
async fn what_does_not_fit_is_refused_before_anything_is_written() {
    let fits = PackedState::new(&state(1, 200)).unwrap();
    assert!((193..=256).contains(&fits.size()), "{} bytes are not four parts", fits.size());
    let refusal = PackedState::new(&state(1, 300)).unwrap_err();
    assert!(matches!(refusal, TooLarge::Compressed(size) if size > 256), "{refusal}");
    let refusal = PackedState::new(&vec![0; 64 * 1024 * 1024 + 1]).unwrap_err();
    assert_eq!(refusal, TooLarge::State(64 * 1024 * 1024 + 1));
}

#[test]
fn a_set_is_what_its_header_was_written_for() {
    let (one, other) = (PackedState::new(b"one").unwrap(), PackedState::new(b"two").unwrap());
    let bytes = |state: &PackedState| state.parts().collect::<Vec<_>>().concat();
    let header = one.header(FORMAT, 7, Timestamp::UNIX_EPOCH);
    assert_eq!(parts::unpack(&header, &bytes(&one)).unwrap(), b"one");
    assert_eq!(parts::unpack(&header, &bytes(&other)), None, "whole, but of another time");
    let newer = Header { generation: 8, ..header };
    assert_eq!(parts::unpack(&newer, &bytes(&one)), None, "it would pass for a newer one");
}

#[tokio::test]
async fn a_state_in_another_format_is_left_alone_and_the_next_is_newer() {
    let api = api();
    let (old, new) = (shared(&api, 1), shared(&api, 2));
    write(&old, b"old").await.unwrap();
    assert_eq!(read(&new).await, None);
    write(&new, b"new").await.unwrap();
    write(&new, b"newer").await.unwrap();
    assert_eq!(read(&old).await, None);
    write(&old, b"downgraded").await.unwrap();
    assert_eq!(read(&old).await.unwrap(), b"downgraded");
    write(&old, b"again").await.unwrap();
    assert_eq!(read(&old).await.unwrap(), b"again");
}

#[tokio::test]
async fn who_led_before_cannot_write_over_who_leads_now() {
    let api = api();
    let shared = shared(&api, FORMAT);
    let path = format!("{COLLECTION}/xcc-state-a-0");
    let version = api.get(&path).unwrap()["metadata"]["resourceVersion"].clone();
    write(&shared, b"new").await.unwrap();
    // What another had on its way.
    let late = parts::patch(&version, b"old", None);
    let late = request(Method::PATCH, &format!("{path}?fieldManager=xcc"), MERGE_PATCH, Some(&late));
    assert_eq!(api.connection().bytes(late).await.unwrap_err().code(), Some(409));
    assert_eq!(read(&shared).await.unwrap(), b"new");
}

#[tokio::test]
async fn what_is_missing_or_forbidden_says_what_to_do() {
    let shared = shared(&FakeApi::new(), FORMAT);
    let missing = shared.read().await.unwrap_err();
    assert!(missing.is_refusal());
    assert!(
        missing.to_string().contains("ConfigMap xcc/xcc-state-a-0") && missing.to_string().contains("apply")
    );
    let api = api();
    let shared = self::shared(&api, FORMAT);
    for (status, is_refusal) in [(403, true), (500, false)] {
        api.outage("PATCH", Some(Fault::Status(status)));
        assert_eq!(write(&shared, b"state").await.unwrap_err().is_refusal(), is_refusal);
    }
}

#[test]
fn the_manifests_have_the_configmaps_without_data_and_the_role_has_no_more() {
    let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/base");
    let file = |name: &str| std::fs::read_to_string(format!("{manifests}/{name}")).unwrap();
    let objects = file("state.yaml");
    let names: BTreeSet<String> = names().collect();
    let of_objects = objects.lines().filter_map(|line| line.strip_prefix("  name: ")).map(str::to_owned);
    assert_eq!(of_objects.collect::<BTreeSet<_>>(), names);
    // An apply would set them back to what it says.
    assert!(!objects.lines().any(|line| line.starts_with("data:") || line.starts_with("binaryData:")));
    let role = file("xcc-rbac.yaml").replace([',', '[', ']'], " ");
    let of_role = role.split_whitespace().filter(|word| word.starts_with("xcc-state-")).map(str::to_owned);
    assert_eq!(of_role.collect::<BTreeSet<_>>(), names);
}

/// What happens to the ConfigMaps.
#[derive(Debug, Clone)]
enum Step {
    Write(usize),
    /// The write of so many bytes breaks off at a part.
    Break(usize, usize),
    /// A byte of a part is another.
    Flip(usize, usize, usize),
    /// A part is what that of the other set is.
    Mix(usize, usize),
    /// A part has nothing.
    Empty(usize, usize),
    /// The header has another digit.
    Count(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let set = 0..SETS.len();
    let part = 0..PARTS_MAX;
    prop_oneof![
        4 => (0_usize..220).prop_map(Step::Write),
        4 => (0_usize..220, part.clone()).prop_map(|(size, part)| Step::Break(size, part)),
        1 => (set.clone(), part.clone(), 0_usize..64).prop_map(|(set, part, byte)| Step::Flip(set, part, byte)),
        1 => (set.clone(), part.clone()).prop_map(|(set, part)| Step::Mix(set, part)),
        1 => (set.clone(), part).prop_map(|(set, part)| Step::Empty(set, part)),
        1 => (set, 0_usize..120).prop_map(|(set, digit)| Step::Count(set, digit)),
    ]
}

/// Changes an object behind xcc's back.
fn damage(api: &FakeApi, step: &Step) {
    let object = |set, part| api.get(&format!("{COLLECTION}/{}", parts::name(set, part))).unwrap();
    let bytes_of = |object: &Value| {
        let bytes = serde_json::from_value::<ByteString>(object["binaryData"]["state"].clone());
        bytes.map(|bytes| bytes.0).unwrap_or_default()
    };
    let (mut changed, bytes) = match *step {
        Step::Flip(set, part, byte) => {
            let object = object(set, part);
            let mut bytes = bytes_of(&object);
            bytes.iter_mut().skip(byte).take(1).for_each(|byte| *byte ^= 1);
            (object, bytes)
        }
        Step::Mix(set, part) => (object(set, part), bytes_of(&object(1 - set, part))),
        Step::Empty(set, part) => (object(set, part), Vec::new()),
        Step::Count(set, digit) => {
            let mut object = object(set, 0);
            let mut header = object["data"]["header"].as_str().unwrap_or_default().to_owned().into_bytes();
            header.iter_mut().skip(digit).take(1).filter(|it| it.is_ascii_digit()).for_each(|it| *it ^= 1);
            object["data"]["header"] = json!(String::from_utf8(header).unwrap());
            let bytes = bytes_of(&object);
            (object, bytes)
        }
        Step::Write(_) | Step::Break(..) => return,
    };
    changed["binaryData"]["state"] = json!(ByteString(bytes));
    api.put(COLLECTION, changed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn only_a_whole_state_is_read_and_without_damage_the_last_one(
        steps in proptest::collection::vec(step(), 1..16),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let api = api();
            let shared = shared(&api, FORMAT);
            let (mut written, mut last, mut damaged) = (BTreeSet::new(), None, false);
            for (number, step) in steps.iter().enumerate() {
                match *step {
                    Step::Write(size) => {
                        let state = state(number as u64, size);
                        write(&shared, &state).await.unwrap();
                        (last, damaged) = (Some(state.clone()), false);
                        written.insert(state);
                    }
                    Step::Break(size, part) => {
                        let (_, turn) = shared.read().await.unwrap();
                        let broken = format!("PATCH {COLLECTION}/{}", parts::name(turn.set, part));
                        api.outage(&broken, Some(Fault::Status(500)));
                        let state = state(number as u64, size);
                        if write(&shared, &state).await.is_ok() {
                            (last, damaged) = (Some(state.clone()), false);
                            written.insert(state);
                        }
                        api.outage(&broken, None);
                    }
                    _ => {
                        damage(&api, step);
                        damaged = true;
                    }
                }
                let found = read(&shared).await;
                prop_assert!(found.as_ref().is_none_or(|found| written.contains(found)));
                prop_assert!(damaged || found == last);
            }
            Ok(())
        })?;
    }
}
