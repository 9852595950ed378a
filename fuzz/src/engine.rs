//! Target: whatever the engine of shared quotas answers, a worker goes on, and no client is locked out for long.

use std::rc::Rc;
use std::time::Duration;

use otlp_gate_core::quota::{
    Amounts, BucketId, Credentials, Dimension, Engine, Ledger, MemoryStore, Rates, Reply, Share, Tier, replies,
};
use otlp_gate_core::time::{Nanos, Timestamp};

/// Runs one answer.
pub fn target(answer: &[u8]) {
    for reply in replies(answer) {
        let (Reply::Status(text) | Reply::Error(text) | Reply::Bulk(text)) = reply;
        assert!(text.len() < answer.len());
    }
    let rates = Rates::UNLIMITED.with(Dimension::Bytes, Some(1000)).with(Dimension::Items, Some(10));
    let tier = Tier::new("t", Duration::from_secs(1), rates);
    let store = MemoryStore::default();
    let password = answer.first().is_some_and(|byte| byte % 2 == 0);
    let credentials = password.then(|| Credentials { user: None, password: "p".to_owned() });
    let engine = Rc::new(Engine::new("engine", credentials));
    engine.join(&[b"gateway"], BucketId::of(&[b"limits"]), true);
    let share = Rc::new(Share::new(&engine, &[b"gateway"], b"client", "gate"));
    let ledger = Ledger::shared(&store, &share);
    let (mut now, id) = (Timestamp::from_secs(1000), BucketId::of(&[b"a"]));
    assert!(ledger.charge(id, &tier, &Amounts::ZERO.with(Dimension::Items, 5), now).is_granted());
    for number in 0..10 {
        now += Nanos::from_millis(20);
        if let Some(call) = engine.tick(&store, now) {
            engine.sent(call, Some(number), &store, now);
            assert!(engine.answered(number, answer, &store, now).is_some());
        }
    }
    // However much the engine says is owed, it is no more than a hundred bursts.
    now += Nanos::from_secs(101);
    assert!(ledger.charge(id, &tier, &Amounts::ZERO.with(Dimension::Items, 10), now).is_granted());
}
