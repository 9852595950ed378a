//! A bucket: what one client has spent and not yet earned back.
//!
//! It holds debts, not levels: a charge adds to the debt, time takes from it, and a charge fits while the debt stays
//! within the capacity. So a client without debt needs no bucket at all, and a change of rates keeps what is spent.

use core::time::Duration;

use super::account::Account;
use super::tier::{Dimension, Limit, Tier};

/// One amount per [`Dimension`], in the order of [`Dimension::ALL`].
pub type Amounts = [u64; Dimension::ALL.len()];

/// Debts are counted in 2^-24 units, so that a rate of 1/s still moves within a microsecond. With
/// [`super::MAX_CAPACITY`] they fit in 63 bits.
pub(super) const FRACTION_BITS: u32 = 24;

/// How many bytes an item stands for where bytes have no limit.
const BYTES_AN_ITEM: u64 = 1 << 10;

/// A clock that is further behind than this was set back; less is another worker's reading a moment ago.
const CLOCK_SET_BACK: u64 = 10_000_000_000;

/// Why a charge did not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It will fit after `wait`, if nothing else is charged until then.
    Over {
        /// The limit that is the last to allow it.
        dimension: Dimension,
        /// That limit.
        limit: Limit,
        /// How much of it was asked for.
        asked: u64,
        /// How long until all limits allow it.
        wait: Duration,
    },
    /// It is more than the bucket ever holds.
    Never {
        /// The limit that does not allow it.
        dimension: Dimension,
        /// That limit.
        limit: Limit,
        /// How much of it was asked for.
        asked: u64,
    },
}

/// What a client owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bucket {
    /// When the debts were last brought up to date, in nanoseconds of the host's clock.
    pub(super) last: u64,
    /// When the accounts' two windows began. No charge before a window has this time or a later one.
    pub(super) began: [u64; 2],
    /// What is owed of each dimension, in the order of [`Dimension::ALL`].
    pub(super) accounts: [Account; Dimension::ALL.len()],
}

impl Bucket {
    /// Takes off the debts what has been earned back by `now`. Time never runs backwards: an older `now` changes
    /// nothing, unless the clock was set back. What has no limit now stays as it is, for when it has one again.
    pub(super) fn advance(&mut self, tier: &Tier, now: u64) {
        let elapsed = now.saturating_sub(self.last);
        // Of requests nothing ever comes back, so there is nothing to know of them.
        let (mut settled, mut stale) = (true, false);
        for ((account, limit), dimension) in self.accounts.iter_mut().zip(tier.limits).zip(Dimension::ALL) {
            let Some(limit) = limit else { continue };
            account.earn(earned(limit.rate, elapsed));
            if dimension != Dimension::Requests {
                settled &= account.debt == 0;
                stale |= account.is_stale(limit.capacity << FRACTION_BITS);
            }
        }
        if elapsed > 0 || self.last - now > CLOCK_SET_BACK {
            self.last = now;
        }
        // Another charge of this very moment would be taken for one that a new window knows.
        if elapsed > 0 && (settled || stale) {
            // Where nothing is owed, the earlier one has nothing more to know than the later one.
            for _ in 0..=usize::from(settled) {
                let [_, later] = self.began;
                self.began = [later, now];
                self.accounts.iter_mut().for_each(Account::begin);
            }
        }
    }

    /// Charges all amounts or none. Call after [`Bucket::advance`].
    pub(super) fn charge(&mut self, tier: &Tier, amounts: &Amounts) -> Result<(), Refusal> {
        let mut over = Over::default();
        for (((account, &asked), limit), dimension) in
            self.accounts.iter().zip(amounts).zip(tier.limits).zip(Dimension::ALL)
        {
            // Who asks for nothing is not held up by an old debt (the capacity may have been lowered).
            if let Some(limit) = limit.filter(|_| asked > 0) {
                over.add(dimension, limit, asked, account.debt.saturating_add(asked << FRACTION_BITS))?;
            }
        }
        over.refusal()?;
        for ((account, asked), limit) in self.accounts.iter_mut().zip(amounts).zip(tier.limits) {
            if limit.is_some() {
                account.charge(asked << FRACTION_BITS);
            }
        }
        Ok(())
    }

