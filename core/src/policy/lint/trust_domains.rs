//! Rules that are open to clients of every CA, where the gate has several.

use super::super::Policy;
use super::super::condition::Condition;
use super::super::problem::{ConfigPath, Problem};
use crate::config::PolicyConfig;

/// One warning for all rules, at the first, and one for trusted hops.
pub(super) fn lint(policy: &Policy, config: &PolicyConfig) -> Vec<Problem> {
    let Some(ca) = config.client_cas.iter().find(|ca| !ca.name.is_empty()) else { return Vec::new() };
    if config.client_cas.len() < 2 {
        return Vec::new();
    }
    let is_open = |condition: &Condition| {
        condition.ca.is_none() && condition.sha256.is_none() && !condition.has_issuer_key()
    };
    let rules = policy.alternatives.iter().filter(|alternative| is_open(&alternative.condition));
    let rules = rules.map(|it| ConfigPath::of_match(config, it.rule, it.number));
    let hops = policy.hops.iter().enumerate().filter(|(_, hop)| is_open(&hop.certificate));
    let hops = hops.map(|(index, _)| ConfigPath::of("trustedHops").index(index));
    let warning = |mut places: Box<dyn Iterator<Item = ConfigPath> + '_>, who| {
        let first = places.next()?;
        let more = match places.count() {
            0 => String::new(),
            more => format!(" (also {more} more)"),
        };
        let message = format!("any client CA of the gate can issue a certificate of this {who}{more}");
        let hint = format!("add `ca`, such as `ca: {}`", ca.name);
        Some(Problem::new(first, message).hint(hint))
    };
    [warning(Box::new(rules), "client"), warning(Box::new(hops), "hop")].into_iter().flatten().collect()
}
