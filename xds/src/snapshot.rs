//! Snapshots: all resources of all types at one moment, immutable and cheap to copy.
//!
//! Owns names, versions and the difference of two snapshots. Maps are persistent: a changed snapshot shares all but
//! the changed paths with the one it was made from, and so do the records of what each client holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use imbl::{OrdMap, ordmap::DiffItem};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    resource::{NameMismatch, Resource},
    type_url::TypeUrl,
    version::ResourceVersion,
};

/// The longest name of a resource, in bytes.
pub const NAME_BYTES_MAX: usize = 4096;
/// The largest encoded resource; Envoy and gRPC clients have limits of their own below it.
pub const RESOURCE_BYTES_MAX: usize = 64 << 20;
/// How many resources one snapshot holds at most.
pub const RESOURCES_MAX: usize = 1_000_000;
/// Changes of one type are listed by name up to here; beyond it, streams compare maps.
const CHANGED_NAMES_MAX: usize = 4096;

pub(crate) type ResourceMap = OrdMap<Arc<str>, Arc<Resource>>;

/// Why a snapshot was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Two resources of one type were inserted under one name.
    #[error("{type_url} {name:?} was inserted twice")]
    DuplicateName {
        /// The type of both.
        type_url: TypeUrl,
        /// Their name.
        name: Arc<str>,
    },
    /// The name is empty, `*` (which subscribes to everything) or longer than [`NAME_BYTES_MAX`].
    #[error("{type_url}: a name must be 1 to {NAME_BYTES_MAX} bytes long and not \"*\", got {name:?}")]
    BadName {
        /// The type.
        type_url: TypeUrl,
        /// The name, cut if it is long.
        name: String,
    },
    /// The message inside calls itself something else; clients would refuse it or wait for ever.
    #[error("{type_url} {name:?} is called {inside:?} in its message")]
    NameMismatch {
        /// The type.
        type_url: TypeUrl,
        /// The name given.
        name: Arc<str>,
        /// The name in the message.
        inside: String,
    },
    /// The bytes are not a protobuf message.
    #[error("{type_url} {name:?} is not a protobuf message")]
    Undecodable {
        /// The type.
        type_url: TypeUrl,
        /// The name.
        name: Arc<str>,
    },
    /// The resource is larger than [`RESOURCE_BYTES_MAX`].
    #[error("{type_url} {name:?} has {bytes} bytes, at most {RESOURCE_BYTES_MAX} are served")]
    TooLarge {
        /// The type.
        type_url: TypeUrl,
        /// The name.
        name: Arc<str>,
        /// Its encoded size.
        bytes: usize,
    },
    /// There are more than [`RESOURCES_MAX`] resources.
    #[error("{count} resources, at most {RESOURCES_MAX} fit into a snapshot")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

/// All resources of one type.
#[derive(Clone, Debug, Default)]
struct TypeResources {
    map: ResourceMap,
    /// Sum of the hashes of (name, version), so that one change costs one subtraction and one addition.
    sum: u128,
    label: Option<ResourceVersion>,
}

impl TypeResources {
    fn version(&self) -> ResourceVersion {
        self.label.clone().unwrap_or_else(|| ResourceVersion::of(&self.sum.to_le_bytes()))
    }

    fn same(&self, other: &Self) -> bool {
        self.same_resources(other) && self.label == other.label
    }

    fn same_resources(&self, other: &Self) -> bool {
        self.sum == other.sum && self.map.len() == other.map.len()
    }

    fn remove(&mut self, name: &str) {
        if let Some(old) = self.map.remove(name) {
            self.sum = self.sum.wrapping_sub(weight(&old));
        }
    }
}

/// All resources of all types, immutable; a copy shares everything.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    types: Arc<BTreeMap<TypeUrl, TypeResources>>,
}

impl Snapshot {
    /// Starts an empty snapshot.
    pub fn builder() -> SnapshotBuilder {
        SnapshotBuilder::default()
    }

    /// Starts from this snapshot's resources: `insert` then replaces, and the cost is that of the changes.
    pub fn to_builder(&self) -> SnapshotBuilder {
        SnapshotBuilder { types: (*self.types).clone(), ..Default::default() }
    }

