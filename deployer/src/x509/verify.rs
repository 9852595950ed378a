//! Verifies signatures of certificates, as Envoy does for the filter (BoringSSL's `EVP_DigestVerify`).

use otlp_gate_core::identity::Signature;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::KeyKind;

/// Verifies an ECDSA signature with a curve's crate.
macro_rules! ecdsa {
    ($curve:ident, $key:expr, $hash:expr, $signature:expr) => {{
        use $curve::ecdsa::signature::hazmat::PrehashVerifier as _;
        let key = $curve::ecdsa::VerifyingKey::from_sec1_bytes($key);
        let signature = $curve::ecdsa::Signature::from_der($signature);
        key.ok()
            .zip(signature.ok())
            .is_some_and(|(key, signature)| key.verify_prehash($hash, &signature).is_ok())
    }};
}

/// Whether a signature is valid. `None` if Envoy may verify it and this function cannot: of keys on P-224, and of RSA
/// keys of unusual length.
pub(crate) fn is_valid(signature: &Signature<'_>) -> Option<bool> {
    let Ok((_, key)) = SubjectPublicKeyInfo::from_der(signature.key) else { return Some(false) };
    let (kind, key) = (KeyKind::of(&key), &*key.subject_public_key.data);
    let Some(hash) = hash(signature) else { return Some(false) };
    Some(match kind {
        KeyKind::Ecdsa("P-256") => ecdsa!(p256, key, &hash, signature.signature),
        KeyKind::Ecdsa(_) => ecdsa!(p384, key, &hash, signature.signature),
        // The crate rejects a hash that is shorter than half of the order. A leading zero does not change the number
        // (FIPS 186-5, section 6.4.2).
        KeyKind::P521 => ecdsa!(p521, key, &[&[0], &*hash].concat(), signature.signature),
        KeyKind::Rsa(bits) => {
            let key = UnparsedPublicKey::new(rsa(bits, signature.hash)?, key);
            key.verify(signature.text, signature.signature).is_ok()
        }
        kind if kind.is_verified_by_filter() => return None,
        _ => false,
    })
}

/// The hash of what is signed.
fn hash(signature: &Signature<'_>) -> Option<Vec<u8>> {
    match signature.hash {
        "sha256" => Some(Sha256::digest(signature.text).to_vec()),
        "sha384" => Some(Sha384::digest(signature.text).to_vec()),
        "sha512" => Some(Sha512::digest(signature.text).to_vec()),
        _ => None,
    }
}

/// The algorithm for RSA keys of this length. Envoy accepts short ones too.
fn rsa(bits: usize, hash: &str) -> Option<&'static dyn VerificationAlgorithm> {
    let (shortest, algorithm): (_, &dyn VerificationAlgorithm) = match hash {
        "sha256" => (1024, &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY),
        "sha384" => (2048, &signature::RSA_PKCS1_2048_8192_SHA384),
        _ => (1024, &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY),
    };
    (shortest..=8192).contains(&bits).then_some(algorithm)
}
