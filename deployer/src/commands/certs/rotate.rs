//! `certs rotate`: replace a CA without rejecting valid clients.

use super::FolderArg;
use crate::certs::Ca;
use crate::error::Error;
use crate::global::Global;
use crate::output;

/// Arguments of `certs rotate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs rotate client              create a new CA for clients; both are trusted
  otlp-gate certs rotate client --finish     remove the old CA, when clients have new certificates
  otlp-gate certs rotate server              the same for the CA of the server's certificate
  otlp-gate certs rotate internal            the same for the CA of the connection to the Collector")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: FolderArg,
    /// The CA to replace
    #[arg(value_enum, value_name = "client|server|internal")]
    ca: Ca,
    /// Remove the old CA
    #[arg(long)]
    finish: bool,
    /// Remove the old CA even if certificates of it are in use
    #[arg(long, requires = "finish")]
    force: bool,
    /// Validity of the new CA in days
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36500))]
    ca_days: u32,
}

pub(super) fn run(args: &Args, _: &Global) -> Result<(), Error> {
    let folder = args.folder.open();
    let _lock = folder.lock()?;
    let file = folder.authority_files(args.ca).certificate;
    let file = file.display();
    if args.finish {
        folder.finish_rotation(args.ca, args.force)?;
        output::say(match args.ca {
            Ca::Client => format!("{file} has only the new CA; run `otlp-gate apply` to deploy it"),
            Ca::Server => format!("{file} has only the new CA; clients no longer need the old one"),
            Ca::Internal => format!("{file} has only the new CA; run `otlp-gate apply` to deploy it"),
        });
        return Ok(());
    }
    let new = folder.rotate(args.ca, args.ca_days)?;
    let name = new.subject.unwrap_or_default();
    output::say(format_args!("{file} now has {name}, which issues from now on, and the old CA; next:\n"));
    output::say(match args.ca {
        Ca::Client => {
            "  otlp-gate apply                           the gate accepts certificates of both CAs\n  \
             otlp-gate certs renew --all               new certificates for the same keys: give them to the clients\n  \
             otlp-gate certs rotate client --finish    remove the old CA\n  \
             otlp-gate apply                           the gate accepts certificates of the new CA only"
        }
        Ca::Server => {
            "  replace the file on every client\n  \
             otlp-gate certs renew server              once all clients have the file\n  \
             otlp-gate apply                           the gate serves with the new certificate\n  \
             otlp-gate certs rotate server --finish    remove the old CA"
        }
        Ca::Internal => {
            "  otlp-gate apply                             gateway and Collector trust both CAs\n  \
             otlp-gate certs renew internal              new certificates for both ends\n  \
             otlp-gate apply                             both ends use them\n  \
             otlp-gate certs rotate internal --finish    remove the old CA\n  \
             otlp-gate apply                             gateway and Collector trust the new CA only"
        }
    });
    Ok(())
}
