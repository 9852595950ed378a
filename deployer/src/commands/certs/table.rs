//! Certificates in rows.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::certs::{Files, Folder, Record, Revocations, Role, from_hex};
use crate::error::Error;
use crate::output::{self, Format};
use crate::x509::Certificate;

/// A certificate, as `-o json` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    /// `None` where it is in the record only.
    file: Option<String>,
    /// Whose it is, where the record or the file says.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    subject: Option<String>,
    sans: Vec<String>,
    not_before: String,
    not_after: String,
    /// Whole days from now; negative where it has expired.
    days_left: i64,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
    issued_by: Option<String>,
    serial: String,
    sha256: String,
    /// What Envoy does not take of its key and its signature, or should not be given.
    warnings: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Status {
    Valid,
    NotYetValid,
    Expired,
    Revoked,
    /// It is of a CA that another one has taken the place of.
    Outgoing,
    /// Neither CA of the folder issued it.
    Foreign,
}

/// Prints these certificates of the folder: what it holds of each, and whether it is good.
pub(super) fn print(folder: &Folder, files: &[Files], format: Format) -> Result<(), Error> {
    let rows = rows(folder, files)?;
    output::print(format, &rows, || {
        let header = ["FILE", "SUBJECT", "NAMES", "EXPIRES", "STATUS", "SHA256"];
        output::columns(header, rows.iter().map(cells))
    })?;
    warn(&rows, format);
    Ok(())
}

/// Says beside a table what is wrong with certificates.
fn warn(rows: &[Row], format: Format) {
    if format == Format::Table {
        for row in rows {
            for warning in &row.warnings {
                let file = row.file.as_deref().unwrap_or(&row.sha256);
                output::say(format_args!("warning: {file}: {warning}"));
            }
        }
    }
}

/// Prints all certificates that are there or ever were, as far as it is known.
pub(super) fn print_all(folder: &Folder, record: &Record, format: Format) -> Result<(), Error> {
    let mut rows = rows(folder, &folder.all()?)?;
    let authorities = authorities(folder);
    let revocations = folder.revocations()?;
    let (revoked, now) = (record.revoked(), OffsetDateTime::now_utc());
    let found = folder.trials()?;
    for row in &mut rows {
        row.name = record.issued().into_iter().find(|it| it.sha256 == row.sha256).map(|it| it.name.clone());
    }
    for issued in record.issued() {
        if rows.iter().any(|row| row.sha256 == issued.sha256) {
            continue;
        }
        let authority = authorities.iter().find(|(.., it)| it.public_key_sha256_hex() == issued.ca);
        let serial = from_hex(&issued.serial).unwrap_or_default();
        let at = revoked.get(&(issued.ca.as_str(), issued.serial.as_str())).copied();
        let at = revoked_at(&revocations, &serial).or(at.filter(|_| authority.is_none()));
        let file = found.iter().find(|(_, it)| it.sha256_hex() == issued.sha256);
        rows.push(Row {
            warnings: Vec::new(),
            file: file.map(|(files, _)| shown(folder, files)),
            name: Some(issued.name.clone()),
            subject: issued.subject.clone(),
            sans: issued.sans.clone(),
            not_before: time_text(issued.not_before),
            not_after: time_text(issued.not_after),
            days_left: (issued.not_after - now).whole_days(),
            status: status(authority, at.is_some(), (issued.not_before, issued.not_after), now),
            revoked_at: at.map(time_text),
            issued_by: authority.map(|(role, ..)| format!("{role}-ca")),
            serial: issued.serial.clone(),
            sha256: issued.sha256.clone(),
        });
    }
    // The CAs first, and what is one client's together.
    rows.sort_by(|a, b| (&a.name, &a.not_before).cmp(&(&b.name, &b.not_before)));
    output::print(format, &rows, || {
        let header = ["NAME", "FILE", "SERIAL", "EXPIRES", "STATUS", "SHA256"];
        output::columns(header, rows.iter().map(cells_of_all))
    })?;
    warn(&rows, format);
    Ok(())
}

/// The CAs of the folder: whose, whether another has taken its place, and the CA.
fn authorities(folder: &Folder) -> Vec<(Role, bool, Certificate)> {
    let of = |role| {
        let all = folder.authority_certificates(role).unwrap_or_default();
        all.into_iter().enumerate().map(move |(place, it)| (role, place > 0, it))
    };
    [Role::Server, Role::Client].into_iter().flat_map(of).collect()
}

