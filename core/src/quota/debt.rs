//! The debt of one dimension of a bucket, and how much of it a refund returns.
//!
//! A refund makes the debt what it would be if the charge had never been made. Time pays debts off, and no debt is
//! below zero. So a refund returns at most the lowest debt since the charge. The rest of the charge was paid off by
//! time that would have had nothing else to pay off. Example, at a rate of 10/s: 10 items are charged, and half a
//! second later 5 are owed. A refund of the 10 items then returns 5, and nothing is owed.
//!
//! To know the lowest debt since each charge, all charges would have to be stored. A debt has two [`RefundWindow`]s
//! instead. Each began at a point in time and has two bounds for the charges since then:
//!
//! - Without the refunded charges, the debt is at most what is left of the debt from before the window, and all other
//!   charges since in full. By this bound a burst that is charged at once and rejected as a whole is refunded as a
//!   whole, in any order. A burst that is charged over a longer time spans several windows, and the refund is partial.
//! - A charge since then returns at least the lowest debt since, less what was refunded. By this bound a client that is
//!   always near its limit gets full refunds while the backend accepts its other requests.
//!
//! Neither bound refunds too much. This is plain for the first. For the second, let `O` be the debt here, `D` the debt
//! if nothing of what was refunded had been sent (at most `O`), and `M` the lowest `D` since a charge. Without that
//! charge the debt is `D - min(charge, M)`, so up to `O - (D - M)` of it may be refunded. That is `O` at first, since
//! `M` starts as `D`. A later charge adds to `O` and `D` alike. Time takes from both alike, until `D` is at `M` and the
//! bound is `O`. A refund of another charge makes `D - M` no larger, and `O` smaller by what was refunded. So the bound
//! is never below [`RefundWindow::lowest`].
//!
//! Refunds are bounded in total, too. Otherwise a flood that the backend rejects could go on without end. A debt counts
//! what was wasted: refunds, and work on requests that were then rejected. Time pays that off like a debt, and nothing
//! is refunded beyond the capacity. With a capacity `C` and a rate `R`, at most `C + R t` is charged in a time `t` and
//! not refunded, and at most as much is refunded, so at most `2 (C + R t)` is forwarded.

use super::tokens::Tokens;

/// How many numbers a debt is stored as.
pub(super) const NUMBERS: usize = 8;

/// The debt of one dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Debt {
    /// What was charged, and neither paid off by time nor refunded.
    pub(super) owed: Tokens,
    /// What was refunded or spent on rejected requests, and not paid off by time.
    pub(super) wasted: Tokens,
    /// The earlier window covers more charges, the later one has tighter bounds.
    windows: [RefundWindow; 2],
}

/// What is known about the charges since a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct RefundWindow {
    /// What is left of the debt from before.
    before: Tokens,
    /// What was charged since and not refunded.
    charged: Tokens,
    /// The lowest debt since, less what was refunded.
    lowest: Tokens,
}

impl Debt {
    /// Pays off the tokens that were earned.
    pub(super) fn pay_off(&mut self, earned: Tokens) {
        self.owed -= earned;
        self.wasted -= earned;
        for window in &mut self.windows {
            window.before -= earned;
            window.lowest = window.lowest.min(self.owed);
        }
    }

    /// Adds a charge.
    pub(super) fn charge(&mut self, amount: Tokens) {
        self.owed += amount;
        for window in &mut self.windows {
            window.charged += amount;
        }
    }

    /// Refunds a charge, of which time can have paid off at most `earned`. `covered` tells which windows began before
    /// it. Returns how much was refunded, which is at most `limit`.
    pub(super) fn refund(
        &mut self,
        amount: Tokens,
        earned: Tokens,
        covered: [bool; 2],
        limit: Tokens,
    ) -> Tokens {
        let mut left = self.owed - (amount - earned);
        for (window, _) in self.windows.iter_mut().zip(covered).filter(|(_, covered)| *covered) {
            window.charged -= amount;
            left = left.min(window.before + window.charged);
            left = left.min(self.owed - amount.min(window.lowest));
        }
        let refunded = (self.owed - left).min(limit);
        self.owed -= refunded;
        let ([earlier, later], [_, late]) = (&mut self.windows, covered);
        later.lowest -= refunded;
        // To refund a charge of the later window does not change the debts before that window.
        earlier.lowest = if late { earlier.lowest.min(later.lowest) } else { earlier.lowest - refunded };
        refunded
    }

