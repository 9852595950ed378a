//! Serial numbers and the numbers of revocation lists.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An unsigned INTEGER of any length: a certificate's serial number (RFC 5280 section 4.1.2.2) or the number of a
/// revocation list (section 5.2.3). Written as lower-case hex with an even number of digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Number(Vec<u8>);

impl Number {
    /// The number whose bytes these are, most significant byte first.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        match bytes.get(zeros..) {
            Some(bytes) if !bytes.is_empty() => Number(bytes.to_vec()),
            _ => Number(vec![0]),
        }
    }

    /// Its bytes, most significant byte first, without leading zeros.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The next higher number.
    #[must_use]
    pub(crate) fn next(&self) -> Self {
        let mut bytes = self.0.clone();
        for byte in bytes.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return Number(bytes);
            }
        }
        bytes.insert(0, 1);
        Number(bytes)
    }
}

impl FromStr for Number {
    type Err = &'static str;

    /// Hex digits in either case, with or without colons, a leading `0x` or leading zeros, as OpenSSL and browsers
    /// print them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: String = text.chars().filter(|it| *it != ':').collect();
        let digits = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")).unwrap_or(&digits);
        if digits.is_empty() {
            return Err("no hex digits");
        }
        let padding = if digits.len().is_multiple_of(2) { "" } else { "0" };
        let bytes = HEXLOWER_PERMISSIVE.decode(format!("{padding}{digits}").as_bytes());
        bytes.map(|bytes| Number::from_bytes(&bytes)).map_err(|_| "not hex digits")
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|why| serde::de::Error::custom(format_args!("`{text}`: {why}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_openssl_and_browsers_print_them() {
        for text in ["0a1b", "A1B", "0A:1B", "0x0a1b", "000a1b"] {
            let number: Number = text.parse().unwrap();
            assert_eq!(number.as_bytes(), [0x0a, 0x1b], "{text}");
            assert_eq!(number.to_string(), "0a1b");
        }
        assert_eq!("0".parse::<Number>().unwrap().as_bytes(), [0]);
        for text in ["", "xyz", "0x", "a b", "é"] {
            assert!(text.parse::<Number>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_next_number_is_one_higher_at_any_length() {
        for (number, next) in [("01", "02"), ("ff", "0100"), ("01ffff", "020000"), ("7fff", "8000")] {
            let number: Number = number.parse().unwrap();
            assert_eq!(number.next().to_string(), next);
            assert!(number < number.next());
        }
    }
}