fn rows(folder: &Folder, files: &[Files]) -> Result<Vec<Row>, Error> {
    let authorities = authorities(folder);
    let revocations = folder.revocations()?;
    let now = OffsetDateTime::now_utc();
    let mut rows = Vec::new();
    for files in files {
        let role = [Role::Server, Role::Client].into_iter().find(|it| folder.authority_files(*it) == *files);
        let all = match role {
            Some(role) => folder.authority_certificates(role)?,
            None => vec![folder.certificate(files)?],
        };
        let all = all.iter().map(|it| row(folder, files, it, &authorities, &revocations, now));
        rows.extend(all);
    }
    Ok(rows)
}

fn row(
    folder: &Folder,
    files: &Files,
    certificate: &Certificate,
    authorities: &[(Role, bool, Certificate)],
    revocations: &[Revocations],
    now: OffsetDateTime,
) -> Row {
    let issuer = authorities.iter().find(|(.., authority)| certificate.is_signed_by(authority));
    let of_client = matches!(issuer, Some((Role::Client, ..)));
    let at = if of_client { revoked_at(revocations, &certificate.serial) } else { None };
    Row {
        file: Some(shown(folder, files)),
        name: None,
        subject: certificate.subject.clone(),
        sans: certificate.sans(),
        not_before: time_text(certificate.not_before),
        not_after: time_text(certificate.not_after),
        days_left: (certificate.not_after - now).whole_days(),
        status: status(issuer, at.is_some(), (certificate.not_before, certificate.not_after), now),
        revoked_at: at.map(time_text),
        issued_by: issuer.map(|(role, ..)| format!("{role}-ca")),
        serial: certificate.serial_hex(),
        sha256: certificate.sha256_hex(),
        warnings: folder.shown_by(files).map(|role| certificate.weaknesses(role)).unwrap_or_default(),
    }
}

fn status(
    issuer: Option<&(Role, bool, Certificate)>,
    revoked: bool,
    (not_before, not_after): (OffsetDateTime, OffsetDateTime),
    now: OffsetDateTime,
) -> Status {
    match issuer {
        _ if revoked => Status::Revoked,
        None => Status::Foreign,
        Some(_) if not_after < now => Status::Expired,
        Some(_) if not_before > now => Status::NotYetValid,
        Some((_, true, _)) => Status::Outgoing,
        Some(_) => Status::Valid,
    }
}

/// When it was revoked, as the lists say.
fn revoked_at(lists: &[Revocations], serial: &[u8]) -> Option<OffsetDateTime> {
    lists.iter().flat_map(|list| &list.entries).find(|it| it.serial == serial).map(|it| it.time)
}

fn shown(folder: &Folder, files: &Files) -> String {
    let file = files.certificate.strip_prefix(folder.path()).unwrap_or(&files.certificate);
    file.display().to_string()
}

/// The cells with the serial number, by which one that has no file is told from the others.
fn cells_of_all(row: &Row) -> [String; 6] {
    let [file, _, _, expires, mut status, sha256] = cells(row);
    if let Some(day) = row.revoked_at.as_deref().and_then(|it| it.get(..10)) {
        status = format!("revoked {day}");
    }
    let name = row.name.clone().unwrap_or_else(|| "-".to_owned());
    [name, file, row.serial.clone(), expires, status, sha256]
}

fn cells(row: &Row) -> [String; 6] {
    let days = |number: i64| format!("{number} day{}", if number == 1 { "" } else { "s" });
    let expires = match row.status {
        _ if row.days_left < 0 => format!("{} ago", days(-row.days_left)),
        _ => format!("in {}", days(row.days_left)),
    };
    let status = match row.status {
        Status::Valid => "valid",
        Status::NotYetValid => "not yet valid",
        Status::Expired => "expired",
        Status::Revoked => "revoked",
        Status::Outgoing => "of the old CA",
        Status::Foreign => "of another CA",
    };
    [
        row.file.clone().unwrap_or_else(|| "-".to_owned()),
        row.subject.clone().unwrap_or_default(),
        row.sans.join(","),
        expires,
        status.to_owned(),
        row.sha256.get(..12).unwrap_or_default().to_owned(),
    ]
}

fn time_text(time: OffsetDateTime) -> String {
    // RFC 3339 has no years above 9999, of which X.509 has none either
    time.format(&Rfc3339).unwrap_or_default()
}
