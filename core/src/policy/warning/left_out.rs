//! Headers that are not set for some clients.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Policy;
use super::super::problem::{Path, Problem};
use super::super::rule::Stamps;
use super::super::template::{Placeholder, Template};
use crate::config::PolicyConfig;

pub(super) fn warnings(policy: &Policy, config: &PolicyConfig) -> Vec<Problem> {
    // All matches of a rule capture the same words.
    let words: BTreeMap<usize, BTreeSet<&str>> = policy
        .alternatives
        .iter()
        .map(|alternative| {
            let patterns = alternative.condition.patterns();
            (alternative.rule, patterns.flat_map(|(_, pattern)| pattern.words()).collect())
        })
        .collect();
    let mut warnings = Vec::new();
    for (name, template) in &policy.stamping.headers {
        let without = policy.rules.iter().enumerate().filter(|(index, rule)| {
            let words = words.get(index).cloned().unwrap_or_default();
            !is_complete(template, &words, &[&rule.attributes, &policy.stamping.attributes])
        });
        let without: Vec<String> =
            without.map(|(index, rule)| format!("clients[{index}] (`{}`)", rule.name_text)).collect();
        let unknown_too = policy.unknown.is_some()
            && !is_complete(template, &BTreeSet::new(), &[&policy.stamping.attributes]);
        let who = match without.as_slice() {
            [] if unknown_too => "unknown clients".to_owned(),
            [] => continue,
            [only] => only.clone(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        // The config may spell the name in any case.
        let key = config.headers.keys().find(|key| key.eq_ignore_ascii_case(name)).unwrap_or(name);
        let message = format!("it is not set for {who}, who have nothing for a placeholder of it");
        warnings.push(Problem::new(Path::of("headers").key(key), message));
    }
    warnings
}

/// Whether every placeholder is a part of certificates, a captured word, or an attribute of which this is true. Of
/// several sets of attributes, the first that has a key counts.
fn is_complete(template: &Template, words: &BTreeSet<&str>, attributes: &[&Stamps]) -> bool {
    template.placeholders().all(|placeholder| match placeholder {
        Placeholder::Other(word) => {
            let attribute =
                || attributes.iter().find_map(|stamps| stamps.iter().find(|(key, _)| key == &**word));
            words.contains(&**word)
                || attribute().is_some_and(|(_, template)| is_complete(template, words, &[]))
        }
        _ => true,
    })
}
