//! A tier: the limits of a class of clients.

use core::time::Duration;

use super::dimension::{Dimension, PerDimension, Rates};

/// The largest capacity (rate x burst) that a bucket can count exactly: 2^39 units (512 GiB for bytes).
pub const MAX_CAPACITY: u64 = 1 << 39;

/// One limit of a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Units per second.
    pub rate: u64,
    /// The burst: units that may be spent at once. It is the rate x the tier's burst, at most [`MAX_CAPACITY`].
    pub capacity: u64,
}

/// The limits of a class of clients. A dimension without a limit is unlimited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// The name of the tier in the config file.
    pub name: String,
    /// The limits, by dimension.
    pub limits: PerDimension<Option<Limit>>,
}

impl Tier {
    /// A tier of these rates. `burst` is the time in which a rate fills its bucket: a capacity is rate x burst, rounded
    /// down, and at most [`MAX_CAPACITY`].
    pub fn new(name: impl Into<String>, burst: Duration, rates: Rates) -> Self {
        let limit = |rate| {
            let capacity = u128::from(rate) * burst.as_millis() / 1000;
            Limit { rate, capacity: u64::try_from(capacity).unwrap_or(u64::MAX).min(MAX_CAPACITY) }
        };
        Tier { name: name.into(), limits: PerDimension::from_fn(|dimension| rates[dimension].map(limit)) }
    }

    /// A tier without any limit.
    pub fn unlimited(name: impl Into<String>) -> Self {
        Tier { name: name.into(), limits: PerDimension::default() }
    }

    /// The limit of one dimension.
    pub fn limit(&self, dimension: Dimension) -> Option<Limit> {
        self.limits[dimension]
    }
}
