//! `certs crl`: sign the revocation lists again.

use super::FolderArg;
use crate::error::Error;
use crate::global::Global;
use crate::output;

/// Arguments of `certs crl`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs crl     after merging two copies of the folder, a wrong clock, or a lost list")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: FolderArg,
}

pub(super) fn run(args: &Args, _: &Global) -> Result<(), Error> {
    let folder = args.folder.open();
    let _lock = folder.lock()?;
    let number = folder.renew_lists()?;
    let many = if number == 1 { "1 revocation" } else { &format!("{number} revocations") };
    output::say(format_args!(
        "signed {} with {many}; run `otlp-gate apply` to deploy it",
        folder.revocations_file().display()
    ));
    Ok(())
}
