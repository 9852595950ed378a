//! `certs server`: issue the server's certificate.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{FolderArg, note_early_end, table};
use crate::certs::{Host, Request, host};
use crate::config::{Config, Source};
use crate::error::Error;
use crate::file::Existing;
use crate::global::Global;
use crate::output;

/// Arguments of `certs server`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs server --force             for the hostname in otlp-gate.yaml
  otlp-gate certs server --force --hostname otel.example.com --days 90")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: FolderArg,
    #[command(flatten)]
    names: Names,
    /// Replace an existing key and certificate
    #[arg(long)]
    force: bool,
}

/// The names and validity of the server's certificate.
#[derive(Debug, clap::Args)]
pub(super) struct Names {
    /// A DNS name or IP address of the gate; can be repeated [default: gateway.hostname in the configuration]
    #[arg(long, value_name = "NAME", value_parser = host)]
    hostname: Vec<Host>,
    /// Add the names localhost, 127.0.0.1 and ::1
    #[arg(long)]
    local: bool,
    /// Validity of the server's certificate in days
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let request = args.names.request(config(global))?;
    let folder = args.folder.open();
    let _lock = folder.lock()?;
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    let files = folder.server_files();
    let certificate = folder.issue(&files, &request, existing, |_| Ok(()))?;
    table::print(&folder, &[files], global.output)?;
    note_early_end(&certificate, args.names.days);
    note_localhost(&request);
    Ok(())
}

impl Names {
    /// The validity in days.
    pub(super) fn days(&self) -> u32 {
        self.days
    }

    /// The request for the server's certificate. Without `--hostname`, the name is that of the configuration.
    pub(super) fn request(&self, config: Result<Config, Error>) -> Result<Request, Error> {
        let mut hosts = self.hostname.clone();
        if hosts.is_empty() {
            hosts.push(Host::Dns(config?.gateway.hostname));
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

/// The configuration.
pub(super) fn config(global: &Global) -> Result<Config, Error> {
    let source = Source::read(&global.file).map_err(|e| {
        e.hint("`otlp-gate init` writes one; `--hostname NAME` issues the certificate without one")
    })?;
    Ok(source.load_in(global.namespace.as_deref())?.config)
}

/// Prints a note if the certificate is valid for this machine only.
pub(super) fn note_localhost(request: &Request) {
    if request.dns == ["localhost"] {
        output::say(
            "note: the server's certificate is valid for this machine only; for others, set `gateway.hostname` or \
            give --hostname",
        );
    }
}
