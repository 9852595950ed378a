//! Positions in a list, found by the hash of what they are filed under.
//!
//! In the module, comparing strings is slow (memcmp goes byte by byte), and ten thousand names or URIs that start the same
//! make a B-tree of strings spend most of a load on it. Hashes are compared in one step. They may collide, so whoever
//! looks something up compares what is found; the hash has fixed keys, but only the config decides what is filed.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::sort;

/// A sorted table of hashes.
#[derive(Debug, Default)]
pub(super) struct Hashed {
    entries: Vec<(u64, u32)>,
}

impl Hashed {
    pub(super) fn new<K: Hash>(filed: impl Iterator<Item = (K, u32)>) -> Self {
        let mut entries: Vec<(u64, u32)> = filed.map(|(key, position)| (hash(&key), position)).collect();
        sort::in_place(&mut entries);
        Hashed { entries }
    }

    /// The positions that are filed under the key, in order, and perhaps others.
    pub(super) fn get<K: Hash>(&self, key: K) -> impl Iterator<Item = u32> + use<'_, K> {
        self.range(hash(&key)).iter().map(|(_, position)| *position)
    }

    /// How many there are under the key, or more.
    pub(super) fn count<K: Hash>(&self, key: K) -> usize {
        self.range(hash(&key)).len()
    }

    fn range(&self, hash: u64) -> &[(u64, u32)] {
        let start = self.entries.partition_point(|(other, _)| *other < hash);
        let end = self.entries.partition_point(|(other, _)| *other <= hash);
        self.entries.get(start..end).unwrap_or_default()
    }
}

/// Which of these equal one before them: (its position, the position of the first), in order.
pub(super) fn repeated<K: Hash + Eq>(keys: &[K]) -> Vec<(usize, usize)> {
    let mut hashes: Vec<(u64, usize)> = keys.iter().map(hash).zip(0..).collect();
    sort::in_place(&mut hashes);
    let mut repeated = Vec::new();
    for group in hashes.chunk_by(|(a, _), (b, _)| a == b).filter(|group| group.len() > 1) {
        for (at, (_, position)) in group.iter().enumerate() {
            let mut before = group.iter().take(at).map(|(_, first)| *first);
            if let Some(first) = before.find(|first| keys.get(*first) == keys.get(*position)) {
                repeated.push((*position, first));
            }
        }
    }
    sort::in_place(&mut repeated);
    repeated
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
        let hashed = Hashed::new(["a", "b", "a", "c", "a"].into_iter().zip(0..));
        let get = |key: &str| hashed.get(key).collect::<Vec<u32>>();
        assert_eq!((get("a"), get("c"), get("x")), (vec![0, 2, 4], vec![3], vec![]));
    }

    #[test]
    fn every_repetition_names_the_first() {
        assert_eq!(repeated(&["b", "a", "b", "c", "a", "b"]), [(2, 0), (4, 1), (5, 0)]);
        assert_eq!(repeated::<&str>(&[]), []);
    }

    /// All of them have the same hash.
    #[derive(PartialEq, Eq)]
    struct Colliding(u8);

    impl Hash for Colliding {
        fn hash<H: Hasher>(&self, _: &mut H) {}
    }

    #[test]
    fn a_collision_is_no_repetition() {
        assert_eq!(repeated(&[Colliding(1), Colliding(2), Colliding(1)]), [(2, 0)]);
    }
}
