//! `certs list`: list certificates.

use super::{FolderArg, note_incomplete_record, server_is_elsewhere, table};
use crate::certs::Record;
use crate::error::Error;
use crate::global::Global;
use crate::output::{self, Format};

/// Arguments of `certs list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs list
  otlp-gate certs list --all     also renewed, replaced and revoked ones
  otlp-gate certs list -o json | jq -r '.[] | select(.daysLeft < 30) | .file'")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: FolderArg,
    /// List all recorded certificates, also those whose files no longer exist
    #[arg(long)]
    all: bool,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let folder = args.folder.open();
    let files = folder.all()?;
    if server_is_elsewhere(global) && global.output == Format::Table {
        output::say(
            "note: cert-manager issues the server's certificate: `otlp-gate status` shows until when it is valid",
        );
    }
    let record = if args.all { folder.completed_record()? } else { Record::default() };
    if !record.is_empty() {
        table::print_all(&folder, &record, global.output)?;
        note_incomplete_record(&folder, &record);
        return Ok(());
    }
    if files.is_empty() {
        return Err(Error::failed(format_args!("there are no certificates in {}", folder.path().display()))
            .hint("`otlp-gate certs init` creates them; `--dir DIR` names another folder"));
    }
    table::print(&folder, &files, global.output)
}
