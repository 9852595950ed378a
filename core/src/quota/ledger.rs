//! The ledger: every client's bucket, in a store that all workers share.
//!
//! The store knows keys, values and compare-and-swap, and never frees a key; so the number of keys is bounded. A key
//! holds a set of [`WAYS`] buckets, the client's set follows from its [`BucketId`]. A bucket without debt is forgotten when
//! the set is written. Where a set is full, a newcomer shares the overflow bucket of its tier.

use super::bucket::{Amounts, Bucket, Refusal};
use super::tier::{BucketId, Dimension, Tier};

/// How many sets there are.
pub const SETS: u16 = u16::MAX;

/// How many buckets a set holds. With 100,000 clients in debt, one set in 35,000 is full.
pub const WAYS: usize = 8;

/// How often a charge is tried anew when other workers change the same set. Each failure means that another succeeded.
const TRIES: usize = 1000;

/// The version to insert a key with: any but 0 inserts only where there is no value yet, if no value can have that
/// version. Envoy counts versions from 1 over all keys, so that the first key of a process has version 1.
const UNWRITTEN: u32 = u32::MAX;

/// What the workers share.
pub trait Store {
    /// The value of `key` and its version (not 0), or `None` if it was never set. Unless it must be `fresh`, it may be out of
    /// date: then [`Store::set`] refuses its version.
    fn get(&self, key: &str, fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed>;

    /// Sets `key` if its version still is `version`, or if it has no value yet. Returns whether it did.
    fn set(&self, key: &str, value: &[u8], version: u32) -> Result<bool, StoreFailed>;
}

/// The store does not work. Quotas then admit, and say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreFailed;

/// What came of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// It fits and was charged.
    Granted,
    /// It does not fit; nothing was charged.
    Refused(Refusal),
    /// The store failed; nothing was charged.
    Uncounted,
}

/// The buckets of one gate.
pub struct Ledger<'a, S> {
    store: &'a S,
    /// What all keys start with: gates that share a proxy do not share buckets.
    prefix: &'a str,
}

impl<'a, S: Store> Ledger<'a, S> {
    /// The ledger in `store` whose keys start with `prefix`.
    pub fn new(store: &'a S, prefix: &'a str) -> Self {
        Ledger { store, prefix }
    }

    /// Charges one request, at its headers; `probe` are the other dimensions that it will need. Where one of them has
    /// nothing left, the request is refused although it is charged.
    pub fn request(&self, id: BucketId, tier: &Tier, probe: &[Dimension], now: u64) -> Charge {
        if tier.limits.iter().all(Option::is_none) {
            return Charge::Granted;
        }
        let limited = tier.limit(Dimension::Requests).is_some();
        let mut wanted = [0; Dimension::ALL.len()];
        for (amount, dimension) in wanted.iter_mut().zip(Dimension::ALL) {
            *amount = u64::from(probe.contains(&dimension));
        }
        let mut probed = Ok(());
        let charge = self.update(id, tier, now, limited, |bucket| {
            if limited {
                bucket.charge(tier, &[1, 0, 0, 0, 0, 0, 0])?;
            }
            let mut copy = *bucket;
            probed = copy.charge(tier, &wanted);
            Ok(())
        });
        match (charge, probed) {
            (Charge::Granted, Err(refusal)) => Charge::Refused(refusal),
            (charge, _) => charge,
        }
    }

    /// Charges all `amounts` or none.
    pub fn charge(&self, id: BucketId, tier: &Tier, amounts: &Amounts, now: u64) -> Charge {
        let nothing = amounts.iter().zip(tier.limits).all(|(&amount, limit)| amount == 0 || limit.is_none());
        if nothing {
            return Charge::Granted;
        }
        self.update(id, tier, now, true, |bucket| bucket.charge(tier, amounts))
    }

    /// Gives back what was charged at the time `charged`.
    pub fn refund(&self, id: BucketId, tier: &Tier, amounts: &Amounts, charged: u64, now: u64) {
        self.update(id, tier, now, true, |bucket| {
            bucket.refund(tier, amounts, charged, now);
            Ok(())
        });
    }

