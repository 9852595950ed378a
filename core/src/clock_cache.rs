//! A cache of limited size in bytes, which evicts entries that were not used lately (the clock algorithm).
//!
//! Clients choose the keys, and many keys have the same prefix, so comparing them in a tree would be slow. Entries are
//! found by a hash instead, which has a few slots. The hash is not secret: a client that chooses keys for the same
//! slots makes some of these entries evict each other, and nothing else. An entry is only found by exactly its key.

use std::hash::{DefaultHasher, Hasher};

/// How many slots a hash has.
const WAYS: usize = 4;
/// The size limit divided by the number of slots, in bytes: fewer than most entries take, so that the slots seldom run
/// out first.
const BYTES_PER_SLOT: usize = 256;
/// The overhead of an entry besides its key and the size of its value, in bytes: its slot, its share of free slots, and
/// the allocator's overhead.
const ENTRY: usize = 128;

/// Values by their keys. Where a new one does not fit, entries are evicted that were not used since the clock's hand
/// last passed them.
#[derive(Debug)]
pub struct ClockCache<V> {
    /// The size limit, in bytes.
    limit: usize,
    /// The size of all entries, in bytes.
    bytes: usize,
    /// Empty before the first insertion.
    slots: Vec<Option<Entry<V>>>,
    /// The slot that the hand passed last.
    hand: usize,
    /// The last hashes that were to be inserted: one for each remainder.
    seen: Vec<u64>,
}

#[derive(Debug)]
struct Entry<V> {
    hash: u64,
    key: Box<str>,
    value: V,
    bytes: usize,
    used: bool,
}

impl<V> ClockCache<V> {
    /// An empty cache with this size limit, in bytes. It allocates nothing before the first insertion.
    pub fn new(limit: usize) -> Self {
        ClockCache { limit, bytes: 0, slots: Vec::new(), hand: 0, seen: Vec::new() }
    }

    /// The value of this key, if it is in the cache.
    pub fn get(&mut self, key: &str) -> Option<&mut V> {
        let hash = hash(key);
        let entry = self.ways(hash).iter_mut().flatten().find(|entry| entry.hash == hash)?;
        if *entry.key != *key {
            return None;
        }
        entry.used = true;
        Some(&mut entry.value)
    }

    /// Inserts a value. `bytes` is its size besides `size_of::<V>()`.
    pub fn insert(&mut self, key: &str, value: V, bytes: usize) {
        self.put(hash(key), key, value, bytes);
    }

    /// Inserts a value, as [`ClockCache::insert`] does, if its key comes for the second time. Otherwise many more keys
    /// than fit, each used once, would evict the entries that are used.
    pub fn insert_if_seen(&mut self, key: &str, value: V, bytes: usize) {
        let hash = hash(key);
        self.seen.resize((self.limit / BYTES_PER_SLOT).max(1), 0);
        let remainder = hash as usize % self.seen.len();
        if self.seen.get_mut(remainder).is_some_and(|seen| core::mem::replace(seen, hash) == hash) {
            self.put(hash, key, value, bytes);
        }
    }

    /// Removes the value of this key.
    pub fn remove(&mut self, key: &str) {
        self.remove_hash(hash(key));
    }

    fn put(&mut self, hash: u64, key: &str, value: V, bytes: usize) {
        let bytes = bytes.saturating_add(key.len() + ENTRY);
        self.remove_hash(hash);
        if bytes > self.limit {
            return;
        }
        while self.bytes > self.limit - bytes {
            self.sweep();
        }
        if self.slots.is_empty() {
            self.slots.resize_with((self.limit / BYTES_PER_SLOT).max(1).next_multiple_of(WAYS), || None);
        }
        let ways = self.ways(hash);
        let unused = |way: &Option<Entry<V>>| way.as_ref().is_none_or(|entry| !entry.used);
        let way = ways.iter().position(Option::is_none).or_else(|| ways.iter().position(unused));
        let Some(way) = ways.get_mut(way.unwrap_or_default()) else { return };
        let entry = Entry { hash, key: key.into(), value, bytes, used: false };
        let before = way.replace(entry).map_or(0, |entry| entry.bytes);
        self.bytes = self.bytes + bytes - before;
    }

    fn remove_hash(&mut self, hash: u64) {
        let way = self.ways(hash).iter_mut().find(|way| way.as_ref().is_some_and(|entry| entry.hash == hash));
        self.bytes -= way.and_then(Option::take).map_or(0, |entry| entry.bytes);
    }

    /// The slots of this hash.
    fn ways(&mut self, hash: u64) -> &mut [Option<Entry<V>>] {
        let sets = (self.slots.len() / WAYS).max(1);
        let first = (hash >> 32) as usize % sets * WAYS;
        self.slots.get_mut(first..first + WAYS).unwrap_or_default()
    }

    /// Moves the hand to the next slot and evicts its entry, unless that was used since the hand last passed it.
    fn sweep(&mut self) {
        self.hand = (self.hand + 1) % self.slots.len().max(1);
        let Some(slot) = self.slots.get_mut(self.hand) else { return };
        match slot {
            Some(entry) if entry.used => entry.used = false,
            _ => self.bytes -= slot.take().map_or(0, |entry| entry.bytes),
        }
    }
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The size of an entry with a key of ten bytes.
    const TAKES: usize = ENTRY + 10;

