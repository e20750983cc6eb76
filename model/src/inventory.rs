//! Ground state: what the remotes said.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Diagnostic, ObjectKind, ObjectRef, Reason};
use crate::export::{ExportKey, ServiceExport};
use crate::node::Node;
use crate::remote::{RemoteName, RemoteSettings};
use crate::service::{Service, ServiceName};

/// Most exports of one remote that are taken (new ones are refused, old ones kept).
const EXPORTS_PER_REMOTE_MAX: usize = 10_000;
/// Most nodes of one remote that are taken.
const NODES_PER_REMOTE_MAX: usize = 1_000;
/// Most Services of one remote that are taken. A remote that is watched has one at most; a directory has any.
const SERVICES_PER_REMOTE_MAX: usize = 1_000;

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
    /// The Services that its ingress may be reached through.
    pub services: BTreeMap<ServiceName, Service>,
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
    /// A Service was added or changed, or is gone.
    Service(ServiceName, Option<Service>),
    /// A complete list of the Services.
    #[serde(with = "pairs")]
    Services(BTreeMap<ServiceName, Service>),
    /// Something that the source has to report about one of its places (a file, say), or that it is resolved.
    Problem(String, Option<Diagnostic>),
    /// The source starts over and tells everything anew: exports, nodes, Services and problems of before are forgotten. What it
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
    /// Its nodes or Services: where it is reached.
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
            let of_nodes = matches!(
                change,
                Change::Node(..) | Change::Nodes(_) | Change::Service(..) | Change::Services(_)
            );
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
            // Older versions know no Services, and read what is kept where there are none.
            let services = (!remote.services.is_empty()).then(|| Change::Services(remote.services.clone()));
            let lists = [Change::Exports(remote.exports.clone()), Change::Nodes(remote.nodes.clone())];
            settings.into_iter().chain(problem).chain(lists).chain(services).chain(problems).collect()
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
            Change::Service(service_name, Some(service)) => {
                let outcome = set_within(&mut self.services, service_name, service, SERVICES_PER_REMOTE_MAX);
                self.note_limit(name, ObjectKind::Service, SERVICES_PER_REMOTE_MAX, outcome)
            }
            Change::Service(service_name, None) => self.services.remove(&service_name).is_some(),
            Change::Services(list) => {
                let outcome = replace_within(&mut self.services, list, SERVICES_PER_REMOTE_MAX);
                self.note_limit(name, ObjectKind::Service, SERVICES_PER_REMOTE_MAX, outcome)
            }
            Change::Problem(place, Some(problem)) => set(&mut self.problems, place, problem),
            Change::Problem(place, None) => self.problems.remove(&place).is_some(),
            Change::Forget => {
                let known = !(self.exports.is_empty()
                    && self.nodes.is_empty()
                    && self.services.is_empty()
                    && self.problems.is_empty());
                self.exports.clear();
                self.nodes.clear();
                self.services.clear();
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
#[path = "inventory_tests.rs"]
mod tests;
