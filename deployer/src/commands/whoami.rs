//! `whoami`: identifies the client of a certificate, and explains the result.

mod forwarded;
mod live;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::{fs, iter};

use otlp_gate_core::identity::{Fingerprint, Identity, START_LEEWAY, extended_key_usage_name, hex, xfcc};
use otlp_gate_core::policy::{Client, Explanation, Identification, VERIFY_NAME};
use otlp_gate_core::quota::{Dimension, Tier};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::args;
use crate::certs::{Folder, Role};
use crate::config::{Config, Loaded};
use crate::error::Error;
use crate::explanation::{self, NearMiss};
use crate::global::Global;
use crate::output::{self, Format};
use crate::quantity::quantity;
use crate::x509::Certificate;

/// Arguments of `whoami`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate whoami certs/clients/acme-edge.crt
  kubectl get secret acme-tls -o jsonpath='{.data.tls\\.crt}' | base64 -d | otlp-gate whoami -
  otlp-gate whoami client.pem -o json | jq -r .client

A header in which a proxy forwards its client, as a log has it:
  otlp-gate whoami --xfcc - < header.txt

What a running gate answers to a client, with an export without telemetry:
  otlp-gate whoami --address otel.example.com:4317 --cert acme.crt --key acme.key --ca ca.crt")]
pub(crate) struct Args {
    /// The certificate, in PEM or DER, in PEM with intermediate certificates if it has any; `-` reads standard input
    #[arg(
        value_name = "CERT",
        required_unless_present_any = ["xfcc", "address"],
        conflicts_with_all = ["xfcc", "address"]
    )]
    certificate: Option<PathBuf>,
    /// The value of `x-forwarded-client-cert`, or of a header of `trustedHops`, instead of a certificate; `-` reads
    /// standard input
    #[arg(long, value_name = "HEADER", conflicts_with = "address")]
    xfcc: Option<String>,
    /// The folder with the client CA, which shows with `clientCAs` in the config which CA signed the certificate
    #[arg(long, value_name = "DIR", default_value = "certs", env = "OTLP_GATE_CERTS")]
    certs: PathBuf,
    #[command(flatten)]
    live: live::Args,
}

/// Prints the client of a certificate.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let folder = Folder::at(&args.certs);
    if let Some(header) = &args.xfcc {
        return forwarded::run(header, &folder, global);
    }
    let Some(file) = &args.certificate else { return live::run(&args.live, &folder, global) };
    let certificate = read(file, global)?;
    let loaded = args::explaining(global, &folder)?;
    let answer = Answer::new(&loaded, certificate.identity().clone(), Some(&certificate));
    output::print(global.output, &answer, || output::align(answer.rows(&loaded.config)))?;
    answer.end(global)
}

/// A file or, for `-`, standard input, with its name for messages.
fn read_bytes(file: &Path, global: &Global) -> Result<(Vec<u8>, String), Error> {
    let from_stdin = file.as_os_str() == "-";
    let name = if from_stdin { Path::new("<stdin>") } else { file }.display();
    let bytes = if from_stdin {
        if global.file_is_stdin() {
            return Err(Error::usage(
                "the certificate and the configuration cannot both come from standard input",
            ));
        }
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(file)
    };
    let bytes = bytes.map_err(|e| Error::failed(format_args!("cannot read {name}: {e}")))?;
    Ok((bytes, name.to_string()))
}

fn read(file: &Path, global: &Global) -> Result<Certificate, Error> {
    let (bytes, name) = read_bytes(file, global)?;
    readable(&bytes, &name)
}

/// A certificate that the filter can read. `name` is that of the file.
fn readable(bytes: &[u8], name: &str) -> Result<Certificate, Error> {
    Certificate::parse(bytes).map_err(|e| Error::failed(format_args!("{name}: {e}")))
}

