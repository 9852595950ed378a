//! Quotas: what a client may send per second, and what it has spent.

mod bucket;
mod ledger;
mod remember;
mod tier;

pub use bucket::{Amounts, Refusal};
pub use ledger::{Charge, Ledger, SETS, Store, StoreFailed, WAYS};
pub use remember::Remember;
pub use tier::{BucketId, Dimension, Limit, MAX_CAPACITY, Tier};
