//! `certs client`: a client's certificate.

use otlp_gate_core::config::{ClientRule, Match, Patterns};
use otlp_gate_core::policy::Identification;
use time::OffsetDateTime;

use super::super::verdict::{self, NearMiss};
use super::{Place, table, tell_of_end};
use crate::certs::{Folder, Request, Role, Validity, client_name, dns_name, from_hex, is_revoked, spiffe_id};
use crate::config::{Config, Loaded, Source};
use crate::error::Error;
use crate::file::Existing;
use crate::global::Global;
use crate::output;
use crate::x509::Certificate;

/// Arguments of `certs client`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs client acme-edge --spiffe spiffe://acme.example/edge/zurich
  otlp-gate certs client zurich.globex --dns zurich.globex.partners.example
  otlp-gate certs client legacy        where the configuration says outright what `legacy` shows")]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// The client's name, as the configuration gives it
    #[arg(value_name = "NAME", value_parser = client_name)]
    name: String,
    /// The URI by which the configuration knows the client [default: what its rule asks for, where that is one URI]
    #[arg(long, value_name = "URI", value_parser = spiffe_id)]
    spiffe: Option<String>,
    /// The DNS name by which it knows the client [default: likewise]
    #[arg(long, value_name = "NAME", value_parser = dns_name)]
    dns: Option<String>,
    /// The subject's common name [default: likewise, else the client's name]
    #[arg(long, value_name = "TEXT")]
    cn: Option<String>,
    /// The subject's organization [default: likewise]
    #[arg(long, value_name = "TEXT")]
    org: Option<String>,
    /// How many days the certificate is valid
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
    /// Overwrite the key and the certificate that are there
    #[arg(long)]
    force: bool,
    /// Make it though the configuration says that it is not this client's, or without a configuration
    #[arg(long)]
    unchecked: bool,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let loaded = if args.unchecked && !global.file_is_stdin() && !global.file.exists() {
        None
    } else {
        let hint = "`otlp-gate init` writes one; `--unchecked` makes the certificate without";
        Some(Source::read(global).map_err(|e| e.hint(hint))?.load()?)
    };
    let request = match &loaded {
        Some(loaded) => args.request_for(&loaded.config)?,
        None => args.request(&Match::default()),
    };
    let folder = args.place.folder();
    let _lock = folder.lock()?;
    let files = folder.client_files(&args.name);
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    let certificate = folder.make(&files, &request, existing, |certificate| match &loaded {
        Some(loaded) => args.approve(loaded, certificate),
        None => Ok(()),
    })?;
    table::print(&folder, &[files], global.output)?;
    tell_of_end(&certificate, args.days);
    let name = &args.name;
    if earlier_are_good(&folder, name, &certificate)? {
        output::say(format_args!(
            "\nnote: an earlier certificate of {name} is still good: `otlp-gate certs revoke {name} --earlier` takes it out"
        ));
    }
    if name == "server" {
        output::say(
            "\nnote: `otlp-gate certs renew server` is for the gate's own: `clients/server` is this client",
        );
    }
    Ok(())
}

/// Whether somebody who has an earlier certificate of this client's still gets in with it.
fn earlier_are_good(folder: &Folder, name: &str, present: &Certificate) -> Result<bool, Error> {
    let (record, revoked) = (folder.record()?, folder.revocations()?);
    let authorities = folder.authority_certificates(Role::Client)?;
    let trusted: Vec<String> = authorities.iter().map(Certificate::public_key_sha256_hex).collect();
    let now = OffsetDateTime::now_utc();
    Ok(record.issued().into_iter().any(|it| {
        let serial = from_hex(&it.serial).unwrap_or_default();
        it.kind == Role::Client
            && it.name == name
            && it.not_after > now
            && trusted.contains(&it.ca)
            && serial != present.serial
            && !is_revoked(&revoked, &serial)
    }))
}

impl Args {
    /// What the client's certificate must say to be the client's.
    fn request_for(&self, config: &Config) -> Result<Request, Error> {
        let given = [&self.spiffe, &self.dns, &self.cn, &self.org].into_iter().any(Option::is_some);
        match config.clients.iter().find(|rule| rule.name == self.name) {
            Some(rule) => self.fit(rule),
            None if given || self.unchecked => Ok(self.request(&Match::default())),
            None => Err(Error::failed(format_args!("no client is called `{}` outright", self.name))
                .hint(names_hint(config))),
        }
    }

    /// The first of the rule's matches for which everything is known.
    fn fit(&self, rule: &ClientRule) -> Result<Request, Error> {
        let alternatives = rule.matches.as_slice();
        if let Some(found) = alternatives.iter().find(|it| self.missing(it).is_empty()) {
            return Ok(self.request(found));
        }
        let missing = alternatives.first().map(|it| self.missing(it)).unwrap_or_default();
        let error = Error::failed(format_args!("`{}` may show more than one name, so say which", self.name));
        Err(error.hint(missing.join("; ")))
    }