    /// Whether one more fits of each of these dimensions, and no more was spent in vain than it holds. Call after [`Bucket::advance`].
    pub(super) fn probe(&self, tier: &Tier, wanted: &[Dimension]) -> Result<(), Refusal> {
        let mut over = Over::default();
        for &dimension in wanted {
            let (Some(account), Some(limit)) = (self.accounts.get(dimension as usize), tier.limit(dimension))
            else {
                continue;
            };
            // What came back fills `vain` up to the capacity, and no further: only work that was refused holds back.
            let owed = account.debt.saturating_add(1 << FRACTION_BITS).max(account.vain);
            over.add(dimension, limit, 1, owed)?;
        }
        over.refusal()
    }

    /// Whether so many bytes fit, which nothing is charged for yet. Call after [`Bucket::advance`].
    pub(super) fn fits(&self, tier: &Tier, bytes: u64) -> Result<(), Refusal> {
        self.probe(tier, &[Dimension::Bytes])?;
        let Some(limit) = tier.limit(Dimension::Bytes) else { return Ok(()) };
        let debt = self.accounts.get(Dimension::Bytes as usize).map_or(0, |account| account.debt);
        let mut over = Over::default();
        over.add(Dimension::Bytes, limit, bytes, debt.saturating_add(bytes << FRACTION_BITS))?;
        over.refusal()
    }

    /// How many bytes fit now; none where they have no limit.
    pub(super) fn bytes_left(&self, tier: &Tier) -> Option<u64> {
        let limit = tier.limit(Dimension::Bytes)?;
        let debt = self.accounts.get(Dimension::Bytes as usize).map_or(0, |account| account.debt);
        Some((limit.capacity << FRACTION_BITS).saturating_sub(debt) >> FRACTION_BITS)
    }

    /// Takes note of so many bytes that were worked on in vain. Where bytes have no limit, an item stands for
    /// [`BYTES_AN_ITEM`] of them. Call after [`Bucket::advance`].
    pub(super) fn spend_in_vain(&mut self, tier: &Tier, bytes: u64) {
        let by_bytes = tier.limit(Dimension::Bytes).is_some();
        for ((account, limit), dimension) in self.accounts.iter_mut().zip(tier.limits).zip(Dimension::ALL) {
            let amount = match dimension {
                Dimension::Requests => continue,
                Dimension::Bytes => bytes,
                _ if by_bytes => continue,
                _ => bytes.div_ceil(BYTES_AN_ITEM),
            };
            if let Some(limit) = limit {
                let amount = amount.min(super::MAX_CAPACITY) << FRACTION_BITS;
                // One message, however large, shuts its client out for no longer than a burst takes to come back.
                let most = limit.capacity.saturating_mul(2).min(super::MAX_CAPACITY) << FRACTION_BITS;
                account.vain = account.vain.saturating_add(amount).min(most.max(account.vain));
            }
        }
    }

    /// Gives back a charge made at `charged`. Never less is owed then than if it had not been made, and no more comes back
    /// than the capacity, and the rate from then on. Call after [`Bucket::advance`].
    pub(super) fn refund(&mut self, tier: &Tier, amounts: &Amounts, charged: u64) {
        self.give_back(tier, amounts, charged, true);
    }

    /// Takes back a charge made at `charged`, of which nothing was sent.
    pub(super) fn cancel(&mut self, tier: &Tier, amounts: &Amounts, charged: u64) {
        self.give_back(tier, amounts, charged, false);
    }

    fn give_back(&mut self, tier: &Tier, amounts: &Amounts, charged: u64, in_vain: bool) {
        // Later than the present: the clock was set back, and nobody knows how long it has been.
        let Some(elapsed) = self.last.checked_sub(charged) else { return };
        let known = self.began.map(|began| charged >= began);
        for ((account, amount), limit) in self.accounts.iter_mut().zip(amounts).zip(tier.limits) {
            let Some(limit) = limit.filter(|_| *amount > 0) else { continue };
            let most = match in_vain {
                true => (limit.capacity << FRACTION_BITS).saturating_sub(account.vain),
                false => u64::MAX,
            };
            let back = account.refund(amount << FRACTION_BITS, earned(limit.rate, elapsed), known, most);
            if in_vain {
                account.vain += back;
            }
        }
    }

