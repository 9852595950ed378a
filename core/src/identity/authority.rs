//! Which of the gate's client CAs signed a certificate, by its signature.

use std::rc::Rc;

/// The client CA that signed a certificate, directly or through intermediate CAs. Each signature was verified: the
/// names in a certificate say nothing, because any CA can write any name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ca {
    /// The name in `clientCAs`; `None` for a CA of the gate that no entry names.
    pub name: Option<Rc<str>>,
    /// The SHA-256 of the key that signed the certificate itself (SubjectPublicKeyInfo): that of the CA, or of an
    /// intermediate CA.
    pub issuer_key: [u8; 32],
}
