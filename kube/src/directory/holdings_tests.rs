use super::super::contents::contents;
use super::*;
use proptest::prelude::*;
use xcc_model::{Inventory, Remote, Update};

fn remote() -> RemoteName {
    RemoteName::parse("east").unwrap()
}

fn path(name: &str) -> Arc<Path> {
    Path::new(name).into()
}

fn proxy(name: &str, fqdn: &str) -> String {
    format!(
        "---\napiVersion: projectcontour.io/v1\nkind: HTTPProxy\nmetadata: {{name: {name}, labels: \
         {{connectivity.tanzu.vmware.com/export: ''}}}}\nspec: {{virtualhost: {{fqdn: {fqdn}, tls: {{passthrough: \
         true}}}}}}\n"
    )
}

fn unlabelled(name: &str) -> String {
    format!("---\napiVersion: projectcontour.io/v1\nkind: HTTPProxy\nmetadata: {{name: {name}}}\n")
}

fn settings(priority: &str) -> String {
    format!(
        "---\napiVersion: connectivity.tanzu.vmware.com/v1alpha1\nkind: RemoteCluster\nmetadata: {{name: east}}\n\
         spec: {{priority: {priority}}}\n"
    )
}

fn text(name: &str, text: &str) -> (Arc<Path>, FileChange) {
    let change = match contents(&remote(), Path::new(name), text.as_bytes()) {
        Ok(contents) => FileChange::Contents(contents),
        Err(refused) => FileChange::Refused(refused),
    };
    (path(name), change)
}

/// Holdings with the inventory that their changes make.
struct Held {
    holdings: Holdings,
    inventory: Inventory,
}

impl Held {
    fn new(files: &[(&str, &str)]) -> Self {
        let mut holdings = Holdings::new(remote());
        holdings.apply(files.iter().map(|(name, it)| text(name, it)).collect(), BTreeMap::new());
        let mut inventory = Inventory::default();
        inventory.apply(Update { remote: remote(), changes: holdings.tell_all() });
        Self { holdings, inventory }
    }

    fn apply(&mut self, batch: Vec<(Arc<Path>, FileChange)>) -> Vec<Change> {
        let changes = self.holdings.apply(batch, BTreeMap::new());
        let changed = self.inventory.apply(Update { remote: remote(), changes: changes.clone() });
        assert_eq!(changed.any(), !changes.is_empty(), "only differences are told: {changes:?}");
        changes
    }

    fn remote(&self) -> &Remote {
        &self.inventory.remotes()[&remote()]
    }

    /// `name=fqdn` of each export, `name!Reason` of each refused one.
    fn exports(&self) -> Vec<String> {
        let text = |(key, export): (&ExportKey, &Result<ServiceExport, Diagnostic>)| match export {
            Ok(export) => format!("{}={}", key.name, export.hostname),
            Err(refused) => format!("{}!{:?}", key.name, refused.reason),
        };
        self.remote().exports.iter().map(text).collect()
    }

    fn problems(&self) -> Vec<&str> {
        self.remote().problems.values().map(|problem| problem.message.as_str()).collect()
    }
}

#[test]
fn a_file_that_does_not_parse_keeps_what_it_held_and_says_where_it_is_wrong() {
    let mut held = Held::new(&[("a.yaml", &proxy("a", "a.xcc.test"))]);
    let changes = held.apply(vec![text("a.yaml", "kind: x\nkind: [\n")]);
    assert_eq!(changes.len(), 1);
    assert_eq!(held.exports(), ["a=a.xcc.test"]);
    assert!(held.problems()[0].starts_with("a.yaml:2:1: "), "{:?}", held.problems());
    assert_eq!(held.remote().problems.values().next().unwrap().reason, Reason::Unreadable);
    held.apply(vec![text("a.yaml", &proxy("a", "b.xcc.test"))]);
    assert_eq!((held.exports(), held.problems().len()), (vec!["a=b.xcc.test".to_owned()], 0));
    held.apply(vec![text("a.yaml", "")]);
    assert_eq!(held.exports(), ["a=b.xcc.test"]);
    assert!(held.problems()[0].starts_with("a.yaml: the file is empty"), "{:?}", held.problems());
    held.apply(vec![(path("a.yaml"), FileChange::Gone)]);
    assert_eq!((held.exports().len(), held.problems().len()), (0, 0));
    assert_eq!(held.holdings.objects(), 0);
}