/// The output of `-o json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    /// The client's name.
    client: Option<String>,
    /// The header in which it forwards its clients, if it is a trusted hop.
    #[serde(skip_serializing_if = "Option::is_none")]
    trusted_hop: Option<String>,
    /// `client`, `denied`, `revoked` or `unknown`.
    verdict: &'static str,
    /// The index in `clients` of the rule that matched.
    rule: Option<usize>,
    matched: BTreeMap<String, String>,
    captured: BTreeMap<String, String>,
    attributes: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    quota: Option<Quota>,
    shown: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
    /// How long before `notBefore` requests on an open connection are accepted.
    start_leeway_seconds: i64,
    /// Rules that nearly matched, each with the reason and a hint.
    near_misses: Vec<NearMiss>,
    /// The indexes in `clients` of later rules that match as well.
    later: Vec<usize>,
    /// The index of the entry of `deny` that denies it.
    denied_by: Option<usize>,
    warnings: Vec<String>,
    #[serde(skip)]
    explanation: Explanation,
}

/// The parts of the certificate that rules and `deny` can use.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    /// The names of each kind, in the order of the certificate.
    spiffe: Vec<String>,
    dns: Vec<String>,
    email: Vec<String>,
    ip: Vec<String>,
    subject: Option<String>,
    /// The issuer's name, as the certificate has it.
    issuer: Option<String>,
    /// The identifier of the issuer's key, as the certificate has it.
    issuer_key_id: Option<String>,
    /// The name of the client CA that signed it, and the SHA-256 of the key.
    ca: Option<String>,
    issuer_key: Option<String>,
    extended_key_usage: Vec<String>,
    sha256: Option<String>,
    serial: Option<String>,
    /// The SHA-256 of its public key.
    key: Option<String>,
    /// The SHA-256 of its signed part.
    signed: Option<String>,
}

#[derive(Debug, Serialize)]
struct Quota {
    tier: String,
    /// Whether quotas are only counted, not enforced.
    shadow: bool,
    /// The rule's `quotaPer`; without it each client has its own bucket.
    per: Option<String>,
    limits: BTreeMap<&'static str, Limit>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Limit {
    per_second: u64,
    at_once: u64,
}

impl Answer {
    /// What the policy makes of an identity. Without a certificate, a proxy forwarded its names only.
    fn new(loaded: &Loaded, mut identity: Identity, certificate: Option<&Certificate>) -> Self {
        loaded.examine(&mut identity);
        let identity = &identity;
        let explanation = loaded.policy.explain(identity);
        let (verdict, client) = match &explanation.identification {
            Identification::Client(client) => ("client", Some(client)),
            Identification::Denied => ("denied", None),
            Identification::Revoked => ("revoked", None),
            Identification::Unknown => ("unknown", None),
        };
        let attributes = client.into_iter().flat_map(Client::attributes);
        let headers = client.into_iter().flat_map(|it| &it.headers);
        let date = |time: OffsetDateTime| time.format(&Rfc3339).unwrap_or_default();
        Answer {
            client: client.map(|it| it.name.clone()),
            trusted_hop: loaded
                .policy
                .hop(identity)
                .map(|hop| hop.header().map_or(xfcc::HEADER, |name| name).to_owned()),
            verdict,
            rule: explanation.rule,
            matched: explanation.matched.iter().map(|it| (it.key.clone(), it.value.clone())).collect(),
            captured: explanation.captures.iter().cloned().collect(),
            attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            headers: headers.cloned().collect(),
            quota: client.map(|it| Quota::new(&it.tier, it.rule, loaded)),
            shown: Shown::new(identity, certificate),
            not_before: certificate.map(|it| date(it.not_before)),
            not_after: certificate.map(|it| date(it.not_after)),
            start_leeway_seconds: START_LEEWAY,
            near_misses: explanation::near_misses(loaded, &explanation),
            later: explanation.later.clone(),
            denied_by: explanation::denied_by(&loaded.config, &explanation, identity),
            warnings: certificate.map(|it| warnings(it, OffsetDateTime::now_utc())).unwrap_or_default(),
            explanation,
        }
    }

