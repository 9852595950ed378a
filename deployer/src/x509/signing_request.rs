//! Certificate signing requests (PKCS #10, RFC 2986).

use std::fmt;

use otlp_gate_core::identity::Subject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;

use super::certificate::ip;
use super::{KeyKind, attributes, rfc2253};

/// The longest request, in bytes: one with the largest keys that are accepted and dozens of names is smaller.
pub(crate) const LONGEST_REQUEST: usize = 64 << 10;
/// The longest RSA key, in bits, that is accepted: TLS libraries reject longer ones.
const LONGEST_RSA: usize = 8192;

/// A request whose signature was verified: its sender has the private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SigningRequest {
    /// The subject that it asks for (RFC 2253).
    pub(crate) subject: Option<String>,
    /// The attributes of that subject: key and value.
    pub(crate) attributes: Vec<(String, String)>,
    /// The subject alternative names that it asks for, each with its kind: `URI:`, `DNS:`, `IP:` or `email:`.
    pub(crate) sans: Vec<String>,
    /// What else it asks for, such as `CA:TRUE` or `serverAuth`.
    pub(crate) extensions: Vec<String>,
    /// The kind of its key.
    pub(crate) key: KeyKind,
    /// The public key, as DER of a SubjectPublicKeyInfo.
    pub(crate) public_key: Vec<u8>,
}

/// Why bytes are not a request that can be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestError {
    /// They are not a request.
    Unreadable(String),
    /// They contain a private key.
    PrivateKey,
    /// Envoy accepts no such key from clients, or it is too short.
    Key(String),
    /// The request is not signed by its key.
    Signature(KeyKind),
}

impl SigningRequest {
    /// Parses a request in PEM or DER, and verifies its signature.
    ///
    /// # Errors
    /// The bytes are not a request, its key is unsuitable for a client, or it is not signed by that key.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        let unreadable = |why: String| RequestError::Unreadable(why);
        if bytes.len() > LONGEST_REQUEST {
            return Err(unreadable(format!("it has more than {LONGEST_REQUEST} bytes")));
        }
        let block;
        let der = match bytes.first() {
            None => return Err(unreadable("it is empty".to_owned())),
            // The DER of a request begins with the tag of a SEQUENCE.
            Some(0x30) => bytes,
            Some(_) => {
                block = from_pem(bytes)?;
                block.as_slice()
            }
        };
        let (rest, request) = X509CertificationRequest::from_der(der)
            .map_err(|e| unreadable(format!("not a valid certificate signing request: {e}")))?;
        if !rest.is_empty() {
            return Err(unreadable(format!("{} bytes follow the request", rest.len())));
        }
        let info = &request.certification_request_info;
        let key = KeyKind::of(&info.subject_pki);
        let too_long = match key {
            KeyKind::Rsa(bits) if bits > LONGEST_RSA => {
                Some(format!("its key is {key}: at most {LONGEST_RSA} bits are accepted"))
            }
            _ => None,
        };
        if let Some(why) = key.as_clients().or(too_long) {
            return Err(RequestError::Key(why));
        }
        request.verify_signature().map_err(|_| RequestError::Signature(key.clone()))?;
        let (mut sans, mut extensions) = (Vec::new(), Vec::new());
        for extension in request.requested_extensions().into_iter().flatten() {
            match extension {
                ParsedExtension::SubjectAlternativeName(names) => {
                    sans.extend(names.general_names.iter().map(san));
                }
                other => extensions.extend(wish(other)),
            }
        }
        let subject = Subject::from_der(info.subject.as_raw());
        Ok(SigningRequest {
            subject: rfc2253(info.subject.as_raw()),
            attributes: subject.as_ref().map(attributes).unwrap_or_default(),
            sans,
            extensions,
            key,
            public_key: info.subject_pki.raw.to_vec(),
        })
    }
}

/// The first request in PEM text, in DER.
fn from_pem(bytes: &[u8]) -> Result<Vec<u8>, RequestError> {
    let mut other = None;
    for block in Pem::iter_from_buffer(bytes) {
        let Ok(block) = block else { break };
        match block.label.as_str() {
            // Microsoft's tools write NEW.
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => return Ok(block.contents),
            label if label.ends_with("PRIVATE KEY") => return Err(RequestError::PrivateKey),
            label => other = other.or(Some(label.to_owned())),
        }
    }
    Err(RequestError::Unreadable(match other {
        Some(label) => {
            format!("the PEM block is a {}, not a CERTIFICATE REQUEST", label.escape_debug())
        }
        None => "neither PEM text nor the DER of a certificate signing request".to_owned(),
    }))
}

fn san(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::URI(uri) => format!("URI:{uri}"),
        GeneralName::DNSName(dns) => format!("DNS:{dns}"),
        GeneralName::RFC822Name(email) => format!("email:{email}"),
        GeneralName::IPAddress(bytes) => match ip(bytes) {
            Some(ip) => format!("IP:{ip}"),
            None => "an IP address that is malformed".to_owned(),
        },
        _ => "a name of another kind".to_owned(),
    }
}

/// What an extension asks for beyond names and what every client's certificate has.
fn wish(extension: &ParsedExtension<'_>) -> Vec<String> {
    match extension {
        ParsedExtension::BasicConstraints(it) if it.ca => vec!["CA:TRUE".to_owned()],
        ParsedExtension::KeyUsage(it) if it.key_cert_sign() => vec!["keyCertSign".to_owned()],
        ParsedExtension::ExtendedKeyUsage(it) => {
            let known = [
                (it.any, "anyExtendedKeyUsage"),
                (it.server_auth, "serverAuth"),
                (it.code_signing, "codeSigning"),
                (it.email_protection, "emailProtection"),
                (it.time_stamping, "timeStamping"),
                (it.ocsp_signing, "OCSPSigning"),
            ];
            let known = known.into_iter().filter(|(asked, _)| *asked).map(|(_, name)| name.to_owned());
            known.chain(it.other.iter().map(|oid| format!("the extended key usage {oid}"))).collect()
        }
        _ => Vec::new(),
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Unreadable(why) | RequestError::Key(why) => f.write_str(why),
            RequestError::PrivateKey => {
                f.write_str("it contains a private key, which must stay with the client")
            }
            RequestError::Signature(key) => {
                write!(f, "its signature cannot be verified with its key ({key})")
            }
        }
    }
}

impl std::error::Error for RequestError {}
