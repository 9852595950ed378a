//! `man`: the manual pages, for those who package the command.

use std::path::PathBuf;

use crate::error::Error;
use crate::output;

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate man ~/.local/share/man/man1")]
pub(crate) struct Args {
    /// The folder to write to, which is created
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes one page per command.
pub(super) fn run(args: &Args, cli: clap::Command) -> Result<(), Error> {
    let folder = &args.folder;
    let write = || {
        std::fs::create_dir_all(folder)?;
        clap_mangen::generate_to(cli, folder)
    };
    write().map_err(|e| Error::failed(format_args!("cannot write to {}: {e}", folder.display())))?;
    output::say(format_args!("wrote the manual pages to {}", folder.display()));
    Ok(())
}
