//! Finding the certificates that are to be revoked: by client, by file, by serial number.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use strsim::damerau_levenshtein;
use time::OffsetDateTime;

use super::revoke::DENY;
use super::{BACKDATED, Ca, CertificateId, Folder, Issued, Record};
use crate::error::Error;
use crate::file;
use crate::x509::{Certificate, Number};

/// A certificate that can be revoked. What is not known of it is `None`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Revocable {
    /// The client that it was issued to.
    pub(crate) name: Option<String>,
    /// The serial number.
    pub(crate) serial: Number,
    /// The SHA-256 of its DER, in hex.
    pub(crate) sha256: Option<String>,
    /// End of the validity period.
    #[serde(with = "time::serde::rfc3339::option")]
    pub(crate) not_after: Option<OffsetDateTime>,
    #[serde(skip)]
    ca: String,
}

impl Revocable {
    /// Identifies the certificate.
    pub(crate) fn id(&self) -> CertificateId {
        CertificateId { serial: self.serial.clone(), ca: self.ca.clone() }
    }
}

impl Folder {
    /// All certificates that were issued to a client and are still valid; with `earlier`, without the present one.
    ///
    /// # Errors
    /// No certificate was ever issued to this client.
    pub(crate) fn revocable_of_client(
        &self,
        record: &Record,
        name: &str,
        earlier: bool,
    ) -> Result<Vec<Revocable>, Error> {
        let files = self.client_files(name);
        let present = match files.certificate.exists() {
            true => Some(self.certificate(&files)?),
            false => None,
        };
        if earlier && present.is_none() {
            let message = format!(
                "{name} has no current certificate: there is no file {}",
                files.certificate.display()
            );
            return Err(
                Error::failed(message).hint("leave out `--earlier` to revoke all of its certificates")
            );
        }
        let is_present = |it: &Issued| present.as_ref().is_some_and(|present| present.serial == it.serial);
        let issued: Vec<&Issued> = record
            .issued()
            .into_iter()
            .filter(|it| it.kind == Ca::Client && (it.name == name || is_present(it)))
            .collect();
        if issued.is_empty() {
            return Err(match present {
                Some(_) => other_ca(&files.certificate),
                None => self.never_issued(record, name)?,
            });
        }
        let trusted = self.trusted_cas()?;
        // A gateway whose clock is behind still accepts a certificate that has just expired.
        let now = OffsetDateTime::now_utc() - BACKDATED;
        let valid =
            |it: &&Issued| it.not_after > now && trusted.contains(&it.ca) && !(earlier && is_present(it));
        Ok(issued.into_iter().filter(valid).map(Revocable::from).collect())
    }

    /// The certificate in a file.
    ///
    /// # Errors
    /// No CA of this folder issued it.
    pub(crate) fn revocable_file(&self, record: &Record, path: &Path) -> Result<Revocable, Error> {
        let certificate = Certificate::parse(&file::read(path)?)
            .map_err(|e| Error::failed(format_args!("{}: {e}", path.display())))?;
        let authorities = self.authority_certificates(Ca::Client)?;
        let Some(ca) = authorities.iter().find(|it| certificate.is_signed_by(it)) else {
            return Err(other_ca(path));
        };
        let id = CertificateId::of(&certificate, ca);
        let issued = record.issued().into_iter().find(|it| it.id() == id);
        Ok(Revocable {
            name: issued.map(|it| it.name.clone()),
            sha256: Some(certificate.sha256_hex()),
            not_after: Some(certificate.not_after),
            serial: id.serial,
            ca: id.ca,
        })
    }

