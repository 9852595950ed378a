//! X.509 certificates.

use std::fmt;
use std::net::IpAddr;

use otlp_gate_core::identity::{Fingerprint, Identity, Validity, X509};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use super::{KeyKind, Number, Role, Signed, attributes, rfc2253};

/// What is wrong with bytes that look like a certificate.
const MALFORMED: &str =
    "not a certificate as RFC 5280 requires: in DER, no extension twice; at most 256 names are read";

/// A parsed certificate with its DER.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    /// The subject as Envoy prints it (RFC 2253); `None` if Envoy prints nothing.
    pub(crate) subject: Option<String>,
    /// The issuer's name, in the same form.
    pub(crate) issuer: Option<String>,
    /// The serial number.
    pub(crate) serial: Number,
    /// Start of the validity period.
    pub(crate) not_before: OffsetDateTime,
    /// End of the validity period.
    pub(crate) not_after: OffsetDateTime,
    /// Whether it is a CA (basic constraints, key usage).
    pub(crate) ca: bool,
    /// Whether a client may present it: extended key usage clientAuth or any, or no such extension.
    pub(crate) client_auth: bool,
    /// The kind of its key.
    pub(crate) key: KeyKind,
    /// The algorithm that signed it.
    pub(crate) signed: Signed,
    identity: Identity,
    der: Vec<u8>,
}

/// Why bytes are not a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadError(String);

impl Certificate {
    /// Parses the first certificate in PEM text, or DER. Certificates that follow it are its [chain](Identity::chain).
    ///
    /// # Errors
    /// Why the bytes are not a certificate, for a message that begins with the file name.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ReadError> {
        let mut blocks = blocks(bytes)?.into_iter().peekable();
        let Some(label) = blocks.peek().map(|it| it.label.clone()) else {
            return Self::from_der(bytes.to_vec());
        };
        let mut certificates = blocks.filter(|it| it.label == "CERTIFICATE").map(|it| it.contents);
        let Some(first) = certificates.next() else {
            return Err(ReadError(format!("the PEM block is a {label}, not a CERTIFICATE")));
        };
        let mut certificate = Self::from_der(first)?;
        certificate.identity.chain = certificates.collect();
        Ok(certificate)
    }

    fn from_der(der: Vec<u8>) -> Result<Self, ReadError> {
        // The DER of a certificate begins with the tag of a SEQUENCE.
        if der.first() != Some(&0x30) {
            let what =
                if der.is_empty() { "it is empty" } else { "neither PEM text nor the DER of a certificate" };
            return Err(ReadError(what.to_owned()));
        }
        let malformed = || ReadError(MALFORMED.to_owned());
        let (identity, x509) = Identity::from_der(&der).zip(X509::read(&der)).ok_or_else(malformed)?;
        let (_, key) = SubjectPublicKeyInfo::from_der(x509.key).map_err(|_| malformed())?;
        let (_, algorithm) = AlgorithmIdentifier::from_der(x509.algorithm).map_err(|_| malformed())?;
        let Validity { not_before, not_after } = x509.validity;
        Ok(Certificate {
            subject: rfc2253(x509.subject),
            issuer: rfc2253(x509.issuer),
            serial: Number::from_bytes(x509.serial),
            not_before: date(not_before),
            not_after: date(not_after),
            ca: x509.is_ca(),
            client_auth: x509.allows_client_auth(),
            key: KeyKind::of(&key),
            signed: Signed::of(&algorithm),
            identity,
            der,
        })
    }

    /// The identity that the filter reads in the certificate, with the certificates that follow it as its chain.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Why Envoy rejects its key or signature, or why they are weak. `role` is the side that presents the certificate
    /// or, of a CA, the certificates that it issues.
    pub(crate) fn weaknesses(&self, role: Role) -> Vec<String> {
        let key = match (role, self.ca) {
            (Role::Client, true) => self.key.as_authoritys(),
            (Role::Client, false) => self.key.as_clients(),
            (Role::Server, _) => self.key.as_servers(),
        };
        // A root's signature is its own, and is not verified.
        let signature = (!self.ca && role == Role::Client).then(|| self.signed.problem());
        key.into_iter().chain(signature.flatten()).collect()
    }

    /// The fingerprint: the SHA-256 of the DER in lower-case hex.
    pub(crate) fn sha256_hex(&self) -> String {
        self.identity.sha256_hex().unwrap_or_default()
    }

    /// The SHA-256 of the SubjectPublicKeyInfo in lower-case hex.
    pub(crate) fn public_key_sha256_hex(&self) -> String {
        self.identity.certificate.as_ref().map(|it| Fingerprint(it.key).hex()).unwrap_or_default()
    }

    /// The public key, as DER of a SubjectPublicKeyInfo.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        X509::read(&self.der).map(|it| it.key.to_vec()).unwrap_or_default()
    }

    /// The subject alternative names, each with its kind: `URI:`, `DNS:`, `email:` or `IP:`.
    pub(crate) fn sans(&self) -> Vec<String> {
        let Identity { uris, dns, emails, ips, .. } = &self.identity;
        let uris = uris.iter().map(|it| format!("URI:{it}"));
        let dns = dns.iter().map(|it| format!("DNS:{it}"));
        let ips = ips.iter().map(|it| format!("IP:{it}"));
        let emails = emails.iter().map(|it| format!("email:{it}"));
        uris.chain(dns).chain(emails).chain(ips).collect()
    }

    /// Whether the key of `ca` signed it. Validity periods are not checked.
    pub(crate) fn is_signed_by(&self, ca: &Certificate) -> bool {
        let (Some(this), Some(ca)) = (self.x509(), ca.x509()) else { return false };
        this.issuer().as_raw() == ca.subject().as_raw()
            && this.verify_signature(Some(ca.public_key())).is_ok()
    }

    /// The attributes of the subject, in the order of the certificate: key and value.
    pub(crate) fn subject_attributes(&self) -> Vec<(String, String)> {
        self.identity.subject.as_ref().map(attributes).unwrap_or_default()
    }

    /// The extension subjectKeyIdentifier.
    pub(crate) fn subject_key_id(&self) -> Option<Vec<u8>> {
        X509::read(&self.der)?.subject_key_id().map(<[u8]>::to_vec)
    }

    /// Whether its public key is `raw`, the bit string in a SubjectPublicKeyInfo.
    pub(crate) fn has_public_key(&self, raw: &[u8]) -> bool {
        self.x509().is_some_and(|it| &*it.public_key().subject_public_key.data == raw)
    }

    fn x509(&self) -> Option<X509Certificate<'_>> {
        parse_x509_certificate(&self.der).ok().map(|(_, certificate)| certificate)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReadError {}

/// The PEM blocks, up to the first that is malformed.
fn blocks(bytes: &[u8]) -> Result<Vec<Pem>, ReadError> {
    let mut blocks = Vec::new();
    for block in Pem::iter_from_buffer(bytes) {
        match block {
            Ok(block) => blocks.push(block),
            Err(e) if blocks.is_empty() && bytes.starts_with(b"-----BEGIN ") => {
                return Err(ReadError(format!("not valid PEM: {e}")));
            }
            Err(_) => break,
        }
    }
    Ok(blocks)
}

/// A time in seconds since the epoch. Those that certificates can have are those of [`OffsetDateTime`].
fn date(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// An address of 4 or 16 bytes.
pub(super) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}