#[test]
fn comments_only_withdraw_what_the_file_held() {
    let mut held = Held::new(&[("a.yaml", &proxy("a", "a.xcc.test"))]);
    held.apply(vec![text("a.yaml", "# all gone\n")]);
    assert_eq!((held.exports().len(), held.problems().len()), (0, 0));
}

#[test]
fn a_malformed_object_keeps_its_last_good_state_and_touches_no_other() {
    let mut held = Held::new(&[("a.yaml", &(proxy("a", "a.xcc.test") + &proxy("b", "b.xcc.test")))]);
    held.apply(vec![text("a.yaml", &(proxy("a", "5") + &proxy("b", "new.xcc.test") + &proxy("c", "[]")))]);
    assert_eq!(held.exports(), ["a=a.xcc.test", "b=new.xcc.test"]);
    let problems = held.problems();
    assert!(problems[0].starts_with("a.yaml:2: spec.virtualhost.fqdn: "), "{problems:?}");
    assert!(problems[1].starts_with("a.yaml:12: spec.virtualhost.fqdn: "), "{problems:?}");
    let of = |name: &str| held.remote().problems[&format!("a.yaml: HTTPProxy default/{name}")].clone();
    assert_eq!(
        (of("a").reason, of("c").object.to_string()),
        (Reason::Malformed, "HTTPProxy default/c".to_owned())
    );
    held.apply(vec![text("a.yaml", &(proxy("b", "new.xcc.test") + &proxy("a", "a2.xcc.test")))]);
    assert_eq!(
        (held.exports(), held.problems().len()),
        (vec!["a=a2.xcc.test".into(), "b=new.xcc.test".into()], 0)
    );
}

#[test]
fn a_refused_object_is_withdrawn_with_its_diagnostic() {
    let mut held = Held::new(&[("a.yaml", &proxy("a", "a.xcc.test"))]);
    held.apply(vec![text("a.yaml", &proxy("a", "single"))]);
    assert_eq!(held.exports(), ["a!InvalidHostname"]);
    held.apply(vec![text("a.yaml", &unlabelled("a"))]);
    assert!(held.exports().is_empty());
}

#[test]
fn objects_that_a_nameless_document_may_be_are_kept() {
    let mut held = Held::new(&[("a.yaml", &(proxy("a", "a.xcc.test") + &proxy("b", "b.xcc.test")))]);
    for broken in [
        proxy("5", "a.xcc.test"),
        "apiVersion: projectcontour.io/v1\n".to_owned(),
        "just text\n".to_owned(),
        "apiVersion: v1\nkind: Node\nmetadata: {}\n".to_owned(),
    ] {
        held.apply(vec![text("a.yaml", &(proxy("b", "b.xcc.test") + "---\n" + &broken))]);
        assert_eq!(held.exports(), ["a=a.xcc.test", "b=b.xcc.test"], "{broken}");
        assert!(held.problems()[0].starts_with("a.yaml:"), "{:?}", held.problems());
    }
    held.apply(vec![text("a.yaml", &proxy("b", "b.xcc.test"))]);
    assert_eq!(held.exports(), ["b=b.xcc.test"]);
}

#[test]
fn other_kinds_and_nameless_unlabelled_proxies_are_ignored_silently() {
    let text = "{apiVersion: v1, kind: Secret, metadata: 5}\n---\n{apiVersion: projectcontour.io/v1, kind: \
                HTTPProxy, metadata: {generateName: x}}\n---\n{apiVersion: \
                connectivity.tanzu.vmware.com/v1alpha1, kind: RemoteCluster, metadata: {name: west}, spec: 5}\n";
    let held = Held::new(&[("a.yaml", text)]);
    assert_eq!((held.exports().len(), held.problems().len(), held.holdings.objects()), (0, 0, 0));
    assert_eq!(held.remote().settings, Some(RemoteSettings::default()));
}

