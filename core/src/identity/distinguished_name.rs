//! Distinguished names in DER, and the text that Envoy makes of them.
//!
//! The text is RFC 2253's as BoringSSL writes it (`X509_NAME_print_ex` with `XN_FLAG_RFC2253`): the RDNs in reverse
//! order, no spaces between them, every byte above 0x7f and every control character as `\XX`, unknown attribute types
//! as dotted OIDs with a `#hex` dump of the DER value.

use core::fmt::Write;

use super::der::{Der, Element, OBJECT_IDENTIFIER, SEQUENCE, SET, oid};
use super::subject::{Attribute, SUBJECT_KEYS};
use super::{MAX_FIELD_BYTES, Subject};

/// Reads a Name (RFC 5280, section 4.1.2.4). The outer `None`: it is malformed. The inner `None`: it is empty, longer
/// than [`MAX_FIELD_BYTES`] as text, or has a string that is not valid for its type, for which BoringSSL writes
/// nothing.
pub(super) fn name(name: &Element<'_>) -> Option<Option<Subject>> {
    let mut rdns = Vec::new();
    let mut all = Der(name.content_of(SEQUENCE)?);
    while !all.is_empty() {
        rdns.push(all.content(SET)?);
    }
    let (mut text, mut attributes, mut is_readable) = (String::new(), Vec::new(), true);
    for rdn in rdns.into_iter().rev() {
        let mut set = Der(rdn);
        let mut pairs = Vec::new();
        while pairs.is_empty() || !set.is_empty() {
            let mut pair = Der(set.content(SEQUENCE)?);
            let key = oid(pair.content(OBJECT_IDENTIFIER)?)?;
            pairs.push((key, pair.next()?));
            pair.is_empty().then_some(())?;
        }
        let mut separator = ",";
        for (key, value) in pairs.into_iter().rev() {
            if !text.is_empty() {
                text.push_str(separator);
            }
            separator = "+";
            if let Some(attribute) = attribute(key, &value, &mut text).filter(|_| is_readable) {
                attributes.push(attribute);
            } else {
                is_readable = false;
            }
            if text.len() > MAX_FIELD_BYTES {
                is_readable = false;
                text.clear();
            }
        }
    }
    Some((is_readable && !text.is_empty()).then(|| Subject::new(text, attributes)))
}

/// Reads an attribute, and appends it to the text. `None` where its string is not valid for its type.
fn attribute(key: String, value: &Element<'_>, text: &mut String) -> Option<Attribute> {
    let short = SUBJECT_KEYS.iter().find(|(known, _)| *known == key).map(|(_, short)| *short);
    let decoded = string(value.tag, value.content);
    text.push_str(short.unwrap_or(&key));
    text.push('=');
    match (short, &decoded) {
        (Some(_), Some(string)) => push_escaped(text, string.as_deref()?),
        _ => {
            text.push('#');
            value.whole.iter().for_each(|byte| push_hex(text, *byte));
        }
    }
    let key = short.map_or(key, str::to_owned);
    Some((key, value_of(value)))
}

/// The value that rules match. Some programs read bytes above 0x7f in a string of an ASCII type as Latin-1, others as
/// UTF-8, so it then has none.
pub(super) fn value_of(value: &Element<'_>) -> Option<String> {
    let is_ascii = matches!(value.tag, 18 | 19 | 22 | 23 | 24 | 26);
    string(value.tag, value.content)?.filter(|text| !is_ascii || text.is_ascii())
}

/// The text of a value. The outer `None`: its type is not one that BoringSSL writes as text. The inner `None`: it is
/// not valid for its type.
fn string(tag: u8, content: &[u8]) -> Option<Option<String>> {
    const UTF8: u8 = 12;
    const UNIVERSAL: u8 = 28;
    const BMP: u8 = 30;
    match tag {
        UTF8 => Some(String::from_utf8(content.to_vec()).ok()),
        // NumericString, PrintableString, T61String, IA5String, UTCTime, GeneralizedTime and VisibleString, all read
        // as Latin-1.
        18 | 19 | 20 | 22 | 23 | 24 | 26 => Some(Some(content.iter().copied().map(char::from).collect())),
        UNIVERSAL => Some(wide::<4>(content)),
        BMP => Some(wide::<2>(content)),
        _ => None,
    }
}

/// Text whose characters have N bytes each, most significant first. Surrogates are not characters.
fn wide<const N: usize>(bytes: &[u8]) -> Option<String> {
    let (characters, rest) = bytes.as_chunks::<N>();
    let number = |bytes: &[u8; N]| bytes.iter().fold(0, |all, byte| all << 8 | u32::from(*byte));
    if !rest.is_empty() {
        return None;
    }
    characters.iter().map(|bytes| char::from_u32(number(bytes))).collect()
}

/// Appends a value with RFC 2253's escapes.
fn push_escaped(text: &mut String, value: &str) {
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        let is_special = match byte {
            b'\\' | b'"' | b',' | b'+' | b'<' | b'>' | b';' => true,
            b'#' => at == 0,
            b' ' => at == 0 || at == last,
            _ => false,
        };
        match byte {
            0x20..=0x7e => {
                if is_special {
                    text.push('\\');
                }
                text.push(char::from(byte));
            }
            // ASN1_STRFLGS_ESC_CTRL and ESC_MSB
            _ => {
                text.push('\\');
                push_hex(text, byte);
            }
        }
    }
}

