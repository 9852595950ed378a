//! The record of what the folder's CAs issued and revoked: JSON Lines, to which commands only append. Two copies of a
//! folder are merged by keeping the lines of both.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Authority, Ca, Files, Folder};
use crate::error::Error;
use crate::file::{self, Access, Existing, Staged};
use crate::x509::{Certificate, Number};

/// The name, in the record, of the client that `otlp-gate verify` sends as. Every gate accepts it.
pub(crate) const VERIFY_CLIENT: &str = "otlp-gate/verify";
/// The name, in the record, of the certificate that matches no rule: [`super::TestClient::Unknown`].
pub(super) const VERIFY_STRANGER: &str = "otlp-gate/stranger";

/// One line of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Event {
    /// A CA was created, or the record began to follow a CA that existed already.
    Authority {
        /// When the event happened.
        #[serde(with = "time::serde::rfc3339")]
        time: OffsetDateTime,
        /// Which CA of the folder it is.
        kind: Ca,
        /// Whether the record has every certificate that the CA ever issued.
        complete: bool,
        /// The subject of the CA, in RFC 2253 form.
        issuer: Option<String>,
        /// The SHA-256 of the CA's SubjectPublicKeyInfo, in hex.
        ca: String,
    },
    /// A certificate was issued. The entry is written before the certificate, so that no certificate lacks one.
    Issued(Issued),
    /// A certificate was revoked.
    Revoked {
        /// When the event happened.
        #[serde(with = "time::serde::rfc3339")]
        time: OffsetDateTime,
        /// The certificate.
        #[serde(flatten)]
        id: CertificateId,
    },
    /// A revocation list was signed.
    List {
        /// When the event happened.
        #[serde(with = "time::serde::rfc3339")]
        time: OffsetDateTime,
        /// The number of the list.
        number: Number,
        /// The CA that signed it, as in [`Event::Authority`].
        ca: String,
    },
}

/// Identifies a certificate: serial numbers are unique for one CA (RFC 5280 section 4.1.2.2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct CertificateId {
    /// The serial number.
    pub(crate) serial: Number,
    /// The CA that issued the certificate, as in [`Event::Authority`].
    pub(crate) ca: String,
}

/// A certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Issued {
    /// When it was issued; `None` if it was found in the folder without an entry.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub(crate) time: Option<OffsetDateTime>,
    /// Which CA of the folder issued it.
    pub(crate) kind: Ca,
    /// The client's name as given to `certs client`, or the name of its file such as `server`, or [`VERIFY_CLIENT`].
    pub(crate) name: String,
    /// The serial number.
    pub(crate) serial: Number,
    /// Start of the validity period.
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) not_before: OffsetDateTime,
    /// End of the validity period.
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) not_after: OffsetDateTime,
    /// The SHA-256 of its DER, in hex.
    pub(crate) sha256: String,
    /// The subject, in RFC 2253 form.
    pub(crate) subject: Option<String>,
    /// The subject alternative names, each with its kind: `URI:`, `DNS:` or `IP:`.
    #[serde(default)]
    pub(crate) sans: Vec<String>,
    /// The CA that issued it, as in [`Event::Authority`].
    pub(crate) ca: String,
}

/// The record as read from the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    text: String,
    events: Vec<Event>,
}

impl Issued {
    /// The entry for a certificate.
    pub(crate) fn of(
        certificate: &Certificate,
        kind: Ca,
        name: String,
        ca: &Certificate,
        time: Option<OffsetDateTime>,
    ) -> Self {
        Issued {
            time,
            kind,
            name,
            serial: certificate.serial.clone(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            sha256: certificate.sha256_hex(),
            subject: certificate.subject.clone(),
            sans: certificate.sans(),
            ca: ca.public_key_sha256_hex(),
        }
    }

    /// Identifies the certificate.
    pub(crate) fn id(&self) -> CertificateId {
        CertificateId { serial: self.serial.clone(), ca: self.ca.clone() }
    }
}

impl Record {
    fn parse(path: &Path, text: String) -> Result<Self, Error> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let events = lines.map(|(at, line)| {
            serde_json::from_str(line).map_err(|e| {
                let marker =
                    ["<<<<<<<", "|||||||", "=======", ">>>>>>>"].iter().any(|it| line.starts_with(it));
                let message = format!("{}:{}: not an entry of the record: {e}", path.display(), at + 1);
                Error::failed(message).hint(match marker {
                    true => "remove the merge markers, and keep the lines of both sides",
                    false => "restore the line: without it, `certs revoke NAME` may not find a certificate",
                })
            })
        });
        Ok(Record { events: events.collect::<Result<_, Error>>()?, text })
    }

    /// Whether the record has no entries.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Every certificate that was issued, once, in the order of issue.
    pub(crate) fn issued(&self) -> Vec<&Issued> {
        let mut seen = BTreeSet::new();
        let issued = self.events.iter().filter_map(|event| match event {
            Event::Issued(issued) => Some(issued),
            _ => None,
        });
        issued.filter(|it| seen.insert((&it.ca, &it.serial))).collect()
    }

