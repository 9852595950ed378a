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

    /// The tier with its rates divided by a number of replicas, and the same bursts, so that every message that fits
    /// still fits.
    pub(super) fn divided(&self, replicas: u32) -> Tier {
        let slower = |limit: Limit| Limit { rate: (limit.rate / u64::from(replicas)).max(1), ..limit };
        Tier { name: String::new(), limits: PerDimension::from_fn(|of| self.limits[of].map(slower)) }
    }

    /// The limits as bytes, in which no two tiers with other limits are equal.
    pub(crate) fn limits_to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (_, limit) in self.limits.iter() {
            let (rate, capacity) = limit.map_or((0, 0), |limit| (limit.rate, limit.capacity));
            bytes.extend_from_slice(&rate.to_le_bytes());
            bytes.extend_from_slice(&capacity.to_le_bytes());
        }
        bytes
    }

    /// The limit of one dimension.
    pub fn limit(&self, dimension: Dimension) -> Option<Limit> {
        self.limits[dimension]
    }
}
