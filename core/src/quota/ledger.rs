//! The ledger: every client's bucket, in a store that all workers share.
//!
//! The store knows keys, values and compare-and-swap, and never frees a key; so the number of keys is bounded. A key
//! holds a set of [`WAYS`] buckets, the client's set follows from its [`BucketId`]. A bucket without debt is forgotten when
//! the set is written. Where a set is full, a newcomer shares the overflow bucket of its tier.

use super::bucket::{Amounts, Bucket, Refusal};
use super::set::Set;
use super::tier::{BucketId, Dimension, Tier};

/// How many sets there are.
pub const SETS: u16 = u16::MAX;

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
    Granted(Receipt),
    /// It does not fit; nothing was charged.
    Refused(Refusal),
    /// The store failed; nothing was charged.
    Uncounted,
}

/// What a charge is given back by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Where it was charged.
    place: Place,
    /// When that was for the bucket: another worker may have been there a moment ahead.
    at: u64,
    /// How much of the tightest limit is spent with it, in percent; none where there is no limit.
    pub used: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    #[default]
    Own,
    /// The overflow bucket of the tier, since the own one's set was full.
    Overflow,
}

impl Charge {
    /// Whether it fits.
    pub fn is_granted(&self) -> bool {
        matches!(self, Charge::Granted(_))
    }
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
            return Charge::Granted(Receipt::default());
        }
        let limited = tier.limit(Dimension::Requests).is_some();
        let mut wanted = [0; Dimension::ALL.len()];
        for (amount, dimension) in wanted.iter_mut().zip(Dimension::ALL) {
            *amount = u64::from(probe.contains(&dimension));
        }
        let mut probed = Ok(());
        let charge = self.update(id, tier, now, limited, &mut |bucket| {
            if limited {
                bucket.charge(tier, &[1, 0, 0, 0, 0, 0, 0])?;
            }
            let mut copy = *bucket;
            probed = copy.charge(tier, &wanted);
            Ok(())
        });
        match (charge, probed) {
            (Charge::Granted(_), Err(refusal)) => Charge::Refused(refusal),
            (charge, _) => charge,
        }
    }

    /// Charges all `amounts` or none.
    pub fn charge(&self, id: BucketId, tier: &Tier, amounts: &Amounts, now: u64) -> Charge {
        if !limits(tier, amounts) {
            return Charge::Granted(Receipt::default());
        }
        self.update(id, tier, now, true, &mut |bucket| bucket.charge(tier, amounts))
    }

    /// Gives back a charge of `amounts`.
    pub fn refund(&self, id: BucketId, tier: &Tier, amounts: &Amounts, receipt: Receipt, now: u64) {
        if !limits(tier, amounts) {
            return;
        }
        let mut refund = |bucket: &mut Bucket| {
            bucket.refund(tier, amounts, receipt.at);
            Ok(())
        };
        // Where its bucket is not there any more, and its place is taken, it was paid back by time.
        self.update_set(&self.key(id, tier, receipt.place), tier, now, true, &mut refund);
    }

    fn update(
        &self,
        id: BucketId,
        tier: &Tier,
        now: u64,
        write: bool,
        change: &mut dyn FnMut(&mut Bucket) -> Result<(), Refusal>,
    ) -> Charge {
        for place in [Place::Own, Place::Overflow] {
            match self.update_set(&self.key(id, tier, place), tier, now, write, change) {
                Update::Done { at, used } => return Charge::Granted(Receipt { place, at, used }),
                Update::Refused(refusal) => return Charge::Refused(refusal),
                Update::Failed => return Charge::Uncounted,
                Update::SetIsFull => {}
            }
        }
        Charge::Uncounted
    }

    /// The key of a bucket's set, and the bucket's name in it.
    fn key(&self, id: BucketId, tier: &Tier, place: Place) -> (String, BucketId) {
        match place {
            Place::Own => {
                let BucketId([low, high, ..]) = id;
                let set = u16::from_le_bytes([low, high]) % SETS;
                let mut key = String::with_capacity(self.prefix.len() + "/ffff".len());
                key.push_str(self.prefix);
                key.push('/');
                // Four hex digits; the standard library's way of writing them takes longer than all else here.
                let digits = [12, 8, 4, 0].map(|shift| char::from_digit(u32::from(set >> shift & 15), 16));
                key.extend(digits.into_iter().flatten());
                (key, id)
            }
            Place::Overflow => {
                let id = BucketId::of(&[b"overflow", tier.name.as_bytes()]);
                (format!("{}/overflow/{}", self.prefix, tier.name), id)
            }
        }
    }

    fn update_set(
        &self,
        (key, id): &(String, BucketId),
        tier: &Tier,
        now: u64,
        write: bool,
        change: &mut dyn FnMut(&mut Bucket) -> Result<(), Refusal>,
    ) -> Update {
        // What is not written afterwards, and so not checked by its version, is judged by a fresh value.
        let mut fresh = !write;
        for _ in 0..TRIES {
            let Ok(found) = self.store.get(key, fresh) else { return Update::Failed };
            let (value, version) = found.unwrap_or((Vec::new(), UNWRITTEN));
            let (mut bucket, set) = Set::take(&value, *id, now);
            bucket.advance(tier, now);
            if let Err(refusal) = change(&mut bucket) {
                if !fresh {
                    fresh = true;
                    continue;
                }
                return Update::Refused(refusal);
            }
            if !write {
                return Update::Done { at: bucket.last, used: bucket.used(tier) };
            }
            let Some(value) = set.put(*id, &bucket, tier) else { return Update::SetIsFull };
            match self.store.set(key, &value, version) {
                Ok(true) => return Update::Done { at: bucket.last, used: bucket.used(tier) },
                Ok(false) => fresh = true,
                Err(StoreFailed) => return Update::Failed,
            }
        }
        Update::Failed
    }
}