    /// This snapshot with changes.
    ///
    /// # Errors
    /// As [`SnapshotBuilder::build`].
    pub fn with_changes(&self, change: impl FnOnce(&mut SnapshotBuilder)) -> Result<Self, SnapshotError> {
        let mut builder = self.to_builder();
        change(&mut builder);
        builder.build()
    }

    /// The version of a type: its label, or a hash over the names and versions of its resources.
    pub fn version(&self, type_url: &TypeUrl) -> ResourceVersion {
        self.types.get(type_url).map_or_else(|| TypeResources::default().version(), TypeResources::version)
    }

    /// One resource.
    pub fn get(&self, type_url: &TypeUrl, name: &str) -> Option<&Arc<Resource>> {
        self.types.get(type_url)?.map.get(name)
    }

    /// The resources of a type, in the order of their names.
    pub fn resources(&self, type_url: &TypeUrl) -> impl Iterator<Item = &Arc<Resource>> {
        self.types.get(type_url).into_iter().flat_map(|typed| typed.map.values())
    }

    /// The types that have resources or a label.
    pub fn types(&self) -> impl Iterator<Item = &TypeUrl> {
        self.types.keys()
    }

    /// How many resources there are, of all types.
    pub fn len(&self) -> usize {
        self.types.values().map(|typed| typed.map.len()).sum()
    }

    /// Whether there are no resources.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The map of a type: a copy that shares all nodes.
    pub(crate) fn map(&self, type_url: &TypeUrl) -> ResourceMap {
        self.types.get(type_url).map(|typed| typed.map.clone()).unwrap_or_default()
    }

    pub(crate) fn label(&self, type_url: &TypeUrl) -> Option<&ResourceVersion> {
        self.types.get(type_url)?.label.as_ref()
    }

    /// What differs from an older snapshot. Shared parts of the maps are skipped.
    pub(crate) fn changes_since(&self, old: &Self) -> BTreeMap<TypeUrl, Changed> {
        let empty = TypeResources::default();
        let types: BTreeSet<&TypeUrl> = self.types.keys().chain(old.types.keys()).collect();
        let mut changes = BTreeMap::new();
        for type_url in types {
            let before = old.types.get(type_url).unwrap_or(&empty);
            let after = self.types.get(type_url).unwrap_or(&empty);
            if !before.same_resources(after) {
                changes.insert(type_url.clone(), Changed::between(&before.map, &after.map));
            } else if before.label != after.label {
                changes.insert(type_url.clone(), Changed::Label);
            }
        }
        changes
    }
}

/// Equal when every type has the same names at the same versions, and the same label.
impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.types, &other.types) || self.changes_none(other)
    }
}

impl Eq for Snapshot {}

impl Snapshot {
    fn changes_none(&self, other: &Self) -> bool {
        let empty = TypeResources::default();
        let covers = |one: &Self, two: &Self| {
            one.types.iter().all(|(type_url, typed)| typed.same(two.types.get(type_url).unwrap_or(&empty)))
        };
        covers(self, other) && covers(other, self)
    }
}

/// What changed in one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// These names were added, changed or removed.
    Names(Vec<Arc<str>>),
    /// No resource, but the label of the type.
    Label,
    /// Too much to list: compare.
    Unknown,
}

impl Changed {
    fn between(old: &ResourceMap, new: &ResourceMap) -> Self {
        let mut names = Vec::new();
        for name in changed_names(old, new) {
            if names.len() == CHANGED_NAMES_MAX {
                return Self::Unknown;
            }
            names.push(name);
        }
        Self::Names(names)
    }
}

/// The names that were added, changed or removed, in order.
pub(crate) fn changed_names(old: &ResourceMap, new: &ResourceMap) -> impl Iterator<Item = Arc<str>> {
    old.diff(new).map(|item| match item {
        DiffItem::Add(name, _) | DiffItem::Remove(name, _) | DiffItem::Update { new: (name, _), .. } => {
            Arc::clone(name)
        }
    })
}

fn weight(resource: &Resource) -> u128 {
    let mut text = Vec::with_capacity(resource.name().len() + 1 + resource.version().text_len());
    text.extend_from_slice(resource.name().as_bytes());
    // Names may hold any byte but are valid UTF-8, where 0xff never occurs.
    text.push(0xff);
    text.extend_from_slice(resource.version().to_string().as_bytes());
    xxh3_128(&text)
}

