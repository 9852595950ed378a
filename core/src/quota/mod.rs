//! Quotas: token buckets that limit what a client may send.
//!
//! A [`Tier`] has a rate and a burst for each [`Dimension`] that it limits. Every client has a bucket per dimension.
//! The [`Ledger`] keeps the buckets in a store that all workers of the proxy share. It charges a request's amounts in
//! all dimensions or in none, and refunds them if the backend does not accept the request.
//!
//! # A bucket stores a debt
//!
//! A bucket does not store how many tokens are left, but the debt: how many were spent and not yet earned back. A
//! charge adds to the debt, and time pays it off at the rate. A charge fits if the debt is at most the capacity (rate x
//! burst) afterwards; what is left is the capacity less the debt. A client without debt needs no bucket, so the bucket
//! of an idle client is dropped without loss. A change of rates keeps what is spent.
//!
//! Example: 10 items/s with a burst of 2 s, which is a capacity of 20 items.
//!
//! | Time | Event | Debt | Left |
//! |---|---|---|---|
//! | 0.0 s | a request with 15 items is charged | 15 | 5 |
//! | 0.5 s | time has paid off 5 items | 10 | 10 |
//! | 0.5 s | a request with 12 items is throttled: 10 + 12 exceeds 20 by 2 items, which take 0.2 s | 10 | 10 |
//! | 0.7 s | the client sends it again, and it is charged | 20 | 0 |
//! | 0.7 s | the backend rejects it, and it is refunded | 8 | 12 |
//! | 1.5 s | time has paid off 8 items, and the bucket is dropped | 0 | 20 |
//!
//! The same in code:
//!
//! ```
//! use std::time::Duration;
//!
//! use otlp_gate_core::quota::{
//!     Amounts, BucketId, Charge, Dimension, Ledger, MemoryStore, Rates, Throttled, Tier,
//! };
//! use otlp_gate_core::time::{Nanos, Timestamp};
//!
//! let rates = Rates::UNLIMITED.with(Dimension::Items, Some(10));
//! let tier = Tier::new("small", Duration::from_secs(2), rates);
//! let items = |items| Amounts::ZERO.with(Dimension::Items, items);
//!
//! let store = MemoryStore::default();
//! let ledger = Ledger::new(&store, "otel/gateway");
//! let acme = BucketId::of(&[b"acme"]);
//!
//! let start = Timestamp::from_secs(1_800_000_000);
//! assert!(ledger.charge(acme, &tier, &items(15), start).is_granted());
//!
//! let now = start + Nanos::from_millis(500);
//! let Charge::Throttled(Throttled::RetryAfter { wait, .. }) = ledger.charge(acme, &tier, &items(12), now) else {
//!     panic!("only 10 items are left")
//! };
//! assert_eq!(wait, Duration::from_millis(200));
//!
//! let now = now + Nanos::from(wait);
//! let Charge::Granted(receipt) = ledger.charge(acme, &tier, &items(12), now) else {
//!     panic!("12 items are left")
//! };
//! assert_eq!(receipt.used, Some(100));
//!
//! ledger.refund(acme, &tier, &items(12), receipt, now);
//! assert!(ledger.charge(acme, &tier, &items(12), now).is_granted());
//! assert!(!ledger.charge(acme, &tier, &items(1), now).is_granted());
//! ```

mod bucket;
mod bucket_id;
mod bucket_set;
mod cached_store;
mod debt;
mod dimension;
mod engine;
mod ledger;
mod memory_store;
mod salt;
mod store;
mod throttled;
mod tier;
mod tokens;
mod unreported;

pub use bucket_id::BucketId;
pub use cached_store::CachedStore;
pub use dimension::{Amounts, Dimension, PerDimension, Rates};
pub use engine::{
    Answer, CALL_TIMEOUT, Call, Credentials, Engine, News, Replicas, Reply, Share, TICK, replies,
};
pub use ledger::{Charge, Ledger, Receipt};
pub use memory_store::MemoryStore;
pub use salt::Salt;
pub(crate) use store::NEW_KEY;
pub use store::{Store, StoreFailed, shared_salt};
pub use throttled::Throttled;
pub use tier::{Limit, MAX_CAPACITY, Tier};
