//! What was of use lately, within a bound in bytes.
//!
//! Clients choose the keys, and many of these start the same: to compare them in a tree would cost more than all else. So they are
//! found by a hash, which has few places. The hash is no secret: whoever chooses keys with the same places gets some of them
//! forgotten for others, and nothing else. What is found has the very key that was asked for, and no place holds more than one.

use std::hash::{DefaultHasher, Hasher};

/// How many places a hash has.
const WAYS: usize = 4;
/// How many bytes of the bound there are for each place: fewer than most entries take, so that seldom the places run out first.
const PLACE: usize = 256;
/// What an entry takes beside its key and what its value says, in bytes: its place and those of others that are free, and the
/// allocator's own.
const ENTRY: usize = 128;

/// Values by their keys. Where there is no room for another, one goes that was of no use since it was last looked at for this.
#[derive(Debug)]
pub struct ClockCache<V> {
    most: usize,
    bytes: usize,
    /// None before the first is put in.
    places: Vec<Option<Entry<V>>>,
    /// Which place is looked at next to make room.
    hand: usize,
    /// Of the hashes that came last, one for each place here.
    came: Vec<u64>,
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
    /// Room for so many bytes.
    pub fn new(most: usize) -> Self {
        ClockCache { most, bytes: 0, places: Vec::new(), hand: 0, came: Vec::new() }
    }

    /// The value of this key, if it is still there.
    pub fn get(&mut self, key: &str) -> Option<&mut V> {
        let hash = hash(key);
        let entry = self.ways(hash).iter_mut().flatten().find(|entry| entry.hash == hash)?;
        if *entry.key != *key {
            return None;
        }
        entry.used = true;
        Some(&mut entry.value)
    }

    /// Keeps a value, which takes so many bytes beside its own size.
    pub fn insert(&mut self, key: &str, value: V, bytes: usize) {
        self.put(hash(key), key, value, bytes);
    }

    /// Keeps a value as [`ClockCache::insert`] does where its key came before. Of many more keys than there is room for, coming in
    /// turn, none would be there any more when it comes again, and each would take the place of one that is of use.
    pub fn insert_if_back(&mut self, key: &str, value: V, bytes: usize) {
        let hash = hash(key);
        self.came.resize((self.most / PLACE).max(1), 0);
        let place = hash as usize % self.came.len();
        if self.came.get_mut(place).is_some_and(|came| core::mem::replace(came, hash) == hash) {
            self.put(hash, key, value, bytes);
        }
    }

    /// Forgets the value of this key.
    pub fn remove(&mut self, key: &str) {
        self.forget(hash(key));
    }

    fn put(&mut self, hash: u64, key: &str, value: V, bytes: usize) {
        let bytes = bytes.saturating_add(key.len() + ENTRY);
        self.forget(hash);
        if bytes > self.most {
            return;
        }
        while self.bytes > self.most - bytes {
            self.sweep();
        }
        if self.places.is_empty() {
            self.places.resize_with((self.most / PLACE).max(1).next_multiple_of(WAYS), || None);
        }
        let ways = self.ways(hash);
        let unused = |way: &Option<Entry<V>>| way.as_ref().is_none_or(|entry| !entry.used);
        let way = ways.iter().position(Option::is_none).or_else(|| ways.iter().position(unused));
        let Some(way) = ways.get_mut(way.unwrap_or_default()) else { return };
        let entry = Entry { hash, key: key.into(), value, bytes, used: false };
        let before = way.replace(entry).map_or(0, |entry| entry.bytes);
        self.bytes = self.bytes + bytes - before;
    }

    fn forget(&mut self, hash: u64) {
        let way = self.ways(hash).iter_mut().find(|way| way.as_ref().is_some_and(|entry| entry.hash == hash));
        self.bytes -= way.and_then(Option::take).map_or(0, |entry| entry.bytes);
    }

    /// The places that this hash has.
    fn ways(&mut self, hash: u64) -> &mut [Option<Entry<V>>] {
        let sets = (self.places.len() / WAYS).max(1);
        let first = (hash >> 32) as usize % sets * WAYS;
        self.places.get_mut(first..first + WAYS).unwrap_or_default()
    }