    /// Makes the debt what it is over all replicas. What others charged is never refunded here. Where others were
    /// refunded, it is as if time had paid that off.
    pub(super) fn correct(&mut self, owed: Tokens) {
        self.charge(owed - self.owed);
        let wasted = self.wasted;
        self.pay_off(self.owed - owed);
        self.wasted = wasted;
    }

    /// Whether the later window refunds little of the debt, since both its bounds are far off.
    pub(super) fn is_stale(&self, capacity: Tokens) -> bool {
        let [_, later] = self.windows;
        let above = later.before + later.charged - self.owed;
        later.lowest < self.owed / 2 && above > capacity / 1024
    }

    /// Begins a window. The later window becomes the earlier one.
    pub(super) fn begin_window(&mut self) {
        let [_, later] = self.windows;
        let new = RefundWindow { before: self.owed, charged: Tokens::ZERO, lowest: self.owed };
        self.windows = [later, new];
    }

    /// The numbers as which the debt is stored.
    pub(super) fn to_numbers(self) -> [u64; NUMBERS] {
        let Debt { owed, wasted, windows: [earlier, later] } = self;
        [
            owed,
            wasted,
            earlier.before,
            earlier.charged,
            earlier.lowest,
            later.before,
            later.charged,
            later.lowest,
        ]
        .map(Tokens::to_bits)
    }

