//! Resources that the client is about to ask for, as it was sent others that make it wait for them: the endpoints of new
//! Clusters. Listeners wait for these requests.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::type_url::TypeUrl;

#[derive(Debug, Default)]
pub(super) struct Awaited {
    names: BTreeMap<TypeUrl, BTreeSet<Arc<str>>>,
    growths: u64,
}

impl Awaited {
    pub(super) fn insert(&mut self, type_url: &TypeUrl, name: &Arc<str>) {
        self.growths += u64::from(self.names.entry(type_url.clone()).or_default().insert(Arc::clone(name)));
    }

    /// The client asked for these.
    pub(super) fn asked<'a>(&mut self, type_url: &TypeUrl, names: impl Iterator<Item = &'a String>) {
        let Some(awaited) = self.names.get_mut(type_url) else {
            return;
        };
        for name in names {
            awaited.remove(name.as_str());
        }
        if awaited.is_empty() {
            self.names.remove(type_url);
        }
    }

    /// The client asked for all of a type.
    pub(super) fn asked_for_all(&mut self, type_url: &TypeUrl) {
        self.names.remove(type_url);
    }

    pub(super) fn contains(&self, type_url: &TypeUrl) -> bool {
        self.names.contains_key(type_url)
    }

    pub(super) fn clear(&mut self) {
        self.names.clear();
    }

    /// How often a name was added, if any is awaited now.
    pub(super) fn growths(&self) -> Option<u64> {
        (!self.names.is_empty()).then_some(self.growths)
    }
}
