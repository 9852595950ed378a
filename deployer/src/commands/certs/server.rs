//! `certs server`: the server's certificate.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{FolderArg, note_early_end, table};
use crate::certs::{Host, Request, host};
use crate::config::Source;
use crate::error::Error;
use crate::file::Existing;
use crate::global::Global;
use crate::output;

/// Arguments of `certs server`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs server --force             for the hostname in otlp-gate.yaml
  otlp-gate certs server --force --hostname otel.example.com --days 90")]
pub struct Args {
    #[command(flatten)]
    folder: FolderArg,
    #[command(flatten)]
    names: Names,
    /// Overwrite the key and the certificate that are there
    #[arg(long)]
    force: bool,
}

/// What the server is called.
#[derive(Debug, clap::Args)]
pub(super) struct Names {
    /// A DNS name or IP address by which clients reach the gate; may be given several times [default: the
    /// configuration's gateway.hostname]
    #[arg(long, value_name = "NAME", value_parser = host)]
    hostname: Vec<Host>,
    /// Also localhost, 127.0.0.1 and ::1
    #[arg(long)]
    local: bool,
    /// How many days the certificate is valid
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let request = args.names.request(global)?;
    let folder = args.folder.open();
    let _lock = folder.lock()?;
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    let files = folder.server_files();
    let certificate = folder.issue(&files, &request, existing, |_| Ok(()))?;
    table::print(&folder, &[files], global.output)?;
    note_early_end(&certificate, args.names.days);
    warn_of_localhost(&request);
    Ok(())
}

impl Names {
    /// How many days the certificate is to be valid.
    pub(super) fn days(&self) -> u32 {
        self.days
    }

    /// The server's certificate, for the names that are given or else the configuration's.
    pub(super) fn request(&self, global: &Global) -> Result<Request, Error> {
        let mut hosts = self.hostname.clone();
        if hosts.is_empty() {
            let hint = "`otlp-gate init` writes one; `--hostname NAME` makes the certificate without";
            let loaded = Source::read(&global.file).map_err(|e| e.hint(hint))?.load()?;
            hosts.push(Host::Dns(loaded.config.gateway.hostname));
        }
        let localhost = Host::Dns("localhost".to_owned());
        if self.local || hosts.contains(&localhost) {
            hosts.extend([
                localhost,
                Host::Ip(Ipv4Addr::LOCALHOST.into()),
                Host::Ip(Ipv6Addr::LOCALHOST.into()),
            ]);
        }
        Ok(Request::server(hosts, self.days))
    }
}

/// A gate on another machine cannot be reached by this name.
pub(super) fn warn_of_localhost(request: &Request) {
    if request.dns == ["localhost"] {
        output::say(
            "the server's certificate is for this machine only; for another, set gateway.hostname or give --hostname",
        );
    }
}
