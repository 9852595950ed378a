//! `certs verify`: what `otlp-gate verify` shows to a gate.

use super::FolderArg;
use crate::certs::TestClient;
use crate::error::Error;
use crate::file::Existing;
use crate::global::Global;
use crate::output;

/// Arguments of `certs verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs verify             for CAs of an earlier version; `certs init` makes them too
  otlp-gate certs verify --force     new ones, after `certs revoke otlp-gate/verify`")]
pub struct Args {
    #[command(flatten)]
    folder: FolderArg,
    /// Overwrite the keys and the certificates that are there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args, _: &Global) -> Result<(), Error> {
    let folder = args.folder.open();
    let _lock = folder.lock()?;
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    folder.create_test_clients(existing).map_err(|e| e.hint("`--force` makes new ones in their place"))?;
    let client = folder.test_client_files(TestClient::Valid).certificate;
    output::say(format_args!(
        "wrote {} and three that a gate must refuse; `otlp-gate apply` puts the new {} to it",
        client.display(),
        folder.revocations_file().display()
    ));
    Ok(())
}
