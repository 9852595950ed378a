//! A certificate's validity, serial number, key and signed part, read from its DER.
//!
//! Envoy's properties of a certificate do not have these, so the DER is read as far as needed (RFC 5280, section 4.1).
//! The proxy has validated the certificate. What this reader does not understand is an error, never a guess.

use sha2::{Digest, Sha256};

use crate::time::Timestamp;

/// How far the clock may have been set back since the handshake before a certificate counts as not yet valid, in
/// seconds. The end of its validity has no leeway: it is checked with the same clock as in the handshake.
const START_LEEWAY: i64 = 300;

/// The fields of a certificate besides its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The serial number, most significant byte first, without leading zeros.
    pub serial: Vec<u8>,
    /// The SHA-256 of the signed part (TBSCertificate). Only the issuer can make a certificate with another signed
    /// part.
    pub signed: [u8; 32],
    /// The SHA-256 of the public key (SubjectPublicKeyInfo), as `openssl pkey -pubin -outform der | sha256sum` gives
    /// it.
    pub key: [u8; 32],
    /// Its validity.
    pub validity: Validity,
    /// The fingerprint of the same certificate with the other valid ECDSA signature, which its holder can compute from
    /// the first; `None` for other signatures.
    pub other_fingerprint: Option<[u8; 32]>,
}

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

impl Certificate {
    /// Reads a certificate. `None` where the bytes are not exactly one certificate in DER.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let mut outer = Der(der);
        let mut certificate = Der(outer.only(SEQUENCE)?);
        let signed = certificate.next()?;
        let algorithm = certificate.next()?;
        let signature = certificate.only(BIT_STRING)?;
        let mut tbs = Der(signed.content_of(SEQUENCE)?);
        let mut serial = tbs.next()?;
        if serial.tag == VERSION {
            serial = tbs.next()?;
        }
        let serial = serial.content_of(INTEGER)?;
        let inner_algorithm = tbs.next()?;
        let _issuer = tbs.next()?.content_of(SEQUENCE)?;
        let mut validity = Der(tbs.next()?.content_of(SEQUENCE)?);
        let (not_before, not_after) = (time(&validity.next()?)?, time(&validity.next()?)?);
        let _subject = tbs.next()?.content_of(SEQUENCE)?;
        let key = tbs.next()?;
        key.content_of(SEQUENCE)?;
        if serial.is_empty() || !validity.0.is_empty() || algorithm.whole != inner_algorithm.whole {
            return None;
        }
        let leading_zeros = serial.iter().take_while(|byte| **byte == 0).count();
        let other = signature
            .strip_prefix(&[0])
            .and_then(other_signature)
            .map(|signature| certificate_of(signed.whole, algorithm.whole, &signature));
        Some(Certificate {
            serial: serial.get(leading_zeros..).unwrap_or_default().to_vec(),
            signed: sha256(signed.whole),
            key: sha256(key.whole),
            validity: Validity { not_before, not_after },
            other_fingerprint: other.map(|other| sha256(&other)),
        })
    }
}

/// The SHA-256 of these bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0] EXPLICIT`, which is left out in version 1.
const VERSION: u8 = 0xa0;

/// The elements of DER that are not yet read.
struct Der<'a>(&'a [u8]);

struct Element<'a> {
    tag: u8,
    whole: &'a [u8],
    content: &'a [u8],
}

impl<'a> Der<'a> {
    /// The next element. Lengths have their shortest form (X.690, section 10.1). Tags of more than one byte occur in a
    /// certificate only in parts that are skipped.
    fn next(&mut self) -> Option<Element<'a>> {
        let all = self.0;
        let (&tag, rest) = all.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            let count = usize::from(first & 0x7f);
            let (bytes, behind) = rest.split_at_checked(count)?;
            if !(1..=3).contains(&count) || bytes.first() == Some(&0) {
                return None;
            }
            length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            if length < 0x80 {
                return None;
            }
            rest = behind;
        }
        let (content, behind) = rest.split_at_checked(length)?;
        self.0 = behind;
        let whole = all.get(..all.len() - behind.len())?;
        (tag & 0x1f != 0x1f).then_some(Element { tag, whole, content })
    }

    /// The content of the last element, if it is the only one left.
    fn only(&mut self, tag: u8) -> Option<&'a [u8]> {
        let content = self.next()?.content_of(tag)?;
        self.0.is_empty().then_some(content)
    }
}