    fn update(
        &self,
        id: BucketId,
        tier: &Tier,
        now: u64,
        write: bool,
        mut change: impl FnMut(&mut Bucket) -> Result<(), Refusal>,
    ) -> Charge {
        let BucketId([low, high, ..]) = id;
        let set = u16::from_le_bytes([low, high]) % SETS;
        match self.update_set(&format!("{}/{set:04x}", self.prefix), id, tier, now, write, &mut change) {
            Update::Done(charge) => charge,
            Update::SetIsFull => {
                let id = BucketId::of(&[b"overflow", tier.name.as_bytes()]);
                let key = format!("{}/overflow/{}", self.prefix, tier.name);
                match self.update_set(&key, id, tier, now, write, &mut change) {
                    Update::Done(charge) => charge,
                    Update::SetIsFull => Charge::Uncounted,
                }
            }
        }
    }

    fn update_set(
        &self,
        key: &str,
        id: BucketId,
        tier: &Tier,
        now: u64,
        write: bool,
        change: &mut impl FnMut(&mut Bucket) -> Result<(), Refusal>,
    ) -> Update {
        // What is not written afterwards, and so not checked by its version, is judged by a fresh value.
        let mut fresh = !write;
        for _ in 0..TRIES {
            let Ok(found) = self.store.get(key, fresh) else { return Update::Done(Charge::Uncounted) };
            let (value, version) = found.unwrap_or((Vec::new(), UNWRITTEN));
            let mut set = Set::decode(&value);
            let mut bucket = set.take(id, now);
            bucket.advance(tier, now);
            if let Err(refusal) = change(&mut bucket) {
                if !fresh {
                    fresh = true;
                    continue;
                }
                return Update::Done(Charge::Refused(refusal));
            }
            if !write {
                return Update::Done(Charge::Granted);
            }
            if !set.put(id, bucket, tier) {
                return Update::SetIsFull;
            }
            match self.store.set(key, &set.encode(), version) {
                Ok(true) => return Update::Done(Charge::Granted),
                Ok(false) => fresh = true,
                Err(StoreFailed) => return Update::Done(Charge::Uncounted),
            }
        }
        Update::Done(Charge::Uncounted)
    }
}

enum Update {
    Done(Charge),
    SetIsFull,
}

/// The buckets that share one key.
struct Set {
    entries: Vec<Entry>,
}

struct Entry {
    id: BucketId,
    /// When the bucket owes nothing any more, at the rates of its last charge.
    settled: u64,
    bucket: Bucket,
}

/// id, settled, last, one debt per dimension
const ENTRY_LEN: usize = 16 + 8 + 8 + 8 * Dimension::ALL.len();

impl Set {
    fn decode(value: &[u8]) -> Self {
        let entries = value.chunks_exact(ENTRY_LEN).filter_map(|bytes| {
            let (id, mut rest) = bytes.split_first_chunk::<16>()?;
            let mut number = || {
                let (number, behind) = rest.split_first_chunk::<8>()?;
                rest = behind;
                Some(u64::from_le_bytes(*number))
            };
            let (settled, last) = (number()?, number()?);
            let mut debt = [0; Dimension::ALL.len()];
            for debt in &mut debt {
                *debt = number()?;
            }
            Some(Entry { id: BucketId(*id), settled, bucket: Bucket { last, debt } })
        });
        Set { entries: entries.collect() }
    }

    fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(self.entries.len() * ENTRY_LEN);
        for Entry { id, settled, bucket } in &self.entries {
            value.extend_from_slice(&id.0);
            for number in [*settled, bucket.last].iter().chain(&bucket.debt) {
                value.extend_from_slice(&number.to_le_bytes());
            }
        }
        value
    }

    /// Takes the bucket of `id` out, a new one if there is none, and forgets those that owe nothing at `now`.
    fn take(&mut self, id: BucketId, now: u64) -> Bucket {
        let mut taken = Bucket::default();
        self.entries.retain(|entry| {
            if entry.id == id {
                taken = entry.bucket;
            }
            entry.id != id && entry.settled > now
        });
        taken
    }

    /// Puts a bucket in; `false` if the set is full.
    fn put(&mut self, id: BucketId, bucket: Bucket, tier: &Tier) -> bool {
        if self.entries.len() >= WAYS {
            return false;
        }
        self.entries.push(Entry { id, settled: bucket.settled_at(tier), bucket });
        true
    }
}