    /// The debt that is stored as these numbers.
    pub(super) fn from_numbers(numbers: [u64; NUMBERS]) -> Self {
        let [owed, wasted, before, charged, lowest, later @ ..] = numbers.map(Tokens::from_bits);
        let earlier = RefundWindow { before, charged, lowest };
        let [before, charged, lowest] = later;
        Debt { owed, wasted, windows: [earlier, RefundWindow { before, charged, lowest }] }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::super::bucket::Bucket;
    use super::super::dimension::{Amounts, Dimension, Rates};
    use super::super::tier::Tier;
    use super::super::tokens::{FRACTION_BITS, Tokens};
    use crate::time::{Nanos, Timestamp};
    use proptest::prelude::*;
    use proptest::test_runner::{RngAlgorithm, TestRng};

    const MS: Nanos = Nanos::from_millis(1);

    fn tier(rate: u64, burst: u64) -> Tier {
        Tier::new("t", Duration::from_millis(burst), Rates::UNLIMITED.with(Dimension::Items, Some(rate)))
    }

    fn amount(items: u64) -> Amounts {
        Amounts::ZERO.with(Dimension::Items, items)
    }

    #[derive(Clone, Copy)]
    struct Charge {
        at: Timestamp,
        items: u64,
        refunded: bool,
    }

    /// A bucket and everything that was charged to it.
    struct Model {
        tier: Tier,
        rate: u64,
        bucket: Bucket,
        charges: Vec<Charge>,
        now: Timestamp,
    }

    const START: Timestamp = Timestamp::from_secs(1);

    impl Model {
        fn new(rate: u64, burst: u64) -> Self {
            let bucket = Bucket::default();
            Model { tier: tier(rate, burst), rate, bucket, charges: Vec::new(), now: START }
        }

        fn wait(&mut self, time: Nanos) {
            self.now += time;
            self.bucket.advance(&self.tier, self.now);
        }

        fn charge(&mut self, items: u64) -> bool {
            self.bucket.advance(&self.tier, self.now);
            let fits = self.bucket.charge(&self.tier, &amount(items)).is_ok();
            if fits {
                self.charges.push(Charge { at: self.now, items, refunded: false });
            }
            fits
        }

        fn refund(&mut self, number: usize) {
            let Some(charge) = self.charges.get_mut(number).filter(|charge| !charge.refunded) else { return };
            charge.refunded = true;
            let Charge { at, items, .. } = *charge;
            self.bucket.advance(&self.tier, self.now);
            self.bucket.refund(&self.tier, &amount(items), at);
        }

        /// Asserts that everything that was sent, refunded or not, is within twice the quota.
        fn assert_bounded(&self) {
            let sent: u64 = self.charges.iter().map(|charge| charge.items).sum();
            let limit = self.tier.limits[Dimension::Items].unwrap();
            let allowed = limit.capacity * 1000 + limit.rate * self.now.since(START).get() / MS.get();
            assert!(sent * 1000 <= 2 * allowed, "{sent} of twice {allowed} / 1000");
        }

        /// The debt if what was refunded had never been sent, in 10^-9 items.
        fn exact(&self) -> u128 {
            let (mut debt, mut last) = (0u128, Timestamp::EPOCH);
            for charge in self.charges.iter().filter(|charge| !charge.refunded) {
                debt = debt.saturating_sub(u128::from(self.rate) * u128::from(charge.at.since(last).get()));
                debt += u128::from(charge.items) * 1_000_000_000;
                last = charge.at;
            }
            debt.saturating_sub(u128::from(self.rate) * u128::from(self.now.since(last).get()))
        }

        /// By how many items the debt is above that.
        fn lost(&self) -> u128 {
            let owed = u128::from(self.bucket.debts[Dimension::Items].owed.to_bits()) * 1_000_000_000;
            let exact = self.exact() << FRACTION_BITS;
            assert!(owed >= exact, "{} items too many are refunded", (exact - owed) >> FRACTION_BITS);
            ((owed - exact) / 1_000_000_000) >> FRACTION_BITS
        }
    }

    #[test]
    fn a_burst_that_is_rejected_as_a_whole_is_refunded_as_a_whole() {
        for order in [|n: usize| n, |n| 29 - n, |n| n * 7 % 30] {
            let mut model = Model::new(10, 30_000);
            for _ in 0..30 {
                assert!(model.charge(10));
            }
            assert!(!model.charge(1));
            model.wait(MS * 1000);
            for n in 0..30 {
                model.wait(MS);
                model.refund(order(n));
            }
            assert_eq!(model.bucket.debts[Dimension::Items].owed, Tokens::ZERO);
        }
    }

    #[test]
    fn nothing_is_lost_while_a_backend_rejects_everything_for_long() {
        let mut model = Model::new(1000, 4000);
        // The backend accepted half of the burst before.
        assert!(model.charge(2000));
        let mut rejected = 0;
        for _ in 0..2000 {
            model.wait(MS * 10);
            model.charge(10);
            // Answered a second later, two by two in reverse order.
            let answered = model.charges.len().saturating_sub(100) ^ 1;
            if answered > 1 {
                model.refund(answered);
                rejected += 1;
            }
        }
        assert!(rejected > 1500);
        for number in 1..model.charges.len() {
            model.refund(number);
        }
        assert_eq!(model.lost(), 0);
    }

    #[test]
    fn a_flood_that_is_rejected_sends_at_most_twice_the_quota() {
        let mut model = Model::new(1000, 4000);
        while model.now < Timestamp::from_secs(61) {
            model.wait(MS);
            while model.charge(50) {
                model.refund(model.charges.len() - 1);
            }
            model.assert_bounded();
        }
        let sent: u64 = model.charges.iter().map(|charge| charge.items).sum();
        assert!(sent > 2 * (4000 + 1000 * 60) * 95 / 100, "{sent}");
    }

    #[test]
    fn a_client_at_its_limit_gets_its_rate_although_half_is_rejected() {
        let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut model = Model::new(1000, 4000);
        let (mut in_flight, mut seconds) = (Vec::new(), 0);
        while seconds < 60 {
            seconds = model.now.since(START).get() / 1_000_000_000;
            model.wait(MS);
            while model.charge(10) {
                let answered = model.now + MS * u64::from(rng.next_u32() % 2000);
                in_flight.push((answered, model.charges.len() - 1, rng.next_u32().is_multiple_of(2)));
            }
            let now = model.now;
            for (_, number, rejected) in in_flight.extract_if(.., |(answered, ..)| *answered <= now) {
                if rejected {
                    model.refund(number);
                }
            }
        }
        let taken: u64 =
            model.charges.iter().filter(|charge| !charge.refunded).map(|charge| charge.items).sum();
        let allowed = 4000 + 1000 * 60;
        assert!(taken <= allowed + 1000, "{taken}");
        assert!(taken >= allowed * 95 / 100, "{taken} of {allowed}, {} lost", model.lost());
    }

    proptest! {
        // The rarest mistake that it should find takes some thousand cases.
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn no_debt_is_lower_than_without_the_refunded_charges(
            rate in 1..2000u64, burst in 100..5000u64,
            steps in prop::collection::vec((0..600u64, any::<bool>(), 0..500u64), 1..120),
        ) {
            let mut model = Model::new(rate, burst);
            for (gap, charge, what) in steps {
                model.wait(MS * gap);
                if charge {
                    model.charge(what);
                } else {
                    model.refund(what as usize % model.charges.len().max(1));
                }
                model.lost();
                model.assert_bounded();
            }
        }
    }
}
