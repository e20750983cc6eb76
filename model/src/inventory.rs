//! Ground state: what the remotes said.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Diagnostic, ObjectKind, ObjectRef, Reason};
use crate::export::{ExportKey, ServiceExport};
use crate::node::Node;
use crate::remote::{RemoteName, RemoteSettings};

/// Most exports of one remote that are taken (new ones are refused, old ones kept).
const EXPORTS_PER_REMOTE_MAX: usize = 10_000;
/// Most nodes of one remote that are taken.
const NODES_PER_REMOTE_MAX: usize = 1_000;

/// What is known of every remote. Only a source's word changes it: nothing is deleted by omission, and losing a
/// remote loses nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    remotes: BTreeMap<RemoteName, Remote>,
}

/// What is known of one remote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remote {
    /// The last valid settings; none before the first, and then nothing is imported from it.
    pub settings: Option<RemoteSettings>,
    /// Why the newest settings are not in force.
    pub settings_problem: Option<Diagnostic>,
    /// The labelled HTTPProxies, and why one cannot be exported.
    pub exports: BTreeMap<ExportKey, Result<ServiceExport, Diagnostic>>,
    /// The nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// What the source itself has to report, by the place where it is wrong.
    pub problems: BTreeMap<String, Diagnostic>,
    /// Whether the source has told everything once.
    pub synced: bool,
}

/// What one source tells of its remote; the changes take effect together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Whose word it is.
    pub remote: RemoteName,
    /// What changed, in order.
    pub changes: Vec<Change>,
}

/// One change of what is known of a remote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The remote's settings; an error leaves the last valid ones in force.
    Settings(Result<RemoteSettings, Diagnostic>),
    /// A labelled HTTPProxy was added or changed (an error: it cannot be exported), or is gone or no longer labelled.
    Export(ExportKey, Option<Result<ServiceExport, Diagnostic>>),
    /// A complete list of the labelled HTTPProxies: what is not in it is gone.
    #[serde(with = "pairs")]
    Exports(BTreeMap<ExportKey, Result<ServiceExport, Diagnostic>>),
    /// A node was added or changed, or is gone.
    Node(String, Option<Node>),
    /// A complete list of the nodes.
    Nodes(BTreeMap<String, Node>),
    /// Something that the source has to report about one of its places (a file, say), or that it is resolved.
    Problem(String, Option<Diagnostic>),
    /// The source starts over and tells everything anew: exports, nodes and problems of before are forgotten. What it
    /// tells in the same update replaces them without a gap.
    Forget,
    /// The source has told everything that there is.
    Synced,
    /// The remote itself is gone: it is no longer imported from.
    Removed,
}

/// What of a remote is different since before, so that only what depends on it is derived anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Touched {
    /// Its settings, its exports, what the source reports, or whether it has told everything.
    pub names: bool,
    /// Its nodes.
    pub nodes: bool,
}

impl Touched {
    /// Everything may be different.
    pub const ALL: Self = Self { names: true, nodes: true };

    /// Whether anything is different.
    pub fn any(self) -> bool {
        self.names || self.nodes
    }
}

impl std::ops::BitOrAssign for Touched {
    fn bitor_assign(&mut self, other: Self) {
        self.names |= other.names;
        self.nodes |= other.nodes;
    }
}

impl Inventory {
    /// Takes a source's word. Returns what is different from before.
    pub fn apply(&mut self, update: Update) -> Touched {
        let name = update.remote;
        let mut touched = Touched::default();
        for change in update.changes {
            if change == Change::Removed {
                if self.remotes.remove(&name).is_some() {
                    touched = Touched::ALL;
                }
                continue;
            }
            let remote = self.remotes.entry(name.clone()).or_default();
            let of_nodes = matches!(change, Change::Node(..) | Change::Nodes(_));
            let problems = remote.problems.len();
            if remote.apply(&name, change) {
                // A limit that nodes hit is a problem to report.
                touched |= match of_nodes && remote.problems.len() == problems {
                    true => Touched { names: false, nodes: true },
                    false => Touched::ALL,
                };
            }
        }
        touched
    }

    /// Everything that is known, as the updates that make an empty inventory know it: to be kept for the next start.
    /// Whether a source has told everything is not kept, since the next one has not.
    pub fn recall(&self) -> Vec<Update> {
        let changes = |remote: &Remote| {
            let settings = remote.settings.clone().map(|settings| Change::Settings(Ok(settings)));
            let problem = remote.settings_problem.clone().map(|problem| Change::Settings(Err(problem)));
            let problems = remote
                .problems
                .iter()
                .map(|(place, problem)| Change::Problem(place.clone(), Some(problem.clone())));
            let lists = [Change::Exports(remote.exports.clone()), Change::Nodes(remote.nodes.clone())];
            settings.into_iter().chain(problem).chain(lists).chain(problems).collect()
        };
        self.remotes
            .iter()
            .map(|(name, remote)| Update { remote: name.clone(), changes: changes(remote) })
            .collect()
    }