    /// How much of the tightest limit is spent, in percent; none where there is no limit.
    pub(super) fn used(&self, tier: &Tier) -> Option<u64> {
        let mut used = None;
        for (account, limit) in self.accounts.iter().zip(tier.limits) {
            if let Some(limit) = limit {
                used = used.max(Some((account.debt >> FRACTION_BITS) * 100 / limit.capacity.max(1)));
            }
        }
        used
    }

    /// When nothing is owed any more, in nanoseconds of the host's clock.
    pub(super) fn settled_at(&self, tier: &Tier) -> u64 {
        let waits = self.accounts.iter().zip(tier.limits).filter_map(|(account, limit)| {
            let limit = limit?;
            let owed = account.debt.max(account.vain);
            Some(if owed == 0 { 0 } else { time_to_earn(limit.rate, owed) })
        });
        self.last.saturating_add(waits.max().unwrap_or(0))
    }
}

/// The limits that do not allow a charge, and which of them is the last to do so.
#[derive(Default)]
struct Over {
    refusal: Option<Refusal>,
    /// In nanoseconds.
    wait: u64,
}

impl Over {
    /// Adds a limit, for which `owed` (in 2^-24 units) would be owed with what is asked for; an error where it never allows that.
    #[inline]
    fn add(&mut self, dimension: Dimension, limit: Limit, asked: u64, owed: u64) -> Result<(), Refusal> {
        if asked > limit.capacity {
            return Err(Refusal::Never { dimension, limit, asked });
        }
        let excess = owed.saturating_sub(limit.capacity << FRACTION_BITS);
        if excess > 0 {
            let wait = time_to_earn(limit.rate, excess);
            if wait >= self.wait {
                self.wait = wait;
                self.refusal =
                    Some(Refusal::Over { dimension, limit, asked, wait: Duration::from_nanos(wait) });
            }
        }
        Ok(())
    }

    fn refusal(self) -> Result<(), Refusal> {
        self.refusal.map_or(Ok(()), Err)
    }
}

/// What `rate` earns in `nanos`, in 2^-24 units, rounded down: never more than was allowed.
fn earned(rate: u64, nanos: u64) -> u64 {
    let earned = (u128::from(rate) * u128::from(nanos)).checked_mul(1 << FRACTION_BITS);
    earned.and_then(|earned| u64::try_from(earned / 1_000_000_000).ok()).unwrap_or(u64::MAX)
}

