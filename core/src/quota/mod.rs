//! Quotas: what a client may send per second, and what it has spent.

mod account;
mod bucket;
mod ledger;
mod remember;
mod salt;
mod set;
mod tier;

pub use bucket::{Amounts, Refusal};
pub use ledger::{Charge, Ledger, Receipt, SETS, Store, StoreFailed};
pub use remember::Remember;
pub use salt::Salt;
pub use set::WAYS;
pub use tier::{BucketId, Dimension, Limit, MAX_CAPACITY, Tier};
