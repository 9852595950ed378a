//! Quotas: what a client may send per second, and what it has spent.

mod tier;

pub use tier::{BucketId, Dimension, Limit, MAX_CAPACITY, Tier};
