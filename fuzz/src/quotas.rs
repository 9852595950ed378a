//! Whoever charges and gives back, on whichever worker: no client gets more than if what came back had never been sent.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use otlp_gate_core::quota::{
    Amounts, BucketId, CachedStore, Charge, Dimension, Ledger, Rates, Receipt, Store, StoreFailed, Tier,
};
use otlp_gate_core::time::{Nanos, Timestamp};

const RATE: u64 = 40;
const CAPACITY: u64 = 100;
const CLIENTS: u8 = 3;

/// A store as the proxy has it: one counter gives out the versions of all keys.
#[derive(Default)]
struct Shared {
    values: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    versions: Cell<u32>,
}

/// A worker's hand on it.
struct Hand(Rc<Shared>);

impl Store for Hand {
    fn get(&self, key: &str, _fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
        Ok(self.0.values.borrow().get(key).cloned())
    }

    fn set(&self, key: &str, value: &[u8], version: u32) -> Result<bool, StoreFailed> {
        let mut values = self.0.values.borrow_mut();
        let fits = values.get(key).is_none_or(|(_, current)| *current == version);
        if fits {
            self.0.versions.set(self.0.versions.get() + 1);
            values.insert(key.to_owned(), (value.to_vec(), self.0.versions.get()));
        }
        Ok(fits)
    }
}

#[derive(Clone, Copy)]
struct Granted {
    client: u8,
    amount: u64,
    at: Timestamp,
    receipt: Receipt,
    back: bool,
}

/// Takes one input: three bytes for each thing that happens, which are how many milliseconds later, where and to whose
/// bucket, and how much is charged or which charge is given back.
pub fn target(steps: &[u8]) {
    // Burst is 2.5 s.
    let tier =
        Tier::new("t", Duration::from_millis(2500), Rates::UNLIMITED.with(Dimension::Items, Some(RATE)));
    let shared = Rc::new(Shared::default());
    let workers: Vec<_> = (0..3).map(|_| CachedStore::new(Hand(Rc::clone(&shared)))).collect();
    let mut granted: Vec<Granted> = Vec::new();
    let mut now = Timestamp::from_secs(1000);
    for step in steps.chunks_exact(3).take(200) {
        let (later, who, what) = (step[0], step[1], step[2]);
        let (worker, client, refund) = (who % 3, who / 3 % CLIENTS, who >= 190);
        now += Nanos::from_millis(u64::from(later));
        let ledger = Ledger::new(&workers[usize::from(worker)], "gate");
        if refund {
            let most = granted.len().max(1);
            if let Some(charge) = granted.get_mut(usize::from(what) % most).filter(|charge| !charge.back) {
                ledger.refund(id(charge.client), &tier, &items(charge.amount), charge.receipt, now);
                charge.back = true;
            }
            continue;
        }
        let amount = u64::from(what % 101);
        match ledger.charge(id(client), &tier, &items(amount), now) {
            Charge::Granted(receipt) => {
                granted.push(Granted { client, amount, at: now, receipt, back: false })
            }
            Charge::Throttled(_) => assert!(amount > 0),
            Charge::Unmetered => panic!("the store works"),
        }
    }
    for client in 0..CLIENTS {
        allowed(granted.iter().filter(|charge| charge.client == client && !charge.back));
        // Who has not sent for as long as a burst takes finds all of it.
        let ledger = Ledger::new(&workers[0], "gate");
        let later = now + Nanos::new(2_500_000_001);
        assert!(ledger.charge(id(client), &tier, &items(CAPACITY), later).is_granted());
    }
}

/// All in one set, which is not full.
fn id(client: u8) -> BucketId {
    BucketId([7, 7, client, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

fn items(amount: u64) -> Amounts {
    Amounts::ZERO.with(Dimension::Items, amount)
}

/// That these charges alone were within the quota at any time, in exact numbers: 10^-9 items.
fn allowed<'a>(charges: impl Iterator<Item = &'a Granted>) {
    let (mut debt, mut last) = (0u128, Timestamp::EPOCH);
    for Granted { amount, at, .. } in charges {
        debt = debt.saturating_sub(u128::from(RATE) * u128::from(at.since(last).get()));
        debt += u128::from(*amount) * 1_000_000_000;
        last = *at;
        assert!(debt <= u128::from(CAPACITY) * 1_000_000_000, "{amount} items too many");
    }
}
