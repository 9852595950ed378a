//! Times in a certificate, and their text.

use super::der::{Element, GENERALIZED_TIME, UTC_TIME};

/// A UTCTime or GeneralizedTime in the form that RFC 5280 allows (section 4.1.2.5), in seconds since the epoch.
pub(super) fn time(element: &Element<'_>) -> Option<i64> {
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
    year * 365 + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (month * 153 + 2) / 5
        + day
        - 1
        - 719_468
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::der::INTEGER;

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
        // January and February of the year 0 are counted to the year before.
        assert_eq!(read(GENERALIZED_TIME, "00000101000000Z"), Some(-62_167_219_200));
        assert_eq!(read(GENERALIZED_TIME, "00000301000000Z"), Some(-62_162_035_200));
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

    proptest! {
        #[test]
        fn a_time_is_displayed_as_it_was_read(seconds in 0i64..253_402_300_800) {
            let written = Utc(seconds).to_string();
            let digits: String = written.chars().filter(|it| it.is_ascii_digit()).collect();
            let text = format!("{digits}Z");
            let element = Element { tag: GENERALIZED_TIME, whole: &[], content: text.as_bytes() };
            prop_assert_eq!(time(&element), Some(seconds), "{}", written);
        }
    }
}