/// Whether the tier limits any of these amounts.
fn limits(tier: &Tier, amounts: &Amounts) -> bool {
    amounts.iter().zip(tier.limits).any(|(&amount, limit)| amount > 0 && limit.is_some())
}

enum Update {
    /// It was charged at this time of the bucket's, of whose tightest limit so much percent is spent with it.
    Done {
        at: u64,
        used: Option<u64>,
    },
    Refused(Refusal),
    SetIsFull,
    Failed,
}

#[cfg(test)]
mod tests {
    use core::cell::RefCell;
    use core::time::Duration;
    use std::collections::BTreeMap;

    use super::super::set::WAYS;
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
        ledger.charge(id(name), &tier(), &items(amount), now).is_granted()
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
        assert!(ledger.request(id("a"), &tier(), &probe, SECOND).is_granted());
        assert!(granted(&ledger, "a", 10, SECOND));
        let Charge::Refused(Refusal::Over { dimension, .. }) =
            ledger.request(id("a"), &tier(), &probe, SECOND)
        else {
            panic!()
        };
        assert_eq!(dimension, Dimension::Items);
        // It was charged all the same: three of five are left.
        let left = (0..5).filter(|_| ledger.request(id("a"), &tier(), &[], SECOND).is_granted()).count();
        assert_eq!(left, 3);
    }

    #[test]
    fn the_number_of_keys_and_the_size_of_values_are_bounded() {
        let store = Memory::default();
        let ledger = Ledger::new(&store, "gate");
        let same_set = |n: u8| BucketId([7, 7, n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let charge = |n: u8, now| ledger.charge(same_set(n), &tier(), &items(10), now).is_granted();
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
        // One bucket: its id, what is used, four times, and the numbers of one dimension.
        assert_eq!(values["gate/0707"].0.len(), 16 + 1 + 4 * 8 + 7 * 8);
    }

    #[test]
    fn a_refund_makes_room_again() {
        let store = Memory::default();
        let ledger = Ledger::new(&store, "gate");
        let charge = || {
            let charge = ledger.charge(id("a"), &tier(), &items(10), SECOND);
            let Charge::Granted(receipt) = charge else { panic!("{charge:?}") };
            receipt
        };
        ledger.refund(id("a"), &tier(), &items(10), charge(), SECOND);
        let receipt = charge();
        // What was earned back meanwhile is not given twice.
        ledger.refund(id("a"), &tier(), &items(10), receipt, SECOND + SECOND / 2);
        assert!(granted(&ledger, "a", 10, SECOND + SECOND / 2));
        assert!(!granted(&ledger, "a", 1, SECOND + SECOND / 2));
    }

    #[test]
    fn a_refund_goes_where_the_charge_was() {
        let store = Memory::default();
        let ledger = Ledger::new(&store, "gate");
        let same_set = |n: u8| BucketId([7, 7, n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let charge = |n: u8, now, place| match ledger.charge(same_set(n), &tier(), &items(10), now) {
            Charge::Granted(receipt) if receipt.place == place => receipt,
            other => panic!("{n} at {now}: {other:?}"),
        };
        let refund = |n, receipt| ledger.refund(same_set(n), &tier(), &items(10), receipt, 2 * SECOND);
        let is_full = || !ledger.charge(same_set(101), &tier(), &items(10), 2 * SECOND).is_granted();
        let own = charge(0, SECOND, Place::Own);
        for n in 1..WAYS as u8 {
            charge(n, SECOND, Place::Own);
        }
        let shared = charge(100, SECOND, Place::Overflow);
        // A second later all of that is paid back; others come, and the first one must share.
        for n in 10..10 + WAYS as u8 {
            charge(n, 2 * SECOND, Place::Own);
        }
        let last = charge(0, 2 * SECOND, Place::Overflow);
        // What it was charged before was in its own place, and is not there any more.
        refund(0, own);
        assert!(is_full());
        // Nor is what another was charged in the shared one a second ago.
        refund(100, shared);
        assert!(is_full());
        refund(0, last);
        assert!(!is_full());
    }

    #[test]
    fn what_a_worker_charged_whose_clock_is_a_moment_behind_comes_back_too() {
        let store = Memory::default();
        let ledger = Ledger::new(&store, "gate");
        let receipts = [SECOND, SECOND - 1000].map(|now| {
            let charge = ledger.charge(id("a"), &tier(), &items(5), now);
            let Charge::Granted(receipt) = charge else { panic!("{charge:?}") };
            receipt
        });
        // By then, time could have paid back each of them, but not both.
        let later = SECOND + SECOND / 2;
        for receipt in receipts {
            ledger.refund(id("a"), &tier(), &items(5), receipt, later);
        }
        assert!(granted(&ledger, "a", 10, later));
    }

    #[test]
    fn what_was_spent_of_a_limit_is_kept_while_a_policy_does_not_have_it() {
        let store = Memory::default();
        let ledger = Ledger::new(&store, "gate");
        assert!(granted(&ledger, "a", 10, SECOND));
        let without =
            Tier::new("t", Duration::from_secs(1), [Some(5), Some(1000), None, None, None, None, None]);
        // A request that began under a policy without the limit is over now, and its client is not given a new start.
        assert!(ledger.charge(id("a"), &without, &[0, 1, 0, 0, 0, 0, 0], SECOND).is_granted());
        assert!(!granted(&ledger, "a", 1, SECOND));
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
        assert!(ledger.charge(id("a"), &larger, &items(5), SECOND).is_granted());
        assert!(!ledger.charge(id("a"), &larger, &items(1), SECOND).is_granted());
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
                        if ledger.charge(id("a"), &limit, &items(3), now).is_granted() {
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
