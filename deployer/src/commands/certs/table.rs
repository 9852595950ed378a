//! Certificates in rows.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::certs::{Files, Folder, Revocations, Role, is_revoked};
use crate::error::Error;
use crate::output::{self, Format};
use crate::x509::Certificate;

/// A certificate, as `-o json` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    file: String,
    subject: Option<String>,
    sans: Vec<String>,
    not_before: String,
    not_after: String,
    /// Whole days from now; negative where it has expired.
    days_left: i64,
    status: Status,
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
    let authorities = [Role::Server, Role::Client]
        .into_iter()
        .flat_map(|role| {
            let all = folder.authority_certificates(role).unwrap_or_default();
            all.into_iter().enumerate().map(move |(place, it)| (role, place > 0, it))
        })
        .collect::<Vec<_>>();
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
    output::print(format, &rows, || {
        let header = ["FILE", "SUBJECT", "NAMES", "EXPIRES", "STATUS", "SHA256"];
        output::columns(header, rows.iter().map(cells))
    })?;
    if format == Format::Table {
        for row in &rows {
            for warning in &row.warnings {
                output::say(format_args!("warning: {}: {warning}", row.file));
            }
        }
    }
    Ok(())
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
    let status = match issuer {
        None => Status::Foreign,
        Some((Role::Client, ..)) if is_revoked(revocations, &certificate.serial) => Status::Revoked,
        Some(_) if certificate.not_after < now => Status::Expired,
        Some(_) if certificate.not_before > now => Status::NotYetValid,
        Some((_, true, _)) => Status::Outgoing,
        Some(_) => Status::Valid,
    };
    let file = files.certificate.strip_prefix(folder.path()).unwrap_or(&files.certificate);
    let uris = certificate.uris.iter().map(|it| format!("URI:{it}"));
    let dns = certificate.dns.iter().map(|it| format!("DNS:{it}"));
    let ips = certificate.ips.iter().map(|it| format!("IP:{it}"));
    Row {
        file: file.display().to_string(),
        subject: certificate.subject.clone(),
        sans: uris.chain(dns).chain(ips).collect(),
        not_before: time_text(certificate.not_before),
        not_after: time_text(certificate.not_after),
        days_left: (certificate.not_after - now).whole_days(),
        status,
        issued_by: issuer.map(|(role, ..)| format!("{role}-ca")),
        serial: certificate.serial_hex(),
        sha256: certificate.sha256_hex(),
        warnings: folder.shown_by(files).map(|role| certificate.weaknesses(role)).unwrap_or_default(),
    }
}

fn cells(row: &Row) -> [String; 6] {
    let days = |number: i64| format!("{number} day{}", if number == 1 { "" } else { "s" });
    let expires = match row.status {
        Status::Expired => format!("{} ago", days(-row.days_left)),
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
        row.file.clone(),
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
