//! Quotas: what a client may send per second, and what it has spent.

mod bucket;
mod bucket_id;
mod bucket_set;
mod cached_store;
mod debt;
mod dimension;
mod ledger;
mod salt;
mod store;
mod throttled;
mod tier;
mod tokens;

pub use bucket_id::BucketId;
pub use cached_store::CachedStore;
pub use dimension::{Amounts, Dimension, PerDimension, Rates};
pub use ledger::{Charge, Ledger, Receipt};
pub use salt::Salt;
pub use store::{Store, StoreFailed, shared_salt};
pub use throttled::Throttled;
pub use tier::{Limit, MAX_CAPACITY, Tier};
