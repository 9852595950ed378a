//! A certificate's subject or issuer.
//!
//! A trusted hop that does not forward its client's certificate forwards the subject as text, in the form that
//! [`super::distinguished_name`] describes. Text that is not in this form is rejected as a whole.

use core::iter::Peekable;
use core::slice::Iter;

use super::MAX_FIELD_BYTES;
use super::der::Der;
use super::distinguished_name::{name, value_of};

/// The keys of a subject in Envoy's text, by OID: BoringSSL's short names (`OBJ_nid2sn`). Other keys, such as
/// organizationIdentifier, are shown as the OID, with the value as `#` and hex.
pub const SUBJECT_KEYS: [(&str, &str); 35] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.16", "postalAddress"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.18", "postOfficeBox"),
    ("2.5.4.19", "physicalDeliveryOfficeName"),
    ("2.5.4.20", "telephoneNumber"),
    ("2.5.4.31", "member"),
    ("2.5.4.32", "owner"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.45", "x500UniqueIdentifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.51", "houseIdentifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.72", "role"),
    ("2.5.4.54", "dmdName"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.3", "mail"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("1.2.840.113549.1.9.2", "unstructuredName"),
    ("1.2.840.113549.1.9.8", "unstructuredAddress"),
];

/// Whether a text has the form of a subject's key: a name such as `CN`, or a dotted OID such as `2.5.4.3` (RFC 4514,
/// section 3).
pub fn is_subject_key(key: &str) -> bool {
    let oid = || {
        key.contains('.')
            && key.split('.').all(|arc| !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()))
    };
    let name = || {
        key.starts_with(|first: char| first.is_ascii_alphabetic())
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    oid() || name()
}

/// A key and its value; `None` where the value is not text that rules can match.
pub(super) type Attribute = (String, Option<String>);

/// A subject or issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    text: String,
    attributes: Vec<Attribute>,
}

impl Subject {
    /// Reads a Name in DER. `None` where it is malformed, empty, or longer than [`MAX_FIELD_BYTES`] as text.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let mut all = Der(der);
        let subject = name(&all.next()?)?;
        subject.filter(|_| all.is_empty())
    }

    pub(super) fn new(text: String, mut attributes: Vec<Attribute>) -> Self {
        for (_, value) in &mut attributes {
            // Values have no control characters, which could mislead readers of the attribute.
            *value = value.take().filter(|value| !value.contains(char::is_control));
        }
        Subject { text, attributes }
    }

    /// Parses RFC 2253 text. `None` where it is malformed, empty, or longer than [`MAX_FIELD_BYTES`].
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > MAX_FIELD_BYTES {
            return None;
        }
        let mut attributes = Vec::new();
        let mut rest = text.as_bytes().iter().peekable();
        loop {
            let key = key(&mut rest)?;
            let value = match rest.peek() {
                Some(b'#') => dumped_value(&mut rest)?,
                _ => escaped_value(&mut rest)?,
            };
            attributes.push((key, value));
            // Whether attributes are in one RDN (`+`) or in several (`,`) makes no difference.
            match rest.next() {
                None => return Some(Subject::new(text.to_owned(), attributes)),
                Some(b',' | b'+') => {}
                Some(_) => return None,
            }
        }
    }

    /// The whole subject, as Envoy writes it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value of a key (`CN`, `O`, `2.5.4.97`; letters of either case). `None` where the subject does not have the
    /// key exactly once, or where the value is not text.
    pub fn get(&self, key: &str) -> Option<&str> {
        let mut with_key = self.with_key(key);
        let value = with_key.next()?;
        if with_key.next().is_some() { None } else { value }
    }

    /// All keys with their values, in the order of the text; `None` where a value is not text.
    pub fn attributes(&self) -> impl DoubleEndedIterator<Item = (&str, Option<&str>)> {
        self.attributes.iter().map(|(key, value)| (key.as_str(), value.as_deref()))
    }

    /// All values of a key that are text, with repetitions.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.with_key(key).flatten()
    }

    fn with_key(&self, key: &str) -> impl Iterator<Item = Option<&str>> {
        let with_key = self.attributes.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(key));
        with_key.map(|(_, value)| value.as_deref())
    }
}

