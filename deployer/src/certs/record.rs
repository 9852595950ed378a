//! What the folder's CAs issued and revoked: one JSON object a line, to which lines are only added. Two copies are merged
//! by keeping the lines of both.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Authority, Files, Folder, Role};
use crate::error::Error;
use crate::file::{Access, Existing, Staged};
use crate::x509::Certificate;

/// What the client is called that every gate knows, and the certificate that no client has: [`super::Trial`].
pub const VERIFY_CLIENT: &str = "otlp-gate/verify";
pub(super) const VERIFY_STRANGER: &str = "otlp-gate/stranger";

/// A line of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// A CA began to issue, or the record of what it issues began.
    Authority {
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        time: OffsetDateTime,
        /// Whose certificates it issues.
        kind: Role,
        /// Whether all that it ever issued is in the record.
        complete: bool,
        /// Its name.
        issuer: Option<String>,
        /// The SHA-256 of its public key.
        ca: String,
    },
    /// A certificate was issued. Written before the certificate itself, so that there is none without an entry.
    Issued(Issued),
    /// A certificate was revoked.
    Revoked {
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        time: OffsetDateTime,
        /// Its serial number, in hex.
        serial: String,
        /// The CA that issued it, as in [`Event::Authority`].
        ca: String,
    },
    /// A revocation list was signed.
    List {
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        time: OffsetDateTime,
        /// Its number, in hex.
        number: String,
        /// The CA that signed it, as in [`Event::Authority`].
        ca: String,
    },
}

/// A certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issued {
    /// When; `None` where it was found in the folder and not in the record.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub time: Option<OffsetDateTime>,
    /// Who shows it.
    pub kind: Role,
    /// The name it was issued to: what `certs client` was told, `server`, or the client that every gate knows.
    pub name: String,
    /// Its serial number, in hex.
    pub serial: String,
    /// When it begins to be valid.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// When it ends to be valid.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// The SHA-256 of its DER, in hex.
    pub sha256: String,
    /// Its subject.
    pub subject: Option<String>,
    /// Its subject alternative names, as `certs list` shows them.
    #[serde(default)]
    pub sans: Vec<String>,
    /// The CA that issued it, as in [`Event::Authority`].
    pub ca: String,
}

/// The record, as it was read.
#[derive(Debug, Clone, Default)]
pub struct Record {
    text: String,
    events: Vec<Event>,
}

impl Issued {
    /// The entry of a certificate.
    pub fn of(
        certificate: &Certificate,
        kind: Role,
        name: String,
        ca: &Certificate,
        time: Option<OffsetDateTime>,
    ) -> Self {
        Issued {
            time,
            kind,
            name,
            serial: certificate.serial_hex(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            sha256: certificate.sha256_hex(),
            subject: certificate.subject.clone(),
            sans: certificate.sans(),
            ca: ca.public_key_sha256_hex(),
        }
    }
}

impl Record {
    fn parse(path: &Path, text: String) -> Result<Self, Error> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let events = lines.map(|(at, line)| {
            serde_json::from_str(line).map_err(|e| {
                let marker = ["<<<<<<<", "|||||||", "=======", ">>>>>>>"].iter().any(|it| line.starts_with(it));
                let message = format!("{}:{}: not an entry of the record: {e}", path.display(), at + 1);
                Error::failed(message).hint(match marker {
                    true => "a merge left this: remove its markers and keep the lines of both sides",
                    false => "restore the line; removing it forgets a certificate that `certs revoke NAME` must find",
                })
            })
        });
        Ok(Record { events: events.collect::<Result<_, Error>>()?, text })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// All that was issued, each once, in the order in which it was.
    pub fn issued(&self) -> Vec<&Issued> {
        let mut seen = BTreeSet::new();
        let issued = self.events.iter().filter_map(|event| match event {
            Event::Issued(issued) => Some(issued),
            _ => None,
        });
        issued.filter(|it| seen.insert((&it.ca, &it.serial))).collect()
    }

