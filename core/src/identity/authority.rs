//! Which of the gate's client CAs signed a certificate, by its signature, and whether that CA has revoked it.
//!
//! A proxy has validated the certificate, with all CAs of the gate as one: it does not report which CA it found. What a
//! certificate says about its issuer proves nothing, because every CA can write any name and any key identifier. So the
//! signatures are verified again, from the certificate up to the key of a configured CA.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::x509::X509;
use super::{Certificate, Identity, Validity, sha256};
use crate::time::Timestamp;

/// The most signatures that are verified for one certificate.
const MAX_VERIFICATIONS: usize = 40;
/// The most certificates that are read of those that a client presents, and so the most intermediate CAs.
const MAX_CHAIN: usize = 8;

/// The client CA that signed a certificate, directly or through intermediate CAs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ca {
    /// The name in `clientCAs`; `None` for a CA of the gate that no entry names.
    pub name: Option<Rc<str>>,
    /// The SHA-256 of the key that signed the certificate itself (SubjectPublicKeyInfo): that of the CA, or of an
    /// intermediate CA.
    pub issuer_key: [u8; 32],
}

/// A signature that is to be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature<'a> {
    /// The hash, as Envoy names it: `sha256`, `sha384` or `sha512`. The kind of the key decides the rest: ECDSA, or RSA
    /// with the padding of PKCS #1.
    pub hash: &'static str,
    /// The signer's SubjectPublicKeyInfo in DER.
    pub key: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
    /// What is signed.
    pub text: &'a [u8],
}

/// Verifies a signature. One that it does not support is not verified.
pub type Verify<'a> = &'a dyn Fn(&Signature<'_>) -> bool;

/// What a look at the issuer of a certificate needs.
#[derive(Clone, Copy)]
pub struct Examination<'a> {
    /// The time at which intermediate CAs must be valid.
    pub now: Timestamp,
    /// Verifies signatures.
    pub verify: Verify<'a>,
}

impl Examination<'static> {
    /// An examination that verifies no signature.
    pub const fn unverified(now: Timestamp) -> Self {
        const fn none(_: &Signature<'_>) -> bool {
            false
        }
        Examination { now, verify: &none }
    }
}

/// The keys of the gate's client CAs, and the serial numbers that these have revoked.
#[derive(Debug, Default)]
pub struct Authorities {
    keys: Vec<Authority>,
    /// Which of the keys has revoked a serial number.
    revoked: BTreeMap<Vec<u8>, Vec<usize>>,
}

/// A certificate whose issuer is looked for.
#[derive(Debug, Clone, Copy)]
struct Child<'a> {
    serial: &'a [u8],
    authority_key_id: Option<&'a [u8]>,
    text: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

#[derive(Debug)]
struct Authority {
    ca: Option<Rc<str>>,
    key: Vec<u8>,
    /// The subjectKeyIdentifier; empty without one.
    id: Vec<u8>,
}

impl Authorities {
    /// Whether an entry of `clientCAs` has a name, so that its clients are told apart from others.
    pub(crate) fn have_names(&self) -> bool {
        self.keys.iter().any(|authority| authority.ca.is_some())
    }

    /// Adds a key, in the order of the config. `serials` have no leading zeros.
    pub(crate) fn add(
        &mut self,
        ca: Option<&Rc<str>>,
        key: Vec<u8>,
        id: Vec<u8>,
        serials: impl IntoIterator<Item = Vec<u8>>,
    ) {
        let index = self.keys.len();
        for serial in serials {
            self.revoked.entry(serial).or_default().push(index);
        }
        self.keys.push(Authority { ca: ca.cloned(), key, id });
    }

    /// Whether a CA of the gate has revoked a certificate.
    ///
    /// A certificate that has the key identifier of the CA counts as that CA's without a look at its signature: another
    /// CA that copies the identifier revokes only its own certificate.
    fn have_revoked(&self, certificate: Child<'_>, verify: Verify<'_>) -> bool {
        let Some(keys) = self.revoked.get(certificate.serial) else { return false };
        let mut keys = keys.iter().filter_map(|index| self.keys.get(*index));
        keys.any(|authority| {
            certificate.authority_key_id.is_some_and(|id| id == authority.id)
                || (authority.may_sign(certificate)
                    && signature(certificate, &authority.key).is_none_or(|signature| verify(&signature)))
        })
    }

    /// The CA that signed a certificate, and when the intermediate CAs between the two are valid. `chain` has DER that
    /// the client presented, in any order. `None` without a CA whose signatures can be verified.
    ///
    /// If several CAs have signed it, because they cross-signed an intermediate CA, the first in the config counts of
    /// those that the first intermediate CA leads to.
    fn signer(
        &self,
        certificate: Child<'_>,
        chain: &[Vec<u8>],
        by: Examination<'_>,
    ) -> Option<(Ca, Validity)> {
        let chain = chain.iter().take(MAX_CHAIN).filter_map(|der| X509::read(der)).collect();
        let search = Search { authorities: self, chain, by, left: Cell::new(MAX_VERIFICATIONS) };
        let path = search.path(certificate, 0, 0)?;
        let key = self.keys.get(path.authority)?;
        let ca = Ca { name: key.ca.clone(), issuer_key: sha256(path.signer) };
        Some((ca, path.validity))
    }
}

