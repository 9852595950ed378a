//! Rates, bursts and sizes as text: `50k/s`, `4s`, `16MiB`.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Units per second, such as `200/s`, `50k/s` or `8MiB/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(Quantity);

/// Bytes, such as `16MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(Quantity);

/// A time, such as `4s` or `500ms`. Kept in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    millis: u64,
}

/// Why a text is not a rate, size or burst. The message says what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantityError(String);

impl Rate {
    /// Units per second.
    pub fn per_second(self) -> u64 {
        self.0.value()
    }

    /// Whether its unit is KiB, MiB or GiB, which only a rate of bytes has.
    pub fn is_binary(self) -> bool {
        matches!(self.0.unit, Unit::KiB | Unit::MiB | Unit::GiB)
    }
}

impl Size {
    pub(super) const fn new(amount: u32, unit: Unit) -> Self {
        // u32 x 2^30 fits in 64 bits
        Size(Quantity { amount: amount as u64, unit })
    }

    /// A size in GiB.
    pub const fn gib(amount: u32) -> Self {
        Size::new(amount, Unit::GiB)
    }

    /// Bytes.
    pub fn bytes(self) -> u64 {
        self.0.value()
    }
}

impl Burst {
    /// The burst as a duration.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.millis)
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Burst::default()
    }
}

impl Default for Burst {
    fn default() -> Self {
        Burst { millis: 4000 }
    }
}

/// An amount and its unit as written. `amount x unit` fits into 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Quantity {
    amount: u64,
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    One,
    K,
    M,
    G,
    KiB,
    MiB,
    GiB,
}

impl Quantity {
    fn value(self) -> u64 {
        self.amount.saturating_mul(self.unit.factor())
    }
}

impl Unit {
    const ALL: [Unit; 7] = [Unit::One, Unit::K, Unit::M, Unit::G, Unit::KiB, Unit::MiB, Unit::GiB];

    fn factor(self) -> u64 {
        match self {
            Unit::One => 1,
            Unit::K => 1000,
            Unit::M => 1_000_000,
            Unit::G => 1_000_000_000,
            Unit::KiB => 1 << 10,
            Unit::MiB => 1 << 20,
            Unit::GiB => 1 << 30,
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Unit::One => "",
            Unit::K => "k",
            Unit::M => "M",
            Unit::G => "G",
            Unit::KiB => "KiB",
            Unit::MiB => "MiB",
            Unit::GiB => "GiB",
        }
    }
}

impl FromStr for Rate {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let Some(quantity) = text.strip_suffix("/s") else {
            let per =
                if text.contains('/') { "rates are always per second" } else { "it must end with `/s`" };
            return Err(QuantityError(format!("`{text}` is not a rate: {per}, as in `200/s` or `8MiB/s`")));
        };
        quantity
            .parse()
            .map(Rate)
            .map_err(|problem| QuantityError(format!("`{text}` is not a rate: {problem}")))
    }
}

impl FromStr for Size {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        text.parse().map(Size).map_err(|problem| QuantityError(format!("`{text}` is not a size: {problem}")))
    }
}

impl FromStr for Burst {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (digits, unit) = split(text);
        let factor = match unit {
            "ms" => 1,
            "s" => 1000,
            "" => {
                return Err(QuantityError(format!("`{text}` is not a burst: it needs a unit, `s` or `ms`")));
            }
            _ => return Err(QuantityError(format!("`{text}` is not a burst: `{unit}` is not `s` or `ms`"))),
        };
        let amount: Option<u64> = digits.parse().ok();
        let millis = amount.and_then(|amount| amount.checked_mul(factor));
        millis.map(|millis| Burst { millis }).ok_or_else(|| {
            QuantityError(format!("`{text}` is not a burst: expected one such as `4s` or `500ms`"))
        })
    }
}

impl FromStr for Quantity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, suffix) = split(text);
        if digits.is_empty() {
            return Err("it does not start with a whole number".to_owned());
        }
        let Some(unit) = Unit::ALL.into_iter().find(|unit| unit.suffix() == suffix) else {
            return Err(format!(
                "`{suffix}` is not a unit: use k, M, G (1000), KiB, MiB, GiB (1024) or none"
            ));
        };
        let amount: u64 = digits.parse().map_err(|_| "the number is too large".to_owned())?;
        if amount.checked_mul(unit.factor()).is_none() {
            return Err("the number is too large".to_owned());
        }
        Ok(Quantity { amount, unit })
    }
}

