//! The certificates of a folder with their status, as `certs list` shows them.

use serde::Serialize;
use time::OffsetDateTime;

use super::{Ca, Files, Folder, Issued, Record, RevocationList};
use crate::error::Error;
use crate::output::rfc3339;
use crate::x509::{Certificate, Number};

/// A certificate with its status.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// The path within the folder; `None` if only the record has the certificate.
    pub(crate) file: Option<String>,
    /// The name that it was issued to, in the list of all certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// The subject, in RFC 2253 form.
    pub(crate) subject: Option<String>,
    /// The subject alternative names, each with its kind: `URI:`, `DNS:` or `IP:`.
    pub(crate) sans: Vec<String>,
    /// Start of the validity period (RFC 3339).
    pub(crate) not_before: String,
    /// End of the validity period (RFC 3339).
    pub(crate) not_after: String,
    /// Whole days until the certificate expires; negative if it has expired.
    pub(crate) days_left: i64,
    /// Whether the certificate is valid, and if not, why.
    pub(crate) status: Status,
    /// When it was revoked (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revoked_at: Option<String>,
    /// The CA of the folder that issued it: `server-ca`, `client-ca` or `internal-ca`.
    pub(crate) issued_by: Option<String>,
    /// The serial number.
    pub(crate) serial: Number,
    /// The SHA-256 of its DER, in hex.
    pub(crate) sha256: String,
    /// Why Envoy rejects its key or signature, or why it is weak.
    pub(crate) warnings: Vec<String>,
}

/// Whether a certificate is valid, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Status {
    /// Valid.
    Valid,
    /// The validity period has not begun.
    NotYetValid,
    /// The validity period has ended.
    Expired,
    /// On a revocation list.
    Revoked,
    /// Valid, and issued by a CA that is being replaced.
    Outgoing,
    /// Issued by no CA of the folder.
    Foreign,
}

/// A trusted CA of the folder.
struct Issuer {
    ca: Ca,
    /// Whether another CA has replaced it.
    outgoing: bool,
    certificate: Certificate,
}

impl Folder {
    /// These certificates of the folder. A CA's file can give several entries.
    pub(crate) fn entries(&self, files: &[Files]) -> Result<Vec<Entry>, Error> {
        let issuers = self.issuers();
        let revocations = self.revocations()?;
        let now = OffsetDateTime::now_utc();
        let mut entries = Vec::new();
        for files in files {
            let ca = Ca::ALL.into_iter().find(|it| self.authority_files(*it) == *files);
            let all = match ca {
                Some(ca) => self.authority_certificates(ca)?,
                None => vec![self.certificate(files)?],
            };
            entries.extend(all.iter().map(|it| self.entry(files, it, &issuers, &revocations, now)));
        }
        Ok(entries)
    }

    /// All certificates of the folder and of the record, by name: CAs first.
    pub(crate) fn all_entries(&self, record: &Record) -> Result<Vec<Entry>, Error> {
        let mut entries = self.entries(&self.all()?)?;
        let issuers = self.issuers();
        let lists = self.revocations()?;
        let (revoked, now) = (record.revoked(), OffsetDateTime::now_utc());
        let tests = self.test_clients()?;
        for entry in &mut entries {
            let issued = record.issued().into_iter().find(|it| it.sha256 == entry.sha256);
            entry.name = issued.map(|it| it.name.clone());
        }
        for issued in record.issued() {
            if entries.iter().any(|entry| entry.sha256 == issued.sha256) {
                continue;
            }
            let issuer = issuers.iter().find(|it| it.certificate.public_key_sha256_hex() == issued.ca);
            let file = tests.iter().find(|(_, it)| it.sha256_hex() == issued.sha256);
            // The lists are authoritative. A CA that was removed has none: its revocations are in the record.
            let recorded = || revoked.get(&issued.id()).copied().filter(|_| issuer.is_none());
            let revoked_at = revoked_at(&lists, &issued.serial).or_else(recorded);
            let file = file.map(|(files, _)| self.relative(files));
            entries.push(Entry::recorded(issued, file, issuer, revoked_at, now));
        }
        entries.sort_by(|a, b| (&a.name, &a.not_before).cmp(&(&b.name, &b.not_before)));
        Ok(entries)
    }

    fn issuers(&self) -> Vec<Issuer> {
        let of = |ca| {
            let all = self.authority_certificates(ca).unwrap_or_default();
            let all = all.into_iter().enumerate();
            all.map(move |(at, certificate)| Issuer { ca, outgoing: at > 0, certificate })
        };
        Ca::ALL.into_iter().flat_map(of).collect()
    }

    fn entry(
        &self,
        files: &Files,
        certificate: &Certificate,
        issuers: &[Issuer],
        lists: &[RevocationList],
        now: OffsetDateTime,
    ) -> Entry {
        let issuer = issuers.iter().find(|it| certificate.is_signed_by(&it.certificate));
        let of_client = issuer.is_some_and(|it| it.ca == Ca::Client);
        let revoked_at = if of_client { revoked_at(lists, &certificate.serial) } else { None };
        Entry {
            file: Some(self.relative(files)),
            name: None,
            subject: certificate.subject.clone(),
            sans: certificate.sans(),
            not_before: rfc3339(certificate.not_before),
            not_after: rfc3339(certificate.not_after),
            days_left: (certificate.not_after - now).whole_days(),
            status: Status::of(
                issuer,
                revoked_at.is_some(),
                (certificate.not_before, certificate.not_after),
                now,
            ),
            revoked_at: revoked_at.map(rfc3339),
            issued_by: issuer.map(|it| format!("{}-ca", it.ca)),
            serial: certificate.serial.clone(),
            sha256: certificate.sha256_hex(),
            warnings: self.presented_by(files).map(|role| certificate.weaknesses(role)).unwrap_or_default(),
        }
    }

    /// The path of a certificate within the folder.
    fn relative(&self, files: &Files) -> String {
        let file = files.certificate.strip_prefix(self.path()).unwrap_or(&files.certificate);
        file.display().to_string()
    }
}

impl Entry {
    fn recorded(
        issued: &Issued,
        file: Option<String>,
        issuer: Option<&Issuer>,
        revoked_at: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Self {
        Entry {
            file,
            name: Some(issued.name.clone()),
            subject: issued.subject.clone(),
            sans: issued.sans.clone(),
            not_before: rfc3339(issued.not_before),
            not_after: rfc3339(issued.not_after),
            days_left: (issued.not_after - now).whole_days(),
            status: Status::of(issuer, revoked_at.is_some(), (issued.not_before, issued.not_after), now),
            revoked_at: revoked_at.map(rfc3339),
            issued_by: issuer.map(|it| format!("{}-ca", it.ca)),
            serial: issued.serial.clone(),
            sha256: issued.sha256.clone(),
            warnings: Vec::new(),
        }
    }
}

impl Status {
    fn of(
        issuer: Option<&Issuer>,
        revoked: bool,
        (not_before, not_after): (OffsetDateTime, OffsetDateTime),
        now: OffsetDateTime,
    ) -> Self {
        match issuer {
            _ if revoked => Status::Revoked,
            None => Status::Foreign,
            Some(_) if not_after < now => Status::Expired,
            Some(_) if not_before > now => Status::NotYetValid,
            Some(issuer) if issuer.outgoing => Status::Outgoing,
            Some(_) => Status::Valid,
        }
    }
}

/// When the lists say that the certificate was revoked.
fn revoked_at(lists: &[RevocationList], serial: &Number) -> Option<OffsetDateTime> {
    lists.iter().flat_map(|list| &list.entries).find(|it| it.serial == *serial).map(|it| it.time)
}
