//! What `certs client` and `certs sign` have in common: the client's names, and the check that its rule accepts them.

use std::net::IpAddr;

use otlp_gate_core::policy::Identification;

use super::FolderArg;
use crate::certs::{ClientNames, ClientTrust, Folder, Request, client_name, dns_name, is_revoked, spiffe_id};
use crate::config::{Loaded, Source};
use crate::error::Error;
use crate::explanation::{self, NearMiss};
use crate::file::Existing;
use crate::global::Global;
use crate::output;
use crate::x509::Certificate;

/// A client, and the names of its certificate.
#[derive(Debug, clap::Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    folder: FolderArg,
    /// The client's name in the configuration
    #[arg(value_name = "NAME", value_parser = client_name)]
    pub(super) name: String,
    /// The URI SAN [default: that of the client's rule, if it is not a pattern]
    #[arg(long, value_name = "URI", value_parser = spiffe_id)]
    spiffe: Option<String>,
    /// The DNS SAN [default: that of the client's rule, if it is not a pattern]
    #[arg(long, value_name = "NAME", value_parser = dns_name)]
    dns: Option<String>,
    /// The e-mail SAN [default: that of the client's rule, if it is not a pattern]
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// The IP address SAN [default: that of the client's rule, if it is not a network]
    #[arg(long, value_name = "IP")]
    ip: Option<IpAddr>,
    /// The subject's common name [default: that of the client's rule, else the client's name]
    #[arg(long, value_name = "TEXT")]
    cn: Option<String>,
    /// The subject's organization [default: that of the client's rule]
    #[arg(long, value_name = "TEXT")]
    org: Option<String>,
    /// Validity of the certificate in days
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub(super) days: u32,
    /// Replace an existing key and certificate
    #[arg(long)]
    force: bool,
    /// Do not check that the certificate matches the client's rule; needs no configuration
    #[arg(long)]
    unchecked: bool,
}

impl ClientArgs {
    /// The folder of the certificates.
    pub(super) fn folder(&self) -> Folder {
        self.folder.open()
    }

    /// What to do about files of the client that exist.
    pub(super) fn existing(&self) -> Existing {
        if self.force { Existing::Replace } else { Existing::Keep }
    }

    /// The configuration; none with `--unchecked` where there is no file.
    pub(super) fn config(&self, global: &Global) -> Result<Option<Loaded>, Error> {
        if self.unchecked && !global.file_is_stdin() && !global.file.exists() {
            return Ok(None);
        }
        let hint = "`otlp-gate init` writes one; `--unchecked` issues the certificate without one";
        let mut loaded = Source::read(&global.file).map_err(|e| e.hint(hint))?.load()?;
        ClientTrust::complete(&mut loaded, &self.folder()).unwrap_or_else(|e| e.warn());
        Ok(Some(loaded))
    }

    /// The certificate's contents, from the options and from the client's rule.
    pub(super) fn request(&self, loaded: Option<&Loaded>) -> Result<Request, Error> {
        let names = ClientNames {
            spiffe: self.spiffe.clone(),
            dns: self.dns.clone(),
            email: self.email.clone(),
            ip: self.ip,
            cn: self.cn.clone(),
            org: self.org.clone(),
        };
        names.request(&self.name, self.days, loaded.map(|it| &it.config), self.unchecked)
    }

    /// Checks that the certificate identifies the client, and prints what it identifies.
    pub(super) fn approve(&self, loaded: Option<&Loaded>, certificate: &Certificate) -> Result<(), Error> {
        let Some(loaded) = loaded else { return Ok(()) };
        let mut identity = certificate.identity().clone();
        loaded.examine(&mut identity);
        let explanation = loaded.policy.explain(&identity);
        let outcome = explanation::describe(&loaded.config, &explanation);
        let is_it =
            matches!(&explanation.identification, Identification::Client(client) if client.name == self.name);
        if is_it || self.unchecked {
            output::say(format_args!("the certificate identifies {outcome}\n"));
            return Ok(());
        }
        let misses = explanation::near_misses(loaded, &explanation);
        let mut hints: Vec<String> = misses.iter().map(NearMiss::text).collect();
        hints.push("`--unchecked` issues it anyway".to_owned());
        let (name, message) = (&self.name, "the certificate would not identify");
        let message = match explanation.identification {
            Identification::Unknown => format!("{message} the client `{name}`: it matches no rule"),
            Identification::Client(_) | Identification::Denied | Identification::Revoked => {
                format!("{message} the client `{name}`, but {outcome}")
            }
        };
        Err(Error::failed(message).hint(hints.join("; ")))
    }

    /// Prints a note if the gate still accepts an earlier certificate of this client.
    pub(super) fn note_earlier(&self, folder: &Folder, present: &Certificate) -> Result<(), Error> {
        let (record, revoked, name) = (folder.record()?, folder.revocations()?, &self.name);
        let valid = folder.revocable_of_client(&record, name, true)?;
        if valid.iter().any(|it| it.serial != present.serial && !is_revoked(&revoked, &it.serial)) {
            output::say(format_args!(
                "\nnote: an earlier certificate of {name} is still valid: `otlp-gate certs revoke {name} --earlier` \
                revokes it"
            ));
        }
        Ok(())
    }
}