/// The digits at the start, and the rest.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.amount, self.unit.suffix())
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.millis.is_multiple_of(1000) {
            write!(f, "{}s", self.millis / 1000)
        } else {
            write!(f, "{}ms", self.millis)
        }
    }
}

impl fmt::Display for QuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for QuantityError {}

/// serde and JSON Schema of a type that is written as text.
macro_rules! as_text {
    ($type:ident, $example:literal, $pattern:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($example)
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Text)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "pattern": $pattern, "description": $example})
            }
        }
    };
}

as_text!(Rate, "a rate such as `200/s`, `50k/s` or `8MiB/s`", "^[0-9]+(k|M|G|KiB|MiB|GiB)?/s$");
as_text!(Size, "a size such as `16MiB`", "^[0-9]+(k|M|G|KiB|MiB|GiB)?$");
as_text!(Burst, "a time such as `4s` or `500ms`", "^[0-9]+(s|ms)$");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_have_their_values() {
        for (text, per_second) in [
            ("200/s", 200),
            ("0/s", 0),
            ("50k/s", 50_000),
            ("3M/s", 3_000_000),
            ("2G/s", 2_000_000_000),
            ("5KiB/s", 5 << 10),
            ("8MiB/s", 8 << 20),
            ("1GiB/s", 1 << 30),
        ] {
            assert_eq!(text.parse::<Rate>().unwrap().per_second(), per_second, "{text}");
        }
        assert_eq!("16MiB".parse::<Size>().unwrap().bytes(), 16 << 20);
        assert_eq!("4s".parse::<Burst>().unwrap().duration(), Duration::from_secs(4));
        assert_eq!("500ms".parse::<Burst>().unwrap().duration(), Duration::from_millis(500));
        assert_eq!(Burst::default().to_string(), "4s");
    }

    #[test]
    fn invalid_texts_get_a_reason() {
        for (text, message) in [
            ("200", "`200` is not a rate: it must end with `/s`, as in `200/s` or `8MiB/s`"),
            ("200/min", "`200/min` is not a rate: rates are always per second, as in `200/s` or `8MiB/s`"),
            ("k/s", "`k/s` is not a rate: it does not start with a whole number"),
            ("/s", "`/s` is not a rate: it does not start with a whole number"),
            ("-1/s", "`-1/s` is not a rate: it does not start with a whole number"),
            (
                "1.5k/s",
                "`1.5k/s` is not a rate: `.5k` is not a unit: use k, M, G (1000), KiB, MiB, GiB (1024) or none",
            ),
            (
                "8MB/s",
                "`8MB/s` is not a rate: `MB` is not a unit: use k, M, G (1000), KiB, MiB, GiB (1024) or none",
            ),
            ("99999999999999999999/s", "`99999999999999999999/s` is not a rate: the number is too large"),
            ("18446744073709551615k/s", "`18446744073709551615k/s` is not a rate: the number is too large"),
        ] {
            assert_eq!(text.parse::<Rate>().unwrap_err().to_string(), message);
        }
        for (text, message) in [
            ("4", "`4` is not a burst: it needs a unit, `s` or `ms`"),
            ("4m", "`4m` is not a burst: `m` is not `s` or `ms`"),
            ("s", "`s` is not a burst: expected one such as `4s` or `500ms`"),
            (
                "18446744073709551615s",
                "`18446744073709551615s` is not a burst: expected one such as `4s` or `500ms`",
            ),
        ] {
            assert_eq!(text.parse::<Burst>().unwrap_err().to_string(), message);
        }
        assert_eq!(
            "16MiB/s".parse::<Size>().unwrap_err().to_string(),
            "`16MiB/s` is not a size: `MiB/s` is not a unit: use k, M, G (1000), KiB, MiB, GiB (1024) or none"
        );
    }

    fn unit() -> impl Strategy<Value = Unit> {
        proptest::sample::select(Unit::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn what_is_displayed_reads_back_the_same(amount in 0..=u64::MAX >> 31, unit in unit(), millis: u64) {
            let quantity = Quantity { amount, unit };
            prop_assert_eq!(Rate(quantity).to_string().parse(), Ok(Rate(quantity)));
            prop_assert_eq!(Size(quantity).to_string().parse(), Ok(Size(quantity)));
            let burst = Burst { millis };
            prop_assert_eq!(burst.to_string().parse(), Ok(burst));
        }

        #[test]
        fn no_text_panics(text in r"\PC{0,24}") {
            let _ = (text.parse::<Rate>(), text.parse::<Size>(), text.parse::<Burst>());
        }
    }
}
