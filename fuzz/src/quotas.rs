//! Target: with charges and refunds on any workers in any order, no client gets more than if its refunded requests had
//! never been sent.

use std::rc::Rc;
use std::time::Duration;

use otlp_gate_core::quota::{
    Amounts, BucketId, CachedStore, Charge, Dimension, Ledger, MemoryStore, Rates, Receipt, Tier,
};
use otlp_gate_core::time::{Nanos, Timestamp};

const RATE: u64 = 40;
const CAPACITY: u64 = 100;
const CLIENTS: u8 = 3;

#[derive(Clone, Copy)]
struct Granted {
    client: u8,
    amount: u64,
    at: Timestamp,
    receipt: Receipt,
    refunded: bool,
}

/// Runs one input: three bytes for each step. They are the milliseconds since the step before, the worker and the
/// client, and how much is charged or which charge is refunded.
pub fn target(steps: &[u8]) {
    // Burst is 2.5 s.
    let tier =
        Tier::new("t", Duration::from_millis(2500), Rates::UNLIMITED.with(Dimension::Items, Some(RATE)));
    let shared = Rc::new(MemoryStore::default());
    let workers: Vec<_> = (0..3).map(|_| CachedStore::new(Rc::clone(&shared))).collect();
    let mut granted: Vec<Granted> = Vec::new();
    let mut now = Timestamp::from_secs(1000);
    for step in steps.chunks_exact(3).take(200) {
        let (later, who, what) = (step[0], step[1], step[2]);
        let (worker, client, refund) = (who % 3, who / 3 % CLIENTS, who >= 190);
        now += Nanos::from_millis(u64::from(later));
        let ledger = Ledger::new(&workers[usize::from(worker)], "gate");
        if refund {
            let most = granted.len().max(1);
            if let Some(charge) = granted.get_mut(usize::from(what) % most).filter(|charge| !charge.refunded)
            {
                ledger.refund(id(charge.client), &tier, &items(charge.amount), charge.receipt, now);
                charge.refunded = true;
            }
            continue;
        }
        let amount = u64::from(what % 101);
        match ledger.charge(id(client), &tier, &items(amount), now) {
            Charge::Granted(receipt) => {
                granted.push(Granted { client, amount, at: now, receipt, refunded: false })
            }
            Charge::Throttled(_) => assert!(amount > 0),
            Charge::Unmetered => panic!("the store works"),
        }
    }
    for client in 0..CLIENTS {
        assert_allowed(granted.iter().filter(|charge| charge.client == client && !charge.refunded));
        // After the time of a burst, all of it is there again.
        let ledger = Ledger::new(&workers[0], "gate");
        let later = now + Nanos::new(2_500_000_001);
        assert!(ledger.charge(id(client), &tier, &items(CAPACITY), later).is_granted());
    }
}

/// The buckets, all in one set, which is not full.
fn id(client: u8) -> BucketId {
    BucketId([7, 7, client, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

fn items(amount: u64) -> Amounts {
    Amounts::ZERO.with(Dimension::Items, amount)
}

/// Asserts that these charges alone were within the quota at any time, in exact numbers: 10^-9 items.
fn assert_allowed<'a>(charges: impl Iterator<Item = &'a Granted>) {
    let (mut debt, mut last) = (0u128, Timestamp::EPOCH);
    for Granted { amount, at, .. } in charges {
        debt = debt.saturating_sub(u128::from(RATE) * u128::from(at.since(last).get()));
        debt += u128::from(*amount) * 1_000_000_000;
        last = *at;
        assert!(debt <= u128::from(CAPACITY) * 1_000_000_000, "{amount} items too many");
    }
}