#[test]
fn of_two_definitions_the_lexically_first_path_is_in_force_and_the_other_is_told_both_places() {
    let mut held = Held::new(&[
        ("b.yaml", &(proxy("x", "x.xcc.test") + &proxy("a", "b.xcc.test"))),
        ("a.yaml", &proxy("a", "a.xcc.test")),
    ]);
    assert_eq!(held.exports(), ["a=a.xcc.test", "x=x.xcc.test"]);
    let want =
        "b.yaml:7: HTTPProxy default/a is defined in a.yaml:2 too, which is in force: remove one of them";
    assert_eq!(held.problems(), [want]);
    assert_eq!(held.remote().problems.values().next().unwrap().object.to_string(), "File b.yaml");
    held.apply(vec![(path("a.yaml"), FileChange::Gone)]);
    assert_eq!(
        (held.exports(), held.problems().len()),
        (vec!["a=b.xcc.test".into(), "x=x.xcc.test".into()], 0)
    );
    // An unlabelled copy in front withdraws the export; two unlabelled ones are nobody's business.
    held.apply(vec![text("a.yaml", &unlabelled("a"))]);
    assert_eq!((held.exports(), held.problems().len()), (vec!["x=x.xcc.test".to_owned()], 1));
    held.apply(vec![text("b.yaml", &unlabelled("a"))]);
    assert_eq!((held.exports().len(), held.problems().len()), (0, 0));
}

#[test]
fn the_first_of_two_definitions_in_one_file_is_in_force() {
    let held = Held::new(&[("a.yaml", &(proxy("a", "first.xcc.test") + &proxy("a", "second.xcc.test")))]);
    assert_eq!(held.exports(), ["a=first.xcc.test"]);
    assert!(held.problems()[0].starts_with("a.yaml:7: HTTPProxy default/a is defined in a.yaml:2 too"));
}

#[test]
fn a_renamed_file_changes_nothing() {
    let mut held = Held::new(&[("a.yaml", &proxy("a", "a.xcc.test"))]);
    for (from, to) in [("a.yaml", "b.yaml"), ("b.yaml", "a.yaml")] {
        assert!(
            held.apply(vec![(path(from), FileChange::Leaving), text(to, &proxy("a", "a.xcc.test"))])
                .is_empty()
        );
        assert!(held.apply(vec![(path(from), FileChange::Gone)]).is_empty());
    }
    // Told one after the other it is the same.
    assert!(held.apply(vec![(path("a.yaml"), FileChange::Leaving)]).is_empty());
    assert!(held.apply(vec![text("b.yaml", &proxy("a", "a.xcc.test"))]).is_empty());
    assert!(held.apply(vec![text("a.yaml", &proxy("z", "z.xcc.test"))]).len() == 1);
}

#[test]
fn an_object_that_moves_between_files_is_told_once() {
    let mut held = Held::new(&[("a.yaml", &proxy("a", "a.xcc.test")), ("b.yaml", &proxy("b", "b.xcc.test"))]);
    let both = proxy("a", "moved.xcc.test") + &proxy("b", "b.xcc.test");
    let changes = held.apply(vec![text("a.yaml", "# moved\n"), text("b.yaml", &both)]);
    assert!(matches!(changes[..], [Change::Export(_, Some(Ok(_)))]), "{changes:?}");
}

#[test]
fn c11_a_remote_cluster_gives_the_settings_and_its_deletion_the_defaults() {
    let mut held = Held::new(&[("east.yaml", &settings("7"))]);
    let priority = |held: &Held| held.remote().settings.as_ref().map(|settings| settings.priority);
    assert_eq!(priority(&held), Some(7));
    held.apply(vec![text("east.yaml", &settings("-1"))]);
    assert_eq!(priority(&held), Some(7));
    assert_eq!(held.remote().settings_problem.as_ref().unwrap().reason, Reason::InvalidSettings);
    held.apply(vec![text("east.yaml", &settings("8"))]);
    assert_eq!((priority(&held), held.remote().settings_problem.is_none()), (Some(8), true));
    held.apply(vec![(path("east.yaml"), FileChange::Gone)]);
    assert_eq!(held.remote().settings, Some(RemoteSettings::default()));
}

