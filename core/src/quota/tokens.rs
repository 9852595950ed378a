//! Tokens: what buckets compute with. One token pays for one unit (a request, a byte, an item).

use core::ops::{Add, AddAssign, Div, Sub, SubAssign};

use super::tier::Limit;
use crate::time::Nanos;

/// Tokens are counted in 2^-24, so that a rate of 1/s still earns something in each microsecond. With
/// [`MAX_CAPACITY`](super::tier::MAX_CAPACITY) they fit in 63 bits.
pub(super) const FRACTION_BITS: u32 = 24;

/// 2^24 / 10^9 is 2^15 / 5^9, which leaves room for usual rates and times in 64 bits. WebAssembly divides 128 bits by a
/// loop, and each request takes a dozen of these divisions.
const TICK_BITS: u32 = FRACTION_BITS - 9;
const TICKS: u64 = 5_u64.pow(9);

/// A number of tokens, in fixed point: multiples of 2^-24. Arithmetic saturates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Tokens(u64);

impl Tokens {
    pub(super) const ZERO: Tokens = Tokens(0);
    pub(super) const ONE: Tokens = Tokens(1 << FRACTION_BITS);
    pub(super) const MAX: Tokens = Tokens(u64::MAX);

    /// The tokens that pay for so many units, which are at most [`MAX_CAPACITY`](super::tier::MAX_CAPACITY).
    pub(super) const fn of(units: u64) -> Self {
        Tokens(units << FRACTION_BITS)
    }

    /// How many whole units these tokens pay for.
    pub(super) const fn units(self) -> u64 {
        self.0 >> FRACTION_BITS
    }

    /// The amount that is this much more than `other`, in multiples of 2^-24.
    pub(super) const fn change_from(self, Tokens(other): Tokens) -> i64 {
        self.0.cast_signed().saturating_sub(other.cast_signed())
    }

    /// These tokens and an amount in multiples of 2^-24; no less than none.
    pub(super) fn plus(self, amount: i64) -> Tokens {
        Tokens(self.0.saturating_add_signed(amount))
    }

    /// The number that is stored: multiples of 2^-24.
    pub(super) const fn to_bits(self) -> u64 {
        self.0
    }

    /// The tokens that are stored as this number.
    pub(super) const fn from_bits(bits: u64) -> Self {
        Tokens(bits)
    }
}

impl Add for Tokens {
    type Output = Tokens;

    fn add(self, other: Tokens) -> Tokens {
        Tokens(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Tokens {
    fn add_assign(&mut self, other: Tokens) {
        *self = *self + other;
    }
}

impl Sub for Tokens {
    type Output = Tokens;

    fn sub(self, other: Tokens) -> Tokens {
        Tokens(self.0.saturating_sub(other.0))
    }
}

impl SubAssign for Tokens {
    fn sub_assign(&mut self, other: Tokens) {
        *self = *self - other;
    }
}

impl Div<u64> for Tokens {
    type Output = Tokens;

    fn div(self, parts: u64) -> Tokens {
        Tokens(self.0 / parts)
    }
}

impl Limit {
    /// The tokens that the bucket may owe.
    pub(super) const fn tokens(self) -> Tokens {
        Tokens::of(self.capacity)
    }

    /// The tokens that are earned in this time, rounded down: never more than the rate allows.
    pub(super) fn earned(self, elapsed: Nanos) -> Tokens {
        let (rate, elapsed) = (self.rate, elapsed.get());
        if rate.leading_zeros() + elapsed.leading_zeros() >= u64::BITS + TICK_BITS {
            return Tokens(((rate * elapsed) << TICK_BITS) / TICKS);
        }
        let earned = (u128::from(rate) * u128::from(elapsed)).checked_mul(1 << TICK_BITS);
        let earned = earned.and_then(|earned| u64::try_from(earned / u128::from(TICKS)).ok());
        earned.map_or(Tokens::MAX, Tokens)
    }

    /// The time that it takes to earn these tokens, rounded up.
    pub(super) fn time_to_earn(self, Tokens(tokens): Tokens) -> Nanos {
        let rate = self.rate.max(1);
        if rate < 1 << 28 && tokens < 1 << 58 {
            let per_tick = rate << TICK_BITS;
            let (whole, rest) = (tokens / per_tick, tokens % per_tick);
            return Nanos::new(whole * TICKS + (rest * TICKS).div_ceil(per_tick));
        }
        let per_tick = u128::from(rate) << TICK_BITS;
        let nanos = (u128::from(tokens) * u128::from(TICKS)).div_ceil(per_tick);
        u64::try_from(nanos).map_or(Nanos::MAX, Nanos::new)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers of every length.
    fn number() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0..u64::BITS).prop_map(|(number, shift)| number >> shift)
    }

    proptest! {
        #[test]
        fn earned_and_time_to_earn_are_exact(rate in number(), nanos in number(), tokens in number()) {
            let limit = Limit { rate, capacity: 0 };
            let earned = (u128::from(rate) * u128::from(nanos)).checked_mul(1 << FRACTION_BITS);
            let earned = earned.and_then(|earned| u64::try_from(earned / 1_000_000_000).ok());
            prop_assert_eq!(limit.earned(Nanos::new(nanos)), earned.map_or(Tokens::MAX, Tokens));
            let time = (u128::from(tokens) * 1_000_000_000).div_ceil(u128::from(rate.max(1)) << FRACTION_BITS);
            let time = u64::try_from(time).map_or(Nanos::MAX, Nanos::new);
            prop_assert_eq!(limit.time_to_earn(Tokens(tokens)), time);
        }
    }
}