#[cfg(test)]
mod tests {
    use core::cell::RefCell;
    use core::time::Duration;
    use std::collections::BTreeMap;

    use super::*;

    /// A store like the proxy's: the first version is 1.
    #[derive(Default)]
    struct Memory {
        values: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
        broken: bool,
    }

    impl Store for Memory {
        fn get(&self, key: &str, _fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
            if self.broken { Err(StoreFailed) } else { Ok(self.values.borrow().get(key).cloned()) }
        }

        fn set(&self, key: &str, value: &[u8], version: u32) -> Result<bool, StoreFailed> {
            let mut values = self.values.borrow_mut();
            let current = values.get(key).map(|(_, current)| *current);
            let fits = current.is_none_or(|current| current == version);
            if fits {
                values.insert(key.to_owned(), (value.to_vec(), current.unwrap_or_default() + 1));
            }
            Ok(fits)
        }
    }

    const SECOND: u64 = 1_000_000_000;

    fn tier() -> Tier {
        Tier::new("t", Duration::from_secs(1), [Some(5), Some(1000), Some(10), None, None, None, None])
    }

    fn id(name: &str) -> BucketId {
        BucketId::of(&[name.as_bytes()])
    }

    fn items(items: u64) -> Amounts {
        [0, 0, items, 0, 0, 0, 0]
    }

    fn granted(ledger: &Ledger<Memory>, name: &str, amount: u64, now: u64) -> bool {
        ledger.charge(id(name), &tier(), &items(amount), now) == Charge::Granted
    }

    #[test]
    fn clients_do_not_share_buckets() {
        let store = Memory::default();
        let ledger = Ledger::new(&store, "gate");
        assert!(granted(&ledger, "a", 10, SECOND));
        assert!(!granted(&ledger, "a", 1, SECOND));
        assert!(granted(&ledger, "b", 10, SECOND));
        assert!(granted(&Ledger::new(&store, "other"), "a", 10, SECOND));
    }

    #[test]
    fn a_request_is_refused_at_its_headers_where_another_bucket_is_empty() {
        let store = Memory::default();
        let ledger = Ledger::new(&store, "gate");
        let probe = [Dimension::Bytes, Dimension::Items];
        assert_eq!(ledger.request(id("a"), &tier(), &probe, SECOND), Charge::Granted);
        assert!(granted(&ledger, "a", 10, SECOND));
        let Charge::Refused(Refusal::Over { dimension, .. }) =
            ledger.request(id("a"), &tier(), &probe, SECOND)
        else {
            panic!()
        };
        assert_eq!(dimension, Dimension::Items);
        // It was charged all the same: three of five are left.
        let left =
            (0..5).filter(|_| ledger.request(id("a"), &tier(), &[], SECOND) == Charge::Granted).count();
        assert_eq!(left, 3);
    }

