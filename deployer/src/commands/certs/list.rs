//! `certs list`: all certificates of the folder.

use super::{Place, table};
use crate::error::Error;
use crate::global::Global;

/// Arguments of `certs list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs list
  otlp-gate certs list -o json | jq -r '.[] | select(.daysLeft < 30) | .file'")]
pub struct Args {
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let folder = args.place.folder();
    let files = folder.all()?;
    if files.is_empty() {
        return Err(Error::failed(format_args!("there are no certificates in {}", folder.path().display()))
            .hint("`otlp-gate certs init` makes some; `--dir DIR` names another folder"));
    }
    table::print(&folder, &files, global.output)
}
