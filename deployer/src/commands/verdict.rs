//! What the policy says about a certificate, in words.

use otlp_gate_core::policy::{
    Client, Explanation, Identification, PassedOver, Path, Segment, VERIFY_NAME, denies,
};
use serde::Serialize;

use crate::config::{Config, Loaded};
use crate::x509::Certificate;

/// `clients[3] (`acme-edge`)`
pub(super) fn rule(config: &Config, index: usize) -> String {
    match config.clients.get(index) {
        Some(client) => format!("clients[{index}] (`{}`)", client.name),
        None => format!("clients[{index}]"),
    }
}

/// What the certificate is: the client and the rule that made it one, or why it is none.
pub(super) fn outcome(config: &Config, explanation: &Explanation) -> String {
    match (&explanation.identification, explanation.rule) {
        (Identification::Client(client), Some(index))
            if config.clients.get(index).is_some_and(|it| it.name == client.name) =>
        {
            format!("the client `{}` (clients[{index}])", client.name)
        }
        (Identification::Client(client), Some(index)) => {
            format!("the client `{}`, of {}", client.name, rule(config, index))
        }
        (Identification::Client(client), None) if client.name == VERIFY_NAME => {
            "the client that is reserved for `otlp-gate verify`".to_owned()
        }
        (Identification::Client(client), None) => {
            format!("the client `{}`, in the tier for unknown certificates", client.name)
        }
        (Identification::Denied, _) => "on the deny list".to_owned(),
        (Identification::Unknown, _) => "no client: no rule matches it".to_owned(),
    }
}

/// A rule that nearly matched.
#[derive(Debug, Clone, Serialize)]
pub(super) struct NearMiss {
    /// Its index in `clients`.
    pub(super) rule: usize,
    /// As the config writes it.
    pub(super) name: String,
    /// What of it does not fit.
    pub(super) path: String,
    /// In the config's text, from 1.
    pub(super) line: Option<usize>,
    /// Why it does not match.
    pub(super) reason: String,
    /// What to change.
    pub(super) hint: Option<String>,
}

/// Why rules that nearly matched did not, one each.
pub(super) fn near_misses(
    loaded: &Loaded,
    certificate: &Certificate,
    explanation: &Explanation,
) -> Vec<NearMiss> {
    let mut misses = later_names(loaded, certificate, explanation);
    let known: Vec<usize> = misses.iter().map(|it| it.rule).collect();
    // What is near only by comparison says nothing where a name is there that fits.
    let nearest = explanation.passed_over.iter().filter(|_| known.is_empty() || explanation.rule.is_some());
    misses.extend(nearest.filter(|it| !known.contains(&it.rule)).cloned());
    let lines = loaded.lines(misses.iter().map(|it| &it.path));
    let named = misses.into_iter().zip(lines).map(|(PassedOver { rule, path, reason, hint }, line)| {
        let name = loaded.config.clients.get(rule).map(|client| client.name.clone()).unwrap_or_default();
        NearMiss { rule, name, path: path.to_string(), line, reason, hint }
    });
    named.collect()
}

impl NearMiss {
    /// `clients[3].match.dns (`acme-edge`, line 12): its DNS name is ..`
    pub(super) fn told(&self) -> String {
        let line = self.line.map(|line| format!(", line {line}")).unwrap_or_default();
        format!("{} (`{}`{line}): {}", self.path, self.name, self.reason)
    }
}

/// So many names of one kind are tried; the rules see one.
const MAX_NAMES: usize = 32;

/// Rules that would match if another name of the certificate were its first.
fn later_names(loaded: &Loaded, certificate: &Certificate, explanation: &Explanation) -> Vec<PassedOver> {
    let mut misses: Vec<PassedOver> = Vec::new();
    let shown = certificate.identity();
    for (kind, key, names) in [("URI", "spiffe", &certificate.uris), ("DNS", "dns", &certificate.dns)] {
        for (index, name) in names.iter().enumerate().take(MAX_NAMES).skip(1) {
            let mut identity = shown.clone();
            match kind {
                "URI" => identity.spiffe = Some(name.clone()),
                _ => identity.dns = Some(name.to_ascii_lowercase()),
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
            let key_of = |key: &str| Segment::Key(key.to_owned());
            let path = Path(vec![key_of("clients"), Segment::Index(rule), key_of("match")]);
            misses.push(PassedOver {
                rule,
                path,
                reason: format!(
                    "`{}` matches, but it is number {} of the certificate's {kind} names, and only the first counts",
                    name.escape_debug(),
                    index + 1
                ),
                hint: Some(format!(
                    "issue the certificate with that name first, or write `{key}` for `{}`",
                    names.first().map(|first| first.escape_debug().to_string()).unwrap_or_default()
                )),
            });
        }
    }
    misses
}

/// The entry of the deny list that names this certificate or its client: its index.
pub(super) fn denied_by(
    config: &Config,
    explanation: &Explanation,
    certificate: &Certificate,
) -> Option<usize> {
    let identity = certificate.identity();
    config.deny.iter().position(|entry| denies(entry, &identity, explanation.name.as_deref()))
}
