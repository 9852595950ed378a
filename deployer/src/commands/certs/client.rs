//! `certs client`: issue a client's certificate.

use super::client_args::ClientArgs;
use super::{note_early_end, table};
use crate::error::Error;
use crate::global::Global;
use crate::output;

/// Arguments of `certs client`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs client acme-edge --spiffe spiffe://acme.example/edge/zurich
  otlp-gate certs client zurich.globex --dns zurich.globex.partners.example
  otlp-gate certs client legacy        with the names in the rule of `legacy`")]
pub(crate) struct Args {
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let client = &args.client;
    let loaded = client.config(global)?;
    let request = client.request(loaded.as_ref())?;
    let folder = client.folder();
    let _lock = folder.lock()?;
    let files = folder.client_files(&client.name);
    let certificate = folder.issue(&files, &request, client.existing(), |certificate| {
        client.approve(loaded.as_ref(), certificate)
    })?;
    table::print(&folder, &[files], global.output)?;
    note_early_end(&certificate, client.days);
    client.note_earlier(&folder, &certificate)?;
    if client.name == "server" {
        output::say(
            "\nnote: `otlp-gate certs renew server` renews the gate's certificate; to renew this client's, give \
            `clients/server`",
        );
    }
    Ok(())
}
