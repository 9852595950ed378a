//! From one CA to the next without a moment in which somebody is shut out: first both are trusted, then everybody gets a
//! certificate of the new one, then the old one goes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::record::{Event, from_hex, now};
use super::{Authority, Folder, Revocations, Role};
use crate::error::Error;
use crate::file::{self, Access, Existing, Staged};
use crate::x509::Certificate;

impl Folder {
    /// Where the key of the clients' old CA is for as long as that is trusted: it still revokes.
    pub fn old_key_file(&self) -> PathBuf {
        self.path().join("client-ca.old.key")
    }

    /// Makes a CA that issues from now on, beside the one that did, which stays trusted. What `otlp-gate verify` shows is
    /// made anew.
    ///
    /// # Errors
    /// A rotation is under way already.
    pub fn rotate(&self, role: Role, days: u32) -> Result<Certificate, Error> {
        let files = self.authority_files(role);
        if self.authority_certificates(role)?.len() > 1 {
            return Err(Error::failed(format_args!(
                "{} holds an old CA already",
                files.certificate.display()
            ))
            .hint(format_args!(
                "`otlp-gate certs rotate {role} --finish` ends the rotation that is under way"
            )));
        }
        let old = self.authority(role)?;
        let new = Authority::generate_next(role, days)?;
        let mut staged = Vec::new();
        if role == Role::Client {
            let list = new.sign_revocations(&Revocations::none(new.certificate()))?;
            let lists: String = self.lists()?.into_iter().map(|(_, pem)| pem).collect();
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
        self.write_down(vec![Event::made(&new, role)])?;
        staged.into_iter().try_for_each(|it| it.commit(Existing::Replace))?;
        if role == Role::Client {
            self.make_trials(Existing::Replace)?;
        }
        Ok(new.certificate().clone())
    }

    /// Trusts the old CA no more. `force`: also if a certificate of it is still in use.
    ///
    /// # Errors
    /// There is no old CA, or a certificate in the folder is still of it.
    pub fn finish_rotation(&self, role: Role, force: bool) -> Result<(), Error> {
        let files = self.authority_files(role);
        let [new, old] = self.authority_certificates(role)?.try_into().map_err(|_| {
            Error::failed(format_args!("{} does not hold a new and an old CA", files.certificate.display()))
                .hint(format_args!("`otlp-gate certs rotate {role}` begins a rotation"))
        })?;
        let left = self.issued_by(role, &old)?;
        if !left.is_empty() && !force {
            return Err(Error::failed(format_args!("still of the old CA: {}", left.join(", "))).hint(
                "`otlp-gate certs renew --all` makes new ones; `--force` shuts out whoever still shows an old one",
            ));
        }
        let authority = self.authority(role)?;
        // For the last time the old CA's work is in the folder.
        self.complete_record()?;
        let mut staged = Vec::new();
        if role == Role::Client {
            let list = self.lists()?.into_iter().find(|(list, _)| list.issuer == new.subject);
            let list = list
                .map_or_else(|| authority.sign_revocations(&Revocations::none(&new)), |(_, pem)| Ok(pem))?;
            staged.push(Staged::new(&self.revocations_file(), list.as_bytes(), Access::Public)?);
        }
        staged.push(Staged::new(&files.certificate, authority.pem().as_bytes(), Access::Public)?);
        staged.into_iter().try_for_each(|it| it.commit(Existing::Replace))?;
        match role {
            Role::Client => file::remove(&self.old_key_file()),
            Role::Server => Ok(()),
        }
    }

    /// Who still needs this CA: what of the folder it issued and did not revoke, and who got a certificate of it, has none of
    /// another one, and no files here.
    fn issued_by(&self, role: Role, authority: &Certificate) -> Result<Vec<String>, Error> {
        let revoked = self.revocations()?;
        let all = match role {
            Role::Server => vec![("server".to_owned(), self.server_files())],
            Role::Client => {
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
        if role == Role::Client {
            let (record, ca, now) = (self.record()?, authority.public_key_sha256_hex(), now());
            let good = record.issued().into_iter().filter(|it| {
                let serial = from_hex(&it.serial).unwrap_or_default();
                let client = it.kind == Role::Client && !it.name.starts_with("otlp-gate/");
                client && it.not_after > now && !super::is_revoked(&revoked, &serial)
            });
            let (old, new): (Vec<_>, Vec<_>) = good.partition(|it| it.ca == ca);
            let new: BTreeSet<&str> = new.into_iter().map(|it| it.name.as_str()).collect();
            let old: BTreeSet<&str> = old.into_iter().map(|it| it.name.as_str()).collect();
            let gone = old.difference(&new).filter(|name| !here.contains(**name));
            left.extend(gone.map(|name| format!("{name} (its files are not here)")));
        }
        Ok(left)
    }
}
