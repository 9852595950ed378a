//! `certs verify`: issue the certificates of the test clients of `otlp-gate verify`.

use super::FolderArg;
use crate::certs::TestClient;
use crate::error::Error;
use crate::file::Existing;
use crate::global::Global;
use crate::output;

/// Arguments of `certs verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs verify             for a folder that an earlier version created
  otlp-gate certs verify --force     again, after `certs revoke otlp-gate/verify`")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: FolderArg,
    /// Replace existing keys and certificates
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args, _: &Global) -> Result<(), Error> {
    let folder = args.folder.open();
    let _lock = folder.lock()?;
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    folder.create_test_clients(existing).map_err(|e| e.hint("`--force` replaces them"))?;
    let client = folder.test_client_files(TestClient::Valid).certificate;
    output::say(format_args!(
        "wrote {} and three certificates that the gate must reject; run `otlp-gate apply` to deploy the new {}",
        client.display(),
        folder.revocations_file().display()
    ));
    Ok(())
}
