//! `certs revoke`: revoke certificates.

use std::path::PathBuf;

use clap::ArgGroup;

use super::{FolderArg, config, note_incomplete_record};
use crate::certs::{Folder, Revocable, VERIFY_CLIENT, client_name};
use crate::error::Error;
use crate::global::Global;
use crate::output::{self, Format};
use crate::x509::Number;

/// Arguments of `certs revoke`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs revoke acme-edge                all certificates of the client
  otlp-gate certs revoke acme-edge --earlier      all but the current one
  otlp-gate certs revoke --cert old/acme-edge.crt     one certificate
  otlp-gate certs revoke --serial 4f6a0c1d        likewise; `certs list --all` shows serial numbers
  otlp-gate certs revoke otlp-gate/verify         the test clients of `otlp-gate verify`")]
#[command(group = ArgGroup::new("which").required(true))]
pub(crate) struct Args {
    #[command(flatten)]
    folder: FolderArg,
    /// The client: revokes all its certificates that have not expired, also renewed and replaced ones
    #[arg(value_name = "NAME", value_parser = client_or_test_client, group = "which")]
    name: Option<String>,
    /// Keep the client's current certificate
    #[arg(long, requires = "name")]
    earlier: bool,
    /// Revoke this certificate, which the clients' CA issued
    #[arg(long, value_name = "FILE", group = "which")]
    cert: Option<PathBuf>,
    /// Revoke the certificate with this serial number, in hex, which the clients' CA issued
    #[arg(long, value_name = "HEX", value_parser = serial, group = "which")]
    serial: Option<Number>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let managed = config(global).is_some_and(|it| it.issues_client_certificates());
    revoke(args, global.output).map_err(|e| if managed { e.hint(MANAGED) } else { e })?;
    if managed {
        output::warn(MANAGED);
    }
    Ok(())
}

const MANAGED: &str = "cert-manager issues this gate's certificates, and the gate does not use the revocation list of \
    this folder: add the client's fingerprint to `deny` in the configuration, and delete its Certificate";

fn revoke(args: &Args, format: Format) -> Result<(), Error> {
    let folder = args.folder.open();
    let _lock = folder.lock()?;
    folder.complete_record()?;
    let record = folder.record()?;
    let (what, found) = if let Some(path) = &args.cert {
        (path.display().to_string(), vec![folder.revocable_file(&record, path)?])
    } else if let Some(serial) = &args.serial {
        let found = folder.revocable_serial(&record, serial)?;
        if found.name.is_none() {
            output::say(format_args!(
                "note: the record has no certificate with the serial number {serial}; assuming that the clients' CA \
                issued it"
            ));
        }
        (format!("the certificate {serial}"), vec![found])
    } else {
        let name = args.name.as_deref().unwrap_or_default();
        (name.to_owned(), folder.revocable_of_client(&record, name, args.earlier)?)
    };
    let new = folder.revoke(&found.iter().map(Revocable::id).collect())?;
    let (all, found) = (found.len(), found.into_iter());
    let new: Vec<Revocable> = found.filter(|it| new.contains(&it.id())).collect();
    report(&folder, &what, all, &new);
    if args.name.is_some() {
        note_incomplete_record(&folder, &record);
    }
    if format == Format::Table { Ok(()) } else { output::print(format, &new, String::new) }
}

fn report(folder: &Folder, what: &str, all: usize, new: &[Revocable]) {
    let list = folder.revocations_file();
    let list = list.display();
    match (all, new.len()) {
        (0, _) => output::say(format_args!("nothing to revoke: no certificate of {what} is still valid")),
        (_, 0) => output::say(format_args!("{what} is already revoked")),
        (_, number) => {
            let many = if number == 1 { "1 certificate" } else { &format!("{number} certificates") };
            output::say(format_args!("revoked {many} in {list}: {what}"));
            for it in new {
                let until = it
                    .not_after
                    .map(|it| format!(", valid until {}", output::rfc3339(it)))
                    .unwrap_or_default();
                output::say(format_args!("  serial {}{until}", it.serial));
            }
            let digests: Vec<String> =
                new.iter().filter_map(|it| Some(format!("\"sha256:{}\"", it.sha256.as_ref()?))).collect();
            output::say("next: `otlp-gate apply` deploys the list; Envoy checks it for new connections");
            let deny = match digests.is_empty() {
                true => "the certificate's `sha256:` fingerprint under `deny`".to_owned(),
                false => format!("`deny: [{}]`", digests.join(", ")),
            };
            output::say(format_args!(
                "to reject requests on open connections too, add to the configuration: {deny}"
            ));
        }
    }
}

fn client_or_test_client(text: &str) -> Result<String, String> {
    if text == VERIFY_CLIENT { Ok(text.to_owned()) } else { client_name(text) }
}

fn serial(text: &str) -> Result<Number, String> {
    let serial: Number =
        text.parse().map_err(|_| "a serial number consists of hex digits, with or without colons")?;
    if serial.as_bytes().len() > 20 {
        return Err("a serial number has at most 20 bytes".to_owned());
    }
    Ok(serial)
}
