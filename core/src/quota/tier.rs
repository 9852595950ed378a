//! A tier: the limits that a class of clients shares, and the name of a client's bucket.

use core::time::Duration;

use otlp_gate_wire::otlp::Signal;
use sha2::{Digest, Sha256};

/// What a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Dimension {
    /// Export requests, whatever becomes of them.
    Requests,
    /// Bytes of the inflated message, as received.
    Bytes,
    /// Spans, data points, log records and samples together.
    Items,
    /// Spans.
    Spans,
    /// Metric data points of all five kinds.
    DataPoints,
    /// Log records.
    LogRecords,
    /// Profile samples.
    Samples,
}

impl Dimension {
    /// Every dimension, in the order in which arrays of them are laid out.
    pub const ALL: [Dimension; 7] = [
        Dimension::Requests,
        Dimension::Bytes,
        Dimension::Items,
        Dimension::Spans,
        Dimension::DataPoints,
        Dimension::LogRecords,
        Dimension::Samples,
    ];

    /// The dimension that counts this signal's items alone.
    pub fn of(signal: Signal) -> Self {
        match signal {
            Signal::Traces => Dimension::Spans,
            Signal::Metrics => Dimension::DataPoints,
            Signal::Logs => Dimension::LogRecords,
            Signal::Profiles => Dimension::Samples,
        }
    }

    /// The key that names this dimension in the config file.
    pub fn key(self) -> &'static str {
        match self {
            Dimension::Requests => "requests",
            Dimension::Bytes => "bytes",
            Dimension::Items => "items",
            Dimension::Spans => "spans",
            Dimension::DataPoints => "dataPoints",
            Dimension::LogRecords => "logRecords",
            Dimension::Samples => "samples",
        }
    }
}

/// The largest capacity (rate x burst) that a bucket can count exactly: 2^39 units, 512 GiB.
pub const MAX_CAPACITY: u64 = 1 << 39;

/// One limit of a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Units per second.
    pub rate: u64,
    /// Units that may be spent at once: rate x burst, at most [`MAX_CAPACITY`].
    pub capacity: u64,
}

/// The limits of a class of clients. A dimension without a limit is not limited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// The tier's name in the config file.
    pub name: String,
    /// One limit per [`Dimension`], in the order of [`Dimension::ALL`].
    pub limits: [Option<Limit>; Dimension::ALL.len()],
}

impl Tier {
    /// A tier from rates (units per second, in the order of [`Dimension::ALL`]) and how many seconds' worth may be
    /// spent at once. Capacities are rounded down and cut at [`MAX_CAPACITY`].
    pub fn new(name: impl Into<String>, burst: Duration, rates: [Option<u64>; Dimension::ALL.len()]) -> Self {
        let limits = rates.map(|rate| {
            rate.map(|rate| {
                let capacity = u128::from(rate) * burst.as_millis() / 1000;
                Limit { rate, capacity: u64::try_from(capacity).unwrap_or(u64::MAX).min(MAX_CAPACITY) }
            })
        });
        Tier { name: name.into(), limits }
    }

    /// A tier without any limit.
    pub fn unlimited(name: impl Into<String>) -> Self {
        Tier { name: name.into(), limits: [None; Dimension::ALL.len()] }
    }

    /// The limit of one dimension.
    pub fn limit(&self, dimension: Dimension) -> Option<Limit> {
        self.limits.get(dimension as usize).copied().flatten()
    }
}

/// The name of a bucket: a hash, so that no choice of names by a client can make two buckets one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketId(pub [u8; 16]);

impl BucketId {
    /// The bucket of these parts (the first 16 bytes of a SHA-256 over each part with its length in front).
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(digest) {
            *to = from;
        }
        BucketId(id)
    }
}