    /// The remotes by name.
    pub fn remotes(&self) -> &BTreeMap<RemoteName, Remote> {
        &self.remotes
    }
}

impl Remote {
    fn apply(&mut self, name: &RemoteName, change: Change) -> bool {
        match change {
            Change::Settings(Ok(settings)) => {
                let cured = self.settings_problem.take().is_some();
                let changed = self.settings.as_ref() != Some(&settings);
                self.settings = Some(settings);
                cured || changed
            }
            Change::Settings(Err(problem)) => {
                let changed = self.settings_problem.as_ref() != Some(&problem);
                self.settings_problem = Some(problem);
                changed
            }
            Change::Export(key, Some(export)) => {
                let outcome = set_within(&mut self.exports, key, export, EXPORTS_PER_REMOTE_MAX);
                self.note_limit(name, ObjectKind::HTTPProxy, EXPORTS_PER_REMOTE_MAX, outcome)
            }
            Change::Export(key, None) => self.exports.remove(&key).is_some(),
            Change::Exports(list) => {
                let outcome = replace_within(&mut self.exports, list, EXPORTS_PER_REMOTE_MAX);
                self.note_limit(name, ObjectKind::HTTPProxy, EXPORTS_PER_REMOTE_MAX, outcome)
            }
            Change::Node(node_name, Some(node)) => {
                let outcome = set_within(&mut self.nodes, node_name, node, NODES_PER_REMOTE_MAX);
                self.note_limit(name, ObjectKind::Node, NODES_PER_REMOTE_MAX, outcome)
            }
            Change::Node(node_name, None) => self.nodes.remove(&node_name).is_some(),
            Change::Nodes(list) => {
                let outcome = replace_within(&mut self.nodes, list, NODES_PER_REMOTE_MAX);
                self.note_limit(name, ObjectKind::Node, NODES_PER_REMOTE_MAX, outcome)
            }
            Change::Problem(place, Some(problem)) => set(&mut self.problems, place, problem),
            Change::Problem(place, None) => self.problems.remove(&place).is_some(),
            Change::Forget => {
                let known = !(self.exports.is_empty() && self.nodes.is_empty() && self.problems.is_empty());
                self.exports.clear();
                self.nodes.clear();
                self.problems.clear();
                known
            }
            Change::Synced => !std::mem::replace(&mut self.synced, true),
            Change::Removed => unreachable!("the inventory drops the remote itself"),
        }
    }

    /// Reports a limit that was hit until a complete list fits again.
    fn note_limit(&mut self, name: &RemoteName, kind: ObjectKind, limit: usize, outcome: Outcome) -> bool {
        let place = format!("number of {kind:?} objects");
        match outcome {
            Outcome::Set { changed } => changed,
            Outcome::ListFits { changed } => self.problems.remove(&place).is_some() || changed,
            Outcome::Full { changed } => {
                let message = format!(
                    "the remote has more than {limit} {kind:?} objects: those that came later are not taken; \
                     export fewer, or split the remote"
                );
                let object = ObjectRef::new(ObjectKind::RemoteCluster, "", name.as_str());
                let problem =
                    Diagnostic { remote: name.clone(), object, reason: Reason::LimitExceeded, message };
                set(&mut self.problems, place, problem) || changed
            }
        }
    }
}

enum Outcome {
    Set { changed: bool },
    ListFits { changed: bool },
    Full { changed: bool },
}

fn set<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: V) -> bool {
    if map.get(&key) == Some(&value) {
        return false;
    }
    map.insert(key, value);
    true
}

fn set_within<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: V, limit: usize) -> Outcome {
    if map.len() >= limit && !map.contains_key(&key) {
        return Outcome::Full { changed: false };
    }
    Outcome::Set { changed: set(map, key, value) }
}

/// Replaces all of a map; over the limit the entries that were there before have precedence.
fn replace_within<K: Ord, V: PartialEq>(
    map: &mut BTreeMap<K, V>,
    list: BTreeMap<K, V>,
    limit: usize,
) -> Outcome {
    if list.len() <= limit {
        let changed = *map != list;
        *map = list;
        return Outcome::ListFits { changed };
    }
    let (mut next, newcomers): (BTreeMap<_, _>, BTreeMap<_, _>) =
        list.into_iter().partition(|(key, _)| map.contains_key(key));
    let room = limit.saturating_sub(next.len());
    next.extend(newcomers.into_iter().take(room));
    let changed = *map != next;
    *map = next;
    Outcome::Full { changed }
}

/// Maps whose keys are no strings, as lists of pairs: JSON has no other form for them.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
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
        apply(
            &mut inventory,
            vec![Change::Settings(Ok(valid.clone())), Change::Settings(Err(problem("bad")))],
        );
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
}
