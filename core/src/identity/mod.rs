//! A client's identity: the names in its validated certificate.
//!
//! The holder of a certificate may have chosen most of these bytes, so they are not trusted: a name that is not text,
//! too long or has control characters is treated as absent. A certificate that is malformed is not read at all.

mod authority;
mod certificate;
pub mod certificate_header;
#[cfg(test)]
mod corpus;
mod der;
mod distinguished_name;
mod extensions;
mod fingerprint;
mod hex;
mod issuer;
mod names;
mod signature;
mod subject;
mod time;
mod usage;
mod validity;
#[cfg(feature = "verify")]
mod verify;
mod x509;
pub mod xfcc;

use core::net::IpAddr;

use sha2::{Digest, Sha256};

#[cfg(test)]
pub(crate) use authority::tests as test_authorities;
pub use authority::{Authorities, Ca, Examination, Signature, Verify};
pub use certificate::Certificate;
pub use fingerprint::{Fingerprint, FingerprintError};
pub use hex::{hex, parse_hex};
#[cfg(test)]
pub(crate) use signature::with_other_signature;
pub use subject::{SUBJECT_KEYS, Subject, is_subject_key};
pub(crate) use time::Utc;
pub use usage::{EXTENDED_KEY_USAGES, extended_key_usage_name, is_oid};
pub use validity::{Invalid, START_LEEWAY, Validity};
#[cfg(feature = "verify")]
pub use verify::is_valid as is_valid_signature;
pub use x509::X509;

/// The longest URI, DNS name, e-mail address or subject that is read, in bytes. A longer one is treated as absent.
pub const MAX_FIELD_BYTES: usize = 8 * 1024;
/// The most subject alternative names of a certificate that is read.
pub const MAX_NAMES: usize = 256;
/// The longest serial number of a certificate that is read, in bytes (RFC 5280, section 4.1.2.2, allows 20).
pub const MAX_SERIAL_BYTES: usize = 32;

/// The identity in a validated certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The URI SANs, whatever their scheme, byte for byte, in the order of the certificate.
    pub uris: Vec<String>,
    /// The DNS SANs, in lower case.
    pub dns: Vec<String>,
    /// The e-mail SANs, with the domain in lower case.
    pub emails: Vec<String>,
    /// The IP address SANs.
    pub ips: Vec<IpAddr>,
    /// The subject.
    pub subject: Option<Subject>,
    /// SHA-256 of the certificate's DER.
    pub sha256: Option<[u8; 32]>,
    /// The certificate's other fields; `None` where a trusted hop did not forward the certificate.
    pub certificate: Option<Box<Certificate>>,
    /// The DER of other certificates that the client presented, which may have issued its own. None of them is
    /// trusted.
    pub chain: Vec<Vec<u8>>,
    /// The client CA that signed the certificate, as far as the policy tells its CAs apart; see [`Ca`].
    pub ca: Option<Ca>,
    /// Whether a CA of the gate has revoked the certificate.
    pub revoked: bool,
}

