//! A CA that issues certificates and signs revocation lists.

use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, PublicKeyData, RevokedCertParams,
    SerialNumber,
};
use time::OffsetDateTime;

use super::request::{self, BACKDATED};
use super::{Ca, Request, RevocationList};
use crate::error::Error;
use crate::random::random;
use crate::x509::Certificate;

/// A CA with its private key.
#[derive(Debug)]
pub(crate) struct Authority {
    certificate: Certificate,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new CA that is valid for `days` days.
    pub(crate) fn generate(ca: impl Into<Ca>, days: u32) -> Result<Self, Error> {
        Self::named(&format!("otlp-gate {} CA", ca.into()), days)
    }

    /// A new CA that replaces another one of the same kind. Its name is unique, since Envoy looks up revocation lists
    /// by the issuer's name.
    pub(crate) fn generate_next(ca: Ca, days: u32) -> Result<Self, Error> {
        Self::named(&format!("otlp-gate {ca} CA {:08x}", u32::from_be_bytes(random()?)), days)
    }

    fn named(name: &str, days: u32) -> Result<Self, Error> {
        let params = request::authority(name, OffsetDateTime::now_utc(), days)?;
        let key = Self::new_key()?;
        let pem = params.self_signed(&key).map_err(|e| cannot("create a CA", &e))?.pem();
        let certificate = Certificate::parse(pem.as_bytes()).map_err(|e| cannot("parse the new CA", &e))?;
        Ok(Authority { certificate, pem, issuer: Issuer::new(params, key) })
    }

    /// A new ECDSA P-256 key.
    pub(crate) fn new_key() -> Result<KeyPair, Error> {
        KeyPair::generate().map_err(|e| cannot("create a key", &e))
    }

    /// The CA with this certificate and key, both PEM.
    ///
    /// # Errors
    /// Why they are not a CA, for a message that begins with the file names.
    pub(crate) fn parse(certificate: &str, key: &str) -> Result<Self, String> {
        let parsed = Certificate::parse(certificate.as_bytes()).map_err(|e| e.to_string())?;
        if !parsed.ca {
            return Err("it is not a CA certificate".to_owned());
        }
        let key = KeyPair::from_pem(key).map_err(|e| format!("the key is not valid: {e}"))?;
        if !parsed.has_public_key(key.public_key_raw()) {
            return Err("the key does not match the certificate".to_owned());
        }
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(|e| e.to_string())?;
        Ok(Authority { certificate: parsed, pem: certificate.to_owned(), issuer })
    }

    /// The CA's certificate.
    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The CA's certificate, in PEM.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// The private key, in PKCS #8 PEM.
    pub(super) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate for the public key `key`, in PEM. It expires no later than the CA.
    ///
    /// # Errors
    /// The CA has expired, or the request cannot be encoded.
    pub(crate) fn issue(&self, request: &Request, key: &impl PublicKeyData) -> Result<String, Error> {
        let now = OffsetDateTime::now_utc();
        let mut params = request.params(now)?;
        params.not_after = params.not_after.min(self.certificate.not_after);
        if self.certificate.not_after <= now {
            return Err(Error::failed(format_args!("the {} CA has expired", request.role)).hint(
                "`otlp-gate certs init --force` creates new CAs; every certificate must then be issued again",
            ));
        }
        Ok(params.signed_by(key, &self.issuer).map_err(|e| cannot("sign the certificate", &e))?.pem())
    }

    /// Signs a revocation list, and gives it in PEM.
    pub(crate) fn sign_revocations(&self, list: &RevocationList) -> Result<String, Error> {
        let revoked = list.entries.iter().map(|it| RevokedCertParams {
            serial_number: SerialNumber::from_slice(it.serial.as_bytes()),
            revocation_time: it.time,
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: OffsetDateTime::now_utc() - BACKDATED,
            // Envoy rejects all clients after this time, and gets a new list only when the user signs one. An earlier
            // date would add no protection and would one day reject every client.
            next_update: self.certificate.not_after,
            crl_number: SerialNumber::from_slice(list.number.as_bytes()),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            // The user's own CA may compute its key identifier in another way.
            key_identifier_method: match self.certificate.subject_key_id() {
                Some(id) => KeyIdMethod::PreSpecified(id),
                None => KeyIdMethod::Sha256,
            },
        };
        let list = params.signed_by(&self.issuer).map_err(|e| cannot("sign the revocation list", &e))?;
        list.pem().map_err(|e| cannot("encode the revocation list", &e))
    }
}

fn cannot(what: &str, error: &impl std::fmt::Display) -> Error {
    Error::failed(format_args!("cannot {what}: {error}"))
}
