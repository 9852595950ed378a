//! `certs server`: the server's certificate.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Place, table, tell_of_end};
use crate::certs::{Request, Role, Validity, dns_name};
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
    place: Place,
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

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Dns(String),
    Ip(IpAddr),
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let request = args.names.request(global)?;
    let folder = args.place.folder();
    let _lock = folder.lock()?;
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    let files = folder.server_files();
    let certificate = folder.make(&files, &request, existing, |_| Ok(()))?;
    table::print(&folder, &[files], global.output)?;
    tell_of_end(&certificate, args.names.days);
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
            let loaded = Source::read(global).map_err(|e| e.hint(hint))?.load()?;
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
        let mut request = Request {
            role: Role::Server,
            subject: Vec::new(),
            uris: Vec::new(),
            dns: Vec::new(),
            ips: Vec::new(),
            validity: Validity::Days(self.days),
        };
        for host in hosts {
            match host {
                Host::Dns(name) if !request.dns.contains(&name) => request.dns.push(name),
                Host::Ip(ip) if !request.ips.contains(&ip) => request.ips.push(ip),
                _ => {}
            }
        }
        let name = request.dns.first().cloned().or_else(|| request.ips.first().map(ToString::to_string));
        // X.520 ends a common name at 64 characters; clients look at the SANs only.
        request.subject.extend(name.filter(|it| it.len() <= 64).map(|name| ("CN".to_owned(), name)));
        Ok(request)
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

fn host(text: &str) -> Result<Host, String> {
    text.parse().map(Host::Ip).or_else(|_| dns_name(text).map(Host::Dns))
}
