//! `certs`: the certificates of the gate and its clients.

mod client;
mod client_args;
mod crl;
mod init;
mod list;
mod renew;
mod revoke;
mod rotate;
mod server;
mod sign;
mod table;
mod verify;

use std::path::PathBuf;

use clap::Subcommand;
use time::{Duration, OffsetDateTime};

use crate::certs::{Folder, Record, Role};
use crate::config::{Config, Source};
use crate::error::Error;
use crate::global::Global;
use crate::output;
use crate::x509::Certificate;

/// The commands of `certs`.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  otlp-gate certs init      create CAs and the server's certificate
  otlp-gate certs client acme-edge --spiffe spiffe://acme.example/edge/zurich
  otlp-gate certs list")]
pub(crate) enum Certs {
    /// Create the CAs, the server's certificate, a revocation list, and the test clients of `verify`
    Init(init::Args),
    /// Issue a certificate with a new key for the server
    Server(server::Args),
    /// Issue a certificate with a new key for a client
    Client(client::Args),
    /// Issue a certificate for a client's own key, by its certificate signing request
    Sign(sign::Args),
    /// List certificates with their names, expiry and status
    List(list::Args),
    /// Renew certificates: the same names and keys, a new validity period
    Renew(renew::Args),
    /// Revoke all certificates of a client, or one of them
    Revoke(revoke::Args),
    /// Sign the revocation list again, with all recorded revocations
    Crl(crl::Args),
    /// Replace a CA, with a period in which both CAs are trusted
    Rotate(rotate::Args),
    /// Issue the certificates of the test clients of `otlp-gate verify`
    Verify(verify::Args),
}

pub(super) fn run(command: &Certs, global: &Global) -> Result<(), Error> {
    match command {
        Certs::Init(args) => init::run(args, global),
        Certs::Server(args) => server::run(args, global),
        Certs::Client(args) => client::run(args, global),
        Certs::Sign(args) => sign::run(args, global),
        Certs::List(args) => list::run(args, global),
        Certs::Renew(args) => renew::run(args, global),
        Certs::Revoke(args) => revoke::run(args, global),
        Certs::Crl(args) => crl::run(args, global),
        Certs::Rotate(args) => rotate::run(args, global),
        Certs::Verify(args) => verify::run(args, global),
    }
}

/// Prints a note if a certificate expires earlier than requested, because its CA does.
fn note_early_end(certificate: &Certificate, days: u32) {
    let left = certificate.not_after - OffsetDateTime::now_utc();
    // An hour of tolerance for the time that issuing took.
    if left + Duration::HOUR < Duration::days(days.into()) {
        output::say(format_args!(
            "\nnote: the certificate expires in {} days, with its CA",
            left.whole_days()
        ));
    }
}

/// Prints a note for each CA that issued certificates before there was a record. Of these, the record has only those
/// that were still in the folder.
fn note_incomplete_record(folder: &Folder, record: &Record) {
    for ca in folder.authority_certificates(Role::Client).unwrap_or_default() {
        if let Some(since) = record.incomplete_since(&ca.public_key_sha256_hex()) {
            output::say(format_args!(
                "note: {} has the certificates that {} issued since {}, and those that were in the folder then; \
                 `certs revoke --cert FILE` or `--serial HEX` revokes an earlier one, or one that was issued elsewhere",
                folder.record_file().display(),
                ca.subject.unwrap_or_default(),
                output::rfc3339(since)
            ));
        }
    }
}

/// The configuration, if there is one without errors.
fn config(global: &Global) -> Option<Config> {
    if global.file_is_stdin() { None } else { Some(Source::read(&global.file).ok()?.load().ok()?.config) }
}

/// Whether cert-manager issues the server's certificate while clients have other CAs, by the configuration, if there is
/// one.
fn server_is_elsewhere(global: &Global) -> bool {
    config(global)
        .is_some_and(|it| it.certificates.cert_manager.is_some() && !it.issues_client_certificates())
}

/// The folder of the certificates.
#[derive(Debug, Clone, clap::Args)]
struct FolderArg {
    /// The folder of the certificates
    #[arg(long, value_name = "DIR", default_value = "certs", env = "OTLP_GATE_CERTS")]
    dir: PathBuf,
}

impl FolderArg {
    fn open(&self) -> Folder {
        Folder::at(&self.dir)
    }
}