impl Identity {
    /// The identity in a certificate. `None` where the bytes are not exactly one certificate in DER that can be read
    /// whole.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let mut x509 = X509::read(der)?;
        let certificate = Some(Box::new(Certificate::new(&x509)));
        let names = core::mem::take(&mut x509.extensions.names);
        Some(Identity {
            uris: names.uris,
            dns: names.dns,
            emails: names.emails,
            ips: names.ips,
            subject: x509.subject_name,
            sha256: Some(sha256(der)),
            certificate,
            ..Identity::default()
        })
    }

    /// The identity of the texts that a trusted hop forwards instead of a certificate.
    pub fn from_texts(uris: &[&str], dns: &[&str], subject: Option<&str>, sha256: Option<[u8; 32]>) -> Self {
        Identity {
            uris: uris.iter().filter_map(|uri| names::uri(uri.as_bytes())).collect(),
            dns: dns.iter().filter_map(|name| names::dns(name.as_bytes())).collect(),
            subject: subject.and_then(|subject| text(subject.as_bytes())).and_then(Subject::parse),
            sha256,
            ..Identity::default()
        }
    }

    /// The first URI SAN.
    pub fn uri(&self) -> Option<&str> {
        self.uris.first().map(String::as_str)
    }

    /// The first DNS SAN.
    pub fn dns_name(&self) -> Option<&str> {
        self.dns.first().map(String::as_str)
    }

    /// The identity in the certificate that a trusted hop forwards in a header of its own.
    ///
    /// # Errors
    /// The value has none of the forms of [`certificate_header`], or its certificate cannot be read.
    pub fn from_header(value: &[u8]) -> Result<Self, certificate_header::Problem> {
        let mut chain = certificate_header::chain(value)?.into_iter();
        let client = chain.next().and_then(|der| Identity::from_der(&der));
        let client = client.ok_or(certificate_header::Problem::Certificate)?;
        Ok(Identity { chain: chain.collect(), ..client })
    }

    /// Whether this is one of the certificate's [fingerprints](Identity::fingerprints).
    pub fn has_fingerprint(&self, digest: &[u8; 32]) -> bool {
        self.fingerprints().any(|own| own == *digest)
    }

    /// The certificate's fingerprint, and for one with an ECDSA signature that of the same certificate with the other
    /// valid signature: its holder can compute that one, so both are the same client.
    pub fn fingerprints(&self) -> impl Iterator<Item = [u8; 32]> {
        let other = self.certificate.as_ref().and_then(|certificate| certificate.other_fingerprint);
        self.sha256.into_iter().chain(other)
    }

    /// A digest that does not depend on the signature, which the holder can change: the SHA-256 of the signed part, or
    /// the fingerprint where the certificate is unknown.
    pub fn stable_digest(&self) -> Option<[u8; 32]> {
        self.certificate.as_ref().map(|certificate| certificate.signed).or(self.sha256)
    }

    /// Whether the proxy has no certificate of the client.
    pub fn is_empty(&self) -> bool {
        *self == Identity::default()
    }

    /// The fingerprint as 64 lower-case hex digits.
    pub fn sha256_hex(&self) -> Option<String> {
        self.sha256.map(|digest| Fingerprint(digest).hex())
    }
}

/// The SHA-256 of these bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Text without control characters that is neither empty nor too long.
fn text(bytes: &[u8]) -> Option<&str> {
    if bytes.is_empty() || bytes.len() > MAX_FIELD_BYTES {
        return None;
    }
    let text = core::str::from_utf8(bytes).ok()?;
    // Nearly all text is ASCII, which is checked much faster as bytes.
    let has_control = match text.is_ascii() {
        true => bytes.iter().any(u8::is_ascii_control),
        false => text.contains(char::is_control),
    };
    (!has_control).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unreadable_names_are_absent() {
        let long = "a".repeat(MAX_FIELD_BYTES + 1);
        for text in ["", "acme\0.example", "a\nb", &long] {
            let identity = Identity::from_texts(&[text], &[text], Some(text), None);
            assert_eq!(identity, Identity::default(), "{text:?}");
            assert!(identity.is_empty());
        }
    }

    #[test]
    fn each_name_is_read_alone() {
        let identity = Identity::from_texts(&["", "spiffe://Acme/x"], &["\u{7f}"], None, Some([0xab; 32]));
        assert_eq!(identity.uri(), Some("spiffe://Acme/x"));
        assert_eq!(identity.dns_name(), None);
        assert_eq!(identity.sha256_hex(), Some("ab".repeat(32)));
    }

    #[test]
    fn dns_names_are_lower_cased() {
        let identity = Identity::from_texts(&[], &["Edge.ACME.example"], None, None);
        assert_eq!(identity.dns_name(), Some("edge.acme.example"));
    }

    proptest! {
        #[test]
        fn no_text_panics(uri in any::<String>(), dns in any::<String>(), subject in any::<String>()) {
            Identity::from_texts(&[&uri], &[&dns], Some(&subject), None);
        }
    }
}
