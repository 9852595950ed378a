//! When a certificate is valid.

use crate::time::Timestamp;

/// How far the clock may have been set back since the handshake before a certificate counts as not yet valid, in
/// seconds. The end of its validity has no leeway: it is checked with the same clock as in the handshake.
pub const START_LEEWAY: i64 = 300;

/// When a certificate is valid, in seconds since the Unix epoch, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: i64,
    /// The last second.
    pub not_after: i64,
}

/// Why a certificate is not valid at a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// It is not valid yet.
    NotYet,
    /// It has expired.
    Expired,
}

impl Validity {
    /// When both are valid.
    #[must_use]
    pub fn and(self, other: Validity) -> Self {
        Validity {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }

    /// Checks the validity at `now`.
    ///
    /// # Errors
    /// It is not valid yet, or has expired.
    pub fn check(&self, now: Timestamp) -> Result<(), Invalid> {
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if seconds > self.not_after {
            return Err(Invalid::Expired);
        }
        if seconds.saturating_add(START_LEEWAY) < self.not_before {
            return Err(Invalid::NotYet);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Nanos;

    #[test]
    fn a_certificate_expires_after_its_last_second() {
        let validity = Validity { not_before: 1000, not_after: 2000 };
        let (end, start) = (Timestamp::from_secs(2001), Timestamp::from_secs(700));
        assert_eq!(validity.check(end - Nanos::new(1)), Ok(()));
        assert_eq!(validity.check(end), Err(Invalid::Expired));
        assert_eq!(validity.check(start), Ok(()));
        assert_eq!(validity.check(start - Nanos::new(1)), Err(Invalid::NotYet));
        // The time of a proxy without a clock.
        assert_eq!(validity.check(Timestamp::EPOCH), Err(Invalid::NotYet));
        assert_eq!(validity.check(Timestamp::MAX), Err(Invalid::Expired));
    }
}
