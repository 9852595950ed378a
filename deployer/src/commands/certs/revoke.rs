//! `certs revoke`: certificates that are to be no client's any more.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::ArgGroup;
use serde::Serialize;
use strsim::damerau_levenshtein;
use time::OffsetDateTime;

use super::{Place, cert_manager, date, tell_of_gaps};
use crate::certs::{BACKDATED, Folder, Issued, Record, Role, VERIFY_CLIENT, client_name, from_hex};
use crate::error::Error;
use crate::global::Global;
use crate::output::{self, Format};
use crate::x509::Certificate;

/// Arguments of `certs revoke`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs revoke acme-edge                every certificate that was issued to it
  otlp-gate certs revoke acme-edge --earlier      all but its present one
  otlp-gate certs revoke --cert old/acme-edge.crt     one certificate
  otlp-gate certs revoke --serial 4f6a0c1d        likewise; `certs list --all` shows serials
  otlp-gate certs revoke otlp-gate/verify         the client that `otlp-gate verify` is")]
#[command(group = ArgGroup::new("which").required(true))]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// The client: all certificates issued to it that have not expired, also those that were renewed or replaced
    #[arg(value_name = "NAME", value_parser = client_or_verify, group = "which")]
    name: Option<String>,
    /// Leave the client's present certificate alone
    #[arg(long, requires = "name")]
    earlier: bool,
    /// A certificate that the clients' CA issued
    #[arg(long, value_name = "FILE", group = "which")]
    cert: Option<PathBuf>,
    /// The serial number, in hex, of a certificate that the clients' CA issued
    #[arg(long, value_name = "HEX", value_parser = serial, group = "which")]
    serial: Option<String>,
}

/// A certificate that is to be revoked, as `-o json` shows it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    name: Option<String>,
    serial: String,
    sha256: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    not_after: Option<OffsetDateTime>,
    #[serde(skip)]
    ca: String,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let managed = cert_manager(global);
    revoke(args, global.output).map_err(|e| if managed { e.hint(MANAGED) } else { e })?;
    if managed {
        output::say(format_args!("warning: {MANAGED}"));
    }
    Ok(())
}

const MANAGED: &str = "cert-manager makes this gate's certificates, and the gate in the cluster reads no list of this folder: \
     put the client on the `deny` list of the configuration, and delete its Certificate";

fn revoke(args: &Args, format: Format) -> Result<(), Error> {
    let folder = args.place.folder();
    let _lock = folder.lock()?;
    folder.complete_record()?;
    let record = folder.record()?;
    let (what, found) = if let Some(path) = &args.cert {
        (path.display().to_string(), vec![by_file(&folder, &record, path)?])
    } else if let Some(serial) = &args.serial {
        (format!("the certificate {serial}"), vec![by_serial(&folder, &record, serial)?])
    } else {
        let name = args.name.as_deref().unwrap_or_default();
        (name.to_owned(), by_name(&folder, &record, name, args.earlier)?)
    };
    let all: BTreeSet<(String, String)> = found.iter().map(|it| (it.ca.clone(), it.serial.clone())).collect();
    let new = folder.revoke(&all)?;
    let new: Vec<Found> =
        found.into_iter().filter(|it| new.contains(&(it.ca.clone(), it.serial.clone()))).collect();
    tell(&folder, &what, &all, &new);
    if args.name.is_some() {
        tell_of_gaps(&folder, &record);
    }
    if format == Format::Table { Ok(()) } else { output::print(format, &new, String::new) }
}

fn tell(folder: &Folder, what: &str, all: &BTreeSet<(String, String)>, new: &[Found]) {
    let list = folder.revocations_file();
    let list = list.display();
    match (all.len(), new.len()) {
        (0, _) => output::say(format_args!("nothing to revoke: no certificate of {what} is still valid")),
        (_, 0) => output::say(format_args!("{what} is revoked already")),
        (_, number) => {
            let many = if number == 1 { "1 certificate" } else { &format!("{number} certificates") };
            output::say(format_args!("revoked {many} in {list}: {what}"));
            for it in new {
                let until = it.not_after.map(|it| format!(", valid until {}", date(it))).unwrap_or_default();
                output::say(format_args!("  serial {}{until}", it.serial));
            }
            let digests: Vec<String> =
                new.iter().filter_map(|it| Some(format!("\"sha256:{}\"", it.sha256.as_ref()?))).collect();
            let deny = match digests.is_empty() {
                true => "its fingerprint under `deny`".to_owned(),
                false => format!("`deny: [{}]`", digests.join(", ")),
            };
            output::say(format_args!(
                "it acts on new connections once the gate has the list (`otlp-gate apply`); {deny} in the configuration on open \
                 ones too"
            ));
        }
    }
}

/// All that was issued to this client and is still valid.
fn by_name(folder: &Folder, record: &Record, name: &str, earlier: bool) -> Result<Vec<Found>, Error> {
    let files = folder.client_files(name);
    let present = match files.certificate.exists() {
        true => Some(folder.certificate(&files)?),
        false => None,
    };
    let serial = present.as_ref().map(Certificate::serial_hex);
    if earlier && present.is_none() {
        let message =
            format!("{name} has no present certificate: there is no file {}", files.certificate.display());
        return Err(Error::failed(message).hint("without --earlier, all of its certificates are revoked"));
    }
    let is_present = |it: &Issued| Some(&it.serial) == serial.as_ref();
    let issued: Vec<&Issued> = record
        .issued()
        .into_iter()
        .filter(|it| it.kind == Role::Client && (it.name == name || is_present(it)))
        .collect();
    if issued.is_empty() {
        return Err(match present {
            Some(_) => foreign(&files.certificate),
            None => nobody(folder, record, name)?,
        });
    }
    let authorities = folder.authority_certificates(Role::Client)?;
    let trusted: Vec<String> = authorities.iter().map(Certificate::public_key_sha256_hex).collect();
    // A gate whose clock is behind still takes what has just expired.
    let now = OffsetDateTime::now_utc() - BACKDATED;
    let good = |it: &&Issued| it.not_after > now && trusted.contains(&it.ca) && !(earlier && is_present(it));
    Ok(issued.into_iter().filter(good).map(Found::from).collect())
}