    /// The certificates that were revoked, with the time of the first revocation.
    pub(crate) fn revoked(&self) -> BTreeMap<&CertificateId, OffsetDateTime> {
        let mut revoked = BTreeMap::new();
        for event in &self.events {
            if let Event::Revoked { time, id } = event {
                let first = revoked.entry(id).or_insert(*time);
                *first = (*first).min(*time);
            }
        }
        revoked
    }

    /// The names of all clients that a certificate was ever issued to.
    pub(crate) fn clients(&self) -> BTreeSet<&str> {
        let clients = self.issued().into_iter().filter(|it| it.kind == Ca::Client);
        clients.map(|it| it.name.as_str()).collect()
    }

    /// The highest number of the revocation lists that this CA signed.
    pub(super) fn last_number(&self, ca: &str) -> Option<&Number> {
        let numbers = self.events.iter().filter_map(|event| match event {
            Event::List { number, ca: of, .. } if of == ca => Some(number),
            _ => None,
        });
        numbers.max()
    }

    /// When the record began to follow this CA; `None` if it has everything that the CA issued.
    pub(crate) fn incomplete_since(&self, ca: &str) -> Option<OffsetDateTime> {
        let mut since = None;
        for event in &self.events {
            match event {
                Event::Authority { ca: of, complete: true, .. } if of == ca => return None,
                Event::Authority { time, ca: of, .. } if of == ca => since = since.or(Some(*time)),
                _ => {}
            }
        }
        since
    }

    /// The latest time of an entry, by the clock of the machine that wrote it.
    pub(crate) fn last_time(&self) -> Option<OffsetDateTime> {
        let times = self.events.iter().filter_map(|event| match event {
            Event::Authority { time, .. } | Event::Revoked { time, .. } | Event::List { time, .. } => {
                Some(*time)
            }
            Event::Issued(issued) => issued.time,
        });
        times.max()
    }

    fn knows(&self, ca: &str) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Authority { ca: of, .. } if of == ca))
    }
}

impl Folder {
    /// The path of the record.
    pub(crate) fn record_file(&self) -> PathBuf {
        self.path().join("issued.jsonl")
    }

    /// Reads the record. A folder that an earlier version made has none: the record is then empty.
    pub(crate) fn record(&self) -> Result<Record, Error> {
        let path = self.record_file();
        match fs::read_to_string(&path) {
            Ok(text) => Record::parse(&path, text),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Record::default()),
            Err(e) => Err(file::cannot_read(path.display(), &e)),
        }
    }

    /// The record, completed in memory with what the folder has and the record lacks. Writes nothing.
    pub(crate) fn completed_record(&self) -> Result<Record, Error> {
        let mut record = self.record()?;
        let found = self.unrecorded(&record, &BTreeSet::new())?;
        record.events.extend(found);
        Ok(record)
    }

    /// Appends to the record what the folder has and the record lacks, and then `events`. The folder must be locked.
    pub(super) fn append(&self, events: Vec<Event>) -> Result<(), Error> {
        let record = self.record()?;
        // The CAs that `events` create need no entry for having been found.
        let created: BTreeSet<String> =
            events.iter().filter_map(Event::authority).map(str::to_owned).collect();
        let mut text = record.text.clone();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        for event in self.unrecorded(&record, &created)?.iter().chain(&events) {
            let line = serde_json::to_string(event)
                .map_err(|e| Error::failed(format_args!("cannot write an entry of the record: {e}")))?;
            text.push_str(&line);
            text.push('\n');
        }
        if text == record.text {
            return Ok(());
        }
        Staged::new(&self.record_file(), text.as_bytes(), Access::Public)?.commit(Existing::Replace)
    }

    /// Appends to the record what the folder has and the record lacks. The folder must be locked.
    pub(crate) fn complete_record(&self) -> Result<(), Error> {
        self.append(Vec::new())
    }

    /// Events for what the folder has and the record lacks: CAs, certificates and revocations.
    fn unrecorded(&self, record: &Record, created: &BTreeSet<String>) -> Result<Vec<Event>, Error> {
        let mut events = Vec::new();
        let mut authorities = Vec::new();
        let time = now();
        for kind in Ca::ALL {
            if !self.authority_files(kind).certificate.exists() {
                continue;
            }
            for ca in self.authority_certificates(kind)? {
                let key = ca.public_key_sha256_hex();
                if !record.knows(&key) && !created.contains(&key) {
                    let issuer = ca.subject.clone();
                    events.push(Event::Authority { time, kind, complete: false, issuer, ca: key });
                }
                authorities.push((kind, ca));
            }
        }
        let known: BTreeSet<CertificateId> = record.issued().into_iter().map(Issued::id).collect();
        for files in self.issued_files()? {
            // A file that cannot be parsed is not a certificate that a client could present.
            let Ok(certificate) = self.certificate(&files) else { continue };
            let is_known = |ca: &Certificate| known.contains(&CertificateId::of(&certificate, ca));
            let mut by_name = authorities.iter().filter(|(_, ca)| ca.subject == certificate.issuer);
            if by_name.clone().any(|(_, ca)| is_known(ca)) {
                continue;
            }
            if let Some((kind, ca)) = by_name.find(|(_, ca)| certificate.is_signed_by(ca)) {
                let issued = Issued::of(&certificate, *kind, self.name_of(&files), ca, None);
                events.push(Event::Issued(issued));
            }
        }
        let revoked = record.revoked();
        for list in self.revocations()? {
            let Some((_, ca)) =
                authorities.iter().find(|(kind, ca)| *kind == Ca::Client && ca.subject == list.issuer)
            else {
                continue;
            };
            let ca = ca.public_key_sha256_hex();
            for entry in &list.entries {
                let id = CertificateId { serial: entry.serial.clone(), ca: ca.clone() };
                if !revoked.contains_key(&id) {
                    events.push(Event::Revoked { time: entry.time, id });
                }
            }
        }
        Ok(events)
    }

    /// The name under which the record has the certificate in these files.
    pub(super) fn name_of(&self, files: &Files) -> String {
        let stem = files.certificate.with_extension("");
        let stem = stem.strip_prefix(self.path()).unwrap_or(&stem).to_string_lossy().into_owned();
        match stem.split_once('/') {
            Some(("clients", name)) => name.to_owned(),
            Some(("verify", "stranger")) => VERIFY_STRANGER.to_owned(),
            Some(("verify", _)) => VERIFY_CLIENT.to_owned(),
            _ => stem,
        }
    }
}

