//! Text for the policy's [`Explanation`] of a certificate: the client that it identifies, or why it identifies none.

use otlp_gate_core::identity::Identity;
use otlp_gate_core::policy::{Explanation, Identification, PassedOver, VERIFY_NAME, denies};
use serde::Serialize;

use crate::config::{Config, Loaded};

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
        (Identification::Revoked, _) => "no client: its CA has revoked it".to_owned(),
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
pub(crate) fn near_misses(loaded: &Loaded, explanation: &Explanation) -> Vec<NearMiss> {
    let misses = &explanation.passed_over;
    let lines = loaded.lines(misses.iter().map(|it| &it.path));
    let near_misses = misses.iter().cloned().zip(lines).map(|(miss, line)| {
        let PassedOver { rule, path, reason, hint } = miss;
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

/// Index of the first `deny` entry that matches this certificate or its client.
pub(crate) fn denied_by(config: &Config, explanation: &Explanation, identity: &Identity) -> Option<usize> {
    config.deny.iter().position(|entry| denies(entry, identity, explanation.name.as_deref()))
}
