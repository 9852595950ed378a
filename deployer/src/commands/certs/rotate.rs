//! `certs rotate`: another CA, without shutting anybody out.

use super::FolderArg;
use crate::certs::Role;
use crate::error::Error;
use crate::global::Global;
use crate::output;

/// Arguments of `certs rotate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs rotate client              a new CA for clients; the old one stays trusted for now
  otlp-gate certs rotate client --finish     the old one goes, once every client has a new one's
  otlp-gate certs rotate server              the same for the CA by which clients know the gate")]
pub struct Args {
    #[command(flatten)]
    folder: FolderArg,
    /// Whose CA
    #[arg(value_enum, value_name = "client|server")]
    role: Role,
    /// Trust the old CA no more
    #[arg(long)]
    finish: bool,
    /// Though a certificate of the old CA is still in use
    #[arg(long, requires = "finish")]
    force: bool,
    /// How many days the new CA is valid
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36500))]
    ca_days: u32,
}

pub(super) fn run(args: &Args, _: &Global) -> Result<(), Error> {
    let folder = args.folder.open();
    let _lock = folder.lock()?;
    let file = folder.authority_files(args.role).certificate;
    let file = file.display();
    if args.finish {
        folder.finish_rotation(args.role, args.force)?;
        output::say(match args.role {
            Role::Client => format!("{file} holds the new CA only; `otlp-gate apply` tells the gate"),
            Role::Server => format!("{file} holds the new CA only; clients need the old one no more"),
        });
        return Ok(());
    }
    let new = folder.rotate(args.role, args.ca_days)?;
    let name = new.subject.unwrap_or_default();
    output::say(format_args!(
        "{file} now holds {name}, which issues from now on, and the CA before it. Next:\n"
    ));
    output::say(match args.role {
        Role::Client => {
            "  otlp-gate apply                           and then `otlp-gate verify`: the gate lets in certificates of both\n  \
             otlp-gate certs renew --all               new certificates for the same keys; give them to the clients\n  \
             otlp-gate certs rotate client --finish    and then `otlp-gate apply`: the old CA goes"
        }
        Role::Server => {
            "  give the file to every client, in the place of the one that it has\n  \
             otlp-gate certs renew server              once they all have it, and then `otlp-gate apply`\n  \
             otlp-gate certs rotate server --finish    the old CA goes"
        }
    });
    Ok(())
}