impl<'a> Element<'a> {
    fn content_of(&self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.content)
    }
}

/// A UTCTime or GeneralizedTime in the form that RFC 5280 allows (section 4.1.2.5), in seconds since the epoch.
fn time(element: &Element<'_>) -> Option<i64> {
    let (year, rest) = match (element.tag, element.content.len()) {
        (UTC_TIME, 13) => {
            let (year, rest) = element.content.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        (GENERALIZED_TIME, 15) => {
            let (year, rest) = element.content.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    let mut parts = rest.strip_suffix(b"Z")?.chunks_exact(2).map(number);
    let mut part = |least: i64, most: i64| parts.next()?.filter(|part| (least..=most).contains(part));
    let (month, day) = (part(1, 12)?, part(1, 31)?);
    let (hour, minute, second) = (part(0, 23)?, part(0, 59)?, part(0, 59)?);
    let february = if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 29 } else { 28 };
    let most = match month {
        2 => february,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (day <= most).then(|| ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(*digit - b'0')))
}

/// Days since 1970-01-01 in the Gregorian calendar. Years are counted from March here, so that a leap day is the last
/// day.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// Seconds since the Unix epoch, displayed as RFC 3339.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Utc(pub(crate) i64);

impl core::fmt::Display for Utc {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (days, seconds) = (self.0.div_euclid(86_400), self.0.rem_euclid(86_400));
        // The inverse of `days`. The calendar repeats every 400 years, which have 146,097 days.
        let (era, day) = ((days + 719_468).div_euclid(146_097), (days + 719_468).rem_euclid(146_097));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (year, month) =
            (era * 400 + year + i64::from(month > 9), if month < 10 { month + 3 } else { month - 9 });
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// The orders of the curves whose signatures Envoy verifies (SEC 2, section 2.4 to 2.6; NIST SP 800-186).
const ORDERS: [&[u8]; 4] = [
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x16\xa2\xe0\xb8\xf0\x3e\x13\xdd\x29\x45\x5c\x5c\x2a\x3d",
    b"\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xc7\x63\x4d\x81\xf4\x37\x2d\xdf\x58\x1a\x0d\xb2\x48\xb0\xa7\x7a\xec\xec\x19\x6a\xcc\xc5\x29\x73",
    b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfa\x51\x86\x87\x83\xbf\x2f\x96\x6b\x7f\xcc\x01\x48\xf7\x09\xa5\xd0\x3b\xb5\xc9\xb8\x89\x9c\x47\xae\xbb\x6f\xb7\x1e\x91\x38\x64\x09",
];

/// The other valid signature of the same bytes, if this is an ECDSA signature (RFC 3279, section 2.2.3): for `(r, s)`
/// it is `(r, n - s)`. The curve is that of the issuer's key, which is unknown here, but its order is as long as the
/// numbers.
fn other_signature(signature: &[u8]) -> Option<Vec<u8>> {
    let mut outer = Der(signature);
    let mut pair = Der(outer.only(SEQUENCE)?);
    let r = pair.next()?;
    let s = pair.only(INTEGER)?;
    let magnitude = |bytes: &'_ [u8]| bytes.iter().skip_while(|byte| **byte == 0).count();
    let longest = magnitude(r.content_of(INTEGER)?).max(magnitude(s));
    // Numbers that are 8 bytes shorter than the order occur in about one of 2^64 signatures.
    let order = ORDERS.into_iter().find(|order| (order.len() - 7..=order.len()).contains(&longest))?;
    let mut padded = vec![0; order.len()];
    let significant = s.get(s.len() - magnitude(s)..)?;
    padded.get_mut(order.len() - significant.len()..)?.copy_from_slice(significant);
    let mut borrow = 0;
    let mut other: Vec<u8> = Vec::with_capacity(order.len() + 1);
    for (n, s) in order.iter().zip(&padded).rev() {
        let difference = i16::from(*n) - i16::from(*s) - borrow;
        borrow = i16::from(difference < 0);
        other.push((difference & 0xff) as u8);
    }
    if borrow != 0 {
        return None;
    }
    while other.last() == Some(&0) {
        other.pop();
    }
    if other.last().is_none_or(|first| *first >= 0x80) {
        other.push(0);
    }
    other.reverse();
    let numbers = [r.whole, &element(INTEGER, &other)].concat();
    Some(element(SEQUENCE, &numbers))
}

/// The certificate of a signed part, an algorithm and a signature.
fn certificate_of(signed: &[u8], algorithm: &[u8], signature: &[u8]) -> Vec<u8> {
    let bits = element(BIT_STRING, &[&[0], signature].concat());
    element(SEQUENCE, &[signed, algorithm, &bits].concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let length = length.get(zeros..).unwrap_or_default();
    let mut out = vec![tag];
    if content.len() >= 0x80 {
        out.push(0x80 | length.len() as u8);
        out.extend_from_slice(length);
    } else {
        out.push(content.len() as u8);
    }
    out.extend_from_slice(content);
    out
}

/// The same certificate with the other ECDSA signature, as its holder can make it.
#[cfg(test)]
pub(crate) fn with_other_signature(certificate: &[u8]) -> Vec<u8> {
    let mut parts = Der(Der(certificate).only(SEQUENCE).unwrap());
    let (signed, algorithm) = (parts.next().unwrap(), parts.next().unwrap());
    let signature = parts.only(BIT_STRING).unwrap();
    certificate_of(signed.whole, algorithm.whole, &other_signature(&signature[1..]).unwrap())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Nanos;
    use proptest::prelude::*;

    const P256: &str = include_str!("testdata/p256.pem");
    const RSA: &str = include_str!("testdata/rsa.pem");
    // Printed by testdata/make.py.
    const EC_SERIAL: &str = "8f3a0000000000000000000000000001";
    const EC_KEY: &str = "0cef767f548cde8ac55ddb2cbc1ed401d136003bc286da3352e790ad8f2a4af2";
    const EC_SIGNED: &str = "309e46977b6248d876397bd7197519797315a434026291c997e0df778bb74615";
    const RSA_SERIAL: &str = "7b";
    const RSA_KEY: &str = "2cd33076d80d7030ff6fdd859eb73e7c683271403345da1fe7c66a9366abd168";

    fn der(pem: &str) -> Vec<u8> {
        use base64::Engine;
        let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        base64::engine::general_purpose::STANDARD.decode(text).unwrap()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_certificate_is_read_as_by_another_implementation() {
        let ecdsa = Certificate::parse(&der(P256)).unwrap();
        assert_eq!(hex(&ecdsa.serial), EC_SERIAL);
        assert_eq!(hex(&ecdsa.key), EC_KEY);
        assert_eq!(hex(&ecdsa.signed), EC_SIGNED);
        assert_eq!(ecdsa.validity, Validity { not_before: 1_795_000_000, not_after: 2_110_000_000 });
        let rsa = Certificate::parse(&der(RSA)).unwrap();
        assert_eq!((hex(&rsa.serial), hex(&rsa.key)), (RSA_SERIAL.to_owned(), RSA_KEY.to_owned()));
        // Its end is a GeneralizedTime: 2051-01-01T00:00:00Z.
        assert_eq!(rsa.validity.not_after, 2_556_144_000);
        assert_eq!(rsa.other_fingerprint, None);
    }

    #[test]
    fn the_other_signature_of_the_other_signature_is_the_first() {
        let first = der(P256);
        let read = Certificate::parse(&first).unwrap();
        let other = with_other_signature(&first);
        assert_ne!(other, first);
        let back = Certificate::parse(&other).unwrap();
        assert_eq!(read.other_fingerprint, Some(sha256(&other)));
        assert_eq!(back.other_fingerprint, Some(sha256(&first)));
        let without = |certificate| Certificate { other_fingerprint: None, ..certificate };
        assert_eq!(without(back), without(read));
    }

    #[test]
    fn only_signatures_of_the_supported_curves_have_another() {
        for order in ORDERS {
            let one = element(
                SEQUENCE,
                &[element(INTEGER, &[&[0][..], &order[1..]].concat()), element(INTEGER, &[1])].concat(),
            );
            // n - 1
            let mut last = order.to_vec();
            *last.last_mut().unwrap() -= 1;
            let last = if last[0] >= 0x80 { [&[0][..], &last].concat() } else { last };
            let other = other_signature(&one).unwrap();
            assert!(other.ends_with(&element(INTEGER, &last)), "{order:?}");
            assert_eq!(other_signature(&other), Some(one));
        }
        let zero = element(SEQUENCE, &[element(INTEGER, &[1]), element(INTEGER, &[1])].concat());
        assert_eq!(other_signature(&zero), None);
        assert_eq!(other_signature(&[5; 256]), None);
    }

    #[test]
    fn times_are_read_to_the_second_and_malformed_ones_are_errors() {
        let read = |tag, text: &str| time(&Element { tag, whole: &[], content: text.as_bytes() });
        for (text, seconds) in [
            ("700101000000Z", 0),
            ("691231235959Z", -1),
            ("000229000000Z", 951_782_400),
            ("491231235959Z", 2_524_607_999),
            ("500101000000Z", -631_152_000),
        ] {
            assert_eq!(read(UTC_TIME, text), Some(seconds), "{text}");
        }
        assert_eq!(read(GENERALIZED_TIME, "99991231235959Z"), Some(253_402_300_799));
        for text in [
            "230229000000Z",
            "231301000000Z",
            "230100000000Z",
            "230101240000Z",
            "230101000060Z",
            "2301010000Z",
            "230101000000+0100",
            "23010100000aZ",
            "230101000000z",
            "-30101000000Z",
        ] {
            assert_eq!(read(UTC_TIME, text), None, "{text}");
        }
        assert_eq!(read(GENERALIZED_TIME, "700101000000Z"), None);
        assert_eq!(read(INTEGER, "700101000000Z"), None);
    }

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

    #[test]
    fn missing_or_additional_bytes_are_errors() {
        let certificate = der(P256);
        assert_eq!(Certificate::parse(&[&certificate[..], &[0]].concat()), None);
        for end in 0..certificate.len() {
            assert_eq!(Certificate::parse(&certificate[..end]), None, "{end}");
        }
        // The length in a longer form than it needs.
        let long = [&[0x30, 0x83, 0][..], &certificate[2..]].concat();
        assert_eq!(Certificate::parse(&long), None);
    }

    proptest! {
        #[test]
        fn a_time_is_displayed_as_it_was_read(seconds in 0i64..253_402_300_800) {
            let written = Utc(seconds).to_string();
            let digits: String = written.chars().filter(|it| it.is_ascii_digit()).collect();
            let text = format!("{digits}Z");
            let element = Element { tag: GENERALIZED_TIME, whole: &[], content: text.as_bytes() };
            prop_assert_eq!(time(&element), Some(seconds), "{}", written);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Certificate::parse(&bytes);
        }

        #[test]
        fn a_changed_byte_never_keeps_the_signed_part_and_the_serial(at in 0..400usize, to in any::<u8>()) {
            let mut certificate = der(P256);
            let before = Certificate::parse(&certificate).unwrap();
            prop_assume!(at < certificate.len() && certificate[at] != to);
            certificate[at] = to;
            if let Some(after) = Certificate::parse(&certificate) {
                // The change is in the signed part, or in the signature.
                prop_assert!(after.signed != before.signed || after.other_fingerprint != before.other_fingerprint);
            }
        }
    }
}
