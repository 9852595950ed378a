//! The ledger: every client's bucket, in a store that all workers share.
//!
//! The store knows keys, values and compare-and-swap, and never frees a key; so the number of keys is bounded. A key
//! holds a set of [`WAYS`] buckets. Which one is a client's follows from its [`BucketId`] and the store's [`Salt`], so that nobody
//! who does not know the salt can choose names that share a set with another's. Where the set is full, the client goes to one
//! of a second table, by another hash; where that one is full too, the bucket there is forgotten that is paid back first. So
//! nobody ever shares a bucket: what the others do can make a client owe less, and never more. A bucket without debt is
//! forgotten when its set is written.
//!
//! With 100,000 clients in debt, 1.7 are expected in each set of the first table, and one newcomer in 2,200 finds eight others
//! there (Poisson's law). Only these are in the second table, so that no bucket is forgotten: the tests simulate it with
//! 250,000. Who goes from one table to the other begins anew.

use super::bucket::{Amounts, Bucket, Refusal};
use super::salt::Salt;
use super::set::Set;
use super::tier::{BucketId, Dimension, Tier};

/// How many sets there are in both tables, and so how many keys.
pub const SETS: u32 = FIRST_TABLE + SECOND_TABLE;
/// How many sets the first table has.
const FIRST_TABLE: u32 = 7 << 13;
/// How many sets the second table has.
const SECOND_TABLE: u32 = 1 << 13;

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

    /// What the places of this store's clients depend on.
    fn salt(&self) -> Salt {
        Salt::default()
    }

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
    First,
    /// In the second table, since its set in the first was full.
    Second,
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
        let mut probed = Ok(());
        let charge = self.update(id, tier, now, limited, &mut |bucket| {
            if limited {
                bucket.charge(tier, &[1, 0, 0, 0, 0, 0, 0])?;
            }
            probed = bucket.probe(tier, probe);
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

    /// How many bytes may be spent on a message of which `bytes` are there already, before it is charged; `None` where they have no
    /// limit. Other workers may charge meanwhile.
    pub fn bytes_left(
        &self,
        id: BucketId,
        tier: &Tier,
        bytes: u64,
        now: u64,
    ) -> Result<Option<u64>, Refusal> {
        if tier.limit(Dimension::Bytes).is_none() {
            return Ok(None);
        }
        let mut left = None;
        let looked = self.update(id, tier, now, false, &mut |bucket| {
            left = bucket.bytes_left(tier);
            bucket.fits(tier, bytes)
        });
        match looked {
            Charge::Granted(_) => Ok(left),
            Charge::Refused(refusal) => Err(refusal),
            Charge::Uncounted => Ok(None),
        }
    }

    /// Takes note of so many bytes that were worked on, and then refused. Who does that for as much as its bucket holds is refused
    /// at its requests' headers, until time has paid it back.
    pub fn spend_in_vain(&self, id: BucketId, tier: &Tier, bytes: u64, now: u64) {
        if bytes == 0 || tier.limits.iter().skip(1).all(Option::is_none) {
            return;
        }
        self.update(id, tier, now, true, &mut |bucket| {
            bucket.spend_in_vain(tier, bytes);
            Ok(())
        });
    }

    /// Gives back a charge of `amounts` that the backend did not take, within the bound of what may come back.
    pub fn refund(&self, id: BucketId, tier: &Tier, amounts: &Amounts, receipt: Receipt, now: u64) {
        self.give_back(id, tier, amounts, receipt, now, &mut |bucket| {
            bucket.refund(tier, amounts, receipt.at)
        });
    }

    /// Takes back a charge of `amounts` of which nothing was sent.
    pub fn cancel(&self, id: BucketId, tier: &Tier, amounts: &Amounts, receipt: Receipt, now: u64) {
        self.give_back(id, tier, amounts, receipt, now, &mut |bucket| {
            bucket.cancel(tier, amounts, receipt.at)
        });
    }

    fn give_back(
        &self,
        id: BucketId,
        tier: &Tier,
        amounts: &Amounts,
        receipt: Receipt,
        now: u64,
        change: &mut dyn FnMut(&mut Bucket),
    ) {
        if !limits(tier, amounts) {
            return;
        }
        let mut change = |bucket: &mut Bucket| {
            change(bucket);
            Ok(())
        };
        // Where its bucket is not there any more, and its place is taken, it was paid back by time.
        self.update_set(id, receipt.place, tier, now, true, &mut change);
    }

    fn update(
        &self,
        id: BucketId,
        tier: &Tier,
        now: u64,
        write: bool,
        change: &mut dyn FnMut(&mut Bucket) -> Result<(), Refusal>,
    ) -> Charge {
        for place in [Place::First, Place::Second] {
            match self.update_set(id, place, tier, now, write, change) {
                Update::Done { at, used } => return Charge::Granted(Receipt { place, at, used }),
                Update::Refused(refusal) => return Charge::Refused(refusal),
                Update::Failed => return Charge::Uncounted,
                Update::SetIsFull => {}
            }
        }
        Charge::Uncounted
    }

    /// The key of a bucket's set in a table.
    fn key(&self, id: BucketId, place: Place) -> String {
        let hash = self.store.salt().hash(id);
        // A half of the hash for each table; multiplied down, since a remainder takes longer.
        let of = |half: u32, sets: u32| ((u64::from(half) * u64::from(sets)) >> 32) as u32;
        let set = match place {
            Place::First => of(hash as u32, FIRST_TABLE),
            Place::Second => FIRST_TABLE + of((hash >> 32) as u32, SECOND_TABLE),
        };
        let mut key = String::with_capacity(self.prefix.len() + "/ffff".len());
        key.push_str(self.prefix);
        key.push('/');
        // Four hex digits; the standard library's way of writing them takes longer than all else here.
        let digits = [12, 8, 4, 0].map(|shift| char::from_digit(set >> shift & 15, 16));
        key.extend(digits.into_iter().flatten());
        key
    }

    fn update_set(
        &self,
        id: BucketId,
        place: Place,
        tier: &Tier,
        now: u64,
        write: bool,
        change: &mut dyn FnMut(&mut Bucket) -> Result<(), Refusal>,
    ) -> Update {
        let key = &self.key(id, place);
        // What is not written afterwards, and so not checked by its version, is judged by a fresh value.
        let mut fresh = !write;
        for _ in 0..TRIES {
            let Ok(found) = self.store.get(key, fresh) else { return Update::Failed };
            let (value, version) = found.unwrap_or((Vec::new(), UNWRITTEN));
            let (mut bucket, mut set) = Set::take(&value, id, now);
            if place == Place::First && set.is_full() {
                if !fresh {
                    fresh = true;
                    continue;
                }
                return Update::SetIsFull;
            }
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
            if place == Place::Second && bucket.settled_at(tier) > now {
                set.make_room();
            }
            let Some(value) = set.put(id, &bucket, tier) else { return Update::SetIsFull };
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
        let (key, same) = same_set(&ledger, WAYS + 2);
        let charge = |n: usize, now| ledger.charge(same[n], &tier(), &items(10), now).is_granted();
        for n in 0..WAYS {
            assert!(charge(n, SECOND));
        }
        // The set is full: each newcomer finds a place of its own, and those who were there keep theirs.
        assert!(charge(WAYS, SECOND));
        assert!(charge(WAYS + 1, SECOND));
        for n in 0..WAYS + 2 {
            assert!(!charge(n, SECOND), "{n}");
        }
        // A second later nobody owes anything, and the set is empty but for the one who comes.
        assert!(charge(0, 2 * SECOND));
        let values = store.values.borrow();
        assert!(values.len() <= 3);
        // One bucket: its id, what is used, four times, and the numbers of one dimension.
        assert_eq!(values[&key].0.len(), 16 + 1 + 4 * 8 + 8 * 8);
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

    /// So many names whose set of the first table is the same, and its key. Only who knows the salt finds them.
    fn same_set(ledger: &Ledger<Memory>, count: usize) -> (String, Vec<BucketId>) {
        let mut sets: BTreeMap<String, Vec<BucketId>> = BTreeMap::new();
        let mut found = (0u32..).filter_map(|n| {
            let id = BucketId::of(&[&n.to_be_bytes()]);
            let key = ledger.key(id, Place::First);
            let same = sets.entry(key.clone()).or_default();
            same.push(id);
            (same.len() == count).then(|| (key, same.clone()))
        });
        found.next().unwrap()
    }

    #[test]
    fn a_refund_goes_where_the_charge_was() {
        let store = Memory::default();
        let ledger = Ledger::new(&store, "gate");
        let (_, same) = same_set(&ledger, 2 * WAYS + 1);
        let charge = |n: usize, now, place| match ledger.charge(same[n], &tier(), &items(10), now) {
            Charge::Granted(receipt) if receipt.place == place => receipt,
            other => panic!("{n} at {now}: {other:?}"),
        };
        let refund = |n: usize, receipt| ledger.refund(same[n], &tier(), &items(10), receipt, 2 * SECOND);
        let is_full = |n: usize| !ledger.charge(same[n], &tier(), &items(10), 2 * SECOND).is_granted();
        let first = charge(0, SECOND, Place::First);
        for n in 1..WAYS {
            charge(n, SECOND, Place::First);
        }
        // A second later all of that is paid back; others come, and the first one must go to the second table.
        for n in 0..WAYS {
            charge(WAYS + 1 + n, 2 * SECOND, Place::First);
        }
        let second = charge(0, 2 * SECOND, Place::Second);
        // What it was charged before is not there any more.
        refund(0, first);
        assert!(is_full(0));
        refund(0, second);
        assert!(!is_full(0));
    }

    #[test]
    fn who_finds_both_sets_full_takes_the_place_of_the_one_that_owes_least() {
        let store = Memory::default();
        let ledger = Ledger::new(&store, "gate");
        // What the second table's set holds already, of names that the first one had no place for.
        let (_, same) = same_set(&ledger, WAYS + 1);
        for id in same.iter().take(WAYS) {
            assert!(ledger.charge(*id, &tier(), &items(10), SECOND).is_granted());
        }
        let newcomer = same[WAYS];
        let key = ledger.key(newcomer, Place::Second);
        let mut value = Vec::new();
        for n in 0..WAYS as u8 {
            let mut bucket = Bucket::default();
            bucket.advance(&tier(), SECOND);
            bucket.charge(&tier(), &items(u64::from(n) + 2)).unwrap();
            let (_, set) = Set::take(&value, BucketId([n; 16]), SECOND);
            value = set.put(BucketId([n; 16]), &bucket, &tier()).unwrap();
        }
        store.values.borrow_mut().insert(key.clone(), (value.clone(), 1));
        // What was charged elsewhere and comes back takes nobody's place.
        let receipt = Receipt { place: Place::Second, at: SECOND, used: None };
        ledger.refund(newcomer, &tier(), &items(1), receipt, SECOND);
        assert_eq!(store.values.borrow()[&key].0, value);
        assert!(ledger.charge(newcomer, &tier(), &items(10), SECOND).is_granted());
        assert!(!ledger.charge(newcomer, &tier(), &items(1), SECOND).is_granted());
        let stored = store.values.borrow()[&key].0.clone();
        let is_there = |n| Set::take(&stored, BucketId([n; 16]), SECOND).0 != Bucket::default();
        let there: Vec<bool> = (0..WAYS as u8).map(is_there).collect();
        assert_eq!(there, [false, true, true, true, true, true, true, true]);
    }

    #[test]
    fn who_is_in_the_second_table_is_looked_at_there() {
        let store = Memory::default();
        let ledger = Ledger::new(&store, "gate");
        let (_, same) = same_set(&ledger, WAYS + 1);
        for id in &same {
            assert!(ledger.charge(*id, &tier(), &items(10), SECOND).is_granted());
        }
        let newcomer = same[WAYS];
        let bytes = [0, 400, 0, 0, 0, 0, 0];
        assert!(ledger.charge(newcomer, &tier(), &bytes, SECOND).is_granted());
        assert_eq!(ledger.bytes_left(newcomer, &tier(), 1, SECOND), Ok(Some(600)));
        assert!(!ledger.request(newcomer, &tier(), &[Dimension::Items], SECOND).is_granted());
    }

    /// How many clients of so many in debt find a set of each table full.
    fn crowded(clients: u32, salt: Salt) -> (usize, usize) {
        struct Salted(Salt);
        impl Store for Salted {
            fn get(&self, _: &str, _: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
                Err(StoreFailed)
            }
            fn set(&self, _: &str, _: &[u8], _: u32) -> Result<bool, StoreFailed> {
                Err(StoreFailed)
            }
            fn salt(&self) -> Salt {
                self.0
            }
        }
        let store = Salted(salt);
        let ledger = Ledger::new(&store, "");
        let mut taken = BTreeMap::<String, usize>::new();
        let mut full = |key| {
            let count = taken.entry(key).or_default();
            *count += 1;
            *count > WAYS
        };
        let ids = (0..clients).map(|n| BucketId::of(&[&n.to_be_bytes()]));
        let moved: Vec<BucketId> = ids.filter(|id| full(ledger.key(*id, Place::First))).collect();
        let forgotten = moved.iter().filter(|id| full(ledger.key(**id, Place::Second))).count();
        (moved.len(), forgotten)
    }

    #[test]
    fn a_bucket_is_seldom_moved_and_not_forgotten_among_hundreds_of_thousands() {
        for seed in 0..2u8 {
            let store = Memory::default();
            let salt = Salt::shared(&store, || vec![seed]).unwrap();
            let (moved, forgotten) = crowded(100_000, salt);
            assert!(moved < 20 && forgotten == 0, "{moved} moved, {forgotten} forgotten");
            let (moved, forgotten) = crowded(250_000, salt);
            assert!(moved < 10_000 && forgotten == 0, "{moved} moved, {forgotten} forgotten");
        }
    }

    #[test]
    fn names_that_were_chosen_for_one_set_are_spread_by_another_salt() {
        let store = Memory::default();
        let (_, chosen) = same_set(&Ledger::new(&store, "gate"), WAYS + 2);
        struct Salted(Salt);
        impl Store for Salted {
            fn get(&self, _: &str, _: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
                Ok(None)
            }
            fn set(&self, _: &str, _: &[u8], _: u32) -> Result<bool, StoreFailed> {
                Ok(true)
            }
            fn salt(&self) -> Salt {
                self.0
            }
        }
        let salted = Salted(Salt::shared(&store, || vec![1]).unwrap());
        let ledger = Ledger::new(&salted, "gate");
        let mut keys: Vec<String> = chosen.iter().map(|id| ledger.key(*id, Place::First)).collect();
        keys.sort();
        keys.dedup();
        assert!(keys.len() > WAYS, "{keys:?}");
    }

    #[test]
    fn who_is_refused_after_the_work_for_as_much_as_it_may_send_is_refused_before_it() {
        let store = Memory::default();
        let ledger = Ledger::new(&store, "gate");
        let probe = [Dimension::Bytes, Dimension::Items];
        let opens = |now| ledger.request(id("a"), &tier(), &probe, now).is_granted();
        let waste = |bytes| ledger.spend_in_vain(id("a"), &tier(), bytes, SECOND);
        waste(999);
        assert!(opens(SECOND));
        assert_eq!(ledger.bytes_left(id("a"), &tier(), 1, SECOND), Ok(Some(1000)));
        waste(501);
        assert!(!opens(SECOND));
        assert!(ledger.bytes_left(id("a"), &tier(), 1, SECOND).is_err());
        // It owes nothing of what it may send, and time pays back what it spent in vain.
        assert!(!opens(SECOND + SECOND / 2 - SECOND / 100));
        assert!(opens(SECOND + SECOND / 2));
        assert!(granted(&ledger, "a", 10, SECOND + SECOND / 2));
        // Where bytes have no limit, items are spent in vain.
        let by_items = Tier::new("t", Duration::from_secs(1), [None, None, Some(10), None, None, None, None]);
        ledger.spend_in_vain(id("b"), &by_items, 11 << 10, SECOND);
        assert!(!ledger.request(id("b"), &by_items, &probe, SECOND).is_granted());
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
