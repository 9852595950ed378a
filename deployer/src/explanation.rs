//! Text for the policy's [`Explanation`] of a certificate: the client that it identifies, or why it identifies none.

use otlp_gate_core::policy::{
    Client, ConfigPath, Explanation, Identification, PassedOver, VERIFY_NAME, denies,
};
use serde::Serialize;

use crate::config::{Config, Loaded};
use crate::x509::Certificate;

/// A rule by its place and name: ``clients[3] (`acme-edge`)``.
pub(crate) fn rule_label(config: &Config, index: usize) -> String {
    match config.clients.get(index) {
        Some(client) => format!("clients[{index}] (`{}`)", client.name),
        None => format!("clients[{index}]"),
    }
}

/// Describes what the certificate identifies: a client and its rule, or why none.
pub(crate) fn describe(config: &Config, explanation: &Explanation) -> String {
    match (&explanation.identification, explanation.rule) {
        (Identification::Client(client), Some(index))
            if config.clients.get(index).is_some_and(|it| it.name == client.name) =>
        {
            format!("the client `{}` (clients[{index}])", client.name)
        }
        (Identification::Client(client), Some(index)) => {
            format!("the client `{}`, from {}", client.name, rule_label(config, index))
        }
        (Identification::Client(client), None) if client.name == VERIFY_NAME => {
            "the client reserved for `otlp-gate verify`".to_owned()
        }
        (Identification::Client(client), None) => {
            format!("the client `{}`, in the tier for unknown certificates", client.name)
        }
        (Identification::Denied, _) => "no client: it is on the deny list".to_owned(),
        (Identification::Unknown, _) => "no client: it matches no rule".to_owned(),
    }
}

/// A rule that almost matches.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NearMiss {
    /// The rule's index in `clients`.
    pub(crate) rule: usize,
    /// The rule's `name`, which may be a template.
    pub(crate) name: String,
    /// Path of the key that does not match, as in `clients[3].match.dns`.
    pub(crate) path: String,
    /// Line of that key in the config file, from 1.
    pub(crate) line: Option<usize>,
    /// Why the rule does not match.
    pub(crate) reason: String,
    /// What to change in the config or in the certificate.
    pub(crate) hint: Option<String>,
}

/// The rules that almost match, each with one reason.
pub(crate) fn near_misses(
    loaded: &Loaded,
    certificate: &Certificate,
    explanation: &Explanation,
) -> Vec<NearMiss> {
    let mut misses = later_names(loaded, certificate, explanation);
    let found: Vec<usize> = misses.iter().map(|it| it.rule).collect();
    // Rules that are only similar are left out where another name of the certificate matches exactly.
    let similar = explanation.passed_over.iter().filter(|_| found.is_empty() || explanation.rule.is_some());
    misses.extend(similar.filter(|it| !found.contains(&it.rule)).cloned());
    let lines = loaded.lines(misses.iter().map(|it| &it.path));
    let near_misses = misses.into_iter().zip(lines).map(|(PassedOver { rule, path, reason, hint }, line)| {
        let name = loaded.config.clients.get(rule).map(|client| client.name.clone()).unwrap_or_default();
        NearMiss { rule, name, path: path.to_string(), line, reason, hint }
    });
    near_misses.collect()
}

impl NearMiss {
    /// Text for a hint: ``clients[3].match.dns (`acme-edge`, line 12): its DNS name is ..``.
    pub(crate) fn text(&self) -> String {
        let line = self.line.map(|line| format!(", line {line}")).unwrap_or_default();
        format!("{} (`{}`{line}): {}", self.path, self.name, self.reason)
    }
}

/// How many names of one kind are tried, of a certificate that may have any number.
const MAX_NAMES: usize = 32;

/// Rules that would match if another URI or DNS name of the certificate were its first one. Rules only see the first.
fn later_names(loaded: &Loaded, certificate: &Certificate, explanation: &Explanation) -> Vec<PassedOver> {
    let mut misses: Vec<PassedOver> = Vec::new();
    let identity = certificate.identity();
    for (kind, key, names) in [("URI", "spiffe", &certificate.uris), ("DNS", "dns", &certificate.dns)] {
        for (index, name) in names.iter().enumerate().take(MAX_NAMES).skip(1) {
            let mut identity = identity.clone();
            match kind {
                "URI" => identity.uris = vec![name.clone()],
                _ => identity.dns = vec![name.to_ascii_lowercase()],
            }
            let Identification::Client(Client { rule: Some(rule), .. }) = loaded.policy.identify(&identity)
            else {
                continue;
            };
            if explanation.rule.is_some_and(|decided| decided <= rule)
                || misses.iter().any(|it| it.rule == rule)
            {
                continue;
            }
            let path = ConfigPath::of("clients").index(rule).key("match");
            misses.push(PassedOver {
                rule,
                path,
                reason: format!(
                    "`{}` matches, but it is {kind} name number {} of the certificate, and only the first one is used",
                    name.escape_debug(),
                    index + 1
                ),
                hint: Some(format!(
                    "issue the certificate with that name first, or set `{key}` to match `{}`",
                    names.first().map(|first| first.escape_debug().to_string()).unwrap_or_default()
                )),
            });
        }
    }
    misses
}

/// Index of the first `deny` entry that matches this certificate or its client.
pub(crate) fn denied_by(
    config: &Config,
    explanation: &Explanation,
    certificate: &Certificate,
) -> Option<usize> {
    let identity = certificate.identity();
    config.deny.iter().position(|entry| denies(entry, &identity, explanation.name.as_deref()))
}
