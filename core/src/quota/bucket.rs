//! A client's token bucket. It stores debts: tokens that were spent and not yet earned back.

use super::debt::Debt;
use super::dimension::{Amounts, Dimension, PerDimension};
use super::throttled::{Check, Throttled};
use super::tier::{MAX_CAPACITY, Tier};
use super::tokens::Tokens;
use super::unreported::Unreported;
use crate::time::{Nanos, Timestamp};

/// How many bytes of wasted work count as one item where bytes have no limit.
const BYTES_PER_ITEM: u64 = 1 << 10;

/// A clock that is further behind than this was set back. Less is the clock of another worker, read a moment earlier.
const CLOCK_SET_BACK: Nanos = Nanos::from_secs(10);

/// What a client owes in each dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bucket {
    /// When the debts were last brought up to date.
    pub(super) updated: Timestamp,
    /// When the two refund windows of the debts began. A charge from before a window has an earlier time.
    pub(super) windows_began: [Timestamp; 2],
    /// The debts.
    pub(super) debts: PerDimension<Debt>,
    /// What the engine of a shared quota does not know yet.
    pub(super) unreported: Unreported,
}

impl Bucket {
    /// Pays off what was earned until `now`. An older `now` changes nothing, unless the clock was set back. Debts of
    /// dimensions without a limit are kept, for when they have one again.
    pub(super) fn advance(&mut self, tier: &Tier, now: Timestamp) {
        let elapsed = now.since(self.updated);
        let (mut settled, mut stale) = (true, false);
        for (dimension, debt) in self.debts.iter_mut() {
            let Some(limit) = tier.limits[dimension] else { continue };
            debt.pay_off(limit.earned(elapsed));
            // Requests are never refunded, so their windows do not matter.
            if dimension != Dimension::Requests {
                settled &= debt.owed == Tokens::ZERO;
                stale |= debt.is_stale(limit.tokens());
            }
        }
        if elapsed > Nanos::ZERO || self.updated.since(now) > CLOCK_SET_BACK {
            self.updated = now;
        }
        // A window that began now would take an earlier charge of this very moment for one of its own.
        if elapsed > Nanos::ZERO && (settled || stale) {
            // Where nothing is owed, the earlier window has nothing to add to the later one.
            for _ in 0..=usize::from(settled) {
                let [_, later] = self.windows_began;
                self.windows_began = [later, now];
                self.debts.iter_mut().for_each(|(_, debt)| debt.begin_window());
            }
        }
    }

    /// Charges all amounts or none. Call after [`Bucket::advance`].
    pub(super) fn charge(&mut self, tier: &Tier, amounts: &Amounts) -> Result<(), Throttled> {
        let mut check = Check::default();
        for (dimension, debt) in self.debts.iter() {
            let asked = amounts[dimension];
            // A request without any of this dimension is not throttled by an old debt of it (the capacity may have been
            // lowered).
            if let Some(limit) = tier.limits[dimension].filter(|_| asked > 0) {
                check.add(dimension, limit, asked, debt.owed + Tokens::of(asked))?;
            }
        }
        check.finish()?;
        for (dimension, debt) in self.debts.iter_mut() {
            if tier.limits[dimension].is_some() {
                debt.charge(Tokens::of(amounts[dimension]));
            }
        }
        Ok(())
    }

    /// Whether one more unit fits in each of these dimensions, and no more was wasted than the bucket holds. Call after
    /// [`Bucket::advance`].
    pub(super) fn probe(&self, tier: &Tier, wanted: &[Dimension]) -> Result<(), Throttled> {
        let mut check = Check::default();
        for &dimension in wanted {
            let Some(limit) = tier.limits[dimension] else { continue };
            let debt = &self.debts[dimension];
            // Refunds fill `wasted` up to the capacity and no further: only work on rejected requests throttles.
            check.add(dimension, limit, 1, (debt.owed + Tokens::ONE).max(debt.wasted))?;
        }
        check.finish()
    }

    /// Whether so many bytes fit. Nothing is charged for them yet. Call after [`Bucket::advance`].
    pub(super) fn fits(&self, tier: &Tier, bytes: u64) -> Result<(), Throttled> {
        self.probe(tier, &[Dimension::Bytes])?;
        let Some(limit) = tier.limits[Dimension::Bytes] else { return Ok(()) };
        let mut check = Check::default();
        let owed = self.debts[Dimension::Bytes].owed + Tokens::of(bytes);
        check.add(Dimension::Bytes, limit, bytes, owed)?;
        check.finish()
    }