    /// Prints the warnings.
    ///
    /// # Errors
    /// The certificate identifies no client.
    fn end(&self, global: &Global) -> Result<(), Error> {
        if global.output == Format::Table {
            self.warnings.iter().for_each(output::warn);
        }
        if self.client.is_some() { Ok(()) } else { Err(Error::reported()) }
    }

    /// The table's rows.
    fn rows(&self, config: &Config) -> Vec<[String; 2]> {
        let explanation = &self.explanation;
        let mut rows: Vec<[String; 2]> = Vec::new();
        let mut add = |label: &str, lines: Vec<String>| {
            let labels = iter::once(label.to_owned()).chain(iter::repeat(String::new()));
            rows.extend(labels.zip(lines).map(|(label, line)| [label, line]));
        };
        let pairs = |map: &BTreeMap<String, String>| {
            map.iter().map(|(key, value)| format!("{key}: {value}")).collect()
        };
        add(
            "CLIENT",
            vec![self.client.clone().unwrap_or_else(|| explanation::describe(config, explanation))],
        );
        let hop =
            self.trusted_hop.as_ref().map(|name| format!("of the clients that it forwards in `{name}`"));
        add("TRUSTED HOP", hop.into_iter().collect());
        let matched =
            |it: usize| iter::once(explanation::rule_label(config, it)).chain(pairs(&self.matched)).collect();
        let reserved = self.client.as_deref() == Some(VERIFY_NAME);
        let none = || if reserved { vec!["reserved for `otlp-gate verify`".to_owned()] } else { Vec::new() };
        add("RULE", explanation.rule.map_or_else(none, matched));
        add("CAPTURES", self.captured.iter().map(|(name, value)| format!("{{{name}}}: {value}")).collect());
        add("ATTRIBUTES", pairs(&self.attributes));
        add("HEADERS", pairs(&self.headers));
        add("QUOTA", self.quota.as_ref().map(Quota::lines).unwrap_or_default());
        let nearly = self.near_misses.iter().flat_map(|miss| {
            iter::once(miss.text()).chain(miss.hint.iter().map(|hint| format!("  hint: {hint}")))
        });
        add("NEAR MISSES", nearly.collect());
        let later = self
            .later
            .iter()
            .map(|it| format!("{}, not used: an earlier rule matches", explanation::rule_label(config, *it)));
        add("ALSO MATCHES", later.collect());
        let denied = self.denied_by.map(|it| {
            vec![format!("deny[{it}]"), "  hint: remove the entry to accept the certificate again".to_owned()]
        });
        add("DENIED BY", denied.unwrap_or_default());
        let valid = [
            self.not_before.as_ref().map(|from| format!("valid from {from}, with 5 min of leeway")),
            self.not_after.as_ref().map(|until| format!("valid until {until}")),
        ];
        add("CERTIFICATE", self.shown.lines().chain(valid.into_iter().flatten()).collect());
        rows
    }
}

impl Shown {
    /// Without a certificate, a proxy forwarded its names only.
    fn new(identity: &Identity, certificate: Option<&Certificate>) -> Self {
        let usages = identity.extended_key_usage().iter();
        let own = identity.certificate.as_ref();
        Shown {
            spiffe: identity.uris.clone(),
            dns: identity.dns.clone(),
            email: identity.emails.clone(),
            ip: identity.ips.iter().map(ToString::to_string).collect(),
            subject: identity.subject.as_ref().map(|subject| subject.text().to_owned()),
            issuer: identity.issuer().map(|issuer| issuer.text().to_owned()),
            issuer_key_id: identity.issuer_key_id().map(hex),
            ca: identity.ca_name().map(str::to_owned),
            issuer_key: identity.issuer_key().map(|key| Fingerprint(key).hex()),
            extended_key_usage: usages.map(|usage| extended_key_usage_name(usage).to_owned()).collect(),
            sha256: identity.sha256_hex(),
            serial: certificate.map(|it| it.serial.to_string()),
            key: own.map(|it| Fingerprint(it.key).hex()),
            signed: own.map(|it| Fingerprint(it.signed).hex()),
        }
    }