fn push_hex(text: &mut String, byte: u8) {
    // Writing to a String does not fail.
    let _ = write!(text, "{byte:02X}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::der::element;

    /// The DER of an OID that begins with 2.5.4, of an attribute that X.520 has.
    fn pair(key: u8, tag: u8, value: &[u8]) -> Vec<u8> {
        let oid = element(OBJECT_IDENTIFIER, &[0x55, 4, key]);
        element(SEQUENCE, &[oid, element(tag, value)].concat())
    }

    fn of_rdns(rdns: &[Vec<u8>]) -> Vec<u8> {
        let sets: Vec<u8> = rdns.iter().flat_map(|pairs| element(SET, pairs)).collect();
        element(SEQUENCE, &sets)
    }

    fn text(rdns: &[Vec<u8>]) -> Option<String> {
        Subject::from_der(&of_rdns(rdns)).map(|subject| subject.text().to_owned())
    }

    const CN: u8 = 3;
    const UNKNOWN: u8 = 97;

    #[test]
    fn a_string_that_is_not_valid_for_its_type_makes_the_name_absent() {
        let o = pair(10, 12, b"x");
        for (tag, value) in [
            (12, &b"\xff"[..]),
            (12, b"\xed\xa0\x80"),
            (28, b"\0\0\0"),
            (28, b"\0\x11\0\0"),
            (30, b"\0a\0"),
            (30, b"\xd8\0\xdc\0"),
        ] {
            assert_eq!(text(&[o.clone(), pair(CN, tag, value)]), None, "{tag}: {value:?}");
            // Of an unknown key only the value is absent.
            let subject = Subject::from_der(&of_rdns(&[o.clone(), pair(UNKNOWN, tag, value)])).unwrap();
            assert_eq!((subject.get("O"), subject.get("2.5.4.97")), (Some("x"), None));
        }
    }

    #[test]
    fn bytes_that_programs_read_differently_have_no_value() {
        for (tag, value, read) in [
            (19, &b"Zo\xc3\xab"[..], None),
            (22, b"Zo\xeb", None),
            (26, b"Zo\xeb", None),
            (20, b"Zo\xeb", Some("Zo\u{eb}")),
            (12, b"Zo\xc3\xab", Some("Zo\u{eb}")),
            (12, b"a\0b", None),
            (12, b"a\nb", None),
            (12, b"a\xc2\x85b", None),
            (3, b"\0a", None),
        ] {
            let subject = Subject::from_der(&of_rdns(&[pair(CN, tag, value)])).unwrap();
            assert_eq!(subject.get("CN"), read, "{tag}: {value:?}");
        }
    }

    #[test]
    fn malformed_names_are_errors() {
        let cn = pair(CN, 12, b"a");
        let oid = element(OBJECT_IDENTIFIER, &[0x55, 4, CN]);
        let long: Vec<Vec<u8>> = (0..40).map(|_| pair(CN, 12, &[b'a'; 250])).collect();
        assert_eq!(text(&long), None);
        for malformed in [
            of_rdns(&[vec![]]),
            of_rdns(&[element(SEQUENCE, &oid)]),
            of_rdns(&[element(SEQUENCE, &[&oid[..], &[12, 0, 12, 0]].concat())]),
            of_rdns(&[element(SEQUENCE, &[&oid[..], &[0x2c, 0]].concat())]),
            element(SEQUENCE, &cn),
            [&of_rdns(core::slice::from_ref(&cn))[..], &[0]].concat(),
            of_rdns(&[[&cn[..], &[0]].concat()]),
        ] {
            assert_eq!(Subject::from_der(&malformed), None, "{malformed:?}");
        }
    }

    proptest! {
        /// Trusted hops forward the text, so it must mean the same.
        #[test]
        fn the_text_has_the_same_keys_and_values(
            rdns in prop::collection::vec(
                prop::collection::vec((prop::sample::select(vec![CN, 10, 11, UNKNOWN]), r#"[ #,+"\\\\<>;=a-c\x00ü€]{0,8}"#), 1..3),
                1..4,
            ),
        ) {
            let sets: Vec<Vec<u8>> = rdns
                .iter()
                .map(|pairs| pairs.iter().flat_map(|(key, value)| pair(*key, 12, value.as_bytes())).collect())
                .collect();
            let subject = Subject::from_der(&of_rdns(&sets)).unwrap();
            prop_assert_eq!(Subject::parse(subject.text()), Some(subject.clone()));
            let all: Vec<&str> = rdns.iter().flatten().map(|(_, value)| value.as_str()).collect();
            let read: Vec<Option<&str>> = subject.attributes().rev().map(|(_, value)| value).collect();
            let clean = all.into_iter().map(|value| Some(value).filter(|value| !value.contains('\0')));
            prop_assert_eq!(read, clean.collect::<Vec<_>>());
        }
    }
}
