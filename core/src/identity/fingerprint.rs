//! The SHA-256 fingerprint of a certificate, as text.

use core::fmt;

/// The SHA-256 of a certificate's DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Reads 64 hex digits of either case, with or without colons between bytes (as in the output of `openssl x509
    /// -fingerprint`).
    ///
    /// # Errors
    /// The number of digits, or a character that is not allowed.
    pub fn parse(text: &str) -> Result<Self, FingerprintError> {
        let mut digest = [0; 32];
        let mut digits = 0_usize;
        // By bytes, to be fast: trusted hops send a fingerprint with every request.
        for (at, byte) in text.bytes().enumerate() {
            let value = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                b'A'..=b'F' => byte - b'A' + 10,
                b':' if is_between_bytes(text, at, digits) => continue,
                _ => {
                    let character = text.get(at..).and_then(|rest| rest.chars().next());
                    return Err(FingerprintError::Character(character.unwrap_or_default()));
                }
            };
            if let Some(byte) = digest.get_mut(digits / 2) {
                *byte = (*byte << 4) | value;
            }
            digits += 1;
        }
        if digits == 64 { Ok(Fingerprint(digest)) } else { Err(FingerprintError::Length(digits)) }
    }

    /// The digest of 64 hex digits that Envoy reports.
    pub(crate) fn from_hex(hex: &[u8]) -> Option<[u8; 32]> {
        let text = core::str::from_utf8(hex).ok()?;
        Fingerprint::parse(text).ok().map(|Fingerprint(digest)| digest)
    }

    /// 64 lower-case hex digits.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let nibbles = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        nibbles.filter_map(|nibble| DIGITS.get(usize::from(nibble))).map(|digit| char::from(*digit)).collect()
    }
}

/// Whether a colon is allowed here, after `digits` digits.
fn is_between_bytes(text: &str, at: usize, digits: usize) -> bool {
    let next = text.as_bytes().get(at + 1);
    digits > 0 && digits.is_multiple_of(2) && next.is_some_and(|next| *next != b':')
}

/// Why a text is not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FingerprintError {
    /// This number of hex digits instead of 64.
    Length(usize),
    /// Neither a hex digit nor a colon between two bytes.
    Character(char),
}

impl fmt::Display for FingerprintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FingerprintError::Length(digits) => {
                write!(f, "a SHA-256 fingerprint has 64 hex digits, this one has {digits}")
            }
            FingerprintError::Character(character) => {
                write!(f, "`{}` is not a hex digit", character.escape_debug())
            }
        }
    }
}

impl core::error::Error for FingerprintError {}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn case_and_colons_make_no_difference() {
        let upper = HEX.to_uppercase();
        let pairs: Vec<&str> = (0..32).map(|byte| &upper[2 * byte..2 * byte + 2]).collect();
        for text in [HEX, &upper, &pairs.join(":")] {
            assert_eq!(Fingerprint::parse(text).unwrap().hex(), HEX, "{text}");
        }
    }

    #[test]
    fn anything_else_is_an_error() {
        for (text, error) in [
            (String::new(), FingerprintError::Length(0)),
            (HEX[..62].to_owned(), FingerprintError::Length(62)),
            (format!("{HEX}00"), FingerprintError::Length(66)),
            (format!("{}g", &HEX[..63]), FingerprintError::Character('g')),
            (format!(":{HEX}"), FingerprintError::Character(':')),
            (format!("{HEX}:"), FingerprintError::Character(':')),
            (format!("9:{}", &HEX[1..]), FingerprintError::Character(':')),
            (format!("9f::{}", &HEX[2..]), FingerprintError::Character(':')),
            (format!("sha256:{HEX}"), FingerprintError::Character('s')),
            (format!("{}ü", &HEX[..63]), FingerprintError::Character('ü')),
        ] {
            assert_eq!(Fingerprint::parse(&text), Err(error), "{text}");
        }
    }
}
