//! Problems with a folder's certificates.

use std::collections::BTreeMap;

use time::{Duration, OffsetDateTime};

use super::{BACKDATED, CertificateId, ClientTrust, Folder, ListenerTls, RevocationList, is_revoked};
use crate::config::Config;
use crate::error::Error;
use crate::output::duration;

/// The age from which a list is accepted by gateways whose clocks are no further behind.
const SETTLED: Duration = Duration::minutes(5);
/// How far an entry may be in the future: clocks are adjusted while commands run.
const TOLERANCE: Duration = Duration::seconds(5);

impl Folder {
    /// Files that a gateway cannot serve with, and signs of a wrong clock or an incomplete revocation list. Each has a
    /// hint.
    pub(crate) fn warnings(&self, config: &Config, now: OffsetDateTime) -> Vec<Error> {
        let mut warnings: Vec<Error> = match config.takes_server_certificate() {
            true => ListenerTls::read(self).err().into_iter().collect(),
            false => Vec::new(),
        };
        match ClientTrust::read(config, self) {
            Ok(trust) => warnings.extend(trust.warnings()),
            Err(error) => warnings.push(error),
        }
        // A file that cannot be read has just been reported, or is reported by the first command that needs it.
        for name in self.clients().unwrap_or_default() {
            let Ok((files, certificate)) = self.client(&name) else { continue };
            if certificate.not_before > now {
                let early = certificate.not_before - now;
                let message = format!(
                    "{}: not valid before {}, {} from now",
                    files.certificate.display(),
                    certificate.not_before,
                    duration(early)
                );
                warnings.push(Error::failed(message).hint(format_args!(
                    "correct this machine's clock if it is behind; otherwise `otlp-gate certs renew {name}` issues a \
                    new one"
                )));
            }
        }
        warnings.extend(self.internal_expiring(now));
        let lists = self.revocations().unwrap_or_default();
        warnings.extend(lists.iter().filter_map(|list| self.new_list(list, now)));
        match self.completed_record() {
            Ok(record) => {
                if let Some(last) = record.last_time().filter(|last| *last > now + TOLERANCE) {
                    let message = format!(
                        "{}: the last entry is dated {last}, {} from now",
                        self.record_file().display(),
                        duration(last - now)
                    );
                    warnings.push(Error::failed(message).hint(format_args!(
                        "this machine's clock is behind, or the clock of the machine that wrote the entry was ahead; \
                        certificates are dated back by {}, and are not valid before that",
                        duration(BACKDATED)
                    )));
                }
                let missing = self.missing(&record.revoked(), &lists);
                if missing > 0 {
                    let message = format!(
                        "{}: the list lacks {missing} of the revocations in {}",
                        self.revocations_file().display(),
                        self.record_file().display()
                    );
                    warnings.push(
                        Error::failed(message)
                            .hint("`otlp-gate certs crl` signs the list again, with all of them"),
                    );
                }
            }
            Err(error) => warnings.push(error),
        }
        warnings
    }

    /// The warning for a list that was issued just now and is not dated back.
    fn new_list(&self, list: &RevocationList, now: OffsetDateTime) -> Option<Error> {
        let age = now - list.this_update;
        if !(Duration::ZERO..SETTLED).contains(&age) {
            return None;
        }
        let (file, issuer) = (self.revocations_file(), list.issuer.clone().unwrap_or_default());
        let message = format!("{}: the list of {issuer} was issued {} ago", file.display(), duration(age));
        Some(Error::failed(message).hint(
            "a gateway whose clock is further behind rejects all clients until then: have the lists dated back, or \
            wait a few minutes",
        ))
    }

    /// The number of revoked certificates of trusted CAs that are on no list.
    fn missing(&self, revoked: &BTreeMap<&CertificateId, OffsetDateTime>, lists: &[RevocationList]) -> usize {
        let trusted = self.trusted_cas().unwrap_or_default();
        revoked.keys().filter(|it| trusted.contains(&it.ca) && !is_revoked(lists, &it.serial)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Request, Role, Validity};
    use super::*;
    use crate::config::Source;
    use crate::file::Existing;

    #[test]
    fn a_clock_that_is_behind_is_detected() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::at(temporary.path());
        folder.create_authority(Role::Client, 10, Existing::Keep).unwrap();
        let request = Request {
            role: Role::Client,
            subject: vec![("CN".to_owned(), "a".to_owned())],
            uris: Vec::new(),
            dns: Vec::new(),
            emails: Vec::new(),
            ips: Vec::new(),
            validity: Validity::Days(1),
        };
        folder.issue(&folder.client_files("a"), &request, Existing::Keep, |_| Ok(())).unwrap();
        let text = "{apiVersion: otlp-gate/v1, clients: []}".to_owned();
        let config = Source { name: "test".to_owned(), text }.load().unwrap().config;
        let now = OffsetDateTime::now_utc();
        for (behind, words) in [
            (Duration::ZERO, &[][..]),
            // Dated back, so still valid by this clock, and reported all the same.
            (Duration::minutes(50), &["the last entry is dated"]),
            (Duration::hours(30), &["clients/a.crt: not valid before", "the last entry is dated"]),
        ] {
            let warnings = folder.warnings(&config, now - behind);
            // The first warning is about the missing server certificate.
            let told: Vec<String> = warnings.iter().skip(1).map(ToString::to_string).collect();
            assert_eq!(told.len(), words.len(), "{told:?}");
            assert!(told.iter().zip(words).all(|(told, words)| told.contains(words)), "{told:?}");
        }
    }
}
