//! A client's identity: the names in its validated certificate.
//!
//! The holder of a certificate may have chosen most of these bytes, so they are not trusted: a name that is not UTF-8,
//! malformed, too long or has control characters is treated as absent.

mod authority;
mod certificate;
pub mod certificate_header;
mod fingerprint;
mod subject;
pub mod xfcc;

pub use authority::Ca;
#[cfg(test)]
pub(crate) use certificate::with_other_signature;
pub use certificate::{Certificate, Invalid, Validity};
pub(crate) use certificate::{Utc, sha256};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use subject::{SUBJECT_KEYS, Subject, is_subject_key};

/// The longest URI, DNS name or subject that is read, in bytes. A longer one is treated as absent.
pub const MAX_FIELD_BYTES: usize = 8 * 1024;

/// The identity in a validated certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The first URI SAN, whatever its scheme, byte for byte.
    pub spiffe: Option<String>,
    /// The first DNS SAN, in lower case.
    pub dns: Option<String>,
    /// The subject.
    pub subject: Option<Subject>,
    /// SHA-256 of the certificate's DER.
    pub sha256: Option<[u8; 32]>,
    /// The certificate's other fields; `None` where a trusted hop did not forward the certificate.
    pub certificate: Option<Box<Certificate>>,
    /// The client CA that signed the certificate, as far as the policy tells its CAs apart; see [`Ca`].
    pub ca: Option<Ca>,
    /// Whether a CA of the gate has revoked the certificate.
    pub revoked: bool,
}

impl Identity {
    /// The identity from Envoy's connection properties `uri_san_peer_certificate`, `dns_san_peer_certificate`,
    /// `subject_peer_certificate` and `sha256_peer_certificate_digest` (hex).
    pub fn from_parts(
        uri: Option<&[u8]>,
        dns: Option<&[u8]>,
        subject: Option<&[u8]>,
        sha256_hex: Option<&[u8]>,
    ) -> Self {
        Identity {
            spiffe: uri.and_then(text).map(str::to_owned),
            dns: dns.and_then(text).map(str::to_ascii_lowercase),
            subject: subject.and_then(text).and_then(Subject::parse),
            sha256: sha256_hex.and_then(text).and_then(|hex| Fingerprint::parse(hex).ok()).map(|it| it.0),
            ..Identity::default()
        }
    }

    /// The identity in the certificate that a trusted hop forwards in a header of its own.
    ///
    /// # Errors
    /// The value has none of the forms of [`certificate_header`], or its certificate cannot be read.
    pub fn from_header(value: &[u8]) -> Result<Self, certificate_header::Problem> {
        use certificate_header::{Problem, certificates};
        let all = certificates(value)?;
        let [der] = all.as_slice() else { return Err(Problem::NoChain) };
        let certificate = Certificate::parse(der).ok_or(Problem::Certificate)?;
        Ok(Identity {
            sha256: Some(sha256(der)),
            certificate: Some(Box::new(certificate)),
            ..Identity::default()
        })
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

    const HEX: &[u8] = b"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn unreadable_names_are_absent() {
        let long = vec![b'a'; MAX_FIELD_BYTES + 1];
        for bytes in [&b""[..], b"\xff\xfe", b"acme\0.example", b"a\nb", &long] {
            let identity = Identity::from_parts(Some(bytes), Some(bytes), Some(bytes), Some(bytes));
            assert_eq!(identity, Identity::default(), "{bytes:?}");
            assert!(identity.is_empty());
        }
    }

    #[test]
    fn each_name_is_read_alone() {
        let identity = Identity::from_parts(Some(b"spiffe://Acme/x"), Some(b"\xff"), None, Some(HEX));
        assert_eq!(identity.spiffe.as_deref(), Some("spiffe://Acme/x"));
        assert_eq!(identity.dns, None);
        assert_eq!(identity.sha256_hex().unwrap().as_bytes(), HEX);
    }

    #[test]
    fn dns_names_are_lower_cased() {
        let identity = Identity::from_parts(None, Some(b"Edge.ACME.example"), None, None);
        assert_eq!(identity.dns.as_deref(), Some("edge.acme.example"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            uri in proptest::option::of(any::<Vec<u8>>()),
            dns in proptest::option::of(any::<Vec<u8>>()),
            subject in proptest::option::of(any::<Vec<u8>>()),
            sha256 in proptest::option::of(any::<Vec<u8>>()),
        ) {
            Identity::from_parts(uri.as_deref(), dns.as_deref(), subject.as_deref(), sha256.as_deref());
        }
    }
}
