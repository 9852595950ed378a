//! `certs crl`: the revocation list, signed anew.

use super::FolderArg;
use crate::error::Error;
use crate::global::Global;
use crate::output;

/// Arguments of `certs crl`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs crl     after a merge, a clock that was wrong, or a list that was lost")]
pub struct Args {
    #[command(flatten)]
    folder: FolderArg,
}

pub(super) fn run(args: &Args, _: &Global) -> Result<(), Error> {
    let folder = args.folder.open();
    let _lock = folder.lock()?;
    let number = folder.renew_lists()?;
    let many = if number == 1 { "1 certificate" } else { &format!("{number} certificates") };
    output::say(format_args!(
        "signed {} anew with {many}; `otlp-gate apply` puts it to the gate",
        folder.revocations_file().display()
    ));
    Ok(())
}