    /// What was revoked: by CA and serial number, when it was first.
    pub fn revoked(&self) -> BTreeMap<(&str, &str), OffsetDateTime> {
        let mut revoked = BTreeMap::new();
        for event in &self.events {
            if let Event::Revoked { time, serial, ca } = event {
                let first = revoked.entry((ca.as_str(), serial.as_str())).or_insert(*time);
                *first = (*first).min(*time);
            }
        }
        revoked
    }

    /// The names of all clients that ever got a certificate.
    pub fn clients(&self) -> BTreeSet<&str> {
        let clients = self.issued().into_iter().filter(|it| it.kind == Role::Client);
        clients.map(|it| it.name.as_str()).collect()
    }

    /// The highest number of a list of this CA.
    pub(super) fn last_number(&self, ca: &str) -> Option<Vec<u8>> {
        let numbers = self.events.iter().filter_map(|event| match event {
            Event::List { number, ca: of, .. } if of == ca => from_hex(number),
            _ => None,
        });
        numbers.max_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)))
    }

    /// Since when what this CA issues is in the record; `None` where all is.
    pub fn incomplete_since(&self, ca: &str) -> Option<OffsetDateTime> {
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

    /// When its last entry was made, by the clock of whoever made it.
    pub fn last_time(&self) -> Option<OffsetDateTime> {
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
    /// The record of what was issued and revoked.
    pub fn record_file(&self) -> PathBuf {
        self.path().join("issued.jsonl")
    }

    /// Reads it. A folder of an earlier version has none, which is an empty one.
    pub fn record(&self) -> Result<Record, Error> {
        let path = self.record_file();
        match fs::read_to_string(&path) {
            Ok(text) => Record::parse(&path, text),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Record::default()),
            Err(e) => Err(Error::failed(format_args!("cannot read {}: {e}", path.display()))),
        }
    }

    /// The record, and what is in the folder and not in it. Writes nothing.
    pub fn known(&self) -> Result<Record, Error> {
        let mut record = self.record()?;
        let found = self.unrecorded(&record, &BTreeSet::new())?;
        record.events.extend(found);
        Ok(record)
    }

    /// Adds to the record what is in the folder and not in it, and then these. The folder must be locked.
    pub(super) fn write_down(&self, events: Vec<Event>) -> Result<(), Error> {
        let record = self.record()?;
        // A CA that these say is new is not one that was found.
        let made: BTreeSet<String> = events.iter().filter_map(Event::authority).map(str::to_owned).collect();
        let mut text = record.text.clone();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        for event in self.unrecorded(&record, &made)?.iter().chain(&events) {
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

    /// Adds to the record what is in the folder and not in it. The folder must be locked.
    pub fn complete_record(&self) -> Result<(), Error> {
        self.write_down(Vec::new())
    }

    /// What the folder shows of its CAs' work that the record does not have.
    fn unrecorded(&self, record: &Record, made: &BTreeSet<String>) -> Result<Vec<Event>, Error> {
        let mut events = Vec::new();
        let mut authorities = Vec::new();
        let time = now();
        for role in [Role::Server, Role::Client] {
            if !self.authority_files(role).certificate.exists() {
                continue;
            }
            for ca in self.authority_certificates(role)? {
                let key = ca.public_key_sha256_hex();
                if !record.knows(&key) && !made.contains(&key) {
                    let issuer = ca.subject.clone();
                    events.push(Event::Authority { time, kind: role, complete: false, issuer, ca: key });
                }
                authorities.push((role, ca));
            }
        }
        let known: BTreeSet<(&str, &str)> =
            record.issued().into_iter().map(|it| (it.ca.as_str(), it.serial.as_str())).collect();
        for files in self.leaves()? {
            // What cannot be read is no certificate that somebody could show.
            let Ok(certificate) = self.certificate(&files) else { continue };
            let serial = certificate.serial_hex();
            let is_known = |ca: &Certificate| known.contains(&(&*ca.public_key_sha256_hex(), &*serial));
            let mut by_name = authorities.iter().filter(|(_, ca)| ca.subject == certificate.issuer);
            if by_name.clone().any(|(_, ca)| is_known(ca)) {
                continue;
            }
            if let Some((role, ca)) = by_name.find(|(_, ca)| certificate.is_signed_by(ca)) {
                let issued = Issued::of(&certificate, *role, self.name_of(&files), ca, None);
                events.push(Event::Issued(issued));
            }
        }
        let revoked = record.revoked();
        for list in self.revocations()? {
            let Some((_, ca)) =
                authorities.iter().find(|(role, ca)| *role == Role::Client && ca.subject == list.issuer)
            else {
                continue;
            };
            let ca = ca.public_key_sha256_hex();
            for entry in &list.entries {
                let serial = hex(&entry.serial);
                if !revoked.contains_key(&(ca.as_str(), serial.as_str())) {
                    events.push(Event::Revoked { time: entry.time, serial, ca: ca.clone() });
                }
            }
        }
        Ok(events)
    }

    /// The name that the record has for what is in these files.
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

impl Event {
    /// A CA of our own begins to issue.
    pub(super) fn made(authority: &Authority, kind: Role) -> Self {
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

/// The time of an entry, in whole seconds.
pub(super) fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hex digits, perhaps with colons, without leading zeros.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: String = text.chars().filter(|it| *it != ':').collect();
    let digits = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")).unwrap_or(&digits);
    if digits.is_empty() || !digits.bytes().all(|it| it.is_ascii_hexdigit()) {
        return None;
    }
    let even = if digits.len().is_multiple_of(2) { digits.to_owned() } else { format!("0{digits}") };
    let (pairs, _) = even.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
    let bytes = bytes.collect::<Option<Vec<u8>>>()?;
    let zeros = bytes.iter().take_while(|it| **it == 0).count().min(bytes.len() - 1);
    bytes.get(zeros..).map(<[u8]>::to_vec)
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
    fn the_lines_of_two_copies_are_one_record() {
        let text = format!("{}\n{}\n\n{}\n", line("01"), line("02"), line("01"));
        let record = parse(&text).unwrap();
        assert_eq!(record.issued().iter().map(|it| it.serial.as_str()).collect::<Vec<_>>(), ["01", "02"]);
        assert_eq!(record.clients().into_iter().collect::<Vec<_>>(), ["a"]);
        let revoked = |day| {
            format!(r#"{{"event":"revoked","time":"2026-02-0{day}T00:00:00Z","serial":"01","ca":"c"}}"#)
        };
        let record = parse(&format!("{}\n{}\n", revoked(2), revoked(1))).unwrap();
        assert_eq!(record.revoked()[&("c", "01")].day(), 1, "the first counts");
    }

    #[test]
    fn what_is_no_entry_is_named_with_its_line() {
        for (wrong, hint) in
            [("<<<<<<< HEAD", "keep the lines of both"), ("{", "restore"), (r#"{"event":"new"}"#, "restore")]
        {
            let error = parse(&format!("{}\n{wrong}\n", line("01"))).unwrap_err();
            assert!(error.to_string().starts_with("issued.jsonl:2: not an entry of the record"), "{error}");
            assert!(error.cure().unwrap().contains(hint), "{:?}", error.cure());
        }
    }

    #[test]
    fn numbers_in_hex_are_read_as_openssl_and_people_write_them() {
        for text in ["0a1b", "A1B", "0A:1B", "0x0a1b", "000a1b"] {
            assert_eq!(from_hex(text), Some(vec![0x0a, 0x1b]), "{text}");
        }
        assert_eq!(from_hex("0"), Some(vec![0]));
        for text in ["", "xyz", "0x", "a b", "é"] {
            assert_eq!(from_hex(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_with_dots_is_the_whole_name() {
        let folder = Folder::at("certs");
        assert_eq!(folder.name_of(&folder.client_files("zurich.globex")), "zurich.globex");
        assert_eq!(folder.name_of(&folder.server_files()), "server");
        assert_eq!(folder.name_of(&folder.trial_files(super::super::Trial::Revoked)), VERIFY_CLIENT);
    }
}
