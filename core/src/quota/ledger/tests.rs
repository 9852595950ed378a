use core::time::Duration;
use std::collections::BTreeMap;

use super::super::bucket_set::BUCKETS_PER_SET;
use super::super::dimension::Rates;
use super::super::memory_store::MemoryStore;
use super::super::salt::Salt;
use super::super::store::shared_salt;
use super::*;
use crate::time::Nanos;

/// A store that fails.
struct Broken;

impl Store for Broken {
    fn get(&self, _: &str, _: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
        Err(StoreFailed)
    }

    fn set(&self, _: &str, _: &[u8], _: u32) -> Result<bool, StoreFailed> {
        Err(StoreFailed)
    }
}

/// The first second, and how long half of one is.
const SECOND: Timestamp = Timestamp::from_secs(1);
/// A second later.
const LATER: Timestamp = Timestamp::from_secs(2);
const HALF: Nanos = Nanos::from_millis(500);

fn items_only(rate: u64) -> Rates {
    Rates::UNLIMITED.with(Dimension::Items, Some(rate))
}

fn tier() -> Tier {
    Tier::new(
        "t",
        Duration::from_secs(1),
        items_only(10).with(Dimension::Requests, Some(5)).with(Dimension::Bytes, Some(1000)),
    )
}

fn id(name: &str) -> BucketId {
    BucketId::of(&[name.as_bytes()])
}

fn items(items: u64) -> Amounts {
    Amounts::ZERO.with(Dimension::Items, items)
}

fn granted(ledger: &Ledger<MemoryStore>, name: &str, amount: u64, now: Timestamp) -> bool {
    ledger.charge(id(name), &tier(), &items(amount), now).is_granted()
}

#[test]
fn clients_do_not_share_buckets() {
    let store = MemoryStore::default();
    let ledger = Ledger::new(&store, "gate");
    assert!(granted(&ledger, "a", 10, SECOND));
    assert!(!granted(&ledger, "a", 1, SECOND));
    assert!(granted(&ledger, "b", 10, SECOND));
    assert!(granted(&Ledger::new(&store, "other"), "a", 10, SECOND));
}

#[test]
fn a_request_is_throttled_at_its_headers_if_another_bucket_is_empty() {
    let store = MemoryStore::default();
    let ledger = Ledger::new(&store, "gate");
    let probe = [Dimension::Bytes, Dimension::Items];
    assert!(ledger.request(id("a"), &tier(), &probe, SECOND).is_granted());
    assert!(granted(&ledger, "a", 10, SECOND));
    let Charge::Throttled(Throttled::RetryAfter { dimension, .. }) =
        ledger.request(id("a"), &tier(), &probe, SECOND)
    else {
        panic!()
    };
    assert_eq!(dimension, Dimension::Items);
    // It was charged nevertheless: three of five are left.
    let left = (0..5).filter(|_| ledger.request(id("a"), &tier(), &[], SECOND).is_granted()).count();
    assert_eq!(left, 3);
}

#[test]
fn the_number_of_keys_and_the_size_of_values_are_bounded() {
    let store = MemoryStore::default();
    let ledger = Ledger::new(&store, "gate");
    let (key, same) = same_set(&ledger, BUCKETS_PER_SET + 2);
    let charge = |n: usize, now| ledger.charge(same[n], &tier(), &items(10), now).is_granted();
    for n in 0..BUCKETS_PER_SET {
        assert!(charge(n, SECOND));
    }
    // The set is full. Each further client goes to the second table, and the others keep their buckets.
    assert!(charge(BUCKETS_PER_SET, SECOND));
    assert!(charge(BUCKETS_PER_SET + 1, SECOND));
    for n in 0..BUCKETS_PER_SET + 2 {
        assert!(!charge(n, SECOND), "{n}");
    }
    // A second later all debts are paid off, and only the bucket of the next charge is stored.
    assert!(charge(0, LATER));
    let values = store.values.borrow();
    assert!(values.len() <= 3);
    // One bucket: its id, the bits of its dimensions, four times, and the debt of one dimension.
    assert_eq!(values[&key].0.len(), 16 + 1 + 4 * 8 + 8 * 8);
}

