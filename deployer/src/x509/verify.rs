//! Verifies signatures of certificates, as Envoy does for the filter.

use otlp_gate_core::identity::Signature;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::KeyKind;

/// Whether a signature is valid. Signatures by keys on P-224 and P-521, which Envoy verifies too, are not.
pub(crate) fn is_valid(signature: &Signature<'_>) -> bool {
    let Ok((_, key)) = SubjectPublicKeyInfo::from_der(signature.key) else { return false };
    let algorithm: &dyn VerificationAlgorithm = match (KeyKind::of(&key), signature.hash) {
        (KeyKind::Ecdsa("P-256"), "sha256") => &signature::ECDSA_P256_SHA256_ASN1,
        (KeyKind::Ecdsa("P-256"), "sha384") => &signature::ECDSA_P256_SHA384_ASN1,
        (KeyKind::Ecdsa("P-384"), "sha256") => &signature::ECDSA_P384_SHA256_ASN1,
        (KeyKind::Ecdsa("P-384"), "sha384") => &signature::ECDSA_P384_SHA384_ASN1,
        (KeyKind::Rsa(_), "sha256") => &signature::RSA_PKCS1_2048_8192_SHA256,
        (KeyKind::Rsa(_), "sha384") => &signature::RSA_PKCS1_2048_8192_SHA384,
        (KeyKind::Rsa(_), "sha512") => &signature::RSA_PKCS1_2048_8192_SHA512,
        _ => return false,
    };
    let key = UnparsedPublicKey::new(algorithm, &key.subject_public_key.data);
    key.verify(signature.text, signature.signature).is_ok()
}
