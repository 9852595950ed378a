//! Creating CAs, and issuing and renewing certificates, in a folder.

use rcgen::{KeyPair, PublicKeyData, SubjectPublicKeyInfo};

use super::record::{self, Event, Issued};
use super::{Authority, Ca, Files, Folder, InternalCertificate, Request, RevocationList, is_revoked};
use crate::error::Error;
use crate::file::{self, Access, Existing, Staged};
use crate::x509::{Certificate, Role};

impl Folder {
    /// Creates a CA, and for clients an empty revocation list: once Envoy has a list of one CA, it rejects the clients
    /// of every CA without a list.
    pub(crate) fn create_authority(
        &self,
        ca: impl Into<Ca>,
        days: u32,
        existing: Existing,
    ) -> Result<Authority, Error> {
        let ca = ca.into();
        let authority = Authority::generate(ca, days)?;
        let files = self.authority_files(ca);
        let mut staged = vec![
            Staged::new(&files.key, authority.key_pem().as_bytes(), Access::Private)?,
            Staged::new(&files.certificate, authority.pem().as_bytes(), Access::Public)?,
        ];
        if ca == Ca::Client {
            let list = authority.sign_revocations(&RevocationList::empty(authority.certificate()))?;
            staged.push(Staged::new(&self.revocations_file(), list.as_bytes(), Access::Public)?);
        }
        self.append(vec![Event::created(&authority, ca)])?;
        staged.into_iter().try_for_each(|it| it.commit(existing))?;
        Ok(authority)
    }

    /// Creates a key and a certificate for it. `approve` sees the certificate before any file is written, and may
    /// reject it.
    pub(crate) fn issue(
        &self,
        files: &Files,
        request: &Request,
        existing: Existing,
        approve: impl FnOnce(&Certificate) -> Result<(), Error>,
    ) -> Result<Certificate, Error> {
        if existing == Existing::Keep {
            reject_existing(files)?;
        }
        let key = Authority::new_key()?;
        let (pem, certificate) = self.sign(files, request, &key)?;
        approve(&certificate)?;
        let staged = [
            Staged::new(&files.key, key.serialize_pem().as_bytes(), Access::Private)?,
            Staged::new(&files.certificate, pem.as_bytes(), Access::Public)?,
        ];
        self.record_issued(files, &certificate)?;
        staged.into_iter().try_for_each(|it| it.commit(existing))?;
        Ok(certificate)
    }

    /// Creates a certificate for a client's own key, which the folder never has. `approve` sees the certificate before
    /// any file is written, and may reject it.
    pub(crate) fn issue_for_key(
        &self,
        files: &Files,
        request: &Request,
        public_key: &[u8],
        existing: Existing,
        approve: impl FnOnce(&Certificate) -> Result<(), Error>,
    ) -> Result<Certificate, Error> {
        if existing == Existing::Keep
            && let Some(path) = [&files.certificate, &files.key].into_iter().find(|path| path.exists())
        {
            return Err(Error::failed(format_args!("{} already exists", path.display())).hint(
                "`--force` replaces the certificate, and removes a key in the folder that it is not for",
            ));
        }
        let (pem, certificate) = self.sign(files, request, &public_key_info(public_key)?)?;
        approve(&certificate)?;
        let staged = Staged::new(&files.certificate, pem.as_bytes(), Access::Public)?;
        self.record_issued(files, &certificate)?;
        staged.commit(existing)?;
        let is_same = |key: KeyPair| key.subject_public_key_info() == public_key;
        let key = file::read_text(&files.key).ok().and_then(|pem| KeyPair::from_pem(&pem).ok());
        if !key.is_some_and(is_same) {
            file::remove(&files.key)?;
        }
        Ok(certificate)
    }

    /// Issues a new certificate for the same key. Only the certificate's file is replaced, in one step, so that key and
    /// certificate match at any moment.
    pub(crate) fn renew(&self, files: &Files, request: &Request) -> Result<Certificate, Error> {
        let (pem, certificate) = if files.key.exists() {
            let key = KeyPair::from_pem(&file::read_text(&files.key)?).map_err(|e| {
                Error::failed(format_args!("{}: not a private key: {e}", files.key.display()))
            })?;
            self.sign(files, request, &key)?
        } else {
            self.sign(files, request, &public_key_info(&self.certificate(files)?.public_key())?)?
        };
        let staged = Staged::new(&files.certificate, pem.as_bytes(), Access::Public)?;
        self.record_issued(files, &certificate)?;
        staged.commit(Existing::Replace)?;
        Ok(certificate)
    }

    /// The files of the server, of the internal certificates, and of every client whose certificate is not revoked.
    pub(crate) fn renewable(&self) -> Result<Vec<(Role, Files)>, Error> {
        let revocations = self.revocations()?;
        let mut files = Vec::new();
        if self.server_files().certificate.exists() {
            files.push((Role::Server, self.server_files()));
        }
        let internal = InternalCertificate::ALL.into_iter().map(|it| (it.role(), self.internal_files(it)));
        files.extend(internal.filter(|(_, files)| files.certificate.exists()));
        for name in self.clients()? {
            let (of_client, certificate) = self.client(&name)?;
            if !is_revoked(&revocations, &certificate.serial) {
                files.push((Role::Client, of_client));
            }
        }
        Ok(files)
    }

    /// The files of a client that is to be renewed.
    ///
    /// # Errors
    /// The client has no certificate, or its certificate is revoked.
    pub(crate) fn renewable_client(&self, name: &str) -> Result<Files, Error> {
        let (files, certificate) = self.client(name)?;
        if is_revoked(&self.revocations()?, &certificate.serial) {
            return Err(Error::failed(format_args!("the certificate of {name} is revoked"))
                .hint(format_args!("`otlp-gate certs client {name} --force` issues one with a new key")));
        }
        Ok(files)
    }

    fn sign(
        &self,
        files: &Files,
        request: &Request,
        key: &impl PublicKeyData,
    ) -> Result<(String, Certificate), Error> {
        let pem = self.authority(self.ca_of(files))?.issue(request, key)?;
        let certificate = Certificate::parse(pem.as_bytes())
            .map_err(|e| Error::failed(format_args!("cannot parse the new certificate: {e}")))?;
        Ok((pem, certificate))
    }

    fn record_issued(&self, files: &Files, certificate: &Certificate) -> Result<(), Error> {
        let kind = self.ca_of(files);
        let ca = self.authority(kind)?;
        let issued =
            Issued::of(certificate, kind, self.name_of(files), ca.certificate(), Some(record::now()));
        self.append(vec![Event::Issued(issued)])
    }
}

/// A public key, from the DER of a SubjectPublicKeyInfo.
fn public_key_info(der: &[u8]) -> Result<SubjectPublicKeyInfo, Error> {
    SubjectPublicKeyInfo::from_der(der)
        .map_err(|e| Error::failed(format_args!("cannot issue a certificate for this key: {e}")))
}

fn reject_existing(files: &Files) -> Result<(), Error> {
    match [&files.key, &files.certificate].into_iter().find(|path| path.exists()) {
        None => Ok(()),
        Some(path) => Err(Error::failed(format_args!("{} already exists", path.display())).hint(
            "`--force` replaces it with a new key and certificate; `otlp-gate certs renew` keeps the key",
        )),
    }
}