    /// Looks at one place to make room: who is there stays until the next time if it was of use since the last.
    fn sweep(&mut self) {
        self.hand = (self.hand + 1) % self.places.len().max(1);
        let Some(place) = self.places.get_mut(self.hand) else { return };
        match place {
            Some(entry) if entry.used => entry.used = false,
            _ => self.bytes -= place.take().map_or(0, |entry| entry.bytes),
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

    /// What a key of ten bytes takes.
    const TAKES: usize = ENTRY + 10;

    fn key(number: u32) -> String {
        format!("{number:010}")
    }

    fn of(cache: &mut ClockCache<u32>, number: u32) -> Option<u32> {
        cache.get(&key(number)).copied()
    }

    fn sum(cache: &ClockCache<u32>) -> usize {
        cache.places.iter().flatten().map(|entry| entry.bytes).sum()
    }

    #[test]
    fn what_is_of_use_stays_while_others_come_and_go() {
        let mut cache = ClockCache::new(1000 * 3 * TAKES);
        let mut gone = 0;
        for number in 0..10_000 {
            cache.insert(&key(number), number, 2 * TAKES);
            assert_eq!(of(&mut cache, number), Some(number));
            if of(&mut cache, 0).is_none() {
                cache.insert(&key(0), 0, 2 * TAKES);
                gone += 1;
            }
        }
        let kept = (0..10_000).filter(|number| of(&mut cache, *number).is_some()).count();
        assert!(gone < 10 && (800..=1000).contains(&kept), "{gone} times gone, {kept} kept");
        assert_eq!(sum(&cache), cache.bytes);
    }

    #[test]
    fn half_of_what_there_is_room_for_is_all_there() {
        let mut cache = ClockCache::new(1000 * 3 * TAKES);
        for number in 0..1000 {
            cache.insert(&key(number), number, 2 * TAKES);
        }
        let kept = (0..1000).filter(|number| of(&mut cache, *number).is_some()).count();
        assert!(kept > 900, "{kept}");
    }

    #[test]
    fn who_comes_once_takes_nobodys_place() {
        let mut cache = ClockCache::new(20 * TAKES);
        for (number, kept) in [(1, None), (1, Some(1)), (2, None)] {
            cache.insert_if_back(&key(number), number, 0);
            assert_eq!(of(&mut cache, number), kept);
        }
        for number in 100..1000 {
            cache.insert_if_back(&key(number), number, 0);
        }
        assert_eq!((of(&mut cache, 1), cache.bytes), (Some(1), TAKES));
    }

    #[test]
    fn a_new_value_takes_the_place_of_the_old_one() {
        let mut cache = ClockCache::new(20 * TAKES);
        for bytes in [5, 0, 7] {
            cache.insert(&key(1), bytes, bytes as usize);
            assert_eq!((of(&mut cache, 1), cache.bytes), (Some(bytes), TAKES + bytes as usize));
        }
        cache.remove(&key(1));
        assert_eq!((of(&mut cache, 1), cache.bytes), (None, 0));
    }

    #[test]
    fn what_is_larger_than_all_the_room_is_not_kept() {
        let mut cache = ClockCache::new(20 * TAKES);
        cache.insert(&key(1), 1, 0);
        cache.insert(&key(2), 2, 20 * TAKES);
        cache.insert(&key(1), 3, usize::MAX);
        assert_eq!((of(&mut cache, 1), of(&mut cache, 2), cache.bytes), (None, None, 0));
    }

    #[test]
    fn a_key_is_not_taken_for_another_of_its_hash() {
        let mut cache = ClockCache::new(20 * TAKES);
        cache.insert(&key(1), 1, 0);
        for entry in cache.places.iter_mut().flatten() {
            entry.key = key(2).into();
        }
        assert_eq!(of(&mut cache, 1), None);
        cache.insert(&key(1), 1, 0);
        assert_eq!((of(&mut cache, 1), cache.bytes, sum(&cache)), (Some(1), TAKES, TAKES));
    }

    proptest! {
        #[test]
        fn only_what_was_put_in_last_comes_out_and_the_bound_holds(
            most in 0..20 * TAKES,
            steps in prop::collection::vec((0..4u8, 0..30u32, 0..3 * TAKES), 1..200),
        ) {
            let mut cache = ClockCache::new(most);
            let mut last = BTreeMap::new();
            for (step, (what, number, bytes)) in (0..).zip(steps) {
                match what {
                    0 => {
                        cache.insert(&key(number), step, bytes);
                        last.insert(number, step);
                        prop_assert_eq!(of(&mut cache, number), (TAKES + bytes <= most).then_some(step));
                    }
                    1 => {
                        cache.remove(&key(number));
                        last.remove(&number);
                        prop_assert_eq!(of(&mut cache, number), None);
                    }
                    2 if of(&mut cache, number).is_none() => {
                        cache.insert_if_back(&key(number), step, bytes);
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
                prop_assert!(cache.bytes <= most);
            }
        }
    }
}
