//! `certs renew`: renew certificates.

use clap::ArgGroup;

use super::{FolderArg, note_early_end, table};
use crate::certs::{Files, Folder, InternalCertificate, Request, Role, client_name};
use crate::error::Error;
use crate::file::Existing;
use crate::global::Global;
use crate::output;
use crate::x509::Certificate;

/// Arguments of `certs renew`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs renew acme-edge
  otlp-gate certs renew server
  otlp-gate certs renew internal     those between the gateway and the Collector
  otlp-gate certs renew --all --days 90")]
#[command(group = ArgGroup::new("whose").required(true))]
pub(crate) struct Args {
    #[command(flatten)]
    folder: FolderArg,
    /// Names of clients, `server`, or `internal`; `clients/NAME` is always a client
    #[arg(value_name = "NAME", value_parser = target_name, group = "whose")]
    names: Vec<String>,
    /// Renew the server, the internal certificates and every client whose certificate is not revoked
    #[arg(long, group = "whose")]
    all: bool,
    /// Validity of the new certificates in days
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
    /// Create new keys too
    #[arg(long)]
    new_key: bool,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let folder = args.folder.open();
    let _lock = folder.lock()?;
    let targets = if args.all { folder.renewable()? } else { named(&folder, &args.names)? };
    if args.new_key {
        targets.iter().try_for_each(|(_, files)| require_key(files))?;
    }
    let (mut renewed, mut first) = (Vec::new(), None);
    for (role, files) in targets {
        let old = folder.certificate(&files)?;
        let request = Request::renewal(&old, role, args.days);
        let new = if args.new_key {
            folder.issue(&files, &request, Existing::Replace, |_| Ok(()))?
        } else {
            folder.renew(&files, &request)?
        };
        first = first.filter(|it: &Certificate| it.not_after < new.not_after).or(Some(new));
        renewed.push(files);
    }
    table::print(&folder, &renewed, global.output)?;
    first.iter().for_each(|it| note_early_end(it, args.days));
    output::say(
        "\nnote: the old certificates stay valid until they expire; `otlp-gate certs revoke NAME --earlier` revokes \
        them",
    );
    Ok(())
}

/// Fails if the client keeps its key: the folder cannot give it another one.
fn require_key(files: &Files) -> Result<(), Error> {
    if files.key.exists() {
        return Ok(());
    }
    let message = format!("{} is not in the folder: the client has its key", files.key.display());
    Err(Error::failed(message).hint(
        "`otlp-gate certs sign NAME --csr FILE --force` issues a certificate for a new key of the client; without \
        `--new-key` the certificate is renewed for the present key",
    ))
}

fn target_name(text: &str) -> Result<String, String> {
    client_name(text.strip_prefix("clients/").unwrap_or(text))?;
    Ok(text.to_owned())
}

fn named(folder: &Folder, names: &[String]) -> Result<Vec<(Role, Files)>, Error> {
    let mut all = Vec::new();
    for name in names {
        match name.as_str() {
            "server" => all.push((Role::Server, folder.server_files())),
            "internal" => {
                let files = InternalCertificate::ALL.map(|it| (it, folder.internal_files(it)));
                // Only a gate that deploys an engine has this one.
                let has = |(it, files): &(InternalCertificate, Files)| {
                    *it != InternalCertificate::Quotas || files.certificate.exists()
                };
                all.extend(files.into_iter().filter(has).map(|(it, files)| (it.role(), files)));
            }
            name => {
                let name = name.strip_prefix("clients/").unwrap_or(name);
                all.push((Role::Client, folder.renewable_client(name)?));
            }
        }
    }
    Ok(all)
}
