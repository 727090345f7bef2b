//! An ordered map whose copies share what they have in common.
//!
//! The snapshot is made of these: a copy costs one reference count, a write to a copy touches one chunk and the
//! spine of chunk pointers. Readers of an older copy are never disturbed.

use std::borrow::Borrow;
use std::sync::Arc;

/// Entries of a chunk before it is split. Small enough to copy in a microsecond, large enough for a short spine.
const CHUNK_ENTRIES_MAX: usize = 256;

/// Places that a chunk is given when it is full. A vector left to itself doubles, and every chunk that was copied is full: half
/// of what a large map weighs would be empty places.
const CHUNK_GROWTH: usize = 16;

/// A sorted run of entries, with a copy of its first key: the spine is searched without following a pointer.
#[derive(Clone, Debug)]
struct Chunk<K, V> {
    first: K,
    entries: Arc<Vec<(K, V)>>,
}

impl<K: Clone, V> Chunk<K, V> {
    fn new(entries: Vec<(K, V)>) -> Option<Self> {
        let first = entries.first()?.0.clone();
        Some(Self { first, entries: Arc::new(entries) })
    }
}

/// An ordered map; `clone` is cheap and independent of the original.
#[derive(Debug)]
pub struct PersistentMap<K, V> {
    /// Non-empty chunks, each sorted, in order.
    spine: Arc<Vec<Chunk<K, V>>>,
    len: usize,
}

impl<K, V> Clone for PersistentMap<K, V> {
    fn clone(&self) -> Self {
        Self { spine: Arc::clone(&self.spine), len: self.len }
    }
}

impl<K, V> Default for PersistentMap<K, V> {
    fn default() -> Self {
        Self { spine: Arc::new(Vec::new()), len: 0 }
    }
}

impl<K, V> PersistentMap<K, V> {
    /// Whether nothing was written to either since one was copied from the other. May be `false` for equal maps.
    pub fn is_copy_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.spine, &other.spine)
    }
}

impl<K: Ord + Clone, V: Clone> PersistentMap<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chunk in which the key stands or would stand.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.spine.partition_point(|chunk| chunk.first.borrow() <= key).saturating_sub(1)
    }

    /// The value at a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let entries = &self.spine.get(self.chunk_of(key))?.entries;
        let position = entries.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        entries.get(position).map(|(_, value)| value)
    }

    /// Puts a value at a key and returns the one it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let index = self.chunk_of(&key);
        let spine = Arc::make_mut(&mut self.spine);
        let Some(chunk) = spine.get_mut(index) else {
            spine.extend(Chunk::new(vec![(key, value)]));
            self.len += 1;
            return None;
        };
        let entries = Arc::make_mut(&mut chunk.entries);
        match entries.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(position) => {
                let slot = entries.get_mut(position)?;
                Some(std::mem::replace(&mut slot.1, value))
            }
            Err(position) => {
                if position == 0 {
                    chunk.first = key.clone();
                }
                if entries.len() == entries.capacity() {
                    entries.reserve_exact(CHUNK_GROWTH);
                }
                entries.insert(position, (key, value));
                self.len += 1;
                if entries.len() > CHUNK_ENTRIES_MAX {
                    // Keys that arrive in order fill chunks from the left; splitting off the last quarter keeps them full.
                    let right = entries.split_off(CHUNK_ENTRIES_MAX * 3 / 4);
                    entries.shrink_to_fit();
                    let places = index + 1..index + 1;
                    spine.splice(places, Chunk::new(right));
                }
                None
            }
        }
    }

    /// The value at a key, to be changed in this copy only.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let index = self.chunk_of(key);
        let chunk = Arc::make_mut(&mut self.spine).get_mut(index)?;
        let entries = Arc::make_mut(&mut chunk.entries);
        let position = entries.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        entries.get_mut(position).map(|(_, value)| value)
    }

    /// Removes a key and returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let index = self.chunk_of(key);
        let entries = &self.spine.get(index)?.entries;
        let position = entries.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        let spine = Arc::make_mut(&mut self.spine);
        let chunk = spine.get_mut(index)?;
        let entries = Arc::make_mut(&mut chunk.entries);
        let (_, value) = entries.remove(position);
        match entries.first() {
            Some((first, _)) => chunk.first = first.clone(),
            None => drop(spine.remove(index)),
        }
        self.len -= 1;
        Some(value)
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.spine.iter().flat_map(|chunk| chunk.entries.iter()).map(|(k, v)| (k, v))
    }

    /// The entries from a key on, in order.
    pub fn iter_from<Q: Ord + ?Sized>(
        &self,
        key: &Q,
    ) -> impl Iterator<Item = (&K, &V)> + use<'_, K, V, Q>
    where
        K: Borrow<Q>,
    {
        let index = self.chunk_of(key);
        let before = self
            .spine
            .get(index)
            .map_or(0, |chunk| chunk.entries.partition_point(|(k, _)| k.borrow() < key));
        let chunks = self.spine.get(index..).unwrap_or_default();
        chunks.iter().flat_map(|chunk| chunk.entries.iter()).skip(before).map(|(k, v)| (k, v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_copy_does_not_see_later_writes() {
        let mut map = PersistentMap::default();
        for key in 0..1000_u32 {
            map.insert(key, key);
        }
        let before = map.clone();
        assert!(before.is_copy_of(&map));
        map.remove(&500);
        assert!(!before.is_copy_of(&map));
        map.insert(7, 70);
        *map.get_mut(&8).unwrap() = 80;
        assert_eq!((before.get(&8), map.get(&8)), (Some(&8), Some(&80)));
        assert_eq!(map.get_mut(&500), None);
        assert_eq!(before.get(&500), Some(&500));
        assert_eq!(before.get(&7), Some(&7));
        assert_eq!(map.get(&500), None);
        assert_eq!((before.len(), map.len()), (1000, 999));
    }

    proptest! {
        #[test]
        fn it_behaves_as_the_standard_map(steps in prop::collection::vec((any::<bool>(), 0..2000_u32), 0..4000)) {
            let mut ours = PersistentMap::default();
            let mut reference = BTreeMap::new();
            for (put, key) in steps {
                if put {
                    prop_assert_eq!(ours.insert(key, key), reference.insert(key, key));
                } else {
                    prop_assert_eq!(ours.remove(&key), reference.remove(&key));
                }
            }
            prop_assert_eq!(ours.len(), reference.len());
            prop_assert!(ours.iter().eq(reference.iter()));
            for from in [0_u32, 1, 777, 1999, 5000] {
                prop_assert!(ours.iter_from(&from).eq(reference.range(from..)));
            }
        }
    }
}
