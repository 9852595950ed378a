//! What is known about the issuer of a certificate.

use super::{Identity, Subject};

impl Identity {
    /// The issuer's name, as the certificate has it. Any CA can write any name there.
    pub fn issuer(&self) -> Option<&Subject> {
        self.certificate.as_ref()?.issuer.as_ref()
    }

    /// The identifier of the issuer's key, as the certificate has it. Any CA can write any bytes there.
    pub fn issuer_key_id(&self) -> Option<&[u8]> {
        self.certificate.as_ref()?.authority_key_id.as_deref()
    }

    /// The SHA-256 of the key that signed the certificate. The signature was verified.
    pub fn issuer_key(&self) -> Option<[u8; 32]> {
        self.ca.as_ref().map(|ca| ca.issuer_key)
    }

    /// The name in `clientCAs` of the CA that signed the certificate. The signature was verified.
    pub fn ca_name(&self) -> Option<&str> {
        self.ca.as_ref()?.name.as_deref()
    }

    /// What the certificate's key may be used for, as dotted OIDs.
    pub fn extended_key_usage(&self) -> &[String] {
        self.certificate.as_ref().map(|it| it.extended_key_usage.as_slice()).unwrap_or_default()
    }
}
