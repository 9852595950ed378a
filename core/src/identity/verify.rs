//! Verifies signatures of certificates where the proxy does not, as Envoy does for a Wasm filter (BoringSSL's
//! `EVP_DigestVerify`).

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::Signature;
use super::der::{BIT_STRING, Der, INTEGER, OBJECT_IDENTIFIER, SEQUENCE, bit_string};

// OIDs of RFC 3279, sections 2.3.1 and 2.3.5, and RFC 5480, section 2.1.1.1, in DER.
const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
const EC: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
const P224: &[u8] = b"\x2b\x81\x04\x00\x21";
const P256: &[u8] = b"\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x2b\x81\x04\x00\x22";
const P521: &[u8] = b"\x2b\x81\x04\x00\x23";

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
pub fn is_valid(signature: &Signature<'_>) -> Option<bool> {
    let (Some((algorithm, curve, key)), Some(hash)) = (parts(signature.key), hash(signature)) else {
        return Some(false);
    };
    Some(match (algorithm, curve) {
        (EC, P224) => return None,
        (EC, P256) => ecdsa!(p256, key, &hash, signature.signature),
        (EC, P384) => ecdsa!(p384, key, &hash, signature.signature),
        // The crate rejects a hash that is shorter than half of the order. A leading zero does not change the number
        // (FIPS 186-5, section 6.4.2).
        (EC, P521) => ecdsa!(p521, key, &[&[0], &*hash].concat(), signature.signature),
        (RSA, _) => {
            let key = UnparsedPublicKey::new(rsa(key, signature.hash)?, key);
            key.verify(signature.text, signature.signature).is_ok()
        }
        _ => false,
    })
}

/// The algorithm, the curve (empty without one) and the key of a SubjectPublicKeyInfo (RFC 5280, section 4.1).
fn parts(info: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut info = Der(Der(info).only(SEQUENCE)?);
    let mut algorithm = Der(info.content(SEQUENCE)?);
    let (key, 0) = bit_string(info.only(BIT_STRING)?)? else { return None };
    let name = algorithm.content(OBJECT_IDENTIFIER)?;
    let curve = algorithm.next().and_then(|parameters| parameters.content_of(OBJECT_IDENTIFIER));
    Some((name, curve.unwrap_or_default(), key))
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

/// The algorithm for RSA keys of this key's length. Envoy accepts short ones too.
fn rsa(key: &[u8], hash: &str) -> Option<&'static dyn VerificationAlgorithm> {
    // RFC 8017, appendix A.1.1: the modulus comes first.
    let modulus = Der(Der(key).only(SEQUENCE)?).content(INTEGER)?;
    let bits = 8 * modulus.iter().skip_while(|byte| **byte == 0).count();
    let (shortest, algorithm): (_, &dyn VerificationAlgorithm) = match hash {
        "sha256" => (1024, &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY),
        "sha384" => (2048, &signature::RSA_PKCS1_2048_8192_SHA384),
        _ => (1024, &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY),
    };
    (shortest..=8192).contains(&bits).then_some(algorithm)
}
