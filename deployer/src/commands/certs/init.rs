//! `certs init`: all that a gate needs.

use super::server::{self, Names};
use super::{Place, table};
use crate::certs::{Folder, Role};
use crate::cli::Global;
use crate::error::Error;
use crate::file::Existing;
use crate::output;

/// Arguments of `certs init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs init                       for the hostname in otlp-gate.yaml
  otlp-gate certs init --local               also for localhost, 127.0.0.1 and ::1
  otlp-gate certs init --hostname otel.example.com --hostname 203.0.113.7")]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    names: Names,
    /// How many days the CAs are valid
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36500))]
    ca_days: u32,
    /// Make new CAs where there are some. Whatever the old ones issued is worth nothing from then on
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let request = args.names.request(global)?;
    let folder = args.place.folder();
    let _lock = folder.lock()?;
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    if existing == Existing::Keep {
        refuse_existing(&folder)?;
    }
    for role in [Role::Server, Role::Client] {
        folder.make_authority(role, args.ca_days, existing)?;
    }
    let server = folder.server_files();
    folder.make(&server, &request, existing, |_| Ok(()))?;
    folder.make_trials(existing)?;

    let files = [folder.authority_files(Role::Server), folder.authority_files(Role::Client), server];
    table::print(&folder, &files, global.output)?;
    output::say(format_args!(
        "\nwrote them with their keys, {}, and in verify/ what `otlp-gate verify` shows; clients need {} and what \
         `otlp-gate certs client NAME` makes",
        folder.revocations_file().display(),
        folder.authority_files(Role::Server).certificate.display(),
    ));
    server::warn_of_localhost(&request);
    Ok(())
}

/// Nothing is half made: either none of the files is there, or none is written.
fn refuse_existing(folder: &Folder) -> Result<(), Error> {
    let pairs =
        [folder.authority_files(Role::Server), folder.authority_files(Role::Client), folder.server_files()];
    let mut files =
        pairs.into_iter().flat_map(|it| [it.key, it.certificate]).chain([folder.revocations_file()]);
    match files.find(|path| path.exists()) {
        None => Ok(()),
        Some(path) => Err(Error::failed(format_args!("{} is there already", path.display())).hint(
            "`--force` makes new CAs, after which every certificate must be made anew; \
             `otlp-gate certs server --force` makes only the server's",
        )),
    }
}
