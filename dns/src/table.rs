//! A table of names whose versions share what is equal: a change copies the way to the changed name, and nothing else.
//!
//! A tree over the names' hashes whose leaves hold a handful of names each. A table of many names is in no near cache of the
//! processor, so that what counts is how often an answer waits for memory: here once for the tags of a leaf, and once for
//! the entry if the name is there. A tree with the entries in its branches (HAMT) waits twice as often, and a flat table would
//! be copied as a whole by each change.

use std::hash::{BuildHasher, RandomState};
use std::iter;
use std::sync::Arc;

use crate::key::Key;

/// How many bits of the hash choose a branch's child. Fewer make the tree deeper, more make a change copy more.
const BRANCH_BITS: u32 = 4;
const BRANCH_CHILDREN: usize = 1 << BRANCH_BITS;
/// Entries of a leaf before it becomes a branch: as many as have their tags in one cache line with the list's pointer.
const LEAF_ENTRIES_MAX: usize = 20;
/// The tag is the hash's upper bits, which choose no child before the tree is twelve branches deep.
const TAG_SHIFT: u32 = u64::BITS - u16::BITS;

/// Values by names in wire form.
#[derive(Clone)]
pub(crate) struct Table<V, S = RandomState> {
    root: Tree<V>,
    /// Seeded by default: names are chosen by the remotes, who must not be able to have them all in one leaf.
    hasher: S,
}

/// One cache line.
#[derive(Clone)]
#[repr(align(64))]
enum Tree<V> {
    Branch(Arc<[Self; BRANCH_CHILDREN]>),
    Leaf(Leaf<V>),
}

#[derive(Clone)]
struct Leaf<V> {
    /// Of the entries, in their order. There are more entries than tags only where all have the same hash.
    tags: [u16; LEAF_ENTRIES_MAX],
    entries: Arc<[(Key, V)]>,
}

impl<V: Clone, S: BuildHasher + Default> Table<V, S> {
    pub(crate) fn new() -> Self {
        Self { root: Tree::default(), hasher: S::default() }
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&V> {
        let hash = self.hasher.hash_one(name);
        let (mut tree, mut path) = (&self.root, hash);
        loop {
            match tree {
                Tree::Branch(children) => (tree, path) = (&children[child(path)], path >> BRANCH_BITS),
                Tree::Leaf(leaf) => return Some(&leaf.entries[leaf.position(tag(hash), name)?].1),
            }
        }
    }

    pub(crate) fn contains(&self, name: &[u8]) -> bool {
        self.get(name).is_some()
    }

    /// The value, after inserting this one if there was none.
    pub(crate) fn get_or_insert(&mut self, name: &[u8], value: V) -> &mut V {
        let hash = self.hasher.hash_one(name);
        let (mut tree, mut used) = (&mut self.root, 0);
        loop {
            if tree.has_no_place(used, tag(hash), name) {
                tree.split(used, |name| self.hasher.hash_one(name));
            }
            match tree {
                Tree::Branch(children) => {
                    tree = &mut Arc::make_mut(children)[child(hash >> used)];
                    used += BRANCH_BITS;
                }
                Tree::Leaf(leaf) => {
                    let index = leaf
                        .position(tag(hash), name)
                        .unwrap_or_else(|| leaf.push(tag(hash), name.into(), value));
                    return &mut Arc::make_mut(&mut leaf.entries)[index].1;
                }
            }
        }
    }

    /// Takes the name and its value away, if they are there.
    pub(crate) fn remove(&mut self, name: &[u8]) {
        let hash = self.hasher.hash_one(name);
        self.root.remove(hash, tag(hash), name);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let mut entries = 0;
        self.for_each(|_, _| entries += 1);
        entries
    }

    /// Shows every entry, in no order.
    pub(crate) fn for_each<'t>(&'t self, mut show: impl FnMut(&'t Key, &'t V)) {
        self.root.for_each(&mut show);
    }
}

impl<V: Clone> Tree<V> {
    /// Whether this is a leaf that the name must be put into and that is full. Names whose hashes are the same in all bits stay
    /// together, however many they are.
    fn has_no_place(&self, used: u32, tag: u16, name: &[u8]) -> bool {
        match self {
            Self::Leaf(leaf) if leaf.entries.len() >= LEAF_ENTRIES_MAX && used < u64::BITS => {
                leaf.position(tag, name).is_none()
            }
            _ => false,
        }
    }

