//! What is wrong with a folder's certificates, or may become so.

use time::{Duration, OffsetDateTime};

use super::{BACKDATED, Folder, Revocations, Role, Serving, from_hex, is_revoked};
use crate::error::Error;
use crate::output::words;

/// A gateway whose clock is no further behind takes a list that is as old.
const SETTLED: Duration = Duration::minutes(5);
/// So much later than now an entry may be: clocks are set while commands run.
const TOLERANCE: Duration = Duration::seconds(5);

impl Folder {
    /// What a gate cannot serve with, and what points to a clock that is wrong or a list that lacks something. Each is an error
    /// with its cure.
    pub fn notices(&self, now: OffsetDateTime) -> Vec<Error> {
        let mut notices: Vec<Error> = Serving::read(self.path()).err().into_iter().collect();
        // What cannot be read has just been told, or is told by the first command that needs it.
        for name in self.clients().unwrap_or_default() {
            let Ok((files, certificate)) = self.client(&name) else { continue };
            if certificate.not_before > now {
                let early = certificate.not_before - now;
                let message = format!(
                    "{}: not valid before {}, {} from now",
                    files.certificate.display(),
                    certificate.not_before,
                    words(early)
                );
                notices.push(Error::failed(message).hint(format_args!(
                    "set this machine's clock right if it is behind; else `otlp-gate certs renew {name}` makes another"
                )));
            }
        }
        let lists = self.revocations().unwrap_or_default();
        notices.extend(lists.iter().filter_map(|list| self.recent(list, now)));
        match self.known() {
            Ok(record) => {
                if let Some(last) = record.last_time().filter(|last| *last > now + TOLERANCE) {
                    let message = format!(
                        "{}: its last entry is from {last}, {} from now",
                        self.record_file().display(),
                        words(last - now)
                    );
                    notices.push(Error::failed(message).hint(format_args!(
                        "this machine's clock is behind, or that of whoever made it was ahead: what was made then is dated back by \
                         {} and not valid before",
                        words(BACKDATED)
                    )));
                }
                let missing = self.missing(&record.revoked(), &lists);
                if missing > 0 {
                    let message = format!(
                        "{}: {missing} that {} says is revoked is not on it",
                        self.revocations_file().display(),
                        self.record_file().display()
                    );
                    notices.push(
                        Error::failed(message).hint("`otlp-gate certs crl` signs it anew, with all of them"),
                    );
                }
            }
            Err(error) => notices.push(error),
        }
        notices
    }

    /// A list of somebody who does not date back.
    fn recent(&self, list: &Revocations, now: OffsetDateTime) -> Option<Error> {
        let age = now - list.this_update;
        if !(Duration::ZERO..SETTLED).contains(&age) {
            return None;
        }
        let (file, issuer) = (self.revocations_file(), list.issuer.clone().unwrap_or_default());
        let message = format!("{}: the list of {issuer} is from {} ago", file.display(), words(age));
        Some(Error::failed(message).hint(
            "a gateway whose clock is further behind refuses all clients until its clock has come there: have lists dated back, or \
             wait some minutes",
        ))
    }

    /// How many of these are of a CA that the gate trusts, and on no list.
    fn missing(
        &self,
        revoked: &std::collections::BTreeMap<(&str, &str), OffsetDateTime>,
        lists: &[Revocations],
    ) -> usize {
        let authorities = self.authority_certificates(Role::Client).unwrap_or_default();
        let trusted: Vec<String> = authorities.iter().map(|it| it.public_key_sha256_hex()).collect();
        let is_missing = |(ca, serial): &&(&str, &str)| {
            trusted.iter().any(|it| it == ca)
                && from_hex(serial).is_some_and(|serial| !is_revoked(lists, &serial))
        };
        revoked.keys().filter(is_missing).count()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Request, Validity};
    use super::*;
    use crate::file::Existing;

    #[test]
    fn a_clock_that_is_behind_is_seen_by_what_was_made() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::at(temporary.path());
        folder.make_authority(Role::Client, 10, Existing::Keep).unwrap();
        let request = Request {
            role: Role::Client,
            subject: vec![("CN".to_owned(), "a".to_owned())],
            uris: Vec::new(),
            dns: Vec::new(),
            ips: Vec::new(),
            validity: Validity::Days(1),
        };
        folder.make(&folder.client_files("a"), &request, Existing::Keep, |_| Ok(())).unwrap();
        let now = OffsetDateTime::now_utc();
        for (behind, words) in [
            (Duration::ZERO, &[][..]),
            // what is dated back is good by such a clock, and yet it is told
            (Duration::minutes(50), &["its last entry is from"]),
            (Duration::hours(30), &["clients/a.crt: not valid before", "its last entry is from"]),
        ] {
            let notices = folder.notices(now - behind);
            // there is no server's certificate
            let told: Vec<String> = notices.iter().skip(1).map(ToString::to_string).collect();
            assert_eq!(told.len(), words.len(), "{told:?}");
            assert!(told.iter().zip(words).all(|(told, words)| told.contains(words)), "{told:?}");
        }
    }
}
