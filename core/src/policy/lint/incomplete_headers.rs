//! Headers that some clients lack, because a placeholder has no value for them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Policy;
use super::super::problem::{ConfigPath, Problem};
use super::super::rule::Templates;
use super::super::template::{Placeholder, Template};
use crate::config::PolicyConfig;

pub(super) fn lint(policy: &Policy, config: &PolicyConfig) -> Vec<Problem> {
    // All matches of a rule have the same captures.
    let captures: BTreeMap<usize, BTreeSet<&str>> = policy
        .alternatives
        .iter()
        .map(|alternative| {
            let patterns = alternative.condition.patterns();
            (alternative.rule, patterns.flat_map(|(_, pattern)| pattern.captures()).collect())
        })
        .collect();
    let mut warnings = Vec::new();
    for (name, template) in &policy.shared.headers {
        let without = policy.rules.iter().enumerate().filter(|(index, rule)| {
            let captures = captures.get(index).cloned().unwrap_or_default();
            !is_complete(template, &captures, &[&rule.attributes, &policy.shared.attributes])
        });
        let without: Vec<String> =
            without.map(|(index, rule)| format!("clients[{index}] (`{}`)", rule.name_text)).collect();
        let unknown_too = policy.unknown.is_some()
            && !is_complete(template, &BTreeSet::new(), &[&policy.shared.attributes]);
        let who = match without.as_slice() {
            [] if unknown_too => "unknown clients".to_owned(),
            [] => continue,
            [only] => only.clone(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        // The config may spell the name in any case.
        let key = config.headers.keys().find(|key| key.eq_ignore_ascii_case(name)).unwrap_or(name);
        let message = format!("not set for {who}: a placeholder has no value");
        warnings.push(Problem::new(ConfigPath::of("headers").key(key), message));
    }
    warnings
}

/// Whether every placeholder is a part of certificates, a capture, or an attribute of which the same is true. Of
/// several sets of attributes, the first that has the key counts.
fn is_complete(template: &Template, captures: &BTreeSet<&str>, attributes: &[&Templates]) -> bool {
    template.placeholders().all(|placeholder| match placeholder {
        Placeholder::Named(name) => {
            let attribute =
                || attributes.iter().find_map(|templates| templates.iter().find(|(key, _)| key == &**name));
            captures.contains(&**name)
                || attribute().is_some_and(|(_, template)| is_complete(template, captures, &[]))
        }
        _ => true,
    })
}
