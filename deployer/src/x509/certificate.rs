//! X.509 certificates.

use std::fmt;
use std::net::IpAddr;

use data_encoding::HEXLOWER;
use otlp_gate_core::identity::Identity;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::parse_x509_certificate;
use x509_parser::pem::Pem;

use super::{KeyKind, Number, Role, Signed, attributes, rfc2253};
use crate::sha256;

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
    /// The URI SANs, in the order of the certificate.
    pub(crate) uris: Vec<String>,
    /// The DNS SANs, in the order of the certificate.
    pub(crate) dns: Vec<String>,
    /// The e-mail SANs, in the order of the certificate.
    pub(crate) emails: Vec<String>,
    /// The IP address SANs.
    pub(crate) ips: Vec<IpAddr>,
    /// The SHA-256 of the DER.
    pub(crate) sha256: [u8; 32],
    /// Whether it is a CA (basic constraints).
    pub(crate) ca: bool,
    /// Whether a client may present it: extended key usage clientAuth or any, or no such extension.
    pub(crate) client_auth: bool,
    /// The kind of its key.
    pub(crate) key: KeyKind,
    /// The algorithm that signed it.
    pub(crate) signed: Signed,
    der: Vec<u8>,
}

/// Why bytes are not a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadError(String);

impl Certificate {
    /// Parses the first certificate in PEM text, or DER.
    ///
    /// # Errors
    /// Why the bytes are not a certificate, for a message that begins with the file name.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ReadError> {
        let Some(first) = first_block(bytes)? else { return Self::from_der(bytes.to_vec()) };
        if first.label != "CERTIFICATE" {
            return Err(ReadError(format!("the PEM block is a {}, not a CERTIFICATE", first.label)));
        }
        Self::from_der(first.contents)
    }

    fn from_der(der: Vec<u8>) -> Result<Self, ReadError> {
        // The DER of a certificate begins with the tag of a SEQUENCE.
        if der.first() != Some(&0x30) {
            let what =
                if der.is_empty() { "it is empty" } else { "neither PEM text nor the DER of a certificate" };
            return Err(ReadError(what.to_owned()));
        }
        let (rest, x509) =
            parse_x509_certificate(&der).map_err(|e| ReadError(format!("not a valid certificate: {e}")))?;
        if !rest.is_empty() {
            return Err(ReadError(format!("{} bytes follow the certificate", rest.len())));
        }
        let sans = x509.subject_alternative_name().map_err(|e| malformed("subject alternative names", &e))?;
        let usage =
            x509.extended_key_usage().map_err(|e| malformed("extended key usage", &e))?.map(|it| it.value);
        let mut certificate = Certificate {
            subject: rfc2253(x509.subject()),
            issuer: rfc2253(x509.issuer()),
            serial: Number::from_bytes(&x509.tbs_certificate.serial.to_bytes_be()),
            not_before: x509.validity().not_before.to_datetime(),
            not_after: x509.validity().not_after.to_datetime(),
            uris: Vec::new(),
            dns: Vec::new(),
            emails: Vec::new(),
            ips: Vec::new(),
            sha256: Sha256::digest(&der).into(),
            ca: x509.is_ca(),
            client_auth: usage.is_none_or(|usage| usage.client_auth || usage.any),
            key: KeyKind::of(x509.public_key()),
            signed: Signed::of(&x509),
            der: Vec::new(),
        };
        for name in sans.iter().flat_map(|it| &it.value.general_names) {
            match name {
                GeneralName::URI(uri) => certificate.uris.push((*uri).to_owned()),
                GeneralName::DNSName(dns) => certificate.dns.push((*dns).to_owned()),
                GeneralName::RFC822Name(email) => certificate.emails.push((*email).to_owned()),
                GeneralName::IPAddress(bytes) => certificate.ips.extend(ip(bytes)),
                _ => {}
            }
        }
        certificate.der = der;
        Ok(certificate)
    }

    /// The identity that the filter reads in the certificate; empty if the filter [cannot read](Self::is_readable) it.
    pub(crate) fn identity(&self) -> Identity {
        Identity::from_der(&self.der).unwrap_or_default()
    }

    /// Whether the filter can read it. If not, the gateway rejects its requests.
    pub(crate) fn is_readable(&self) -> bool {
        Identity::from_der(&self.der).is_some()
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
        HEXLOWER.encode(&self.sha256)
    }

    /// The SHA-256 of the SubjectPublicKeyInfo in lower-case hex.
    pub(crate) fn public_key_sha256_hex(&self) -> String {
        self.x509().map(|it| sha256::hex(it.public_key().raw)).unwrap_or_default()
    }

    /// The public key, as DER of a SubjectPublicKeyInfo.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        self.x509().map(|it| it.public_key().raw.to_vec()).unwrap_or_default()
    }

    /// The subject alternative names, each with its kind: `URI:`, `DNS:`, `email:` or `IP:`.
    pub(crate) fn sans(&self) -> Vec<String> {
        let uris = self.uris.iter().map(|it| format!("URI:{it}"));
        let dns = self.dns.iter().map(|it| format!("DNS:{it}"));
        let ips = self.ips.iter().map(|it| format!("IP:{it}"));
        let emails = self.emails.iter().map(|it| format!("email:{it}"));
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
        self.x509().map(|it| attributes(it.subject())).unwrap_or_default()
    }

    /// The extension subjectKeyIdentifier.
    pub(crate) fn subject_key_id(&self) -> Option<Vec<u8>> {
        self.x509()?.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        })
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

/// The PEM block of the first certificate, or else the first block, such as that of a key.
fn first_block(bytes: &[u8]) -> Result<Option<Pem>, ReadError> {
    let mut first = None;
    for block in Pem::iter_from_buffer(bytes) {
        let block = match block {
            Ok(block) => block,
            Err(_) if first.is_some() => break,
            Err(e) if bytes.starts_with(b"-----BEGIN ") => {
                return Err(ReadError(format!("not valid PEM: {e}")));
            }
            Err(_) => break,
        };
        if block.label == "CERTIFICATE" {
            return Ok(Some(block));
        }
        first.get_or_insert(block);
    }
    Ok(first)
}

fn malformed(what: &str, error: &impl fmt::Display) -> ReadError {
    ReadError(format!("its {what} are malformed: {error}"))
}

/// An address of 4 or 16 bytes.
pub(super) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}
