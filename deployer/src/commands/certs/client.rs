//! `certs client`: issue a client's certificate.

use otlp_gate_core::policy::Identification;

use super::{FolderArg, note_early_end, table};
use crate::certs::{ClientNames, Folder, client_name, dns_name, is_revoked, spiffe_id};
use crate::config::{Loaded, Source};
use crate::error::Error;
use crate::explanation::{self, NearMiss};
use crate::file::Existing;
use crate::global::Global;
use crate::output;
use crate::x509::Certificate;

/// Arguments of `certs client`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs client acme-edge --spiffe spiffe://acme.example/edge/zurich
  otlp-gate certs client zurich.globex --dns zurich.globex.partners.example
  otlp-gate certs client legacy        with the names in the rule of `legacy`")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: FolderArg,
    /// The client's name in the configuration
    #[arg(value_name = "NAME", value_parser = client_name)]
    name: String,
    /// The URI SAN [default: that of the client's rule, if it is not a pattern]
    #[arg(long, value_name = "URI", value_parser = spiffe_id)]
    spiffe: Option<String>,
    /// The DNS SAN [default: that of the client's rule, if it is not a pattern]
    #[arg(long, value_name = "NAME", value_parser = dns_name)]
    dns: Option<String>,
    /// The subject's common name [default: that of the client's rule, else the client's name]
    #[arg(long, value_name = "TEXT")]
    cn: Option<String>,
    /// The subject's organization [default: that of the client's rule]
    #[arg(long, value_name = "TEXT")]
    org: Option<String>,
    /// Validity of the certificate in days
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
    /// Replace an existing key and certificate
    #[arg(long)]
    force: bool,
    /// Do not check that the certificate matches the client's rule; needs no configuration
    #[arg(long)]
    unchecked: bool,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let loaded = if args.unchecked && !global.file_is_stdin() && !global.file.exists() {
        None
    } else {
        let hint = "`otlp-gate init` writes one; `--unchecked` issues the certificate without one";
        Some(Source::read(&global.file).map_err(|e| e.hint(hint))?.load()?)
    };
    let config = loaded.as_ref().map(|loaded| &loaded.config);
    let request = args.names().request(&args.name, args.days, config, args.unchecked)?;
    let folder = args.folder.open();
    let _lock = folder.lock()?;
    let files = folder.client_files(&args.name);
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    let certificate = folder.issue(&files, &request, existing, |certificate| match &loaded {
        Some(loaded) => args.approve(loaded, certificate),
        None => Ok(()),
    })?;
    table::print(&folder, &[files], global.output)?;
    note_early_end(&certificate, args.days);
    let name = &args.name;
    if has_earlier(&folder, name, &certificate)? {
        output::say(format_args!(
            "\nnote: an earlier certificate of {name} is still valid: `otlp-gate certs revoke {name} --earlier` \
            revokes it"
        ));
    }
    if name == "server" {
        output::say(
            "\nnote: `otlp-gate certs renew server` renews the gate's certificate; to renew this client's, give \
            `clients/server`",
        );
    }
    Ok(())
}

/// Whether the gate still accepts an earlier certificate of this client.
fn has_earlier(folder: &Folder, name: &str, present: &Certificate) -> Result<bool, Error> {
    let (record, revoked) = (folder.record()?, folder.revocations()?);
    let valid = folder.revocable_of_client(&record, name, true)?;
    Ok(valid.iter().any(|it| it.serial != present.serial && !is_revoked(&revoked, &it.serial)))
}

impl Args {
    fn names(&self) -> ClientNames {
        let Args { spiffe, dns, cn, org, .. } = self;
        ClientNames { spiffe: spiffe.clone(), dns: dns.clone(), cn: cn.clone(), org: org.clone() }
    }

    /// Checks that the certificate identifies the client, and prints what it identifies.
    fn approve(&self, loaded: &Loaded, certificate: &Certificate) -> Result<(), Error> {
        let explanation = loaded.policy.explain(&certificate.identity());
        let outcome = explanation::describe(&loaded.config, &explanation);
        let is_it =
            matches!(&explanation.identification, Identification::Client(client) if client.name == self.name);
        if is_it || self.unchecked {
            output::say(format_args!("the certificate identifies {outcome}\n"));
            return Ok(());
        }
        let misses = explanation::near_misses(loaded, certificate, &explanation);
        let mut hints: Vec<String> = misses.iter().map(NearMiss::text).collect();
        hints.push("`--unchecked` issues it anyway".to_owned());
        let (name, message) = (&self.name, "the certificate would not identify");
        let message = match explanation.identification {
            Identification::Unknown => format!("{message} the client `{name}`: it matches no rule"),
            Identification::Client(_) | Identification::Denied => {
                format!("{message} the client `{name}`, but {outcome}")
            }
        };
        Err(Error::failed(message).hint(hints.join("; ")))
    }
}
