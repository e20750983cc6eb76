use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

use super::*;

const TYPE: TypeUrl = TypeUrl::VirtualHost;

fn resource(name: &str, content: u8) -> Resource {
    Resource::from_encoded(TYPE, name, Bytes::copy_from_slice(&[0x08, content]))
}

fn snapshot(names: &[(&str, u8)]) -> Snapshot {
    let mut builder = Snapshot::builder();
    for (name, content) in names {
        builder.insert(resource(name, *content));
    }
    builder.build().unwrap()
}

#[test]
fn versions_depend_on_content_only() {
    let one = snapshot(&[("a", 1), ("b", 2)]);
    let other_order = snapshot(&[("b", 2), ("a", 1)]);
    assert_eq!(one, other_order);
    assert_eq!(one.version(&TYPE), other_order.version(&TYPE));
    assert_ne!(one.version(&TYPE), snapshot(&[("a", 2), ("b", 1)]).version(&TYPE));
    assert_ne!(one.version(&TYPE), snapshot(&[("a", 1)]).version(&TYPE));
    assert_eq!(one.version(&TypeUrl::Cluster), Snapshot::default().version(&TypeUrl::Cluster));
}

#[test]
fn resources_come_in_name_order() {
    let built = snapshot(&[("c", 1), ("a", 1), ("b", 1)]);
    let names: Vec<_> = built.resources(&TYPE).map(|r| r.name().to_string()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(built.len(), 3);
    assert!(built.get(&TYPE, "b").is_some());
    assert!(built.get(&TYPE, "z").is_none());
}

#[test]
fn bad_input_is_refused() {
    let built = |resources: Vec<Resource>| {
        let mut builder = Snapshot::builder();
        resources.into_iter().for_each(|r| {
            builder.insert(r);
        });
        builder.build().unwrap_err()
    };
    assert!(matches!(
        built(vec![resource("a", 1), resource("a", 1)]),
        SnapshotError::DuplicateName { name, .. } if &*name == "a"
    ));
    for name in ["", "*", "x".repeat(NAME_BYTES_MAX + 1).as_str()] {
        assert!(matches!(built(vec![resource(name, 1)]), SnapshotError::BadName { .. }));
    }
    let cluster = Resource::from_encoded(TypeUrl::Cluster, "a", Bytes::from_static(b"\x0a\x01b"));
    assert!(matches!(built(vec![cluster]), SnapshotError::NameMismatch { inside, .. } if inside == "b"));
    let cluster = Resource::from_encoded(TypeUrl::Cluster, "a", Bytes::from_static(b"\x0a\x05b"));
    assert!(matches!(built(vec![cluster]), SnapshotError::Undecodable { .. }));
}

#[test]
fn to_builder_replaces_and_shares() {
    let old = snapshot(&[("a", 1), ("b", 1), ("c", 1)]);
    let new = old
        .with_changes(|b| {
            b.insert(resource("b", 2)).insert(resource("a", 1)).remove(&TYPE, "c");
        })
        .unwrap();
    assert_eq!(new, snapshot(&[("a", 1), ("b", 2)]));
    assert!(Arc::ptr_eq(old.get(&TYPE, "a").unwrap(), new.get(&TYPE, "a").unwrap()));
    assert_eq!(old.len(), 3, "the old one is untouched");
    let names = Changed::Names(vec!["b".into(), "c".into()]);
    assert_eq!(new.changes_since(&old).get(&TYPE), Some(&names));
}

#[test]
fn a_label_forces_the_version() {
    let plain = snapshot(&[("a", 1)]);
    let labelled = plain
        .with_changes(|b| {
            b.with_type_version(TYPE, "7");
        })
        .unwrap();
    assert_eq!(labelled.version(&TYPE).to_string(), "7");
    assert_ne!(plain, labelled);
    assert_eq!(labelled.changes_since(&plain).get(&TYPE), Some(&Changed::Label));
}

#[test]
fn many_changes_are_not_listed() {
    let mut builder = Snapshot::builder();
    for index in 0..=CHANGED_NAMES_MAX {
        builder.insert(resource(&index.to_string(), 1));
    }
    let full = builder.build().unwrap();
    assert_eq!(full.changes_since(&Snapshot::default()).get(&TYPE), Some(&Changed::Unknown));
}

proptest! {
    #[test]
    fn incremental_versions_and_changes_equal_those_from_scratch(
        edits in vec((0u8..40, 0u8..4), 0..120),
        split in 0usize..120,
    ) {
        let split = split.min(edits.len());
        let mut model: BTreeMap<String, u8> = BTreeMap::new();
        let apply = |base: &Snapshot, edits: &[(u8, u8)], model: &mut BTreeMap<String, u8>| {
            let mut current = base.clone();
            for (name, content) in edits {
                let name = format!("n{name}");
                current = current.with_changes(|b| {
                    if *content == 0 {
                        b.remove(&TYPE, &name);
                        model.remove(&name);
                    } else {
                        b.insert(resource(&name, *content));
                        model.insert(name.clone(), *content);
                    }
                }).unwrap();
            }
            current
        };
        let before = apply(&Snapshot::default(), &edits[..split], &mut model);
        let model_before = model.clone();
        let after = apply(&before, &edits[split..], &mut model);
        let entries: Vec<_> = model.iter().map(|(n, c)| (n.as_str(), *c)).collect();
        let scratch = snapshot(&entries);
        prop_assert_eq!(&after, &scratch);
        prop_assert_eq!(after.version(&TYPE), scratch.version(&TYPE));

        let names: BTreeSet<&String> = model.keys().chain(model_before.keys()).collect();
        let expected: Vec<Arc<str>> = names.into_iter()
            .filter(|name| model.get(*name) != model_before.get(*name))
            .map(|name| Arc::from(name.as_str()))
            .collect();
        match after.changes_since(&before).remove(&TYPE) {
            None => prop_assert!(expected.is_empty()),
            Some(changed) => prop_assert_eq!(changed, Changed::Names(expected)),
        }
    }
}

#[test]
fn a_forced_type_version_can_be_taken_back() {
    let plain = Snapshot::builder().insert(resource("a", 1)).build().unwrap();
    let labelled = plain.to_builder().with_type_version(TYPE, "7").build().unwrap();
    assert_eq!(labelled.version(&TYPE).to_string(), "7");
    let back = labelled.to_builder().without_type_version(&TYPE).build().unwrap();
    assert_eq!(back, plain);
}