    /// One line for each value, under its key of a match or of `deny`.
    fn lines(&self) -> impl Iterator<Item = String> {
        let Shown { spiffe, dns, email, ip, subject, issuer, issuer_key_id, .. } = self;
        let Shown { ca, issuer_key, extended_key_usage, sha256, serial, key, signed, .. } = self;
        let names = [("spiffe", spiffe), ("dns", dns), ("email", email), ("ip", ip)];
        let names = names.into_iter().flat_map(|(key, all)| all.iter().map(move |value| (key, value)));
        let given = |(key, value): (&'static str, &'_ Option<String>)| Some((key, value.clone()?));
        let one = [("subject", subject), ("issuer", issuer), ("issuer.keyId", issuer_key_id), ("ca", ca)];
        let one = one.into_iter().chain([("issuer.key", issuer_key)]).filter_map(given);
        let usages = extended_key_usage.iter().map(|value| ("extendedKeyUsage", value.clone()));
        let rest = [("sha256", sha256), ("serial", serial), ("key", key), ("signed part", signed)];
        let names = names.map(|(key, value)| (key, value.clone()));
        let all = names.chain(one).chain(usages).chain(rest.into_iter().filter_map(given));
        all.map(|(key, value)| format!("{key}: {value}"))
    }
}

impl Quota {
    fn new(tier: &Tier, rule: Option<usize>, loaded: &Loaded) -> Self {
        let limits = Dimension::ALL.into_iter().filter_map(|dimension| {
            let limit = tier.limit(dimension)?;
            Some((dimension.key(), Limit { per_second: limit.rate, at_once: limit.capacity }))
        });
        let rule = rule.and_then(|index| loaded.config.clients.get(index));
        Quota {
            tier: tier.name.clone(),
            shadow: loaded.policy.shadow(),
            per: rule.and_then(|rule| rule.quota_per.clone()),
            limits: limits.collect(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let mode = if self.shadow { ", not enforced (mode: shadow)" } else { "" };
        let head = match self.limits.is_empty() {
            true => format!("tier {}, no limits", self.tier),
            false => format!("tier {}{mode}", self.tier),
        };
        let lines = Dimension::ALL.into_iter().filter_map(|dimension| {
            let limit = self.limits.get(dimension.key())?;
            let show = |number: u64| quantity(number.into(), dimension);
            Some(format!("{}: {}/s, burst {}", dimension.key(), show(limit.per_second), show(limit.at_once)))
        });
        let shared = self.per.as_ref().map(|per| match per.contains('{') {
            true => format!("one bucket per {per}"),
            false => "one bucket for the whole rule".to_owned(),
        });
        iter::once(head).chain(lines).chain(shared).collect()
    }
}

/// Why the gateway rejects the certificate or ignores parts of it.
fn warnings(certificate: &Certificate, now: OffsetDateTime) -> Vec<String> {
    let mut warnings = Vec::new();
    if certificate.subject.is_none() {
        warnings.push("the subject is malformed and ignored".to_owned());
    }
    if certificate.not_after < now {
        warnings.push("the certificate has expired: the gateway rejects it".to_owned());
    }
    if certificate.not_before > now {
        warnings.push("the certificate is not valid yet: the gateway rejects it".to_owned());
    }
    if !certificate.client_auth {
        warnings.push(
            "the certificate is not for clients (no extended key usage clientAuth): the gateway rejects it"
                .to_owned(),
        );
    }
    warnings.extend(certificate.weaknesses(Role::Client));
    if certificate.ca {
        warnings.push("it is a CA certificate: its key can issue certificates for any client".to_owned());
    }
    warnings
}
