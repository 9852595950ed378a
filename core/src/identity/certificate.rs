//! What rules and the deny list use of a certificate besides the names in it.

use super::signature::{certificate_of, other_signature};
use super::{Subject, Validity, X509, sha256};

/// The fields of a certificate besides its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The signed part (TBSCertificate) in DER.
    pub text: Vec<u8>,
    /// The algorithm of the signature (AlgorithmIdentifier) in DER.
    pub algorithm: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
    /// The serial number, most significant byte first, without leading zeros.
    pub serial: Vec<u8>,
    /// The SHA-256 of the signed part (TBSCertificate). Only the issuer can make a certificate with another signed
    /// part.
    pub signed: [u8; 32],
    /// The SHA-256 of the public key (SubjectPublicKeyInfo), as `openssl pkey -pubin -outform der | sha256sum` gives
    /// it.
    pub key: [u8; 32],
    /// Its validity.
    pub validity: Validity,
    /// The issuer's name, as the certificate has it. Any CA can write any name there.
    pub issuer: Option<Subject>,
    /// The identifier of the issuer's key (authorityKeyIdentifier), as the certificate has it.
    pub authority_key_id: Option<Vec<u8>>,
    /// What the key may be used for (extendedKeyUsage), as dotted OIDs; empty without the extension, which allows all
    /// uses.
    pub extended_key_usage: Vec<String>,
    /// The fingerprint of the same certificate with the other valid ECDSA signature, which its holder can compute from
    /// the first; `None` for other signatures.
    pub other_fingerprint: Option<[u8; 32]>,
}

impl Certificate {
    pub(super) fn new(x509: &X509<'_>) -> Self {
        let other = other_signature(x509.signature)
            .map(|signature| sha256(&certificate_of(x509.signed, x509.algorithm, &signature)));
        Certificate {
            text: x509.signed.to_vec(),
            algorithm: x509.algorithm.to_vec(),
            signature: x509.signature.to_vec(),
            serial: x509.serial.to_vec(),
            signed: sha256(x509.signed),
            key: sha256(x509.key),
            validity: x509.validity,
            issuer: x509.issuer_name.clone(),
            authority_key_id: x509.extensions.authority_key_id.map(<[u8]>::to_vec),
            extended_key_usage: x509.extensions.extended_key_usage.clone(),
            other_fingerprint: other,
        }
    }
}
