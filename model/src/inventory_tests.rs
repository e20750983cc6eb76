use super::*;
use crate::hostname::Hostname;
use crate::remote::Ingress;

fn remote() -> RemoteName {
    RemoteName::parse("east").unwrap()
}

fn apply(inventory: &mut Inventory, changes: Vec<Change>) -> bool {
    inventory.apply(Update { remote: remote(), changes }).any()
}

fn export(host: &str) -> Result<ServiceExport, Diagnostic> {
    Ok(ServiceExport {
        hostname: Hostname::parse(host).unwrap(),
        port: Ingress::DEFAULT_PORT,
        created_seconds: None,
    })
}

fn problem(message: &str) -> Diagnostic {
    let object = ObjectRef::new(ObjectKind::RemoteCluster, "", "east");
    Diagnostic { remote: remote(), object, reason: Reason::InvalidSettings, message: message.to_owned() }
}

#[test]
fn the_same_word_twice_changes_nothing() {
    let mut inventory = Inventory::default();
    for change in [
        Change::Settings(Ok(RemoteSettings::default())),
        Change::Settings(Err(problem("bad"))),
        Change::Export(ExportKey::new("a", "b"), Some(export("a.xcc.test"))),
        Change::Problem("x.yaml".into(), Some(problem("bad"))),
        Change::Synced,
    ] {
        assert!(apply(&mut inventory, vec![change.clone()]), "{change:?}");
        assert!(!apply(&mut inventory, vec![change.clone()]), "{change:?}");
    }
}

#[test]
fn a_node_touches_no_names() {
    let mut inventory = Inventory::default();
    let node = Node { eligible: true, addresses: vec![] };
    let update = Update { remote: remote(), changes: vec![Change::Node("a".to_owned(), Some(node))] };
    assert_eq!(inventory.apply(update.clone()), Touched { names: false, nodes: true });
    assert_eq!(inventory.apply(update), Touched::default());
}

#[test]
fn invalid_settings_leave_the_last_valid_ones_in_force() {
    let mut inventory = Inventory::default();
    let valid = RemoteSettings { priority: 7, ..RemoteSettings::default() };
    apply(&mut inventory, vec![Change::Settings(Ok(valid.clone())), Change::Settings(Err(problem("bad")))]);
    let remote = &inventory.remotes()[&remote()];
    assert_eq!(remote.settings, Some(valid));
    assert_eq!(remote.settings_problem, Some(problem("bad")));
}

#[test]
fn a_complete_list_removes_what_it_does_not_have() {
    let mut inventory = Inventory::default();
    apply(
        &mut inventory,
        vec![
            Change::Export(ExportKey::new("a", "old"), Some(export("old.xcc.test"))),
            Change::Export(ExportKey::new("a", "kept"), Some(export("kept.xcc.test"))),
        ],
    );
    let list = BTreeMap::from([(ExportKey::new("a", "kept"), export("kept.xcc.test"))]);
    assert!(apply(&mut inventory, vec![Change::Exports(list.clone())]));
    assert_eq!(inventory.remotes()[&remote()].exports, list);
}

#[test]
fn over_the_limit_the_old_ones_stay_and_it_is_reported_until_a_list_fits() {
    let mut map = BTreeMap::from([(5, 'a'), (6, 'b')]);
    assert!(matches!(set_within(&mut map, 1, 'c', 2), Outcome::Full { changed: false }));
    assert!(matches!(set_within(&mut map, 5, 'z', 2), Outcome::Set { changed: true }));
    let list = BTreeMap::from([(1, 'x'), (2, 'x'), (6, 'x')]);
    assert!(matches!(replace_within(&mut map, list, 2), Outcome::Full { changed: true }));
    assert_eq!(map, BTreeMap::from([(1, 'x'), (6, 'x')]));

    let mut state = Remote::default();
    let limit = |state: &mut Remote, outcome| state.note_limit(&remote(), ObjectKind::Node, 2, outcome);
    assert!(limit(&mut state, Outcome::Full { changed: false }));
    assert!(!limit(&mut state, Outcome::Set { changed: false }));
    assert_eq!(state.problems.values().next().unwrap().reason, Reason::LimitExceeded);
    assert!(limit(&mut state, Outcome::ListFits { changed: false }));
    assert!(state.problems.is_empty());
}

#[test]
fn a_source_that_starts_over_replaces_all_but_the_settings() {
    let mut inventory = Inventory::default();
    let key = |name| ExportKey::new("a", name);
    apply(
        &mut inventory,
        vec![
            Change::Settings(Ok(RemoteSettings::default())),
            Change::Export(key("old"), Some(export("old.xcc.test"))),
            Change::Problem("x.yaml".into(), Some(problem("bad"))),
        ],
    );
    assert!(apply(
        &mut inventory,
        vec![Change::Forget, Change::Export(key("new"), Some(export("new.xcc.test")))]
    ));
    let remote = &inventory.remotes()[&remote()];
    assert_eq!(remote.exports.keys().collect::<Vec<_>>(), [&key("new")]);
    assert!(remote.problems.is_empty() && remote.settings.is_some());
}

#[test]
fn a_removed_remote_is_gone() {
    let mut inventory = Inventory::default();
    assert!(apply(&mut inventory, vec![Change::Synced]));
    assert!(apply(&mut inventory, vec![Change::Removed]));
    assert!(!apply(&mut inventory, vec![Change::Removed]));
    assert!(inventory.remotes().is_empty());
}
