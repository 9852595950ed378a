//! Tables of certificates.

use crate::certs::{Entry, Files, Folder, Record, Status};
use crate::error::Error;
use crate::output::{self, Format};

/// Prints these certificates of the folder with their status.
pub(super) fn print(folder: &Folder, files: &[Files], format: Format) -> Result<(), Error> {
    let entries = folder.entries(files)?;
    output::print(format, &entries, || {
        let header = ["FILE", "SUBJECT", "NAMES", "EXPIRES", "STATUS", "SHA256"];
        output::columns(header, entries.iter().map(cells))
    })?;
    warn(&entries, format);
    Ok(())
}

/// Prints all certificates of the folder and of the record.
pub(super) fn print_all(folder: &Folder, record: &Record, format: Format) -> Result<(), Error> {
    let entries = folder.all_entries(record)?;
    output::print(format, &entries, || {
        let header = ["NAME", "FILE", "SERIAL", "EXPIRES", "STATUS", "SHA256"];
        output::columns(header, entries.iter().map(cells_with_serial))
    })?;
    warn(&entries, format);
    Ok(())
}

/// Prints the warnings, which JSON and YAML contain, beside a table.
fn warn(entries: &[Entry], format: Format) {
    if format == Format::Table {
        for entry in entries {
            for warning in &entry.warnings {
                let file = entry.file.as_deref().unwrap_or(&entry.sha256);
                output::warn(format_args!("{file}: {warning}"));
            }
        }
    }
}

/// Cells with the serial number, which tells certificates without a file apart.
fn cells_with_serial(entry: &Entry) -> [String; 6] {
    let [file, _, _, expires, mut status, sha256] = cells(entry);
    if let Some(day) = entry.revoked_at.as_deref().and_then(|it| it.get(..10)) {
        status = format!("revoked {day}");
    }
    let name = entry.name.clone().unwrap_or_else(|| "-".to_owned());
    [name, file, entry.serial.to_string(), expires, status, sha256]
}

fn cells(entry: &Entry) -> [String; 6] {
    let days = |number: i64| format!("{number} day{}", if number == 1 { "" } else { "s" });
    let expires = match entry.days_left {
        left @ ..0 => format!("{} ago", days(-left)),
        left => format!("in {}", days(left)),
    };
    let status = match entry.status {
        Status::Valid => "valid",
        Status::NotYetValid => "not yet valid",
        Status::Expired => "expired",
        Status::Revoked => "revoked",
        Status::Outgoing => "of the old CA",
        Status::Foreign => "of another CA",
    };
    [
        entry.file.clone().unwrap_or_else(|| "-".to_owned()),
        entry.subject.clone().unwrap_or_default(),
        names(&entry.sans),
        expires,
        status.to_owned(),
        entry.sha256.get(..12).unwrap_or_default().to_owned(),
    ]
}

/// The first name, and as many of the others as keep the table narrow.
fn names(sans: &[String]) -> String {
    const WIDTH: usize = 60;
    let mut names = String::new();
    for (shown, name) in sans.iter().enumerate() {
        if shown > 0 && names.len() + name.len() > WIDTH {
            return format!("{names} and {} more", sans.len() - shown);
        }
        if shown > 0 {
            names.push(',');
        }
        names.push_str(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_do_not_fit_are_counted() {
        let names = |sans: &[&str]| names(&sans.iter().map(ToString::to_string).collect::<Vec<_>>());
        let long = "DNS:otel-gateway-collector.otel-collector.svc";
        assert_eq!(names(&[]), "");
        assert_eq!(names(&["DNS:localhost", "IP:127.0.0.1", "IP:::1"]), "DNS:localhost,IP:127.0.0.1,IP:::1");
        assert_eq!(names(&[long, "DNS:a", long, "DNS:b"]), format!("{long},DNS:a and 2 more"));
        assert_eq!(names(&[&long.repeat(2), "DNS:a"]), format!("{} and 1 more", long.repeat(2)));
    }
}
