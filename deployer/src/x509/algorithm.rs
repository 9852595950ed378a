//! Which keys and signatures of certificates Envoy accepts. Observed with Envoy 1.40, whose TLS is BoringSSL's:
//! tests/test_key_types.py tries each.

use std::fmt;

use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

/// The length in bits from which RSA keys are considered secure (NIST SP 800-131A revision 2, section 3).
const SHORTEST_RSA: usize = 2048;

const INSTEAD: &str = "use ECDSA P-256 or P-384, or RSA of 2048 bits or more";

/// A kind of key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// RSA, with the length of its modulus in bits.
    Rsa(usize),
    /// ECDSA on P-256 or P-384.
    Ecdsa(&'static str),
    /// ECDSA on P-521.
    P521,
    /// Ed25519.
    Ed25519,
    /// Another kind, by its name or OID.
    Other(String),
}

/// How a certificate is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signed {
    /// With an algorithm that is secure.
    Well,
    /// With an algorithm that Envoy accepts although it is broken.
    Weakly(&'static str),
    /// With an algorithm that Envoy rejects.
    Unknown(String),
}

impl KeyKind {
    /// The kind of a key in DER (SubjectPublicKeyInfo).
    pub(crate) fn of_der(key: &[u8]) -> Self {
        let malformed = || KeyKind::Other("malformed".to_owned());
        SubjectPublicKeyInfo::from_der(key).map_or_else(|_| malformed(), |(_, key)| KeyKind::of(&key))
    }

    /// The kind of a certificate's key.
    pub(crate) fn of(key: &SubjectPublicKeyInfo<'_>) -> Self {
        let oid = key.algorithm.algorithm.to_id_string();
        let curve = || Some(key.algorithm.parameters.as_ref()?.as_oid().ok()?.to_id_string());
        match &*oid {
            "1.2.840.113549.1.1.1" => match key.parsed() {
                Ok(PublicKey::RSA(key)) => KeyKind::Rsa(key.key_size()),
                _ => KeyKind::Other("a malformed RSA key".to_owned()),
            },
            "1.2.840.10045.2.1" => match curve().as_deref() {
                Some("1.2.840.10045.3.1.7") => KeyKind::Ecdsa("P-256"),
                Some("1.3.132.0.34") => KeyKind::Ecdsa("P-384"),
                Some("1.3.132.0.35") => KeyKind::P521,
                Some("1.3.132.0.33") => KeyKind::Other("ECDSA P-224".to_owned()),
                Some("1.3.132.0.10") => KeyKind::Other("ECDSA secp256k1".to_owned()),
                Some(curve) => KeyKind::Other(format!("ECDSA on the curve {curve}")),
                None => KeyKind::Other("ECDSA on a curve without a name".to_owned()),
            },
            "1.3.101.112" => KeyKind::Ed25519,
            "1.3.101.113" => KeyKind::Other("Ed448".to_owned()),
            "1.2.840.10040.4.1" => KeyKind::Other("DSA".to_owned()),
            "1.2.840.113549.1.1.10" => KeyKind::Other("RSA for PSS only".to_owned()),
            _ => KeyKind::Other(format!("of the kind {oid}")),
        }
    }

    /// Why it is unsuitable for a client.
    pub(crate) fn as_clients(&self) -> Option<String> {
        match self {
            KeyKind::Ecdsa(_) => None,
            KeyKind::Rsa(_) => self.short(),
            _ => Some(format!(
                "its key is {self}, which Envoy does not accept from clients: the handshake fails; {INSTEAD}"
            )),
        }
    }

    /// Why it is unsuitable for a CA that issues client certificates.
    pub(crate) fn as_authoritys(&self) -> Option<String> {
        match self {
            KeyKind::Ecdsa(_) | KeyKind::P521 | KeyKind::Ed25519 => None,
            KeyKind::Other(name) if name == "ECDSA P-224" => None,
            KeyKind::Rsa(_) => self.short(),
            KeyKind::Other(_) => Some(format!(
                "its key is {self}, whose signatures Envoy does not verify: it rejects every certificate of this CA; \
                {INSTEAD}"
            )),
        }
    }

