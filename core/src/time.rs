//! Points in time and spans of time, in nanoseconds. Nothing in core reads a clock: its callers pass the time.

use core::ops::{Add, AddAssign, Mul, Sub};
use core::time::Duration;

/// How many nanoseconds a second has.
const PER_SECOND: u64 = 1_000_000_000;

/// A point in time: nanoseconds since the Unix epoch, up to the year 2554. Arithmetic saturates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The Unix epoch. A proxy that has no clock reports it.
    pub const EPOCH: Timestamp = Timestamp(0);
    /// The last point in time that a timestamp can hold.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// The timestamp of this many nanoseconds since the Unix epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Timestamp(nanos)
    }

    /// The timestamp of this many seconds since the Unix epoch.
    pub const fn from_secs(seconds: u64) -> Self {
        Timestamp(seconds.saturating_mul(PER_SECOND))
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    pub const fn as_secs(self) -> u64 {
        self.0 / PER_SECOND
    }

    /// The time that passed since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Timestamp) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }

    /// The time that passed since `earlier`; `None` if `earlier` is later.
    pub fn checked_since(self, earlier: Timestamp) -> Option<Nanos> {
        self.0.checked_sub(earlier.0).map(Nanos)
    }
}

impl Add<Nanos> for Timestamp {
    type Output = Timestamp;

    fn add(self, later: Nanos) -> Timestamp {
        Timestamp(self.0.saturating_add(later.0))
    }
}

impl AddAssign<Nanos> for Timestamp {
    fn add_assign(&mut self, later: Nanos) {
        *self = *self + later;
    }
}

impl Sub<Nanos> for Timestamp {
    type Output = Timestamp;

    fn sub(self, earlier: Nanos) -> Timestamp {
        Timestamp(self.0.saturating_sub(earlier.0))
    }
}

/// A span of time in nanoseconds, up to 584 years. Arithmetic saturates.
///
/// One number, where [`Duration`] has two: quotas compute with it several times in each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanos(u64);

impl Nanos {
    /// No time.
    pub const ZERO: Nanos = Nanos(0);
    /// The longest span.
    pub const MAX: Nanos = Nanos(u64::MAX);

    /// A span of this many nanoseconds.
    pub const fn new(nanos: u64) -> Self {
        Nanos(nanos)
    }

    /// A span of this many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Nanos(millis.saturating_mul(1_000_000))
    }

    /// A span of this many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Nanos(seconds.saturating_mul(PER_SECOND))
    }

    /// The number of nanoseconds.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<Nanos> for Duration {
    fn from(Nanos(nanos): Nanos) -> Duration {
        Duration::from_nanos(nanos)
    }
}

impl From<Duration> for Nanos {
    fn from(duration: Duration) -> Nanos {
        Nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Add for Nanos {
    type Output = Nanos;

    fn add(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(other.0))
    }
}

impl Mul<u64> for Nanos {
    type Output = Nanos;

    fn mul(self, times: u64) -> Nanos {
        Nanos(self.0.saturating_mul(times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Timestamp::MAX + Nanos::new(1), Timestamp::MAX);
        assert_eq!(Timestamp::EPOCH - Nanos::new(1), Timestamp::EPOCH);
        assert_eq!(Timestamp::EPOCH.since(Timestamp::MAX), Nanos::ZERO);
        assert_eq!(Timestamp::EPOCH.checked_since(Timestamp::from_nanos(1)), None);
        assert_eq!(Timestamp::from_secs(3).checked_since(Timestamp::from_secs(1)), Some(Nanos::from_secs(2)));
        assert_eq!(Nanos::MAX + Nanos::new(1), Nanos::MAX);
        assert_eq!(Nanos::from(Duration::MAX), Nanos::MAX);
        assert_eq!(Duration::from(Nanos::from_millis(1500)), Duration::from_millis(1500));
    }

    #[test]
    fn seconds_are_rounded_down() {
        assert_eq!((Timestamp::from_secs(2) - Nanos::new(1)).as_secs(), 1);
        assert_eq!(Timestamp::from_secs(2).as_secs(), 2);
    }
}
