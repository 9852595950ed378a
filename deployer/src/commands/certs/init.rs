//! `certs init`: all that a gate needs.

use std::fs;
use std::path::{Path, PathBuf};

use super::server::{self, Names};
use super::{Place, table, tell_of_end};
use crate::certs::{Authority, Files, Folder, Request, Revocations, Role, Serving, Trial, certificates};
use crate::error::Error;
use crate::file::{self, Access, Existing, Staged};
use crate::global::Global;
use crate::output;

/// Arguments of `certs init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs init                       for the hostname in otlp-gate.yaml
  otlp-gate certs init --local               also for localhost, 127.0.0.1 and ::1
  otlp-gate certs init --hostname otel.example.com --hostname 203.0.113.7
  otlp-gate certs init --client-ca partners-ca.crt --client-crl partners.crl    clients of your CA
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
    let request = if args.own.server_cert.is_none() { Some(args.names.request(global)?) } else { None };
    let _lock = folder.lock()?;
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    if existing == Existing::Keep {
        refuse_existing(&folder)?;
    }
    // What no gateway can serve with is refused before anything is written.
    let own_server = args.own.server()?;
    let own_clients = args.own.clients()?;
    let issues = own_clients.as_ref().is_none_or(|own| own.key.is_some());
    let had_record = folder.record_file().exists();
    let made =
        make(&folder, args.ca_days, own_server.as_ref(), own_clients.as_ref(), request.as_ref(), existing);
    if let Err(error) = made {
        if existing == Existing::Keep {
            // Nothing was there before, and a half is in the way of the next try.
            let record = (!had_record).then(|| folder.record_file());
            for path in written(&folder).into_iter().chain(record) {
                // that it was never written is no matter
                let _ = file::remove(&path);
            }
        }
        return Err(error);
    }
    let files =
        [folder.authority_files(Role::Server), folder.authority_files(Role::Client), folder.server_files()];
    table::print(&folder, &files, global.output)?;
    if request.is_some() {
        tell_of_end(&folder.certificate(&folder.server_files())?, args.names.days());
    }
    output::say(format_args!("\n{}", told(&folder, issues)));
    request.iter().for_each(server::warn_of_localhost);
    Ok(())
}

/// Writes all of it. Without a server of one's own there is a request for its certificate.
fn make(
    folder: &Folder,
    ca_days: u32,
    own_server: Option<&OwnServer>,
    own_clients: Option<&OwnClients>,
    request: Option<&Request>,
    existing: Existing,
) -> Result<(), Error> {
    let server = folder.server_files();
    let (server_ca, client_ca) = (folder.authority_files(Role::Server), folder.authority_files(Role::Client));
    if let Some(own) = own_server {
        write(&server.key, &own.key, Access::Private, existing)?;
        write(&server.certificate, &own.certificate, Access::Public, existing)?;
        write(&server_ca.certificate, &own.ca, Access::Public, existing)?;
        file::remove(&server_ca.key)?;
    }
    if let Some(request) = request {
        folder.make_authority(Role::Server, ca_days, existing)?;
        folder.make(&server, request, existing, |_| Ok(()))?;
    }
    file::remove(&folder.old_key_file())?;
    match own_clients {
        None => drop(folder.make_authority(Role::Client, ca_days, existing)?),
        Some(own) => {
            match &own.key {
                Some(key) => write(&client_ca.key, key, Access::Private, existing)?,
                None => file::remove(&client_ca.key)?,
            }
            write(&client_ca.certificate, &own.certificates, Access::Public, existing)?;
            write(&folder.revocations_file(), &own.revocations, Access::Public, existing)?;
        }
    }
    match own_clients {
        Some(OwnClients { key: None, .. }) => {
            trial_files(folder).iter().try_for_each(|path| file::remove(path))
        }
        _ => {
            // The CA may have been this folder's before: what it revoked stays so, though the list that is given lacks it.
            folder.complete_lists()?;
            folder.make_trials(existing)
        }
    }
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

/// A server's certificate that is there already; all PEM.
struct OwnServer {
    certificate: String,
    key: String,
    ca: String,
}

/// CAs of clients that are there already; all PEM.
struct OwnClients {
    certificates: String,
    key: Option<String>,
    revocations: String,
}

impl Own {
    fn server(&self) -> Result<Option<OwnServer>, Error> {
        let (Some(certificate), Some(key), Some(ca)) = (&self.server_cert, &self.server_key, &self.server_ca)
        else {
            return Ok(None);
        };
        let own = OwnServer { certificate: read(certificate)?, key: read(key)?, ca: read(ca)? };
        Serving::check_server((certificate, &own.certificate), (key, &own.key))?;
        let authorities = certificates(ca, own.ca.clone())?;
        let chain = certificates(certificate, own.certificate.clone())?;
        if !chain.iter().any(|it| authorities.iter().any(|ca| it.is_signed_by(ca))) {
            let message = format!("{} is not from the CA of {}", certificate.display(), ca.display());
            return Err(Error::failed(message).hint(
                "clients know the gate by that CA: give the one that issued the certificate, or the last of those behind it",
            ));
        }
        Ok(Some(own))
    }

    fn clients(&self) -> Result<Option<OwnClients>, Error> {
        let Some(ca) = &self.client_ca else { return Ok(None) };
        let certificates = read(ca)?;
        let key = self.client_ca_key.as_ref().map(read).transpose()?;
        let authority = key.as_deref().map(|key| Authority::parse(&certificates, key)).transpose();
        let authority =
            authority.map_err(|e| Error::failed(format_args!("{} and its key: {e}", ca.display())))?;
        let revocations = match (&self.client_crl, &authority) {
            (Some(list), _) => read(list)?,
            (None, Some(authority)) => {
                authority.sign_revocations(&Revocations::none(authority.certificate()))?
            }
            // clap asks for one of the two
            (None, None) => String::new(),
        };
        let list = self.client_crl.as_ref().or(self.client_ca_key.as_ref()).unwrap_or(ca);
        Serving::check_clients((ca, &certificates), Some((list, &revocations)))?;
        Ok(Some(OwnClients { certificates, key, revocations }))
    }
}

fn read(path: &PathBuf) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|e| Error::failed(format_args!("cannot read {}: {e}", path.display())))
}

fn write(to: &Path, text: &str, access: Access, existing: Existing) -> Result<(), Error> {
    Staged::new(to, text.as_bytes(), access)?.commit(existing)
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
    let pairs = pairs.into_iter().flat_map(|Files { certificate, key }| [key, certificate]);
    pairs.chain(trial_files(folder)).chain([folder.revocations_file()]).collect()
}

fn trial_files(folder: &Folder) -> Vec<PathBuf> {
    let files = Trial::ALL.into_iter().map(|it| folder.trial_files(it));
    files.flat_map(|Files { certificate, key }| [key, certificate]).collect()
}