    #[test]
    fn the_number_of_keys_and_the_size_of_values_are_bounded() {
        let store = Memory::default();
        let ledger = Ledger::new(&store, "gate");
        let same_set = |n: u8| BucketId([7, 7, n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let charge = |n: u8, now| ledger.charge(same_set(n), &tier(), &items(10), now) == Charge::Granted;
        for n in 0..WAYS as u8 {
            assert!(charge(n, SECOND));
        }
        // The set is full: newcomers share one bucket, those who were there keep theirs.
        assert!(charge(100, SECOND));
        assert!(!charge(101, SECOND));
        assert!(!charge(0, SECOND));
        // A second later nobody owes anything, and the set is empty but for the one who comes.
        assert!(charge(101, 2 * SECOND));
        let values = store.values.borrow();
        assert_eq!(values.keys().collect::<Vec<_>>(), ["gate/0707", "gate/overflow/t"]);
        assert_eq!(values["gate/0707"].0.len(), ENTRY_LEN);
    }

    #[test]
    fn a_refund_makes_room_again() {
        let store = Memory::default();
        let ledger = Ledger::new(&store, "gate");
        assert!(granted(&ledger, "a", 10, SECOND));
        ledger.refund(id("a"), &tier(), &items(10), SECOND, SECOND);
        assert!(granted(&ledger, "a", 10, SECOND));
        // What was earned back meanwhile is not given twice.
        ledger.refund(id("a"), &tier(), &items(10), SECOND, SECOND + SECOND / 2);
        assert!(granted(&ledger, "a", 10, SECOND + SECOND / 2));
        assert!(!granted(&ledger, "a", 1, SECOND + SECOND / 2));
    }

    #[test]
    fn a_store_that_fails_admits_and_says_so() {
        let store = Memory { broken: true, ..Default::default() };
        let ledger = Ledger::new(&store, "gate");
        assert_eq!(ledger.charge(id("a"), &tier(), &items(1), 0), Charge::Uncounted);
        assert_eq!(ledger.request(id("a"), &tier(), &[], 0), Charge::Uncounted);
    }

    #[test]
    fn a_change_of_rates_keeps_what_is_spent() {
        let store = Memory::default();
        let ledger = Ledger::new(&store, "gate");
        assert!(granted(&ledger, "a", 10, SECOND));
        let larger = Tier::new("t", Duration::from_secs(1), [None, None, Some(15), None, None, None, None]);
        assert_eq!(ledger.charge(id("a"), &larger, &items(5), SECOND), Charge::Granted);
        assert_ne!(ledger.charge(id("a"), &larger, &items(1), SECOND), Charge::Granted);
    }

    #[test]
    fn two_workers_that_write_a_key_first_do_not_erase_each_other() {
        /// What a worker sees that looked before another wrote.
        struct Before<'a>(&'a Memory);
        impl Store for Before<'_> {
            fn get(&self, key: &str, fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
                if fresh { self.0.get(key, true) } else { Ok(None) }
            }
            fn set(&self, key: &str, value: &[u8], version: u32) -> Result<bool, StoreFailed> {
                self.0.set(key, value, version)
            }
        }

        let store = Memory::default();
        assert!(granted(&Ledger::new(&store, "gate"), "a", 6, SECOND));
        let late = Before(&store);
        let charge = Ledger::new(&late, "gate").charge(id("a"), &tier(), &items(6), SECOND);
        assert!(matches!(charge, Charge::Refused(_)), "6 + 6 items of 10 were admitted");
    }

    #[cfg(not(target_arch = "wasm32"))]
    #[test]
    fn workers_that_race_never_admit_one_item_too_many() {
        use std::sync::Mutex;
        use std::sync::atomic::{AtomicU64, Ordering};

        #[derive(Default)]
        struct Shared(Mutex<BTreeMap<String, (Vec<u8>, u32)>>);
        impl Store for Shared {
            fn get(&self, key: &str, _fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
                let found = self.0.lock().unwrap().get(key).cloned();
                std::thread::yield_now();
                Ok(found)
            }
            fn set(&self, key: &str, value: &[u8], version: u32) -> Result<bool, StoreFailed> {
                let mut values = self.0.lock().unwrap();
                let current = values.get(key).map(|(_, current)| *current);
                let fits = current.is_none_or(|current| current == version);
                if fits {
                    values.insert(key.to_owned(), (value.to_vec(), current.unwrap_or_default() + 1));
                }
                Ok(fits)
            }
        }

        let store = Shared::default();
        let (admitted, clock) = (AtomicU64::new(0), AtomicU64::new(SECOND));
        let limit = Tier::new("t", Duration::from_secs(1), [None, None, Some(1000), None, None, None, None]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let now = clock.fetch_add(250_000, Ordering::Relaxed);
                        let ledger = Ledger::new(&store, "gate");
                        if ledger.charge(id("a"), &limit, &items(3), now) == Charge::Granted {
                            admitted.fetch_add(3, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        // 8000 steps of 0.25 ms are two seconds: the burst of 1000 and two seconds' worth.
        let admitted = admitted.into_inner();
        assert!((2990..=3000).contains(&admitted), "{admitted}");
    }
}