#[test]
fn a_refund_makes_room_again() {
    let store = MemoryStore::default();
    let ledger = Ledger::new(&store, "gate");
    let charge = || {
        let charge = ledger.charge(id("a"), &tier(), &items(10), SECOND);
        let Charge::Granted(receipt) = charge else { panic!("{charge:?}") };
        receipt
    };
    ledger.refund(id("a"), &tier(), &items(10), charge(), SECOND);
    let receipt = charge();
    // What was earned in the meantime is not refunded.
    ledger.refund(id("a"), &tier(), &items(10), receipt, SECOND + HALF);
    assert!(granted(&ledger, "a", 10, SECOND + HALF));
    assert!(!granted(&ledger, "a", 1, SECOND + HALF));
}

/// The key of a set of the first table, and `count` ids in this set. Finding them takes the salt.
fn same_set(ledger: &Ledger<MemoryStore>, count: usize) -> (String, Vec<BucketId>) {
    let mut sets: BTreeMap<String, Vec<BucketId>> = BTreeMap::new();
    let mut found = (0u32..).filter_map(|n| {
        let id = BucketId::of(&[&n.to_be_bytes()]);
        let key = ledger.key(id, Table::First);
        let same = sets.entry(key.clone()).or_default();
        same.push(id);
        (same.len() == count).then(|| (key, same.clone()))
    });
    found.next().unwrap()
}

#[test]
fn a_refund_goes_where_the_charge_was() {
    let store = MemoryStore::default();
    let ledger = Ledger::new(&store, "gate");
    let (_, same) = same_set(&ledger, 2 * BUCKETS_PER_SET + 1);
    let charge = |n: usize, now, table| match ledger.charge(same[n], &tier(), &items(10), now) {
        Charge::Granted(receipt) if receipt.table == table => receipt,
        other => panic!("{n} at {now:?}: {other:?}"),
    };
    let refund = |n: usize, receipt| ledger.refund(same[n], &tier(), &items(10), receipt, LATER);
    let is_full = |n: usize| !ledger.charge(same[n], &tier(), &items(10), LATER).is_granted();
    let first = charge(0, SECOND, Table::First);
    for n in 1..BUCKETS_PER_SET {
        charge(n, SECOND, Table::First);
    }
    // A second later all of that is paid off. Others come, and the first client must go to the second table.
    for n in 0..BUCKETS_PER_SET {
        charge(BUCKETS_PER_SET + 1 + n, LATER, Table::First);
    }
    let second = charge(0, LATER, Table::Second);
    // The bucket of its first charge is gone.
    refund(0, first);
    assert!(is_full(0));
    refund(0, second);
    assert!(!is_full(0));
}

#[test]
fn with_both_sets_full_the_bucket_with_the_lowest_debt_is_dropped() {
    let store = MemoryStore::default();
    let ledger = Ledger::new(&store, "gate");
    // Fill both sets.
    let (_, same) = same_set(&ledger, BUCKETS_PER_SET + 1);
    for id in same.iter().take(BUCKETS_PER_SET) {
        assert!(ledger.charge(*id, &tier(), &items(10), SECOND).is_granted());
    }
    let newcomer = same[BUCKETS_PER_SET];
    let key = ledger.key(newcomer, Table::Second);
    let mut value = Vec::new();
    for n in 0..BUCKETS_PER_SET as u8 {
        let mut bucket = Bucket::default();
        bucket.advance(&tier(), SECOND);
        bucket.charge(&tier(), &items(u64::from(n) + 2)).unwrap();
        let (_, set) = BucketSet::take(&value, BucketId([n; 16]), SECOND);
        value = set.put(BucketId([n; 16]), &bucket, &tier()).unwrap();
    }
    store.values.borrow_mut().insert(key.clone(), (value.clone(), 1));
    // A refund of a charge whose bucket is gone drops no other bucket.
    let receipt = Receipt { table: Table::Second, at: SECOND, used: None };
    ledger.refund(newcomer, &tier(), &items(1), receipt, SECOND);
    assert_eq!(store.values.borrow()[&key].0, value);
    assert!(ledger.charge(newcomer, &tier(), &items(10), SECOND).is_granted());
    assert!(!ledger.charge(newcomer, &tier(), &items(1), SECOND).is_granted());
    let stored = store.values.borrow()[&key].0.clone();
    let is_there = |n| BucketSet::take(&stored, BucketId([n; 16]), SECOND).0 != Bucket::default();
    let there: Vec<bool> = (0..BUCKETS_PER_SET as u8).map(is_there).collect();
    assert_eq!(there, [false, true, true, true, true, true, true, true]);
}