#[test]
fn settings_that_cannot_be_read_at_first_are_not_replaced_by_the_defaults() {
    let exports = proxy("a", "a.xcc.test");
    for broken in [settings("[") + "\n", settings("1").replace("east", "[]")] {
        let mut held = Held::new(&[("a.yaml", &exports), ("settings.yaml", &broken)]);
        assert_eq!(held.remote().settings, None, "{broken}");
        assert!(
            held.remote()
                .settings_problem
                .as_ref()
                .unwrap()
                .message
                .starts_with("settings.yaml has a RemoteCluster")
        );
        held.apply(vec![text("settings.yaml", &settings("3"))]);
        assert_eq!(held.remote().settings.as_ref().unwrap().priority, 3);
        held.apply(vec![text("settings.yaml", &broken)]);
        assert_eq!(held.remote().settings.as_ref().unwrap().priority, 3);
        assert_eq!(held.remote().settings_problem, None);
    }
    let held = Held::new(&[("a.yaml", &exports), ("b.yaml", "kind: [")]);
    assert_eq!(held.remote().settings, Some(RemoteSettings::default()));
}

#[derive(Debug, Clone)]
enum Op {
    Write(u8, Vec<(u8, u8)>),
    Leave(u8),
    Delete(u8),
}

fn ops() -> impl Strategy<Value = Vec<Vec<Op>>> {
    let objects = prop::collection::vec((0..5_u8, 0..6_u8), 0..4);
    let op = prop_oneof![
        4 => (0..4_u8, objects).prop_map(|(file, objects)| Op::Write(file, objects)),
        1 => (0..4_u8).prop_map(Op::Leave),
        1 => (0..4_u8).prop_map(Op::Delete),
    ];
    prop::collection::vec(prop::collection::vec(op, 1..4), 1..12)
}

fn document(name: u8, variant: u8) -> String {
    match variant {
        0 => unlabelled(&format!("p{name}")),
        1 => settings(&name.to_string()),
        2 => proxy(&format!("p{name}"), "single"),
        _ => proxy(&format!("p{name}"), &format!("v{variant}.xcc.test")),
    }
}

proptest! {
    #[test]
    fn whatever_happens_to_files_what_was_told_is_what_they_hold(batches in ops()) {
        let mut held = Held::new(&[]);
        let mut files: BTreeMap<u8, String> = BTreeMap::new();
        for batch in batches {
            let mut changes = Vec::new();
            for op in batch {
                match op {
                    Op::Write(file, objects) => {
                        let all: String = objects.iter().map(|(name, variant)| document(*name, *variant)).collect();
                        let all = format!("# {file}\n{all}");
                        changes.push(text(&format!("{file}.yaml"), &all));
                        files.insert(file, all);
                    }
                    Op::Leave(file) => changes.push((path(&format!("{file}.yaml")), FileChange::Leaving)),
                    Op::Delete(file) => {
                        changes.push((path(&format!("{file}.yaml")), FileChange::Gone));
                        files.remove(&file);
                    }
                }
            }
            held.apply(changes);
        }
        // Those that are leaving come back.
        held.apply(files.iter().map(|(file, all)| text(&format!("{file}.yaml"), all)).collect());
        let names: Vec<(String, &str)> = files.iter().map(|(file, all)| (format!("{file}.yaml"), all.as_str())).collect();
        let anew = Held::new(&names.iter().map(|(name, all)| (name.as_str(), *all)).collect::<Vec<_>>());
        prop_assert_eq!(held.remote(), anew.remote());
        prop_assert_eq!(held.holdings.objects(), anew.holdings.objects());
    }
}