    /// Whether the filter verifies signatures by such keys, with Envoy's function `verify_signature`. Envoy itself
    /// verifies more kinds.
    pub(crate) fn is_verified_by_filter(&self) -> bool {
        match self {
            KeyKind::Ecdsa(_) | KeyKind::P521 | KeyKind::Rsa(_) => true,
            KeyKind::Other(name) => name == "ECDSA P-224",
            KeyKind::Ed25519 => false,
        }
    }

    /// Why Envoy cannot serve with it.
    pub(crate) fn rejected_as_servers(&self) -> Option<String> {
        match self {
            KeyKind::Rsa(bits) if *bits < SHORTEST_RSA => {
                Some(format!("its key is {self}: Envoy requires 2048 or more"))
            }
            KeyKind::Other(_) => Some(format!("its key is {self}, which Envoy cannot serve with")),
            _ => None,
        }
    }

    /// Why it is unsuitable for the server, or which clients reject it.
    pub(crate) fn as_servers(&self) -> Option<String> {
        let few = matches!(self, KeyKind::P521 | KeyKind::Ed25519).then(|| {
            format!(
                "its key is {self}: OpenSSL clients accept it, but the gRPC clients of Python, C++, Ruby and PHP do \
                not; {INSTEAD}"
            )
        });
        self.rejected_as_servers().map(|it| format!("{it}; {INSTEAD}")).or(few)
    }

    fn short(&self) -> Option<String> {
        match self {
            KeyKind::Rsa(bits) if *bits < SHORTEST_RSA => Some(format!(
                "its key is {self}: Envoy accepts it, but it is too short to be secure; {INSTEAD}"
            )),
            _ => None,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyKind::Rsa(bits) => write!(f, "RSA of {bits} bits"),
            KeyKind::Ecdsa(curve) => write!(f, "ECDSA {curve}"),
            KeyKind::P521 => f.write_str("ECDSA P-521"),
            KeyKind::Ed25519 => f.write_str("Ed25519"),
            KeyKind::Other(name) => f.write_str(name),
        }
    }
}

impl Signed {
    pub(super) fn of(algorithm: &AlgorithmIdentifier<'_>) -> Self {
        let oid = algorithm.algorithm.to_id_string();
        match &*oid {
            "1.2.840.113549.1.1.11" | "1.2.840.113549.1.1.12" | "1.2.840.113549.1.1.13" => Signed::Well,
            "1.2.840.10045.4.3.2" | "1.2.840.10045.4.3.3" | "1.2.840.10045.4.3.4" => Signed::Well,
            "1.3.101.112" => Signed::Well,
            "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" => Signed::Weakly("SHA-1"),
            "1.2.840.113549.1.1.4" => Signed::Unknown("with MD5".to_owned()),
            "1.3.101.113" => Signed::Unknown("by Ed448".to_owned()),
            "1.2.840.113549.1.1.10" if is_usual_pss(algorithm) => Signed::Well,
            "1.2.840.113549.1.1.10" => {
                Signed::Unknown("with RSA-PSS and a salt that is not as long as its hash".to_owned())
            }
            _ => Signed::Unknown(format!("with the algorithm {oid}")),
        }
    }

    /// What is wrong with the signature.
    pub(crate) fn problem(&self) -> Option<String> {
        match self {
            Signed::Well => None,
            Signed::Weakly(hash) => {
                Some(format!("it is signed with {hash}: Envoy accepts it, but such signatures can be forged"))
            }
            Signed::Unknown(how) => Some(format!(
                "it is signed {how}, which Envoy does not verify: it rejects the certificate; have it signed with \
                SHA-256"
            )),
        }
    }
}

/// Whether BoringSSL verifies this RSA-PSS signature: it requires SHA-256, SHA-384 or SHA-512 and a salt of the hash's
/// length.
fn is_usual_pss(algorithm: &AlgorithmIdentifier<'_>) -> bool {
    let Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) = SignatureAlgorithm::try_from(algorithm) else {
        return false;
    };
    let hash = parameters.hash_algorithm_oid().to_id_string();
    let length = match &*hash {
        "2.16.840.1.101.3.4.2.1" => 32,
        "2.16.840.1.101.3.4.2.2" => 48,
        "2.16.840.1.101.3.4.2.3" => 64,
        _ => return false,
    };
    parameters.salt_length() == length
}
