//! A hash map whose copies share what has not changed.
//!
//! The writer changes it in place; a copy costs one reference count per shard; the first change to a shard after a copy
//! clones that shard alone. So a change to one of 100,000 entries copies some 400, and readers never wait.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;

const SHARDS: usize = 256;

/// The map.
#[derive(Clone, Debug)]
pub(super) struct CowMap<K, V> {
    hasher: RandomState,
    shards: Vec<Arc<HashMap<K, V, RandomState>>>,
}

impl<K: Eq + Hash + Clone, V: Clone> Default for CowMap<K, V> {
    fn default() -> Self {
        Self { hasher: RandomState::default(), shards: vec![Arc::default(); SHARDS] }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> CowMap<K, V> {
    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        // The low bits: each shard has a hasher with seeds of its own, so its buckets stay evenly used.
        self.hasher.hash_one(key) as usize % SHARDS
    }

    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.shards[self.shard(key)].get(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        let shard = self.shard(&key);
        Arc::make_mut(&mut self.shards[shard]).insert(key, value);
    }

    pub(super) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        let shard = self.shard(key);
        // Ask first: a miss must not copy the shard.
        if self.shards[shard].contains_key(key) {
            Arc::make_mut(&mut self.shards[shard]).remove(key);
        }
    }

    /// The value of a key, for changing it; made first where there is none.
    pub(super) fn entry(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let shard = self.shard(&key);
        Arc::make_mut(&mut self.shards[shard]).entry(key).or_default()
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let shard = self.shard(key);
        if !self.shards[shard].contains_key(key) {
            return None;
        }
        Arc::make_mut(&mut self.shards[shard]).get_mut(key)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_what_it_saw_and_shares_the_rest() {
        let mut map = CowMap::default();
        for n in 0..10_000_u32 {
            map.insert(n, n);
        }
        let copy = map.clone();
        map.insert(7, 0);
        map.remove(&8);
        map.remove(&10_001);
        *map.entry(10_000) += 5;
        assert_eq!((copy.get(&7), copy.get(&8), copy.get(&10_000), copy.len()), (Some(&7), Some(&8), None, 10_000));
        assert_eq!((map.get(&7), map.get(&8), map.get(&10_000), map.len()), (Some(&0), None, Some(&5), 10_000));
        let unshared = map.shards.iter().zip(&copy.shards).filter(|(a, b)| !Arc::ptr_eq(a, b)).count();
        assert!((1..=3).contains(&unshared), "{unshared} shards were copied for 3 changes");
        assert!(map.get_mut(&20_000).is_none());
    }
}