    /// How many bytes fit now; `None` where bytes have no limit.
    pub(super) fn bytes_left(&self, tier: &Tier) -> Option<u64> {
        let limit = tier.limits[Dimension::Bytes]?;
        Some((limit.tokens() - self.debts[Dimension::Bytes].owed).units())
    }

    /// Records so many bytes of work on a request that was then rejected. Where bytes have no limit, [`BYTES_PER_ITEM`]
    /// of them count as an item. Call after [`Bucket::advance`].
    pub(super) fn record_wasted(&mut self, tier: &Tier, bytes: u64) {
        let by_bytes = tier.limits[Dimension::Bytes].is_some();
        for (dimension, debt) in self.debts.iter_mut() {
            let units = match dimension {
                Dimension::Requests => continue,
                Dimension::Bytes => bytes,
                _ if by_bytes => continue,
                _ => bytes.div_ceil(BYTES_PER_ITEM),
            };
            if let Some(limit) = tier.limits[dimension] {
                // One message, however large, throttles its client for at most the time in which a burst is earned.
                let most = Tokens::of(limit.capacity.saturating_mul(2).min(MAX_CAPACITY));
                let wasted = debt.wasted + Tokens::of(units.min(MAX_CAPACITY));
                debt.wasted = wasted.min(most.max(debt.wasted));
            }
        }
    }

    /// Refunds a charge made at `charged`. The debt is never lower than without that charge, and in total no more is
    /// refunded than the capacity and what the rate adds to it from then on. Call after [`Bucket::advance`].
    pub(super) fn refund(&mut self, tier: &Tier, amounts: &Amounts, charged: Timestamp) {
        self.take_back(tier, amounts, charged, true);
    }

    /// Takes back a charge made at `charged`, for a request of which nothing was forwarded.
    pub(super) fn cancel(&mut self, tier: &Tier, amounts: &Amounts, charged: Timestamp) {
        self.take_back(tier, amounts, charged, false);
    }

    fn take_back(&mut self, tier: &Tier, amounts: &Amounts, charged: Timestamp, forwarded: bool) {
        // A charge of the future: the clock was set back, and it is unknown how long ago the charge was.
        let Some(elapsed) = self.updated.checked_since(charged) else { return };
        let covered = self.windows_began.map(|began| charged >= began);
        for (dimension, debt) in self.debts.iter_mut() {
            let amount = amounts[dimension];
            let Some(limit) = tier.limits[dimension].filter(|_| amount > 0) else { continue };
            let most = if forwarded { limit.tokens() - debt.wasted } else { Tokens::MAX };
            let refunded = debt.refund(Tokens::of(amount), limit.earned(elapsed), covered, most);
            if forwarded {
                debt.wasted += refunded;
            }
        }
    }

    /// How much of the tightest limit is spent, in percent; `None` where there is no limit.
    pub(super) fn used(&self, tier: &Tier) -> Option<u64> {
        let mut used = None;
        for (dimension, debt) in self.debts.iter() {
            if let Some(limit) = tier.limits[dimension] {
                used = used.max(Some(debt.owed.units() * 100 / limit.capacity.max(1)));
            }
        }
        used
    }