    /// The certificate with this serial number. One that the record does not have is taken for one of the folder's only
    /// CA.
    ///
    /// # Errors
    /// The certificate is a server's, its CA is no longer trusted, or its CA is ambiguous.
    pub(crate) fn revocable_serial(&self, record: &Record, serial: &Number) -> Result<Revocable, Error> {
        let trusted = self.trusted_cas()?;
        let found: Vec<&Issued> = record.issued().into_iter().filter(|it| it.serial == *serial).collect();
        if let Some(issued) = found.iter().find(|it| trusted.contains(&it.ca)) {
            return Ok(Revocable::from(*issued));
        }
        if let Some(issued) = found.first() {
            return Err(match issued.kind {
                Ca::Server => of_server(&format!("{serial} is the serial number of a server certificate")),
                Ca::Internal => Error::failed(format_args!(
                    "{serial} is the serial number of the internal certificate `{}`",
                    issued.name
                ))
                .hint(INTERNAL),
                Ca::Client => Error::failed(format_args!(
                    "the certificate {serial} is of a CA that is no longer trusted"
                )),
            });
        }
        match trusted.as_slice() {
            [ca] => Ok(Revocable {
                name: None,
                serial: serial.clone(),
                sha256: None,
                not_after: None,
                ca: ca.clone(),
            }),
            _ => Err(Error::failed(format_args!(
                "the record has no certificate with the serial number {serial}"
            ))
            .hint(
                "the folder has more than one CA for clients: `--cert FILE` tells which one issued it; \
                 `otlp-gate certs list --all` shows all known certificates",
            )),
        }
    }

    /// The trusted CAs of clients, as [`CertificateId`] has them.
    pub(super) fn trusted_cas(&self) -> Result<Vec<String>, Error> {
        let authorities = self.authority_certificates(Ca::Client)?;
        Ok(authorities.iter().map(Certificate::public_key_sha256_hex).collect())
    }

    /// The error for a name that no certificate was issued to, with similar names.
    fn never_issued(&self, record: &Record, name: &str) -> Result<Error, Error> {
        if name == "server" {
            return Ok(of_server(
                "no client is named `server`, and the server's own certificate cannot be revoked",
            ));
        }
        let clients = self.clients()?;
        if name == "internal" {
            return Ok(Error::failed(
                "no client is named `internal`, and internal certificates cannot be revoked",
            )
            .hint(INTERNAL));
        }
        let known: BTreeSet<&str> =
            record.clients().into_iter().chain(clients.iter().map(String::as_str)).collect();
        let mut near: Vec<(usize, &str)> = known
            .into_iter()
            .map(|it| (damerau_levenshtein(&it.to_lowercase(), &name.to_lowercase()), it))
            .filter(|(distance, it)| {
                *distance <= 1 + name.len() / 4 || it.contains(name) || name.contains(it)
            })
            .collect();
        near.sort_unstable();
        let near: Vec<String> = near.into_iter().take(3).map(|(_, it)| format!("`{it}`")).collect();
        let all = "`otlp-gate certs list --all` shows all issued certificates";
        let hint = match near.is_empty() {
            true => format!("{all}; `--cert FILE` revokes one that was issued elsewhere"),
            false => format!("did you mean {}? {all}", near.join(" or ")),
        };
        Ok(Error::failed(format_args!("no certificate was issued to {name}")).hint(hint))
    }
}

impl From<&Issued> for Revocable {
    fn from(issued: &Issued) -> Self {
        Revocable {
            name: Some(issued.name.clone()),
            serial: issued.serial.clone(),
            sha256: Some(issued.sha256.clone()),
            not_after: Some(issued.not_after),
            ca: issued.ca.clone(),
        }
    }
}

/// What to do about an internal certificate whose key is no longer secret.
const INTERNAL: &str = "`otlp-gate certs rotate internal` replaces the internal CA, so that its certificates are no \
    longer trusted";

fn other_ca(path: &Path) -> Error {
    let message = format!("{} was not issued by the clients' CA of this folder", path.display());
    Error::failed(message).hint(DENY)
}

fn of_server(message: &str) -> Error {
    Error::failed(message).hint(
        "clients do not check whether a server certificate is revoked; `otlp-gate certs rotate server` replaces the \
        CA that they trust",
    )
}
