//! What the policy says about a certificate, in words.

use otlp_gate_core::policy::{Explanation, VERIFY_NAME, Verdict};

use crate::config::Config;

/// `clients[3] (`acme-edge`)`
pub(super) fn rule(config: &Config, index: usize) -> String {
    match config.clients.get(index) {
        Some(client) => format!("clients[{index}] (`{}`)", client.name),
        None => format!("clients[{index}]"),
    }
}

/// What the certificate is: the client and the rule that made it one, or why it is none.
pub(super) fn outcome(config: &Config, explanation: &Explanation) -> String {
    match (&explanation.verdict, explanation.rule) {
        (Verdict::Client(client), Some(index))
            if config.clients.get(index).is_some_and(|it| it.name == client.name) =>
        {
            format!("the client `{}` (clients[{index}])", client.name)
        }
        (Verdict::Client(client), Some(index)) => {
            format!("the client `{}`, of {}", client.name, rule(config, index))
        }
        (Verdict::Client(client), None) if client.name == VERIFY_NAME => {
            "the client that is reserved for `otlp-gate verify`".to_owned()
        }
        (Verdict::Client(client), None) => {
            format!("the client `{}`, in the tier for unknown certificates", client.name)
        }
        (Verdict::Denied, _) => "on the deny list".to_owned(),
        (Verdict::Unknown, _) => "no client: no rule matches it".to_owned(),
    }
}

/// Why rules that nearly matched did not, one each.
pub(super) fn near_misses(config: &Config, explanation: &Explanation) -> Vec<String> {
    let misses = explanation.passed_over.iter();
    misses.map(|it| format!("{} would match, but {}", rule(config, it.rule), it.reason)).collect()
}
