//! `certs init`: all that a gate needs.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::server::{self, Names};
use super::{Place, table};
use crate::certs::{Files, Folder, Role, Serving, Trial};
use crate::cli::Global;
use crate::error::Error;
use crate::file::{Access, Existing, Staged};
use crate::output;

/// Arguments of `certs init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs init                       for the hostname in otlp-gate.yaml
  otlp-gate certs init --local               also for localhost, 127.0.0.1 and ::1
  otlp-gate certs init --hostname otel.example.com --hostname 203.0.113.7
  otlp-gate certs init --client-ca partners-ca.crt --client-crl partners.crl      clients have certificates of your own CA
  otlp-gate certs init --server-cert site.crt --server-key site.key --server-ca site-ca.crt")]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    own: Own,
    /// How many days the CAs are valid
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36500))]
    ca_days: u32,
    /// Make new CAs where there are some. Whatever the old ones issued is worth nothing from then on
    #[arg(long)]
    force: bool,
}

/// What is there already, and taken as it is.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Certificates of your own")]
struct Own {
    /// Your CAs for clients, in PEM: the first issues, if its key is given. All are trusted
    #[arg(long, value_name = "FILE", requires = "list_or_key")]
    client_ca: Option<PathBuf>,
    /// The key of the first of them, to issue and to revoke with
    #[arg(long, value_name = "FILE", requires = "client_ca", group = "list_or_key")]
    client_ca_key: Option<PathBuf>,
    /// What they revoked: one list in PEM for each, since a gateway that has one asks for all. With the key of a single CA
    /// it can be left out
    #[arg(long, value_name = "FILE", requires = "client_ca", group = "list_or_key")]
    client_crl: Option<PathBuf>,
    /// Your certificate for the server, in PEM, with those between it and its CA
    #[arg(long, value_name = "FILE", requires_all = ["server_key", "server_ca"])]
    server_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "server_cert")]
    server_key: Option<PathBuf>,
    /// The CA by which clients know it
    #[arg(long, value_name = "FILE", requires = "server_cert")]
    server_ca: Option<PathBuf>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let folder = args.place.folder();
    let own = &args.own;
    let request = if own.server_cert.is_none() { Some(args.names.request(global)?) } else { None };
    let _lock = folder.lock()?;
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    if existing == Existing::Keep {
        refuse_existing(&folder)?;
    }
    let server = folder.server_files();
    match &request {
        Some(request) => {
            folder.make_authority(Role::Server, args.ca_days, existing)?;
            folder.make(&server, request, existing, |_| Ok(()))?;
        }
        None => own.place_server(&folder, existing)?,
    }
    match &own.client_ca {
        None => drop(folder.make_authority(Role::Client, args.ca_days, existing)?),
        Some(_) => own.place_clients(&folder, existing)?,
    }
    let issues = folder.authority_files(Role::Client).key.exists();
    if issues {
        folder.make_trials(existing)?;
    }
    if let Err(error) = Serving::read(folder.path()) {
        // What no gateway can serve with is of no use in the folder either.
        for path in written(&folder) {
            let _ = fs::remove_file(path);
        }
        return Err(error);
    }

    let files = [folder.authority_files(Role::Server), folder.authority_files(Role::Client), server];
    table::print(&folder, &files, global.output)?;
    output::say(format_args!("\n{}", told(&folder, issues)));
    request.iter().for_each(server::warn_of_localhost);
    Ok(())
}

fn told(folder: &Folder, issues: bool) -> String {
    let ca = folder.authority_files(Role::Server).certificate;
    let (ca, list) = (ca.display(), folder.revocations_file());
    match issues {
        true => format!(
            "wrote them with their keys, {}, and in verify/ what `otlp-gate verify` shows; clients need {ca} and what \
             `otlp-gate certs client NAME` makes",
            list.display()
        ),
        false => format!(
            "wrote them and {}; clients need {ca} and a certificate of your CA. For `otlp-gate verify` let that issue \
             {} and its key, for the URI {}",
            list.display(),
            folder.trial_files(Trial::Client).certificate.display(),
            Trial::Client.request().uris.join(", "),
        ),
    }
}

impl Own {
    fn place_server(&self, folder: &Folder, existing: Existing) -> Result<(), Error> {
        let (server, ca) = (folder.server_files(), folder.authority_files(Role::Server));
        copy(self.server_key.as_deref(), &server.key, Access::Private, existing)?;
        copy(self.server_cert.as_deref(), &server.certificate, Access::Public, existing)?;
        copy(None, &ca.key, Access::Private, existing)?;
        copy(self.server_ca.as_deref(), &ca.certificate, Access::Public, existing)
    }

    fn place_clients(&self, folder: &Folder, existing: Existing) -> Result<(), Error> {
        let ca = folder.authority_files(Role::Client);
        copy(self.client_ca_key.as_deref(), &ca.key, Access::Private, existing)?;
        copy(self.client_ca.as_deref(), &ca.certificate, Access::Public, existing)?;
        copy(self.client_crl.as_deref(), &folder.revocations_file(), Access::Public, existing)
    }
}

fn copy(from: Option<&Path>, to: &Path, access: Access, existing: Existing) -> Result<(), Error> {
    let Some(from) = from else {
        // One that is left over would not fit.
        return match fs::remove_file(to) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                Err(Error::failed(format_args!("cannot remove {}: {e}", to.display())))
            }
            _ => Ok(()),
        };
    };
    let text =
        fs::read(from).map_err(|e| Error::failed(format_args!("cannot read {}: {e}", from.display())))?;
    Staged::new(to, &text, access)?.commit(existing)
}

/// Nothing is half made: either none of the files is there, or none is written.
fn refuse_existing(folder: &Folder) -> Result<(), Error> {
    match written(folder).into_iter().find(|path| path.exists()) {
        None => Ok(()),
        Some(path) => Err(Error::failed(format_args!("{} is there already", path.display())).hint(
            "`--force` makes new CAs, after which every certificate must be made anew; \
             `otlp-gate certs server --force` makes only the server's",
        )),
    }
}

/// All that this command writes.
fn written(folder: &Folder) -> Vec<PathBuf> {
    let pairs =
        [folder.authority_files(Role::Server), folder.authority_files(Role::Client), folder.server_files()];
    let trials = Trial::ALL.map(|it| folder.trial_files(it));
    let pairs = pairs.into_iter().chain(trials).flat_map(|Files { certificate, key }| [key, certificate]);
    pairs.chain([folder.revocations_file()]).collect()
}
