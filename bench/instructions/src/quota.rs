//! Quota charges, for one client and for one of a hundred thousand.

use std::rc::Rc;
use std::time::Duration;

use otlp_gate_core::quota::{
    Amounts, BucketId, CachedStore, Charge, Dimension, Engine, Ledger, MemoryStore, Rates, Share, Tier,
};
use otlp_gate_core::time::{Nanos, Timestamp};

use crate::measure;

const SECOND: Timestamp = Timestamp::from_secs(1);
const AMOUNTS: Amounts = Amounts::ZERO.with(Dimension::Bytes, 32_000).with(Dimension::Items, 100);

pub(crate) fn all() {
    let rates = Rates::UNLIMITED
        .with(Dimension::Requests, Some(200))
        .with(Dimension::Bytes, Some(8 << 20))
        .with(Dimension::Items, Some(50_000));
    let tier = Tier::new("large", Duration::from_secs(4), rates);
    let id = |client: u32| BucketId::of(&[&client.to_le_bytes()]);
    for clients in [1, 100_000] {
        let store = CachedStore::new(MemoryStore::default());
        let ledger = Ledger::new(&store, "otlp-gate/otel/gateway");
        for client in 0..clients {
            ledger.charge(id(client), &tier, &AMOUNTS, SECOND);
        }
        let mut turn = 0;
        measure(&format!("charge the ledger 100 times, each time one of {clients} clients"), || {
            for _ in 0..100 {
                turn += 1;
                // A prime step, so that consecutive clients are not neighbours.
                ledger.charge(
                    id(turn * 7919 % clients),
                    &tier,
                    &AMOUNTS,
                    SECOND + Nanos::from_millis(10) * u64::from(turn),
                );
            }
        });
    }
    shared(&tier, id(1));
    reports(&tier);
    let store = CachedStore::new(MemoryStore::default());
    let ledger = Ledger::new(&store, "otlp-gate/otel/gateway");
    let id = id(1);
    measure("charge the ledger and give it back", || {
        if let Charge::Granted(receipt) = ledger.charge(id, &tier, &AMOUNTS, SECOND) {
            ledger.refund(id, &tier, &AMOUNTS, receipt, SECOND);
        }
    });
}

/// The same charges to a quota over several replicas, without the reports.
fn shared(tier: &Tier, id: BucketId) {
    let store = CachedStore::new(MemoryStore::default());
    let engine = Rc::new(Engine::new("engine", None));
    let share = Rc::new(Share::new(&engine, &[b"gateway"], b"client", "otlp-gate/otel/gateway"));
    let ledger = Ledger::shared(&store, &share);
    ledger.charge(id, tier, &AMOUNTS, SECOND);
    let mut turn = 0;
    measure("charge a shared ledger 100 times, each time one of 1 clients", || {
        for _ in 0..100 {
            turn += 1;
            ledger.charge(id, tier, &AMOUNTS, SECOND + Nanos::from_millis(10) * turn);
        }
    });
}

/// The reports of clients that are far below their limits, with the engine's answer.
fn reports(tier: &Tier) {
    let store = CachedStore::new(MemoryStore::default());
    let engine = Rc::new(Engine::new("engine", None));
    let share = Rc::new(Share::new(&engine, &[b"gateway"], b"client", "otlp-gate/otel/gateway"));
    let limits = tier.limits.iter().filter(|(_, limit)| limit.is_some()).count();
    let debts = [1000_f64.to_le_bytes()].repeat(100 * limits).concat();
    let answer = [format!("${}\r\n", debts.len()).as_bytes(), &debts, b"\r\n+OK\r\n"].concat();
    let mut now = SECOND;
    measure("charge 100 clients of a shared ledger and report them", || {
        for client in 0..100_u32 {
            Ledger::shared(&store, &share).charge(
                BucketId::of(&[&client.to_le_bytes()]),
                tier,
                &AMOUNTS,
                now,
            );
        }
        now += Nanos::from_secs(1);
        let Some(call) = engine.tick(&store, now) else { return };
        engine.sent(call, Some(1), &store, now);
        let answered = engine.answered(1, &answer, &store, now);
        assert_eq!(answered.map(|answer| answer.reported), Some(100));
    });
}