type Bytes<'a> = Peekable<Iter<'a, u8>>;

/// `CN=` or `2.5.4.3=`.
fn key(rest: &mut Bytes<'_>) -> Option<String> {
    let mut key = String::new();
    loop {
        match rest.next()? {
            b'=' if !key.is_empty() => return Some(key),
            byte if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') => {
                key.push(char::from(*byte))
            }
            _ => return None,
        }
    }
}

/// A string with escapes, up to the separator (RFC 2253 section 2.4, RFC 4514 section 2.4).
fn escaped_value(rest: &mut Bytes<'_>) -> Option<Option<String>> {
    let mut value = Vec::new();
    let mut ends_with_bare_space = false;
    while let Some(byte) = rest.next_if(|byte| !matches!(byte, b',' | b'+')) {
        ends_with_bare_space = *byte == b' ';
        match byte {
            b'\\' => value.push(escape(rest)?),
            b'"' | b'<' | b'>' | b';' | 0 => return None,
            b' ' if value.is_empty() => return None,
            _ => value.push(*byte),
        }
    }
    if ends_with_bare_space {
        return None;
    }
    Some(String::from_utf8(value).ok())
}

fn escape(rest: &mut Bytes<'_>) -> Option<u8> {
    match *rest.next()? {
        special @ (b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' | b'#' | b' ' | b'=') => Some(special),
        high => Some(hex(high)? << 4 | hex(*rest.next()?)?),
    }
}

/// `#` and the hex of a DER value. A value that is not a string gives `Some(None)`: present, but not comparable.
fn dumped_value(rest: &mut Bytes<'_>) -> Option<Option<String>> {
    rest.next();
    let mut der = Vec::new();
    while let Some(high) = rest.next_if(|byte| !matches!(byte, b',' | b'+')) {
        der.push(hex(*high)? << 4 | hex(*rest.next()?)?);
    }
    if der.is_empty() { None } else { Some(der_string(&der)) }
}

/// The text of a string that fills `der` exactly.
fn der_string(der: &[u8]) -> Option<String> {
    let mut all = Der(der);
    let value = all.next()?;
    value_of(&value).filter(|_| all.is_empty())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str, key: &str) -> Option<String> {
        Subject::parse(text)?.get(key).map(str::to_owned)
    }

    #[test]
    fn values_are_unescaped() {
        for (text, key, expected) in [
            ("CN=edge,O=Acme", "CN", "edge"),
            ("CN=edge,O=Acme", "o", "Acme"),
            (r"O=Acme\, Inc.,CN=x", "O", "Acme, Inc."),
            (r"CN=a\+b+OU=c", "CN", "a+b"),
            (r"CN=a\+b+OU=c", "OU", "c"),
            (r#"CN=\"quoted\" \\ \<x\>\; \#"#, "CN", r#""quoted" \ <x>; #"#),
            (r"CN=\ both ends\ ", "CN", " both ends "),
            (r"CN=\#1", "CN", "#1"),
            (r"CN=J\C3\BCrgen", "CN", "Jürgen"),
            (r"CN=J\c3\bcrgen", "CN", "Jürgen"),
            ("CN=Jürgen", "CN", "Jürgen"),
            ("CN=a=b", "CN", "a=b"),
            ("CN=a#b", "CN", "a#b"),
            ("emailAddress=a@b.example,CN=x", "emailAddress", "a@b.example"),
            ("2.5.4.97=#0C0441636D65,CN=x", "2.5.4.97", "Acme"),
            ("1.2.3=#130441636D65", "1.2.3", "Acme"),
            ("1.2.3=#160441636D65", "1.2.3", "Acme"),
            ("1.2.3=#1E0200E4", "1.2.3", "ä"),
            ("1.2.3=#1401E4", "1.2.3", "ä"),
            ("CN=,O=x", "CN", ""),
        ] {
            assert_eq!(value(text, key).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_repeated_key_has_no_value() {
        for text in ["CN=a,CN=b", "CN=a+CN=b", "CN=a,O=x,cn=a", "CN=a,CN=#0500"] {
            assert_eq!(value(text, "CN"), None, "{text}");
        }
    }

    #[test]
    fn a_repeated_key_has_several_values() {
        let subject = Subject::parse("OU=a,CN=x,ou=b+OU=c,OU=#0500,OU=a").unwrap();
        assert_eq!(subject.values("Ou").collect::<Vec<_>>(), ["a", "b", "c", "a"]);
        assert_eq!(subject.values("O").next(), None);
    }

    #[test]
    fn a_value_that_is_not_text_is_present_but_not_comparable() {
        for text in [
            "CN=#0500,O=x",
            "CN=#0C0541636D65,O=x",
            "CN=#0C0341636D65,O=x",
            "CN=#1302C3BC,O=x",
            "CN=#0C02C328,O=x",
            "CN=#1E01E4,O=x",
            "CN=#1E02D800,O=x",
            "CN=#0C810441636D65,O=x",
            "CN=#0C8300000141,O=x",
            r"CN=\C3\28,O=x",
            r"CN=a\00b,O=x",
            r"CN=a\0Ab,O=x",
        ] {
            assert_eq!(value(text, "CN"), None, "{text}");
            assert_eq!(value(text, "O").as_deref(), Some("x"), "{text}");
        }
    }

    #[test]
    fn malformed_text_is_not_a_subject() {
        for text in [
            "",
            "CN",
            "=x",
            "CN=x,",
            "CN=x,,O=y",
            "CN=x+",
            ",CN=x",
            r"CN=x\",
            r"CN=x\C",
            r"CN=x\zz",
            "CN=a;O=b",
            r#"CN="a, b""#,
            "CN= x",
            "CN=x ,O=y",
            "CN=x, O=y",
            "CN=#",
            "CN=#0",
            "CN=#0C0",
            "CN=#0Cxx",
            "C N=x",
            "CN=<x>",
        ] {
            assert_eq!(Subject::parse(text), None, "{text}");
        }
        assert_eq!(Subject::parse(&format!("CN={}", "x".repeat(MAX_FIELD_BYTES))), None);
    }

    #[test]
    fn the_text_is_kept() {
        assert_eq!(Subject::parse(r"O=Acme\, Inc.").unwrap().text(), r"O=Acme\, Inc.");
    }

    /// Escapes as BoringSSL does (RFC 2253, section 2.4).
    fn escape(value: &str) -> String {
        let last = value.len().saturating_sub(1);
        let escape_byte = |(at, byte): (usize, u8)| match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => format!("\\{}", char::from(byte)),
            b'#' if at == 0 => "\\#".to_owned(),
            b' ' if at == 0 || at == last => "\\ ".to_owned(),
            0x20..=0x7e => char::from(byte).to_string(),
            _ => format!("\\{byte:02X}"),
        };
        value.bytes().enumerate().map(escape_byte).collect()
    }

    proptest! {
        #[test]
        fn reads_back_what_an_escaper_writes(
            values in proptest::collection::vec(r#"[ #,+"\\<>;=a-cü€]{0,12}"#, 1..6),
            separators in proptest::collection::vec(any::<bool>(), 6),
        ) {
            let mut text = String::new();
            for (at, (value, plus)) in values.iter().zip(separators).enumerate() {
                let separator = match (at, plus) { (0, _) => "", (_, true) => "+", (_, false) => "," };
                text.push_str(&format!("{separator}1.2.{at}={}", escape(value)));
            }
            let subject = Subject::parse(&text).unwrap();
            for (at, value) in values.iter().enumerate() {
                prop_assert_eq!(subject.get(&format!("1.2.{at}")), Some(value.as_str()));
            }
        }

        #[test]
        fn no_text_panics(text in "[CNO=#,+\\\\0-9a-f \"]{0,40}") {
            if let Some(subject) = Subject::parse(&text) {
                subject.get("CN");
            }
        }
    }
}