    /// Makes a branch of a leaf, by the bits of the hash that are not used up to here.
    fn split(&mut self, used: u32, hash: impl Fn(&[u8]) -> u64) {
        let Self::Leaf(leaf) = self else { return };
        let mut children: [Leaf<V>; BRANCH_CHILDREN] = Default::default();
        for (name, value) in leaf.entries.iter() {
            let hash = hash(name.as_wire());
            children[child(hash >> used)].push(tag(hash), name.clone(), value.clone());
        }
        *self = Self::Branch(Arc::new(children.map(Self::Leaf)));
    }

    fn remove(&mut self, path: u64, tag: u16, name: &[u8]) {
        match self {
            Self::Leaf(leaf) => leaf.remove(tag, name),
            Self::Branch(children) => {
                let changed = &mut Arc::make_mut(children)[child(path)];
                changed.remove(path >> BRANCH_BITS, tag, name);
                // Looking at all children each time would be dear, and a table that shrinks empties its leaves in the end.
                if changed.is_empty() {
                    self.merge_if_few();
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Leaf(leaf) if leaf.entries.is_empty())
    }

    /// Makes a leaf of a branch whose children together have few entries; some room is left, so that it does not split soon.
    fn merge_if_few(&mut self) {
        let Self::Branch(children) = self else { return };
        let entries = |child: &Self| match child {
            Self::Leaf(leaf) => leaf.entries.len(),
            Self::Branch(_) => LEAF_ENTRIES_MAX,
        };
        if children.iter().map(entries).sum::<usize>() > LEAF_ENTRIES_MAX / 2 {
            return;
        }
        let mut merged = Leaf::default();
        for child in children.iter() {
            if let Self::Leaf(leaf) = child {
                for (tag, (name, value)) in leaf.tags.iter().zip(leaf.entries.iter()) {
                    merged.push(*tag, name.clone(), value.clone());
                }
            }
        }
        *self = Self::Leaf(merged);
    }

    fn for_each<'t>(&'t self, show: &mut impl FnMut(&'t Key, &'t V)) {
        match self {
            Self::Leaf(leaf) => leaf.entries.iter().for_each(|(name, value)| show(name, value)),
            Self::Branch(children) => children.iter().for_each(|child| child.for_each(show)),
        }
    }
}

impl<V: Clone> Leaf<V> {
    /// Where the name stands, if it does.
    fn position(&self, tag: u16, name: &[u8]) -> Option<usize> {
        let is_there = |index: &usize| {
            let entry = self.entries.get(*index);
            entry.is_some_and(|(key, _)| key.as_wire() == name)
        };
        let mut tagged = 0_u32;
        for (index, other) in self.tags.iter().enumerate() {
            tagged |= u32::from(*other == tag) << index;
        }
        while tagged != 0 {
            let index = tagged.trailing_zeros() as usize;
            if is_there(&index) {
                return Some(index);
            }
            tagged &= tagged - 1;
        }
        (LEAF_ENTRIES_MAX..self.entries.len()).find(is_there)
    }

    /// Appends an entry; its index.
    fn push(&mut self, tag: u16, name: Key, value: V) -> usize {
        let index = self.entries.len();
        if let Some(place) = self.tags.get_mut(index) {
            *place = tag;
        }
        self.entries = self.entries.iter().cloned().chain(iter::once((name, value))).collect();
        index
    }