/// How many nanoseconds `rate` takes to earn `amount` (in 2^-24 units), rounded up.
fn time_to_earn(rate: u64, amount: u64) -> u64 {
    let per_nano = u128::from(rate.max(1)) << FRACTION_BITS;
    let nanos = (u128::from(amount) * 1_000_000_000).div_ceil(per_nano);
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn items(rate: u64, burst: Duration) -> Tier {
        Tier::new("t", burst, [None, None, Some(rate), None, None, None, None])
    }

    fn amount(items: u64) -> Amounts {
        [0, 0, items, 0, 0, 0, 0]
    }

    #[test]
    fn a_burst_is_available_at_once_and_not_one_item_more() {
        let tier = items(10, Duration::from_secs(2));
        let mut bucket = Bucket::default();
        bucket.advance(&tier, 1_000_000_000_000);
        assert_eq!(bucket.charge(&tier, &amount(19)), Ok(()));
        assert_eq!(bucket.used(&tier), Some(95));
        assert_eq!(bucket.charge(&tier, &amount(1)), Ok(()));
        let Err(Refusal::Over { wait, asked: 1, .. }) = bucket.charge(&tier, &amount(1)) else { panic!() };
        assert_eq!(wait, Duration::from_millis(100));
        for (now, fits) in [(1_000_099_999_999, false), (1_000_100_000_000, true)] {
            let mut later = bucket;
            later.advance(&tier, now);
            assert_eq!(later.charge(&tier, &amount(1)).is_ok(), fits, "{now}");
        }
    }

    #[test]
    fn a_charge_that_never_fits_is_told_apart() {
        let tier = items(10, Duration::from_secs(2));
        let mut bucket = Bucket::default();
        let limit = Limit { rate: 10, capacity: 20 };
        assert_eq!(
            bucket.charge(&tier, &amount(21)),
            Err(Refusal::Never { dimension: Dimension::Items, limit, asked: 21 })
        );
        assert_eq!(bucket.charge(&tier, &amount(20)), Ok(()));
    }

    #[test]
    fn all_dimensions_are_charged_or_none() {
        let tier =
            Tier::new("t", Duration::from_secs(1), [Some(1), Some(1000), Some(10), None, None, None, None]);
        let mut bucket = Bucket::default();
        assert_eq!(bucket.charge(&tier, &[0, 1000, 1, 0, 0, 0, 0]), Ok(()));
        let before = bucket;
        let Err(Refusal::Over { dimension: Dimension::Bytes, .. }) =
            bucket.charge(&tier, &[1, 1, 5, 0, 0, 0, 0])
        else {
            panic!()
        };
        assert_eq!(bucket, before);
    }

    #[test]
    fn a_clock_that_was_set_back_neither_starves_nor_pays() {
        let tier = items(10, Duration::from_secs(1));
        let mut bucket = Bucket::default();
        bucket.advance(&tier, 3_600_000_000_000);
        bucket.charge(&tier, &amount(10)).unwrap();
        bucket.advance(&tier, 1_000_000_000);
        assert!(bucket.charge(&tier, &amount(1)).is_err());
        bucket.advance(&tier, 2_000_000_000);
        assert_eq!(bucket.charge(&tier, &amount(10)), Ok(()));
    }

    #[test]
    fn the_largest_bucket_does_not_overflow() {
        let tier = items(u64::MAX, Duration::from_secs(60));
        let mut bucket = Bucket::default();
        bucket.charge(&tier, &amount(super::super::MAX_CAPACITY)).unwrap();
        assert!(bucket.charge(&tier, &amount(super::super::MAX_CAPACITY)).is_err());
        bucket.advance(&tier, u64::MAX);
        assert_eq!(bucket.settled_at(&tier), u64::MAX);
    }

    proptest! {
        /// Against exact arithmetic: over any stretch of time no more is admitted than capacity + rate x time, and
        /// nothing is refused that leaves room for one whole unit more.
        #[test]
        fn admits_what_the_quota_allows_and_no_more(
            rate in 1..100_000u64, burst in 1..5_000u64,
            steps in prop::collection::vec((0..2_000_000_000u64, 0..50_000u64), 1..60),
        ) {
            let tier = items(rate, Duration::from_millis(burst));
            let capacity = u128::from(tier.limit(Dimension::Items).unwrap().capacity);
            let mut bucket = Bucket::default();
            let (mut now, mut debt) = (0u64, 0u128); // the exact debt in 10^-9 units
            for (elapsed, asked) in steps {
                now += elapsed;
                debt = debt.saturating_sub(u128::from(rate) * u128::from(elapsed));
                bucket.advance(&tier, now);
                let exact = debt + u128::from(asked) * 1_000_000_000;
                match bucket.charge(&tier, &amount(asked)) {
                    Ok(()) => {
                        prop_assert!(exact <= capacity * 1_000_000_000);
                        debt = exact;
                    }
                    Err(Refusal::Never { .. }) => prop_assert!(u128::from(asked) > capacity),
                    Err(Refusal::Over { wait, .. }) => {
                        prop_assert!(exact + 1_000_000_000 > capacity * 1_000_000_000);
                        let mut later = bucket;
                        later.advance(&tier, now + wait.as_nanos() as u64);
                        prop_assert_eq!(later.charge(&tier, &amount(asked)), Ok(()));
                    }
                }
            }
            let settled = bucket.settled_at(&tier);
            bucket.advance(&tier, settled);
            prop_assert!(bucket.accounts.iter().all(|account| account.debt == 0));
        }
    }
}
