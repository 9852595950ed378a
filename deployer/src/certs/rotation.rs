//! Replacing a CA without rejecting valid clients: first both CAs are trusted, then every holder gets a certificate of
//! the new one, then the old one is removed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use time::OffsetDateTime;

use super::record::Event;
use super::{Authority, Ca, Folder, InternalCertificate, RevocationList};
use crate::error::Error;
use crate::file::{self, Access, Existing, Staged};
use crate::x509::Certificate;

impl Folder {
    /// The key of the clients' previous CA, which signs that CA's revocation list until the rotation ends.
    pub(crate) fn old_key_file(&self) -> PathBuf {
        self.path().join("client-ca.old.key")
    }

    /// Creates a CA that issues from now on. The previous one stays trusted. The certificates of `otlp-gate verify` are
    /// issued again.
    ///
    /// # Errors
    /// A rotation is in progress.
    pub(crate) fn rotate(&self, ca: Ca, days: u32) -> Result<Certificate, Error> {
        let files = self.authority_files(ca);
        if self.authority_certificates(ca)?.len() > 1 {
            return Err(Error::failed(format_args!(
                "a rotation is in progress: {} has two CAs",
                files.certificate.display()
            ))
            .hint(format_args!("`otlp-gate certs rotate {ca} --finish` ends it")));
        }
        let old = self.authority(ca)?;
        let new = Authority::generate_next(ca, days)?;
        let mut staged = Vec::new();
        if ca == Ca::Client {
            let list = new.sign_revocations(&RevocationList::empty(new.certificate()))?;
            let lists: String = self.revocation_blocks()?.into_iter().map(|(_, pem)| pem).collect();
            staged.push(Staged::new(&self.old_key_file(), old.key_pem().as_bytes(), Access::Private)?);
            staged.push(Staged::new(
                &self.revocations_file(),
                format!("{list}{lists}").as_bytes(),
                Access::Public,
            )?);
        }
        let both = format!("{}{}", new.pem(), old.pem());
        staged.push(Staged::new(&files.key, new.key_pem().as_bytes(), Access::Private)?);
        staged.push(Staged::new(&files.certificate, both.as_bytes(), Access::Public)?);
        self.append(vec![Event::created(&new, ca)])?;
        staged.into_iter().try_for_each(|it| it.commit(Existing::Replace))?;
        if ca == Ca::Client {
            self.create_test_clients(Existing::Replace)?;
        }
        Ok(new.certificate().clone())
    }

    /// Removes the previous CA. `force`: even if a certificate of it is still in use.
    ///
    /// # Errors
    /// There is no previous CA, or a certificate of it is still in use.
    pub(crate) fn finish_rotation(&self, ca: Ca, force: bool) -> Result<(), Error> {
        let files = self.authority_files(ca);
        let [new, old] = self.authority_certificates(ca)?.try_into().map_err(|_| {
            Error::failed(format_args!(
                "no rotation is in progress: {} does not have two CAs",
                files.certificate.display()
            ))
            .hint(format_args!("`otlp-gate certs rotate {ca}` starts one"))
        })?;
        let left = self.issued_by(ca, &old)?;
        if !left.is_empty() && !force {
            return Err(Error::failed(format_args!("certificates of the old CA are in use: {}", left.join(", "))).hint(
                "`otlp-gate certs renew --all` issues new ones; with `--force` the gate rejects the old ones from now \
                on",
            ));
        }
        let authority = self.authority(ca)?;
        // Last chance to record what the previous CA issued and revoked.
        self.complete_record()?;
        let mut staged = Vec::new();
        if ca == Ca::Client {
            let list = self.revocation_blocks()?.into_iter().find(|(list, _)| list.issuer == new.subject);
            let list = list.map_or_else(
                || authority.sign_revocations(&RevocationList::empty(&new)),
                |(_, pem)| Ok(pem),
            )?;
            staged.push(Staged::new(&self.revocations_file(), list.as_bytes(), Access::Public)?);
        }
        staged.push(Staged::new(&files.certificate, authority.pem().as_bytes(), Access::Public)?);
        staged.into_iter().try_for_each(|it| it.commit(Existing::Replace))?;
        match ca {
            Ca::Client => file::remove(&self.old_key_file()),
            Ca::Server | Ca::Internal => Ok(()),
        }
    }

    /// The holders that still need this CA: those with a certificate of it in the folder that is not revoked, and
    /// clients without files in the folder whose valid certificates are all of this CA.
    fn issued_by(&self, ca: Ca, authority: &Certificate) -> Result<Vec<String>, Error> {
        let revoked = self.revocations()?;
        let all = match ca {
            Ca::Server => vec![("server".to_owned(), self.server_files())],
            Ca::Internal => {
                let all = InternalCertificate::ALL.into_iter();
                all.map(|it| (it.name().to_owned(), self.internal_files(it))).collect()
            }
            Ca::Client => {
                let clients = self.clients()?.into_iter();
                clients.map(|name| (name.clone(), self.client_files(&name))).collect()
            }
        };
        let mut left = Vec::new();
        let mut here = BTreeSet::new();
        for (name, files) in all {
            if !files.certificate.exists() {
                continue;
            }
            let certificate = self.certificate(&files)?;
            if certificate.is_signed_by(authority) && !super::is_revoked(&revoked, &certificate.serial) {
                left.push(name.clone());
            }
            here.insert(name);
        }
        if ca == Ca::Client {
            let (record, key, now) =
                (self.record()?, authority.public_key_sha256_hex(), OffsetDateTime::now_utc());
            let good = record.issued().into_iter().filter(|it| {
                let client = it.kind == Ca::Client && !it.name.starts_with("otlp-gate/");
                client && it.not_after > now && !super::is_revoked(&revoked, &it.serial)
            });
            let (old, new): (Vec<_>, Vec<_>) = good.partition(|it| it.ca == key);
            let new: BTreeSet<&str> = new.into_iter().map(|it| it.name.as_str()).collect();
            let old: BTreeSet<&str> = old.into_iter().map(|it| it.name.as_str()).collect();
            let gone = old.difference(&new).filter(|name| !here.contains(**name));
            left.extend(gone.map(|name| format!("{name} (no files in this folder)")));
        }
        Ok(left)
    }
}