impl Authority {
    /// Whether it may have signed a certificate, by the identifiers of keys.
    fn may_sign(&self, certificate: Child<'_>) -> bool {
        may_match(certificate.authority_key_id, Some(&*self.id).filter(|id| !id.is_empty()))
    }
}

/// Identifiers that differ are of different keys, and validators reject such a pair. This saves work and decides nothing
/// else.
fn may_match(wanted: Option<&[u8]>, own: Option<&[u8]>) -> bool {
    wanted.is_none() || own.is_none() || wanted == own
}

/// A search for a path from a certificate to a CA of the gate.
struct Search<'a> {
    authorities: &'a Authorities,
    chain: Vec<X509<'a>>,
    by: Examination<'a>,
    /// How many signatures may still be verified.
    left: Cell<usize>,
}

/// A path to a CA of the gate.
struct Path<'a> {
    /// The CA's index.
    authority: usize,
    /// The key that signed the certificate at the start of the path.
    signer: &'a [u8],
    /// When all intermediate CAs on it are valid.
    validity: Validity,
}

impl<'a> Search<'a> {
    /// The path from a certificate that is `below` intermediate CAs above the client's. `used` has a bit for each
    /// certificate of the chain that is on the path already.
    fn path(&self, certificate: Child<'_>, below: u32, used: u32) -> Option<Path<'a>> {
        for (index, authority) in self.authorities.keys.iter().enumerate() {
            if authority.may_sign(certificate) && self.signed(certificate, &authority.key) {
                let validity = Validity { not_before: i64::MIN, not_after: i64::MAX };
                return Some(Path { authority: index, signer: &authority.key, validity });
            }
        }
        for (index, issuer) in self.chain.iter().enumerate() {
            let bit = 1 << index;
            if used & bit != 0
                || !issuer.may_issue(below)
                || issuer.validity.check(self.by.now).is_err()
                || !may_match(certificate.authority_key_id, issuer.extensions.subject_key_id)
                || !self.signed(certificate, issuer.key)
                || self.authorities.have_revoked(issuer.child(), self.by.verify)
            {
                continue;
            }
            if let Some(path) = self.path(issuer.child(), below + 1, used | bit) {
                return Some(Path {
                    signer: issuer.key,
                    validity: path.validity.and(issuer.validity),
                    ..path
                });
            }
        }
        None
    }

    fn signed(&self, certificate: Child<'_>, key: &[u8]) -> bool {
        let Some(left) = self.left.get().checked_sub(1) else { return false };
        let Some(signature) = signature(certificate, key) else { return false };
        self.left.set(left);
        (self.by.verify)(&signature)
    }
}

impl Certificate {
    fn child(&self) -> Child<'_> {
        Child {
            serial: &self.serial,
            authority_key_id: self.authority_key_id.as_deref(),
            text: &self.text,
            algorithm: &self.algorithm,
            signature: &self.signature,
        }
    }
}

impl X509<'_> {
    fn child(&self) -> Child<'_> {
        Child {
            serial: self.serial,
            authority_key_id: self.extensions.authority_key_id,
            text: self.signed,
            algorithm: self.algorithm,
            signature: self.signature,
        }
    }

    /// Whether it is a CA that may issue a certificate with `below` intermediate CAs between that and itself.
    ///
    /// A CA with constraints that are not understood here (names, policies, critical extensions) is not followed: the
    /// proxy may have found another path, on which they do not apply.
    fn may_issue(&self, below: u32) -> bool {
        self.is_ca()
            && self.path_length().is_none_or(|most| below <= most)
            && !self.extensions.constrained
            && self.extensions.allows_client_auth()
    }
}

/// The signature of a certificate, to be verified with this key; `None` for an algorithm that Envoy's function does not
/// verify (RSA-PSS, Ed25519) or that is broken (SHA-1).
fn signature<'a>(certificate: Child<'a>, key: &'a [u8]) -> Option<Signature<'a>> {
    // AlgorithmIdentifier: ecdsa-with-SHA2 (RFC 5758, section 3.2), shaWithRSAEncryption (RFC 4055, section 5).
    const ECDSA: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03";
    const RSA: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01";
    let hash = match (certificate.algorithm.strip_prefix(ECDSA), certificate.algorithm.strip_prefix(RSA)) {
        (Some([2]), _) | (_, Some([11, 5, 0])) => "sha256",
        (Some([3]), _) | (_, Some([12, 5, 0])) => "sha384",
        (Some([4]), _) | (_, Some([13, 5, 0])) => "sha512",
        _ => return None,
    };
    Some(Signature { hash, key, signature: certificate.signature, text: certificate.text })
}

impl Authorities {
    /// Fills in which CA signed the certificate of an identity, and whether it is revoked. The validity of the
    /// certificate ends with that of the intermediate CAs that led to the CA.
    pub(crate) fn examine(&self, identity: &mut Identity, find_ca: bool, by: Examination<'_>) {
        let Some(certificate) = &mut identity.certificate else { return };
        if self.revoked.is_empty() && !find_ca {
            return;
        }
        identity.revoked = self.have_revoked(certificate.child(), by.verify);
        let signer = find_ca.then(|| self.signer(certificate.child(), &identity.chain, by));
        if let Some((ca, validity)) = signer.flatten() {
            certificate.validity = certificate.validity.and(validity);
            identity.ca = Some(ca);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
