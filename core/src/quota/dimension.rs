//! What quotas count, and values of which there is one for each of these.

use core::ops::{Index, IndexMut};

use otlp_gate_wire::otlp::Signal;

/// What a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Dimension {
    /// Export requests, whatever their outcome.
    Requests,
    /// Bytes of the inflated message, as received.
    Bytes,
    /// Spans, data points, log records and profile samples together.
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
    /// Every dimension, in the order of the enum.
    pub const ALL: [Dimension; 7] = [
        Dimension::Requests,
        Dimension::Bytes,
        Dimension::Items,
        Dimension::Spans,
        Dimension::DataPoints,
        Dimension::LogRecords,
        Dimension::Samples,
    ];

    /// The dimension that counts only the items of this signal.
    pub fn of(signal: Signal) -> Self {
        match signal {
            Signal::Traces => Dimension::Spans,
            Signal::Metrics => Dimension::DataPoints,
            Signal::Logs => Dimension::LogRecords,
            Signal::Profiles => Dimension::Samples,
        }
    }

    /// The key of this dimension in the config file.
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

/// One value per [`Dimension`]. Only a dimension can index it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerDimension<T>([T; Dimension::ALL.len()]);

/// What a request is charged, in whole units: requests, bytes or items.
pub type Amounts = PerDimension<u64>;

/// Rates in units per second. A dimension without a rate has no limit.
pub type Rates = PerDimension<Option<u64>>;

impl<T> PerDimension<T> {
    /// The values that `value` returns.
    pub fn from_fn(value: impl FnMut(Dimension) -> T) -> Self {
        PerDimension(Dimension::ALL.map(value))
    }

    /// Each dimension with its value, in the order of [`Dimension::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Dimension, &T)> {
        Dimension::ALL.into_iter().zip(&self.0)
    }

    /// Each dimension with its value, in the order of [`Dimension::ALL`].
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Dimension, &mut T)> {
        Dimension::ALL.into_iter().zip(&mut self.0)
    }
}

impl<T: Copy> PerDimension<T> {
    /// The same values, except for this one.
    #[expect(clippy::indexing_slicing, reason = "the array has a value for every dimension")]
    #[must_use]
    pub const fn with(mut self, dimension: Dimension, value: T) -> Self {
        self.0[dimension as usize] = value;
        self
    }
}

impl Amounts {
    /// Nothing of any dimension.
    pub const ZERO: Amounts = PerDimension([0; Dimension::ALL.len()]);
}

impl Rates {
    /// No limit in any dimension.
    pub const UNLIMITED: Rates = PerDimension([None; Dimension::ALL.len()]);
}

impl<T> Index<Dimension> for PerDimension<T> {
    type Output = T;

    #[expect(clippy::indexing_slicing, reason = "the array has a value for every dimension")]
    fn index(&self, dimension: Dimension) -> &T {
        &self.0[dimension as usize]
    }
}

impl<T> IndexMut<Dimension> for PerDimension<T> {
    #[expect(clippy::indexing_slicing, reason = "the array has a value for every dimension")]
    fn index_mut(&mut self, dimension: Dimension) -> &mut T {
        &mut self.0[dimension as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dimension_has_a_value_of_its_own() {
        let mut values = PerDimension::from_fn(Dimension::key);
        for (dimension, value) in values.iter() {
            assert_eq!((values[dimension], *value), (dimension.key(), dimension.key()));
        }
        values[Dimension::Items] = "x";
        let changed: Vec<_> = values.iter().filter(|(dimension, value)| dimension.key() != **value).collect();
        assert_eq!(changed, [(Dimension::Items, &"x")]);
        assert_eq!(values, PerDimension::from_fn(Dimension::key).with(Dimension::Items, "x"));
    }
}
