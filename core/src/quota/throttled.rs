//! Why a charge does not fit, and when it will.

use core::time::Duration;

use super::dimension::Dimension;
use super::tier::Limit;
use super::tokens::Tokens;
use crate::time::Nanos;

/// Why a charge does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throttled {
    /// It fits after `wait`, if nothing else is charged until then.
    RetryAfter {
        /// The limit that takes longest to allow it.
        dimension: Dimension,
        /// That limit.
        limit: Limit,
        /// How many units of it were asked for.
        asked: u64,
        /// How long until all limits allow it.
        wait: Duration,
    },
    /// It is larger than the burst, so it never fits.
    ExceedsBurst {
        /// The limit that does not allow it.
        dimension: Dimension,
        /// That limit.
        limit: Limit,
        /// How many units of it were asked for.
        asked: u64,
    },
}

/// Checks limits one by one and keeps the one that takes longest to allow the charge.
#[derive(Default)]
pub(super) struct Check {
    throttled: Option<Throttled>,
    wait: Nanos,
}

impl Check {
    /// Checks a limit. With the charge, `owed` tokens would be owed.
    ///
    /// # Errors
    /// The charge is larger than the burst.
    #[inline]
    pub(super) fn add(
        &mut self,
        dimension: Dimension,
        limit: Limit,
        asked: u64,
        owed: Tokens,
    ) -> Result<(), Throttled> {
        if asked > limit.capacity {
            return Err(Throttled::ExceedsBurst { dimension, limit, asked });
        }
        let excess = owed - limit.tokens();
        if excess > Tokens::ZERO {
            let wait = limit.time_to_earn(excess);
            if wait >= self.wait {
                self.wait = wait;
                self.throttled = Some(Throttled::RetryAfter { dimension, limit, asked, wait: wait.into() });
            }
        }
        Ok(())
    }

    /// The outcome of all checks.
    ///
    /// # Errors
    /// A limit does not allow the charge yet.
    pub(super) fn finish(self) -> Result<(), Throttled> {
        self.throttled.map_or(Ok(()), Err)
    }
}