impl CertificateId {
    /// The identity of a certificate that `ca` issued.
    pub(crate) fn of(certificate: &Certificate, ca: &Certificate) -> Self {
        CertificateId { serial: certificate.serial.clone(), ca: ca.public_key_sha256_hex() }
    }
}

impl Event {
    /// A CA was created in this folder.
    pub(super) fn created(authority: &Authority, kind: Ca) -> Self {
        let certificate = authority.certificate();
        Event::Authority {
            time: now(),
            kind,
            complete: true,
            issuer: certificate.subject.clone(),
            ca: certificate.public_key_sha256_hex(),
        }
    }

    fn authority(&self) -> Option<&str> {
        match self {
            Event::Authority { ca, .. } => Some(ca),
            _ => None,
        }
    }
}

/// The current time in whole seconds, as entries have it.
pub(super) fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(serial: &str) -> String {
        format!(
            r#"{{"event":"issued","kind":"client","name":"a","serial":"{serial}","notBefore":"2026-01-01T00:00:00Z","notAfter":"2027-01-01T00:00:00Z","sha256":"00","subject":null,"sans":[],"ca":"c"}}"#
        )
    }

    fn parse(text: &str) -> Result<Record, Error> {
        Record::parse(Path::new("issued.jsonl"), text.to_owned())
    }

    #[test]
    fn the_lines_of_two_copies_form_one_record() {
        let text = format!("{}\n{}\n\n{}\n", line("01"), line("02"), line("01"));
        let record = parse(&text).unwrap();
        assert_eq!(record.issued().iter().map(|it| it.serial.to_string()).collect::<Vec<_>>(), ["01", "02"]);
        assert_eq!(record.clients().into_iter().collect::<Vec<_>>(), ["a"]);
        let revoked = |day| {
            format!(r#"{{"event":"revoked","time":"2026-02-0{day}T00:00:00Z","serial":"01","ca":"c"}}"#)
        };
        let record = parse(&format!("{}\n{}\n", revoked(2), revoked(1))).unwrap();
        let id = CertificateId { serial: "01".parse().unwrap(), ca: "c".to_owned() };
        assert_eq!(record.revoked()[&id].day(), 1, "the first counts");
        assert_eq!(record.revoked().len(), 1);
    }

    #[test]
    fn a_malformed_entry_is_reported_with_its_line() {
        for (wrong, hint) in
            [("<<<<<<< HEAD", "keep the lines of both"), ("{", "restore"), (r#"{"event":"new"}"#, "restore")]
        {
            let error = parse(&format!("{}\n{wrong}\n", line("01"))).unwrap_err();
            assert!(error.to_string().starts_with("issued.jsonl:2: not an entry of the record"), "{error}");
            assert!(error.hint_text().unwrap().contains(hint), "{:?}", error.hint_text());
        }
    }

    #[test]
    fn a_name_with_dots_is_the_whole_name() {
        let folder = Folder::at("certs");
        assert_eq!(folder.name_of(&folder.client_files("zurich.globex")), "zurich.globex");
        assert_eq!(folder.name_of(&folder.server_files()), "server");
        assert_eq!(
            folder.name_of(&folder.test_client_files(super::super::TestClient::Revoked)),
            VERIFY_CLIENT
        );
    }
}
