//! The extension subjectAltName: the names of a client (RFC 5280, section 4.2.1.6).

use core::net::IpAddr;

use super::der::{Der, SEQUENCE, constructed, primitive};
use super::{MAX_NAMES, text};

/// The names in a subjectAltName of the kinds that rules can match, in the order of the certificate.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) uris: Vec<String>,
    pub(super) dns: Vec<String>,
    pub(super) emails: Vec<String>,
    pub(super) ips: Vec<IpAddr>,
}

const OTHER_NAME: u8 = constructed(0);
const RFC822_NAME: u8 = primitive(1);
const DNS_NAME: u8 = primitive(2);
const X400_ADDRESS: u8 = constructed(3);
const DIRECTORY_NAME: u8 = constructed(4);
const EDI_PARTY_NAME: u8 = constructed(5);
const URI: u8 = primitive(6);
const IP_ADDRESS: u8 = primitive(7);
const REGISTERED_ID: u8 = primitive(8);

impl Names {
    /// Reads the extension's value. `None` where it is malformed, or has more than [`MAX_NAMES`] names of all kinds.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let mut all = Der(Der(value).only(SEQUENCE)?);
        let mut names = Names::default();
        let mut count = 0;
        while !all.is_empty() {
            let name = all.next()?;
            count += 1;
            if count > MAX_NAMES {
                return None;
            }
            match name.tag {
                URI => names.uris.extend(uri(name.content)),
                DNS_NAME => names.dns.extend(dns(name.content)),
                RFC822_NAME => names.emails.extend(email(name.content)),
                IP_ADDRESS => names.ips.push(ip(name.content)?),
                OTHER_NAME | X400_ADDRESS | DIRECTORY_NAME | EDI_PARTY_NAME | REGISTERED_ID => {}
                _ => return None,
            }
        }
        Some(names)
    }
}

/// A URI, byte for byte.
pub(super) fn uri(bytes: &[u8]) -> Option<String> {
    ia5(bytes).map(str::to_owned)
}

/// A DNS name in lower case.
pub(super) fn dns(bytes: &[u8]) -> Option<String> {
    ia5(bytes).map(str::to_ascii_lowercase)
}

/// An e-mail address with its domain in lower case. The part before the last `@` is kept: mail servers may tell its
/// cases apart (RFC 5321, section 2.4).
fn email(bytes: &[u8]) -> Option<String> {
    let text = ia5(bytes)?;
    Some(match text.rsplit_once('@') {
        Some((user, domain)) => [user, "@", &domain.to_ascii_lowercase()].concat(),
        None => text.to_owned(),
    })
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// The text of an IA5String, which is ASCII.
fn ia5(bytes: &[u8]) -> Option<&str> {
    text(bytes).filter(|text| text.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::der::element;

    fn names(of: &[(u8, &[u8])]) -> Option<Names> {
        let all: Vec<u8> = of.iter().flat_map(|(tag, value)| element(*tag, value)).collect();
        Names::read(&element(SEQUENCE, &all))
    }

    #[test]
    fn each_kind_is_in_the_order_of_the_certificate() {
        let names = names(&[
            (URI, b"spiffe://Acme/b"),
            (DNS_NAME, b"B.Example"),
            (OTHER_NAME, b"anything"),
            (RFC822_NAME, b"Ann@Acme.Example"),
            (RFC822_NAME, b"\"A@B\"@C.D"),
            (RFC822_NAME, b"Acme"),
            (IP_ADDRESS, &[10, 0, 0, 1]),
            (URI, b"spiffe://acme/a"),
            (DNS_NAME, b"a.example"),
            (IP_ADDRESS, &[0xff; 16]),
        ])
        .unwrap();
        assert_eq!(names.uris, ["spiffe://Acme/b", "spiffe://acme/a"]);
        assert_eq!(names.dns, ["b.example", "a.example"]);
        assert_eq!(names.emails, ["Ann@acme.example", "\"A@B\"@c.d", "Acme"]);
        let [v4, v6] = names.ips[..] else { panic!("{names:?}") };
        assert_eq!(v4.to_string(), "10.0.0.1");
        assert!(v6.is_ipv6());
    }

    #[test]
    fn names_that_are_not_text_are_absent_and_others_stay() {
        let long = vec![b'a'; crate::identity::MAX_FIELD_BYTES + 1];
        for bytes in [&b""[..], b"a\0.example", b"a\nb", b"a\x7f", b"\xff", "zo\u{eb}".as_bytes(), &long] {
            for (tag, other) in [(URI, &b"u:1"[..]), (DNS_NAME, b"b.example"), (RFC822_NAME, b"a@b")] {
                let names = names(&[(tag, bytes), (tag, other)]).unwrap();
                let all = [names.uris, names.dns, names.emails].concat();
                assert_eq!(all, [String::from_utf8(other.to_vec()).unwrap()], "{tag}: {bytes:?}");
            }
        }
    }

    #[test]
    fn malformed_and_too_many_names_are_errors() {
        for (tag, value) in [
            (IP_ADDRESS, &[1, 2, 3][..]),
            (IP_ADDRESS, &[]),
            (IP_ADDRESS, &[0; 8]),
            (primitive(9), b"x"),
            (primitive(0), b"x"),
            (constructed(6), b"u:1"),
            (12, b"x"),
        ] {
            assert!(names(&[(DNS_NAME, b"a"), (tag, value)]).is_none(), "{tag}");
        }
        assert!(names(&[(DNS_NAME, &b"a"[..]); MAX_NAMES]).is_some());
        assert!(names(&[(DNS_NAME, &b"a"[..]); MAX_NAMES + 1]).is_none());
        // Skipped names count as well.
        assert!(names(&[(REGISTERED_ID, &b"a"[..]); MAX_NAMES + 1]).is_none());
    }
}