#[test]
fn a_bucket_in_the_second_table_is_found_there() {
    let store = MemoryStore::default();
    let ledger = Ledger::new(&store, "gate");
    let (_, same) = same_set(&ledger, BUCKETS_PER_SET + 1);
    for id in &same {
        assert!(ledger.charge(*id, &tier(), &items(10), SECOND).is_granted());
    }
    let newcomer = same[BUCKETS_PER_SET];
    let bytes = Amounts::ZERO.with(Dimension::Bytes, 400);
    assert!(ledger.charge(newcomer, &tier(), &bytes, SECOND).is_granted());
    assert_eq!(ledger.bytes_left(newcomer, &tier(), 1, SECOND), Ok(Some(600)));
    assert!(!ledger.request(newcomer, &tier(), &[Dimension::Items], SECOND).is_granted());
}

/// Of so many clients in debt, how many find their set of the first table full, and how many both sets.
fn crowded(clients: u32, salt: Salt) -> (usize, usize) {
    let store = MemoryStore::with_salt(salt);
    let ledger = Ledger::new(&store, "");
    let mut taken = BTreeMap::<String, usize>::new();
    let mut full = |key| {
        let count = taken.entry(key).or_default();
        *count += 1;
        *count > BUCKETS_PER_SET
    };
    let ids = (0..clients).map(|n| BucketId::of(&[&n.to_be_bytes()]));
    let moved: Vec<BucketId> = ids.filter(|id| full(ledger.key(*id, Table::First))).collect();
    let dropped = moved.iter().filter(|id| full(ledger.key(**id, Table::Second))).count();
    (moved.len(), dropped)
}

#[test]
fn with_250000_clients_few_buckets_move_and_none_is_dropped() {
    for seed in 0..2u8 {
        let store = MemoryStore::default();
        let salt = shared_salt(&store, || vec![seed]).unwrap();
        let (moved, dropped) = crowded(100_000, salt);
        assert!(moved < 20 && dropped == 0, "{moved} moved, {dropped} dropped");
        let (moved, dropped) = crowded(250_000, salt);
        assert!(moved < 10_000 && dropped == 0, "{moved} moved, {dropped} dropped");
    }
}

#[test]
fn names_chosen_for_one_set_are_spread_by_another_salt() {
    let store = MemoryStore::default();
    let (_, chosen) = same_set(&Ledger::new(&store, "gate"), BUCKETS_PER_SET + 2);
    let salted = MemoryStore::with_salt(shared_salt(&store, || vec![1]).unwrap());
    let ledger = Ledger::new(&salted, "gate");
    let mut keys: Vec<String> = chosen.iter().map(|id| ledger.key(*id, Table::First)).collect();
    keys.sort();
    keys.dedup();
    assert!(keys.len() > BUCKETS_PER_SET, "{keys:?}");
}

#[test]
fn a_client_that_wastes_its_quota_is_throttled_at_the_headers() {
    let store = MemoryStore::default();
    let ledger = Ledger::new(&store, "gate");
    let probe = [Dimension::Bytes, Dimension::Items];
    let opens = |now| ledger.request(id("a"), &tier(), &probe, now).is_granted();
    let waste = |bytes| ledger.record_wasted(id("a"), &tier(), bytes, SECOND);
    waste(999);
    assert!(opens(SECOND));
    assert_eq!(ledger.bytes_left(id("a"), &tier(), 1, SECOND), Ok(Some(1000)));
    waste(501);
    assert!(!opens(SECOND));
    assert!(ledger.bytes_left(id("a"), &tier(), 1, SECOND).is_err());
    // It owes nothing for requests that were forwarded, and time pays off what it wasted.
    assert!(!opens(SECOND + HALF - Nanos::from_millis(10)));
    assert!(opens(SECOND + HALF));
    assert!(granted(&ledger, "a", 10, SECOND + HALF));
    // Where bytes have no limit, items are wasted.
    let by_items = Tier::new("t", Duration::from_secs(1), items_only(10));
    ledger.record_wasted(id("b"), &by_items, 11 << 10, SECOND);
    assert!(!ledger.request(id("b"), &by_items, &probe, SECOND).is_granted());
}

