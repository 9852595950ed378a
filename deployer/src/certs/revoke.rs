//! Revoking certificates: the revocation lists of the clients' CAs.

use std::collections::BTreeSet;
use std::iter;

use super::record::{self, CertificateId, Event};
use super::{Authority, Folder, RevocationList, is_revoked};
use crate::error::Error;
use crate::file::{Access, Existing, Staged};
use crate::x509::{Certificate, Role};

impl Folder {
    /// The clients' CAs whose keys are in the folder: the one that issues, and the previous one.
    fn revoking_authorities(&self) -> Result<Vec<Authority>, Error> {
        Ok(iter::once(self.authority(Role::Client)?).chain(self.old_authority()?).collect())
    }

    /// Revokes certificates, and gives those that were not revoked before. The folder must be locked.
    ///
    /// # Errors
    /// The key of a certificate's CA is not in the folder. The other certificates are revoked all the same.
    pub(crate) fn revoke(&self, certificates: &BTreeSet<CertificateId>) -> Result<Vec<CertificateId>, Error> {
        let authorities = self.revoking_authorities()?;
        let keys: BTreeSet<String> =
            authorities.iter().map(|it| it.certificate().public_key_sha256_hex()).collect();
        let (certificates, others): (BTreeSet<_>, BTreeSet<_>) =
            certificates.iter().cloned().partition(|it| keys.contains(&it.ca));
        let lists = self.revocations()?;
        let new: Vec<_> = certificates.into_iter().filter(|it| !is_revoked(&lists, &it.serial)).collect();
        let time = record::now();
        self.append(new.iter().map(|id| Event::Revoked { time, id: id.clone() }).collect())?;
        self.sign_lists(&authorities, Sign::Changed)?;
        if !others.is_empty() {
            let serials: Vec<String> = others.into_iter().map(|it| it.serial.to_string()).collect();
            let revoked = match new.len() {
                0 => String::new(),
                number => format!("; the other {number} are revoked"),
            };
            let message = format!(
                "cannot revoke {}: the key of the CA that issued it is not in {}{revoked}",
                serials.join(", "),
                self.path().display()
            );
            return Err(Error::failed(message).hint(DENY));
        }
        Ok(new)
    }

    /// Signs all lists of the clients' CAs again, with every revocation that the record or a list has. Gives the number
    /// of revoked certificates. The folder must be locked.
    pub(crate) fn renew_lists(&self) -> Result<usize, Error> {
        self.complete_record()?;
        self.sign_lists(&self.revoking_authorities()?, Sign::All)
    }

    /// Adds the revocations that only the record has to the lists. The folder must be locked.
    pub(crate) fn complete_lists(&self) -> Result<usize, Error> {
        self.complete_record()?;
        self.sign_lists(&self.revoking_authorities()?, Sign::Changed)
    }

    fn sign_lists(&self, authorities: &[Authority], which: Sign) -> Result<usize, Error> {
        let record = self.record()?;
        let mut blocks = self.revocation_blocks()?;
        let (mut text, mut events, mut number) = (String::new(), Vec::new(), 0);
        for authority in authorities {
            let ca = authority.certificate().public_key_sha256_hex();
            let present = take(&mut blocks, authority.certificate());
            let mut list = present
                .as_ref()
                .map_or_else(|| RevocationList::empty(authority.certificate()), |(list, _)| list.clone());
            for (id, time) in record.revoked().into_iter().filter(|(id, _)| id.ca == ca) {
                list.add(&id.serial, time);
            }
            number += list.entries.len();
            match present {
                // An unchanged list stays as it is, byte for byte.
                Some((old, pem)) if which == Sign::Changed && old == list => text.push_str(&pem),
                _ => {
                    list.count_up(record.last_number(&ca));
                    text.push_str(&authority.sign_revocations(&list)?);
                    events.push(Event::List { time: record::now(), number: list.number, ca });
                }
            }
        }
        if events.is_empty() {
            return Ok(number);
        }
        // The lists of CAs whose keys are elsewhere.
        text.extend(blocks.into_iter().map(|(_, pem)| pem));
        self.append(events)?;
        Staged::new(&self.revocations_file(), text.as_bytes(), Access::Public)?.commit(Existing::Replace)?;
        Ok(number)
    }
}

/// What to do about a certificate that the folder cannot revoke.
pub(super) const DENY: &str =
    "ask the owner of the CA to revoke it, or add its `sha256:` fingerprint to `deny` in the configuration";

/// Which lists are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    All,
    /// Those that are missing or lack a revocation.
    Changed,
}

/// Takes a CA's list from `lists`.
fn take(
    lists: &mut Vec<(RevocationList, String)>,
    authority: &Certificate,
) -> Option<(RevocationList, String)> {
    let at = lists.iter().position(|(list, _)| list.issuer == authority.subject)?;
    Some(lists.remove(at))
}
