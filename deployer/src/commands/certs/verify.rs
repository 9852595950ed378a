//! `certs verify`: what `otlp-gate verify` shows to a gate.

use super::Place;
use crate::certs::Trial;
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
    place: Place,
    /// Overwrite the keys and the certificates that are there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args, _: &Global) -> Result<(), Error> {
    let folder = args.place.folder();
    let _lock = folder.lock()?;
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    folder.make_trials(existing).map_err(|e| e.hint("`--force` makes new ones in their place"))?;
    let client = folder.trial_files(Trial::Client).certificate;
    output::say(format_args!(
        "wrote {} and three that a gate must refuse; `otlp-gate apply` puts the new {} to it",
        client.display(),
        folder.revocations_file().display()
    ));
    Ok(())
}