#[test]
fn a_charge_by_a_worker_whose_clock_is_behind_is_refunded() {
    let store = MemoryStore::default();
    let ledger = Ledger::new(&store, "gate");
    let receipts = [SECOND, SECOND - Nanos::new(1000)].map(|now| {
        let charge = ledger.charge(id("a"), &tier(), &items(5), now);
        let Charge::Granted(receipt) = charge else { panic!("{charge:?}") };
        receipt
    });
    // By then, time could have paid off each of them, but not both.
    let later = SECOND + HALF;
    for receipt in receipts {
        ledger.refund(id("a"), &tier(), &items(5), receipt, later);
    }
    assert!(granted(&ledger, "a", 10, later));
}

#[test]
fn a_debt_is_kept_while_a_policy_does_not_have_its_limit() {
    let store = MemoryStore::default();
    let ledger = Ledger::new(&store, "gate");
    assert!(granted(&ledger, "a", 10, SECOND));
    let without = Tier::new(
        "t",
        Duration::from_secs(1),
        Rates::UNLIMITED.with(Dimension::Requests, Some(5)).with(Dimension::Bytes, Some(1000)),
    );
    // A charge under a policy without the limit does not reset the debt.
    assert!(ledger.charge(id("a"), &without, &Amounts::ZERO.with(Dimension::Bytes, 1), SECOND).is_granted());
    assert!(!granted(&ledger, "a", 1, SECOND));
}

#[test]
fn with_a_store_that_fails_requests_are_unmetered() {
    let ledger = Ledger::new(&Broken, "gate");
    assert_eq!(ledger.charge(id("a"), &tier(), &items(1), Timestamp::EPOCH), Charge::Unmetered);
    assert_eq!(ledger.request(id("a"), &tier(), &[], Timestamp::EPOCH), Charge::Unmetered);
}

#[test]
fn a_change_of_rates_keeps_what_is_spent() {
    let store = MemoryStore::default();
    let ledger = Ledger::new(&store, "gate");
    assert!(granted(&ledger, "a", 10, SECOND));
    let larger = Tier::new("t", Duration::from_secs(1), items_only(15));
    assert!(ledger.charge(id("a"), &larger, &items(5), SECOND).is_granted());
    assert!(!ledger.charge(id("a"), &larger, &items(1), SECOND).is_granted());
}

#[test]
fn two_workers_that_write_a_key_first_do_not_erase_each_other() {
    /// The view of a worker that read before another one wrote.
    struct Before<'a>(&'a MemoryStore);
    impl Store for Before<'_> {
        fn get(&self, key: &str, fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
            if fresh { self.0.get(key, true) } else { Ok(None) }
        }
        fn set(&self, key: &str, value: &[u8], version: u32) -> Result<bool, StoreFailed> {
            self.0.set(key, value, version)
        }
    }

    let store = MemoryStore::default();
    assert!(granted(&Ledger::new(&store, "gate"), "a", 6, SECOND));
    let late = Before(&store);
    let charge = Ledger::new(&late, "gate").charge(id("a"), &tier(), &items(6), SECOND);
    assert!(matches!(charge, Charge::Throttled(_)), "6 + 6 items of 10 were admitted");
}

#[cfg(not(target_arch = "wasm32"))]
#[test]
fn concurrent_workers_never_grant_one_item_too_many() {
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
    let (admitted, clock) = (AtomicU64::new(0), AtomicU64::new(SECOND.as_nanos()));
    let limit = Tier::new("t", Duration::from_secs(1), items_only(1000));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let now = Timestamp::from_nanos(clock.fetch_add(250_000, Ordering::Relaxed));
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
