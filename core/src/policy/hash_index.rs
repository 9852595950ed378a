//! An index from keys to positions in a list, by the hashes of the keys.
//!
//! In the wasm module comparing strings is slow (memcmp compares byte by byte), and with ten thousand names or URIs
//! that start alike a B-tree of strings takes most of the time to load a policy. Hashes are compared in one step. They
//! may collide, so callers compare what they find. The hash has fixed keys: only the config chooses what is hashed.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::sort;

/// A sorted table of hashes and positions.
#[derive(Debug, Default)]
pub(super) struct HashIndex {
    entries: Vec<(u64, u32)>,
}

impl HashIndex {
    pub(super) fn new<K: Hash>(pairs: impl Iterator<Item = (K, u32)>) -> Self {
        let mut entries: Vec<(u64, u32)> = pairs.map(|(key, position)| (hash(&key), position)).collect();
        sort::in_place(&mut entries);
        HashIndex { entries }
    }

    /// The positions under this key, in order, and perhaps others with the same hash.
    pub(super) fn get<K: Hash>(&self, key: K) -> impl Iterator<Item = u32> + use<'_, K> {
        #[cfg(test)]
        super::work::lookup();
        self.range(hash(&key)).iter().map(|(_, position)| *position)
    }

    /// The number of positions under this key, or more.
    pub(super) fn count<K: Hash>(&self, key: K) -> usize {
        self.range(hash(&key)).len()
    }

    fn range(&self, hash: u64) -> &[(u64, u32)] {
        let start = self.entries.partition_point(|(other, _)| *other < hash);
        let end = self.entries.partition_point(|(other, _)| *other <= hash);
        self.entries.get(start..end).unwrap_or_default()
    }
}

/// The keys that equal an earlier one: pairs of its position and the position of the first, in order.
pub(super) fn duplicates<K: Hash + Eq>(keys: &[K]) -> Vec<(usize, usize)> {
    let mut hashes: Vec<(u64, usize)> = keys.iter().map(hash).zip(0..).collect();
    sort::in_place(&mut hashes);
    let mut duplicates = Vec::new();
    for group in hashes.chunk_by(|(a, _), (b, _)| a == b).filter(|group| group.len() > 1) {
        for (at, (_, position)) in group.iter().enumerate() {
            let mut before = group.iter().take(at).map(|(_, first)| *first);
            if let Some(first) = before.find(|first| keys.get(*first) == keys.get(*position)) {
                duplicates.push((*position, first));
            }
        }
    }
    sort::in_place(&mut duplicates);
    duplicates
}

fn hash<K: Hash>(key: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_found_in_order() {
        let index = HashIndex::new(["a", "b", "a", "c", "a"].into_iter().zip(0..));
        let get = |key: &str| index.get(key).collect::<Vec<u32>>();
        assert_eq!((get("a"), get("c"), get("x")), (vec![0, 2, 4], vec![3], vec![]));
    }

    #[test]
    fn every_repetition_names_the_first() {
        assert_eq!(duplicates(&["b", "a", "b", "c", "a", "b"]), [(2, 0), (4, 1), (5, 0)]);
        assert_eq!(duplicates::<&str>(&[]), []);
    }

    /// All of them have the same hash.
    #[derive(PartialEq, Eq)]
    struct Colliding(u8);

    impl Hash for Colliding {
        fn hash<H: Hasher>(&self, _: &mut H) {}
    }

    #[test]
    fn a_collision_is_no_repetition() {
        assert_eq!(duplicates(&[Colliding(1), Colliding(2), Colliding(1)]), [(2, 0)]);
    }
}
