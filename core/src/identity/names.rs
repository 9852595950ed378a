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