    /// When nothing is owed any more.
    pub(super) fn settled_at(&self, tier: &Tier) -> Timestamp {
        let mut wait = Nanos::ZERO;
        for (dimension, debt) in self.debts.iter() {
            let owed = debt.owed.max(debt.wasted);
            if let Some(limit) = tier.limits[dimension].filter(|_| owed > Tokens::ZERO) {
                wait = wait.max(limit.time_to_earn(owed));
            }
        }
        self.updated + wait
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::super::dimension::Rates;
    use super::super::tier::Limit;
    use super::*;
    use proptest::prelude::*;

    fn items(rate: u64, burst: Duration) -> Tier {
        Tier::new("t", burst, Rates::UNLIMITED.with(Dimension::Items, Some(rate)))
    }

    fn amount(items: u64) -> Amounts {
        Amounts::ZERO.with(Dimension::Items, items)
    }

    #[test]
    fn a_burst_is_available_at_once_and_not_one_item_more() {
        let tier = items(10, Duration::from_secs(2));
        let mut bucket = Bucket::default();
        bucket.advance(&tier, Timestamp::from_secs(1000));
        assert_eq!(bucket.charge(&tier, &amount(19)), Ok(()));
        assert_eq!(bucket.used(&tier), Some(95));
        assert_eq!(bucket.charge(&tier, &amount(1)), Ok(()));
        let Err(Throttled::RetryAfter { wait, asked: 1, .. }) = bucket.charge(&tier, &amount(1)) else {
            panic!()
        };
        assert_eq!(wait, Duration::from_millis(100));
        for (nanos, fits) in [(100_000_000 - 1, false), (100_000_000, true)] {
            let mut later = bucket;
            later.advance(&tier, Timestamp::from_secs(1000) + Nanos::new(nanos));
            assert_eq!(later.charge(&tier, &amount(1)).is_ok(), fits, "{nanos}");
        }
    }

    #[test]
    fn a_charge_above_the_burst_has_an_error_of_its_own() {
        let tier = items(10, Duration::from_secs(2));
        let mut bucket = Bucket::default();
        let limit = Limit { rate: 10, capacity: 20 };
        assert_eq!(
            bucket.charge(&tier, &amount(21)),
            Err(Throttled::ExceedsBurst { dimension: Dimension::Items, limit, asked: 21 })
        );
        assert_eq!(bucket.charge(&tier, &amount(20)), Ok(()));
    }

    #[test]
    fn all_dimensions_are_charged_or_none() {
        let tier = Tier::new(
            "t",
            Duration::from_secs(1),
            Rates::UNLIMITED
                .with(Dimension::Requests, Some(1))
                .with(Dimension::Bytes, Some(1000))
                .with(Dimension::Items, Some(10)),
        );
        let mut bucket = Bucket::default();
        assert_eq!(
            bucket.charge(&tier, &Amounts::ZERO.with(Dimension::Bytes, 1000).with(Dimension::Items, 1)),
            Ok(())
        );
        let before = bucket;
        let Err(Throttled::RetryAfter { dimension: Dimension::Bytes, .. }) = bucket.charge(
            &tier,
            &Amounts::ZERO.with(Dimension::Requests, 1).with(Dimension::Bytes, 1).with(Dimension::Items, 5),
        ) else {
            panic!()
        };
        assert_eq!(bucket, before);
    }

    #[test]
    fn a_clock_that_was_set_back_neither_blocks_nor_refills() {
        let tier = items(10, Duration::from_secs(1));
        let mut bucket = Bucket::default();
        bucket.advance(&tier, Timestamp::from_secs(3600));
        bucket.charge(&tier, &amount(10)).unwrap();
        bucket.advance(&tier, Timestamp::from_secs(1));
        assert!(bucket.charge(&tier, &amount(1)).is_err());
        bucket.advance(&tier, Timestamp::from_secs(2));
        assert_eq!(bucket.charge(&tier, &amount(10)), Ok(()));
    }

    #[test]
    fn the_largest_bucket_does_not_overflow() {
        let tier = items(u64::MAX, Duration::from_secs(60));
        let mut bucket = Bucket::default();
        bucket.charge(&tier, &amount(MAX_CAPACITY)).unwrap();
        assert!(bucket.charge(&tier, &amount(MAX_CAPACITY)).is_err());
        bucket.advance(&tier, Timestamp::MAX);
        assert_eq!(bucket.settled_at(&tier), Timestamp::MAX);
    }

    proptest! {
        /// Against exact arithmetic: in any period no more is granted than capacity + rate x time, and nothing is
        /// throttled that leaves room for one more whole unit.
        #[test]
        fn grants_what_the_quota_allows_and_no_more(
            rate in 1..100_000u64, burst in 1..5_000u64,
            steps in prop::collection::vec((0..2_000_000_000u64, 0..50_000u64), 1..60),
        ) {
            let tier = items(rate, Duration::from_millis(burst));
            let capacity = u128::from(tier.limit(Dimension::Items).unwrap().capacity);
            let mut bucket = Bucket::default();
            let (mut now, mut debt) = (Timestamp::EPOCH, 0u128); // the exact debt in 10^-9 units
            for (elapsed, asked) in steps {
                now += Nanos::new(elapsed);
                debt = debt.saturating_sub(u128::from(rate) * u128::from(elapsed));
                bucket.advance(&tier, now);
                let exact = debt + u128::from(asked) * 1_000_000_000;
                match bucket.charge(&tier, &amount(asked)) {
                    Ok(()) => {
                        prop_assert!(exact <= capacity * 1_000_000_000);
                        debt = exact;
                    }
                    Err(Throttled::ExceedsBurst { .. }) => prop_assert!(u128::from(asked) > capacity),
                    Err(Throttled::RetryAfter { wait, .. }) => {
                        prop_assert!(exact + 1_000_000_000 > capacity * 1_000_000_000);
                        let mut later = bucket;
                        later.advance(&tier, now + Nanos::from(wait));
                        prop_assert_eq!(later.charge(&tier, &amount(asked)), Ok(()));
                    }
                }
            }
            let settled = bucket.settled_at(&tier);
            bucket.advance(&tier, settled);
            prop_assert!(bucket.debts.iter().all(|(_, debt)| debt.owed == Tokens::ZERO));
        }
    }
}
