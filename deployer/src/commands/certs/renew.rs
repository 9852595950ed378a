//! `certs renew`: the same certificates, for longer.

use clap::ArgGroup;

use super::{Place, table, tell_of_end};
use crate::certs::{Files, Folder, Request, Role, Validity, client_name, is_revoked};
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
  otlp-gate certs renew --all --days 90")]
#[command(group = ArgGroup::new("whose").required(true))]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Clients, or `server`; `clients/NAME` is a client in any case
    #[arg(value_name = "NAME", value_parser = target_name, group = "whose")]
    names: Vec<String>,
    /// The server and every client whose certificate is not revoked
    #[arg(long, group = "whose")]
    all: bool,
    /// How many days the new certificates are valid
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
    /// Make new keys too
    #[arg(long)]
    new_key: bool,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let folder = args.place.folder();
    let _lock = folder.lock()?;
    let targets = if args.all { everyone(&folder)? } else { named(&folder, &args.names)? };
    let (mut renewed, mut first) = (Vec::new(), None);
    for (role, files) in targets {
        let old = folder.certificate(&files)?;
        let request = same(role, &old, args.days);
        let new = if args.new_key {
            folder.make(&files, &request, Existing::Replace, |_| Ok(()))?
        } else {
            folder.renew(&files, &request)?
        };
        first = first.filter(|it: &Certificate| it.not_after < new.not_after).or(Some(new));
        renewed.push(files);
    }
    table::print(&folder, &renewed, global.output)?;
    first.iter().for_each(|it| tell_of_end(it, args.days));
    output::say(
        "\nthe old certificates stay valid until they expire or are revoked: `otlp-gate certs revoke NAME` takes both the old and \
         the new, with `--earlier` the old",
    );
    Ok(())
}

fn target_name(text: &str) -> Result<String, String> {
    client_name(text.strip_prefix("clients/").unwrap_or(text))?;
    Ok(text.to_owned())
}

fn everyone(folder: &Folder) -> Result<Vec<(Role, Files)>, Error> {
    let revocations = folder.revocations()?;
    let mut targets = Vec::new();
    if folder.server_files().certificate.exists() {
        targets.push((Role::Server, folder.server_files()));
    }
    for name in folder.clients()? {
        let (files, certificate) = folder.client(&name)?;
        if !is_revoked(&revocations, &certificate.serial) {
            targets.push((Role::Client, files));
        }
    }
    Ok(targets)
}

fn named(folder: &Folder, names: &[String]) -> Result<Vec<(Role, Files)>, Error> {
    let revocations = folder.revocations()?;
    let target = |name: &String| match name.as_str() {
        "server" => Ok((Role::Server, folder.server_files())),
        name => {
            let name = name.strip_prefix("clients/").unwrap_or(name);
            let (files, certificate) = folder.client(name)?;
            if is_revoked(&revocations, &certificate.serial) {
                return Err(Error::failed(format_args!("the certificate of {name} is revoked")).hint(
                    format_args!("`otlp-gate certs client {name} --force` makes a new key and certificate"),
                ));
            }
            Ok((Role::Client, files))
        }
    };
    names.iter().map(target).collect()
}

/// A request for what this certificate says.
fn same(role: Role, old: &Certificate, days: u32) -> Request {
    Request {
        role,
        subject: old.subject_attributes(),
        uris: old.uris.clone(),
        dns: old.dns.clone(),
        ips: old.ips.clone(),
        validity: Validity::Days(days),
    }
}
