//! `certs init`: create everything that a gate needs.

use std::path::PathBuf;

use super::server::{self, Names};
use super::{FolderArg, config, note_early_end, server_is_elsewhere, table};
use crate::certs::{
    Ca, ClientAuthority, Folder, InternalCertificate, Role, ServerCertificate, Setup, TestClient,
};
use crate::config::{Gateway, ServerCa};
use crate::error::Error;
use crate::file::Existing;
use crate::global::Global;
use crate::model;
use crate::output;

/// Arguments of `certs init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs init                       for the hostname in otlp-gate.yaml
  otlp-gate certs init --local               also for localhost, 127.0.0.1 and ::1
  otlp-gate certs init --hostname otel.example.com --hostname 203.0.113.7
  otlp-gate certs init --client-ca partners-ca.crt --client-crl partners.crl    your own CA
  otlp-gate certs init --server-cert site.crt --server-key site.key --server-ca site-ca.crt")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: FolderArg,
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    own: Own,
    /// Validity of the CAs in days
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36500))]
    ca_days: u32,
    /// Replace existing CAs: all certificates that they issued become invalid
    #[arg(long)]
    force: bool,
}

/// Certificates that the user has already.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Your own certificates")]
struct Own {
    /// Your CAs for clients, in PEM. All are trusted; the first one issues if its key is given
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// The key of the first CA, to issue and revoke certificates
    #[arg(long, value_name = "FILE", requires = "client_ca")]
    client_ca_key: Option<PathBuf>,
    /// The revocation lists of these CAs, in PEM: one of each. Without it, the key of a single CA signs a list; without
    /// the key, reject clients with `deny`
    #[arg(long, value_name = "FILE", requires = "client_ca")]
    client_crl: Option<PathBuf>,
    /// Your server certificate with its intermediate CAs, in PEM
    #[arg(long, value_name = "FILE", requires = "server_key")]
    server_cert: Option<PathBuf>,
    /// The key of the server certificate
    #[arg(long, value_name = "FILE", requires = "server_cert")]
    server_key: Option<PathBuf>,
    /// The CA that clients verify the server certificate with. Not needed with `certificates.serverCA: public`
    #[arg(long, value_name = "FILE", requires = "server_cert")]
    server_ca: Option<PathBuf>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let folder = args.folder.open();
    let elsewhere = args.own.server_cert.is_none() && server_is_elsewhere(global);
    let loaded = server::config(global);
    let internal = {
        let default = Gateway::default();
        let gateway = loaded.as_ref().map_or(&default, |config| &config.gateway);
        let names = model::Names::of(gateway);
        let deploys_engine = loaded.as_ref().is_ok_and(|config| config.deployed_engine().is_some());
        let engine = deploys_engine.then(|| names.quotas_server());
        [names.collector_server()].into_iter().chain(engine).collect::<Vec<_>>()
    };
    let _lock = folder.lock()?;
    let own = args.own.client_ca.is_some() || args.own.server_cert.is_some();
    if !args.force && !own && folder.is_set_up() {
        let written = folder.complete_internal(&internal, (args.names.days(), args.ca_days))?;
        if !written.is_empty() {
            table::print(&folder, &written, global.output)?;
            output::say(
                "\nwrote these certificates with their keys; the others are unchanged\nnext: `otlp-gate apply`",
            );
            return Ok(());
        }
    }
    let request = match args.own.server_cert {
        None if !elsewhere => Some(args.names.request(loaded)?),
        _ => None,
    };
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    // Files that Envoy cannot use are rejected before anything is written.
    let setup = Setup {
        server: match &request {
            Some(request) => ServerCertificate::New(request.clone()),
            None if elsewhere => ServerCertificate::Elsewhere,
            None => args.own.server(global)?,
        },
        clients: args.own.clients()?,
        internal,
        internal_days: args.names.days(),
        ca_days: args.ca_days,
    };
    folder.set_up(&setup, existing)?;
    let mut files: Vec<_> = Ca::ALL.into_iter().map(|it| folder.authority_files(it)).collect();
    files.push(folder.server_files());
    files.extend(InternalCertificate::ALL.into_iter().map(|it| folder.internal_files(it)));
    files.retain(|it| it.certificate.exists());
    table::print(&folder, &files, global.output)?;
    if request.is_some() {
        note_early_end(&folder.certificate(&folder.server_files())?, args.names.days());
    }
    output::say(format_args!("\n{}", next_steps(&folder, &setup)));
    request.iter().for_each(server::note_localhost);
    Ok(())
}

fn next_steps(folder: &Folder, setup: &Setup) -> String {
    let ca = match setup.server {
        ServerCertificate::Elsewhere | ServerCertificate::Own { ca: None, .. } => {
            "the CA of the server's certificate, if it is not public".to_owned()
        }
        _ => folder.authority_files(Role::Server).certificate.display().to_string(),
    };
    let list = folder.revocations_file();
    match setup.clients.as_ref().is_none_or(ClientAuthority::issues) {
        true => format!(
            "wrote these certificates with their keys, {}, and the test clients of `otlp-gate verify`\n\
             next: `otlp-gate certs client NAME` issues a client's certificate; clients also need {ca}",
            list.display()
        ),
        false => format!(
            "wrote these certificates{}; clients need {ca} and a certificate of your CA\n\
             next: for `otlp-gate verify`, let your CA issue {} with its key and the URI {}",
            match setup.clients.as_ref().is_some_and(ClientAuthority::revokes) {
                true => format!(" and {}", list.display()),
                false => "; without a revocation list, reject a client with `deny`".to_owned(),
            },
            folder.test_client_files(TestClient::Valid).certificate.display(),
            TestClient::Valid.request().uris.join(", "),
        ),
    }
}

impl Own {
    fn server(&self, global: &Global) -> Result<ServerCertificate, Error> {
        let public = config(global).is_some_and(|it| it.certificates.server_ca == ServerCa::Public);
        if self.server_ca.is_none() && !public {
            return Err(Error::usage("`--server-cert` needs `--server-ca`, with which clients verify the certificate")
                .hint("for a CA that every system trusts, set `certificates: {serverCA: public}` in the configuration"));
        }
        // clap requires both.
        let path = |it: &Option<PathBuf>| it.clone().unwrap_or_default();
        let (certificate, key) = (path(&self.server_cert), path(&self.server_key));
        ServerCertificate::read(&certificate, &key, self.server_ca.as_deref())
    }

    fn clients(&self) -> Result<Option<ClientAuthority>, Error> {
        let Some(ca) = &self.client_ca else { return Ok(None) };
        ClientAuthority::read(ca, self.client_ca_key.as_deref(), self.client_crl.as_deref()).map(Some)
    }
}