    fn remove(&mut self, tag: u16, name: &[u8]) {
        let Some(index) = self.position(tag, name) else { return };
        // The last entry takes the place. If it has no tag of its own, its tag is the same.
        let last = self.entries.len() - 1;
        if let Some(moved) = self.tags.get(last).copied() {
            self.tags[index] = moved;
        }
        let source = |place| if place == index { last } else { place };
        self.entries = (0..last).map(|place| self.entries[source(place)].clone()).collect();
    }
}

impl<V> Default for Tree<V> {
    fn default() -> Self {
        Self::Leaf(Leaf::default())
    }
}

impl<V> Default for Leaf<V> {
    fn default() -> Self {
        Self { tags: [0; LEAF_ENTRIES_MAX], entries: Arc::default() }
    }
}

/// Which child of a branch the path leads to.
fn child(path: u64) -> usize {
    path as usize % BRANCH_CHILDREN
}

fn tag(hash: u64) -> u16 {
    (hash >> TAG_SHIFT) as u16
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::hash::Hasher;

    use proptest::prelude::*;

    use super::*;

    /// Bad hashes: so many different ones, in the bits that choose children last.
    #[derive(Clone, Default)]
    struct Few<const HASHES: u64>(u64);

    impl<const HASHES: u64> BuildHasher for Few<HASHES> {
        type Hasher = Self;

        fn build_hasher(&self) -> Self {
            self.clone()
        }
    }

    impl<const HASHES: u64> Hasher for Few<HASHES> {
        fn write(&mut self, octets: &[u8]) {
            octets.iter().for_each(|octet| self.0 = self.0.wrapping_mul(31).wrapping_add(u64::from(*octet)));
        }

        fn finish(&self) -> u64 {
            (self.0 % HASHES).rotate_right(4)
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u16, u32),
        Remove(u16),
        /// Keeps a version, to look at it at the end.
        Keep,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            5 => (0..120_u16, any::<u32>()).prop_map(|(name, value)| Step::Insert(name, value)),
            4 => (0..120_u16).prop_map(Step::Remove),
            1 => Just(Step::Keep),
        ];
        prop::collection::vec(step, 0..400)
    }

    /// Short and long names.
    fn name(index: u16) -> Vec<u8> {
        index.to_string().repeat(1 + usize::from(index % 30)).into_bytes()
    }

    type Model = BTreeMap<Vec<u8>, u32>;

    fn content<S: BuildHasher + Default>(table: &Table<u32, S>) -> Model {
        let mut content = Model::new();
        table.for_each(|name, value| {
            assert!(content.insert(name.as_wire().to_vec(), *value).is_none());
        });
        content
    }

    fn follow<S: BuildHasher + Default + Clone>(steps: &[Step]) -> Result<(), TestCaseError> {
        let (mut table, mut model) = (Table::<u32, S>::new(), Model::new());
        let mut kept = vec![];
        for step in steps {
            match step {
                Step::Insert(index, value) => {
                    *table.get_or_insert(&name(*index), 0) = *value;
                    model.insert(name(*index), *value);
                }
                Step::Remove(index) => {
                    table.remove(&name(*index));
                    model.remove(&name(*index));
                }
                Step::Keep => kept.push((table.clone(), model.clone())),
            }
        }
        kept.push((table.clone(), model.clone()));
        for (table, model) in &kept {
            prop_assert_eq!(&content(table), model);
            prop_assert_eq!(table.len(), model.len());
            prop_assert!((0..120).all(|index| table.get(&name(index)) == model.get(&name(index))));
        }
        for name in model.keys() {
            table.remove(name);
        }
        prop_assert!(table.root.is_empty(), "a table that shrinks gives its branches back");
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_table_and_all_its_versions_equal_a_map(steps in steps()) {
            follow::<RandomState>(&steps)?;
            follow::<Few<1>>(&steps)?;
            follow::<Few<3>>(&steps)?;
            follow::<Few<40>>(&steps)?;
        }
    }

    /// How many nodes of the tree are not shared with the other one.
    fn own(tree: &Tree<u32>, other: &Tree<u32>) -> usize {
        match (tree, other) {
            (Tree::Branch(one), Tree::Branch(other)) if Arc::ptr_eq(one, other) => 0,
            (Tree::Leaf(one), Tree::Leaf(other)) if Arc::ptr_eq(&one.entries, &other.entries) => 0,
            (Tree::Branch(one), Tree::Branch(other)) => {
                1 + one.iter().zip(other.iter()).map(|(one, other)| own(one, other)).sum::<usize>()
            }
            _ => 1,
        }
    }

    #[test]
    fn a_leafs_tags_are_in_one_cache_line() {
        assert_eq!(size_of::<Tree<u32>>(), 64);
    }

    #[test]
    fn a_change_copies_only_the_way_to_its_name() {
        let mut table = Table::<u32>::new();
        for index in 0..u16::MAX {
            table.get_or_insert(&index.to_be_bytes(), 0);
        }
        for index in 0..1000_u16 {
            let mut changed = table.clone();
            *changed.get_or_insert(&index.to_be_bytes(), 0) = 1;
            assert!((1..=6).contains(&own(&changed.root, &table.root)));
            changed.remove(&index.to_be_bytes());
            assert!((1..=6).contains(&own(&changed.root, &table.root)));
            assert_eq!(table.get(&index.to_be_bytes()), Some(&0));
        }
    }
}
