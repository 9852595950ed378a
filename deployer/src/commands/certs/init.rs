//! `certs init`: all that a gate needs.

use std::path::PathBuf;

use super::server::{self, Names};
use super::{FolderArg, note_early_end, table};
use crate::certs::{ClientAuthority, Folder, Role, ServerCertificate, Setup, TestClient};
use crate::error::Error;
use crate::file::Existing;
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
    folder: FolderArg,
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
    let folder = args.folder.open();
    let request = if args.own.server_cert.is_none() { Some(args.names.request(global)?) } else { None };
    let _lock = folder.lock()?;
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    // Files that Envoy cannot use are rejected before anything is written.
    let setup = Setup {
        server: match &request {
            Some(request) => ServerCertificate::New(request.clone()),
            None => args.own.server()?,
        },
        clients: args.own.clients()?,
        ca_days: args.ca_days,
    };
    folder.set_up(&setup, existing)?;
    let files =
        [folder.authority_files(Role::Server), folder.authority_files(Role::Client), folder.server_files()];
    table::print(&folder, &files, global.output)?;
    if request.is_some() {
        note_early_end(&folder.certificate(&folder.server_files())?, args.names.days());
    }
    output::say(format_args!("\n{}", next_steps(&folder, &setup)));
    request.iter().for_each(server::warn_of_localhost);
    Ok(())
}

fn next_steps(folder: &Folder, setup: &Setup) -> String {
    let ca = folder.authority_files(Role::Server).certificate;
    let (ca, list) = (ca.display(), folder.revocations_file());
    match setup.clients.as_ref().is_none_or(ClientAuthority::issues) {
        true => format!(
            "wrote them with their keys, {}, and in verify/ what `otlp-gate verify` shows; clients need {ca} and what \
             `otlp-gate certs client NAME` makes",
            list.display()
        ),
        false => format!(
            "wrote them and {}; clients need {ca} and a certificate of your CA. For `otlp-gate verify` let that issue \
             {} and its key, for the URI {}",
            list.display(),
            folder.test_client_files(TestClient::Valid).certificate.display(),
            TestClient::Valid.request().uris.join(", "),
        ),
    }
}

impl Own {
    fn server(&self) -> Result<ServerCertificate, Error> {
        // clap requires all three.
        let path = |it: &Option<PathBuf>| it.clone().unwrap_or_default();
        let (certificate, key, ca) = (path(&self.server_cert), path(&self.server_key), path(&self.server_ca));
        ServerCertificate::read(&certificate, &key, &ca)
    }

    fn clients(&self) -> Result<Option<ClientAuthority>, Error> {
        let Some(ca) = &self.client_ca else { return Ok(None) };
        ClientAuthority::read(ca, self.client_ca_key.as_deref(), self.client_crl.as_deref()).map(Some)
    }
}