    fn key(number: u32) -> String {
        format!("{number:010}")
    }

    fn of(cache: &mut ClockCache<u32>, number: u32) -> Option<u32> {
        cache.get(&key(number)).copied()
    }

    fn sum(cache: &ClockCache<u32>) -> usize {
        cache.slots.iter().flatten().map(|entry| entry.bytes).sum()
    }

    #[test]
    fn entries_that_are_used_stay_while_others_come_and_go() {
        let mut cache = ClockCache::new(1000 * 3 * TAKES);
        let mut evicted = 0;
        for number in 0..10_000 {
            cache.insert(&key(number), number, 2 * TAKES);
            assert_eq!(of(&mut cache, number), Some(number));
            if of(&mut cache, 0).is_none() {
                cache.insert(&key(0), 0, 2 * TAKES);
                evicted += 1;
            }
        }
        let kept = (0..10_000).filter(|number| of(&mut cache, *number).is_some()).count();
        assert!(evicted < 10 && (800..=1000).contains(&kept), "evicted {evicted} times, {kept} kept");
        assert_eq!(sum(&cache), cache.bytes);
    }

    #[test]
    fn entries_of_half_the_limit_all_fit() {
        let mut cache = ClockCache::new(1000 * 3 * TAKES);
        for number in 0..1000 {
            cache.insert(&key(number), number, 2 * TAKES);
        }
        let kept = (0..1000).filter(|number| of(&mut cache, *number).is_some()).count();
        assert!(kept > 900, "{kept}");
    }

    #[test]
    fn a_key_that_comes_once_evicts_no_other() {
        let mut cache = ClockCache::new(20 * TAKES);
        for (number, kept) in [(1, None), (1, Some(1)), (2, None)] {
            cache.insert_if_seen(&key(number), number, 0);
            assert_eq!(of(&mut cache, number), kept);
        }
        for number in 100..1000 {
            cache.insert_if_seen(&key(number), number, 0);
        }
        assert_eq!((of(&mut cache, 1), cache.bytes), (Some(1), TAKES));
    }

    #[test]
    fn a_new_value_replaces_the_old_one() {
        let mut cache = ClockCache::new(20 * TAKES);
        for bytes in [5, 0, 7] {
            cache.insert(&key(1), bytes, bytes as usize);
            assert_eq!((of(&mut cache, 1), cache.bytes), (Some(bytes), TAKES + bytes as usize));
        }
        cache.remove(&key(1));
        assert_eq!((of(&mut cache, 1), cache.bytes), (None, 0));
    }

    #[test]
    fn an_entry_larger_than_the_limit_is_not_cached() {
        let mut cache = ClockCache::new(20 * TAKES);
        cache.insert(&key(1), 1, 0);
        cache.insert(&key(2), 2, 20 * TAKES);
        cache.insert(&key(1), 3, usize::MAX);
        assert_eq!((of(&mut cache, 1), of(&mut cache, 2), cache.bytes), (None, None, 0));
    }

    #[test]
    fn another_key_with_the_same_hash_is_not_found() {
        let mut cache = ClockCache::new(20 * TAKES);
        cache.insert(&key(1), 1, 0);
        for entry in cache.slots.iter_mut().flatten() {
            entry.key = key(2).into();
        }
        assert_eq!(of(&mut cache, 1), None);
        cache.insert(&key(1), 1, 0);
        assert_eq!((of(&mut cache, 1), cache.bytes, sum(&cache)), (Some(1), TAKES, TAKES));
    }

    proptest! {
        #[test]
        fn only_the_last_value_is_found_and_the_limit_holds(
            limit in 0..20 * TAKES,
            steps in prop::collection::vec((0..4u8, 0..30u32, 0..3 * TAKES), 1..200),
        ) {
            let mut cache = ClockCache::new(limit);
            let mut last = BTreeMap::new();
            for (step, (what, number, bytes)) in (0..).zip(steps) {
                match what {
                    0 => {
                        cache.insert(&key(number), step, bytes);
                        last.insert(number, step);
                        prop_assert_eq!(of(&mut cache, number), (TAKES + bytes <= limit).then_some(step));
                    }
                    1 => {
                        cache.remove(&key(number));
                        last.remove(&number);
                        prop_assert_eq!(of(&mut cache, number), None);
                    }
                    2 if of(&mut cache, number).is_none() => {
                        cache.insert_if_seen(&key(number), step, bytes);
                        last.insert(number, step);
                        let found = of(&mut cache, number);
                        prop_assert!(found.is_none() || found == Some(step));
                    }
                    _ => {
                        let found = of(&mut cache, number);
                        prop_assert!(found.is_none() || found == last.get(&number).copied());
                    }
                }
                prop_assert_eq!(cache.bytes, sum(&cache));
                prop_assert!(cache.bytes <= limit);
            }
        }
    }
}