/// Collects the resources of a [`Snapshot`]; the first error is kept until [`build`](Self::build).
#[derive(Clone, Debug, Default)]
pub struct SnapshotBuilder {
    types: BTreeMap<TypeUrl, TypeResources>,
    inserted: BTreeSet<(TypeUrl, Arc<str>)>,
    error: Option<SnapshotError>,
}

impl SnapshotBuilder {
    /// Adds a resource, or replaces the one that the builder was started with.
    pub fn insert(&mut self, resource: impl Into<Arc<Resource>>) -> &mut Self {
        let resource = resource.into();
        if let Err(error) = self.try_insert(resource) {
            self.error.get_or_insert(error);
        }
        self
    }

    fn try_insert(&mut self, resource: Arc<Resource>) -> Result<(), SnapshotError> {
        check(&resource)?;
        let type_url = resource.type_url().clone();
        let name = Arc::clone(resource.name());
        if !self.inserted.insert((type_url.clone(), Arc::clone(&name))) {
            return Err(SnapshotError::DuplicateName { type_url, name });
        }
        let typed = self.types.entry(type_url).or_default();
        // An equal resource keeps its place, so the maps go on sharing it.
        if typed.map.get(&name) != Some(&resource) {
            typed.remove(&name);
            typed.sum = typed.sum.wrapping_add(weight(&resource));
            typed.map.insert(name, resource);
        }
        Ok(())
    }

    /// Removes a resource; a name that is not there is no error.
    pub fn remove(&mut self, type_url: &TypeUrl, name: &str) -> &mut Self {
        if let Some(typed) = self.types.get_mut(type_url) {
            typed.remove(name);
            self.inserted.remove(&(type_url.clone(), Arc::from(name)));
        }
        self
    }

    /// Removes all resources and the label of a type.
    pub fn clear(&mut self, type_url: &TypeUrl) -> &mut Self {
        self.types.remove(type_url);
        self.inserted.retain(|(inserted, _)| inserted != type_url);
        self
    }

    /// Forces the version of a type to this text. Other content needs another label.
    pub fn with_type_version(&mut self, type_url: TypeUrl, label: &str) -> &mut Self {
        self.types.entry(type_url).or_default().label = Some(ResourceVersion::from(label));
        self
    }

    /// Takes a forced version of the type back: it is a hash over its resources again.
    pub fn without_type_version(&mut self, type_url: &TypeUrl) -> &mut Self {
        if let Some(typed) = self.types.get_mut(type_url) {
            typed.label = None;
        }
        self
    }

    /// Makes the snapshot and leaves the builder empty.
    ///
    /// # Errors
    /// The first thing that was wrong with what was inserted.
    pub fn build(&mut self) -> Result<Snapshot, SnapshotError> {
        let Self { types, error, .. } = std::mem::take(self);
        if let Some(error) = error {
            return Err(error);
        }
        let snapshot = Snapshot { types: Arc::new(types) };
        match snapshot.len() {
            count if count > RESOURCES_MAX => Err(SnapshotError::TooMany { count }),
            _ => Ok(snapshot),
        }
    }
}

fn check(resource: &Resource) -> Result<(), SnapshotError> {
    let type_url = resource.type_url().clone();
    let name = Arc::clone(resource.name());
    if name.is_empty() || &*name == "*" || name.len() > NAME_BYTES_MAX {
        let name = name.chars().take(64).collect();
        return Err(SnapshotError::BadName { type_url, name });
    }
    if resource.delta_len() > RESOURCE_BYTES_MAX {
        return Err(SnapshotError::TooLarge { type_url, name, bytes: resource.delta_len() });
    }
    match resource.mismatch() {
        None => Ok(()),
        Some(NameMismatch::Undecodable) => Err(SnapshotError::Undecodable { type_url, name }),
        Some(NameMismatch::Differs(inside)) => {
            Err(SnapshotError::NameMismatch { type_url, name, inside: inside.clone() })
        }
    }
}

#[cfg(test)]
#[path = "snapshot/tests.rs"]
mod tests;