fn by_file(folder: &Folder, record: &Record, path: &Path) -> Result<Found, Error> {
    let certificate = read(path)?;
    let authorities = folder.authority_certificates(Role::Client)?;
    let Some(ca) = authorities.iter().find(|it| certificate.is_signed_by(it)) else {
        return Err(foreign(path));
    };
    let (ca, serial) = (ca.public_key_sha256_hex(), certificate.serial_hex());
    let name = record.issued().into_iter().find(|it| it.ca == ca && it.serial == serial);
    Ok(Found {
        name: name.map(|it| it.name.clone()),
        serial,
        sha256: Some(certificate.sha256_hex()),
        not_after: Some(certificate.not_after),
        ca,
    })
}

fn by_serial(folder: &Folder, record: &Record, serial: &str) -> Result<Found, Error> {
    let authorities = folder.authority_certificates(Role::Client)?;
    let trusted: Vec<String> = authorities.iter().map(Certificate::public_key_sha256_hex).collect();
    let found: Vec<&Issued> = record.issued().into_iter().filter(|it| it.serial == serial).collect();
    if let Some(issued) = found.iter().find(|it| trusted.contains(&it.ca)) {
        return Ok(Found::from(*issued));
    }
    if let Some(issued) = found.first() {
        return Err(match issued.kind {
            Role::Server => servers(&format!("{serial} is the serial number of a server's certificate")),
            Role::Client => Error::failed(format_args!("{serial} is of a CA that the gate trusts no more")),
        });
    }
    let unknown = format!("no certificate with the serial number {serial} is in the record");
    match trusted.as_slice() {
        // What the folder's only CA issued elsewhere, or before there was a record.
        [ca] => {
            output::say(format_args!("note: {unknown}; it is taken for one of the clients' CA"));
            let ca = ca.clone();
            Ok(Found { name: None, serial: serial.to_owned(), sha256: None, not_after: None, ca })
        }
        _ => Err(Error::failed(unknown).hint(
            "there is more than one CA of clients: `--cert FILE` says which one issued it; `otlp-gate certs list --all` shows \
             what is known",
        )),
    }
}

impl From<&Issued> for Found {
    fn from(issued: &Issued) -> Self {
        Found {
            name: Some(issued.name.clone()),
            serial: issued.serial.clone(),
            sha256: Some(issued.sha256.clone()),
            not_after: Some(issued.not_after),
            ca: issued.ca.clone(),
        }
    }
}

fn foreign(path: &Path) -> Error {
    let message = format!("{} is not from the clients' CA of this folder", path.display());
    Error::failed(message)
        .hint("ask the CA that issued it, or put its sha256 on the `deny` list of the configuration")
}

fn servers(message: &str) -> Error {
    Error::failed(message).hint(
        "clients ask for no list of servers: after `otlp-gate certs rotate server` they know only what the new CA issues",
    )
}

/// The name was never given a certificate: which others come near?
fn nobody(folder: &Folder, record: &Record, name: &str) -> Result<Error, Error> {
    if name == "server" {
        return Ok(servers("no client is called `server`, and the gate's own certificate is on no list"));
    }
    let clients = folder.clients()?;
    let known: BTreeSet<&str> =
        record.clients().into_iter().chain(clients.iter().map(String::as_str)).collect();
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .map(|it| (damerau_levenshtein(&it.to_lowercase(), &name.to_lowercase()), it))
        .filter(|(distance, it)| *distance <= 1 + name.len() / 4 || it.contains(name) || name.contains(it))
        .collect();
    near.sort_unstable();
    let near: Vec<String> = near.into_iter().take(3).map(|(_, it)| format!("`{it}`")).collect();
    let all = "`otlp-gate certs list --all` shows all that were issued";
    let hint = match near.is_empty() {
        true => format!("{all}; `--cert FILE` revokes what was issued elsewhere"),
        false => format!("did you mean {}? {all}", near.join(" or ")),
    };
    Ok(Error::failed(format_args!("no certificate was ever issued to {name}")).hint(hint))
}

fn client_or_verify(text: &str) -> Result<String, String> {
    if text == VERIFY_CLIENT { Ok(text.to_owned()) } else { client_name(text) }
}

fn serial(text: &str) -> Result<String, String> {
    let bytes = from_hex(text).ok_or("a serial number is hex digits, perhaps with colons")?;
    if bytes.len() > 20 {
        return Err("a serial number has at most 20 bytes".to_owned());
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn read(path: &Path) -> Result<Certificate, Error> {
    let bytes =
        fs::read(path).map_err(|e| Error::failed(format_args!("cannot read {}: {e}", path.display())))?;
    Certificate::parse(&bytes).map_err(|e| Error::failed(format_args!("{}: {e}", path.display())))
}