    /// What the match asks for that neither it nor the command line says outright.
    fn missing(&self, one: &Match) -> Vec<String> {
        let mut missing = Vec::new();
        let mut need = |flag: &str, given: &Option<String>, pattern: Option<&String>| {
            let pattern = pattern.filter(|pattern| given.is_none() && !is_literal(pattern));
            missing.extend(pattern.map(|pattern| format!("give {flag} with a value that {pattern} matches")));
        };
        need("--spiffe", &self.spiffe, one.spiffe.as_ref());
        need("--dns", &self.dns, one.dns.as_ref());
        for (key, patterns) in &one.subject {
            for pattern in patterns.as_slice() {
                match key.to_ascii_uppercase().as_str() {
                    "CN" => need("--cn", &self.cn, Some(pattern)),
                    "O" => need("--org", &self.org, Some(pattern)),
                    _ => {}
                }
            }
        }
        missing
    }

    /// What is given, and what the match says outright.
    fn request(&self, one: &Match) -> Request {
        let literal = |pattern: Option<&String>| pattern.filter(|it| is_literal(it)).cloned();
        let values = one.subject.iter().flat_map(|(key, patterns)| {
            patterns.as_slice().iter().filter(|it| is_literal(it)).map(move |value| (key, value))
        });
        let (common_names, others): (Vec<_>, Vec<_>) =
            values.partition(|(key, _)| key.eq_ignore_ascii_case("CN"));
        // What is given comes beside what a list has, and else in its place.
        let is_list = |key: &str| {
            let mut of_key = one.subject.iter().filter(|(own, _)| own.eq_ignore_ascii_case(key));
            of_key.any(|(_, patterns)| matches!(patterns, Patterns::All(_)))
        };
        let owned = |(key, value): (&String, &String)| (key.clone(), value.clone());
        let mut subject: Vec<(String, String)> = others.into_iter().map(owned).collect();
        if let Some(org) = &self.org {
            if !is_list("O") {
                subject.retain(|(key, _)| !key.eq_ignore_ascii_case("O"));
            }
            subject.push(("O".to_owned(), org.clone()));
        }
        if is_list("CN") || self.cn.is_none() {
            subject.extend(common_names.iter().copied().map(owned));
        }
        let common_name = match (&self.cn, common_names.as_slice()) {
            (Some(given), _) => Some(given.clone()),
            // X.520 ends a common name at 64 characters.
            (None, []) => Some(self.name.clone()).filter(|it| it.len() <= 64),
            (None, _) => None,
        };
        subject.extend(common_name.map(|name| ("CN".to_owned(), name)));
        Request {
            role: Role::Client,
            subject,
            uris: self.spiffe.clone().or_else(|| literal(one.spiffe.as_ref())).into_iter().collect(),
            dns: self.dns.clone().or_else(|| literal(one.dns.as_ref())).into_iter().collect(),
            ips: Vec::new(),
            validity: Validity::Days(self.days),
        }
    }

    /// Sees to it that the certificate is the client's, and says so.
    fn approve(&self, loaded: &Loaded, certificate: &Certificate) -> Result<(), Error> {
        let explanation = loaded.policy.explain(&certificate.identity());
        let outcome = verdict::outcome(&loaded.config, &explanation);
        let is_it =
            matches!(&explanation.identification, Identification::Client(client) if client.name == self.name);
        if is_it || self.unchecked {
            output::say(format_args!("its holder is {outcome}\n"));
            return Ok(());
        }
        let misses = verdict::near_misses(loaded, certificate, &explanation);
        let mut hints: Vec<String> = misses.iter().map(NearMiss::told).collect();
        hints.push("`--unchecked` makes it all the same".to_owned());
        let (name, message) = (&self.name, "this certificate would not be");
        let message = match explanation.identification {
            Identification::Unknown => format!("{message} the client `{name}`: no rule matches it"),
            Identification::Client(_) | Identification::Denied => {
                format!("{message} the client `{name}`, but {outcome}")
            }
        };
        Err(Error::failed(message).hint(hints.join("; ")))
    }
}

/// Whether a pattern is the one text that it matches.
fn is_literal(pattern: &str) -> bool {
    !pattern.contains(['*', '{'])
}

fn names_hint(config: &Config) -> String {
    let names: Vec<String> = config.clients.iter().take(8).map(|rule| format!("`{}`", rule.name)).collect();
    let more = if config.clients.len() > names.len() { " and more" } else { "" };
    format!(
        "the configuration has {}{more}; for a name with {{words}} say what the client shows with --spiffe, --dns, --cn or --org",
        names.join(", ")
    )
}
