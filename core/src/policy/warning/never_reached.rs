//! Matches that never decide, since a rule before them holds for all that they hold for.

use super::super::condition::{Condition, Key};
use super::super::problem::{Path, Problem};
use super::super::rule::Rule;
use super::super::template::Placeholder;
use super::super::{Alternative, Policy};
use crate::config::PolicyConfig;

/// So many matches are compared; where thousands start alike, the last ones are not looked at.
const MAX_COMPARISONS: usize = 200_000;

pub(super) fn warnings(policy: &Policy, config: &PolicyConfig) -> Vec<Problem> {
    let mut warnings = Vec::new();
    let mut comparisons = 0;
    for (position, alternative) in (0_u32..).zip(&policy.alternatives) {
        let sample = alternative.condition.sample();
        if comparisons > MAX_COMPARISONS {
            break;
        }
        let before = policy.index.candidates_for_sample(&sample).into_iter().take_while(|at| *at < position);
        let mut before = before.filter_map(|at| policy.alternative(at));
        let covering = before.find(|(other, rule)| {
            comparisons += 1;
            other.condition.covers(&sample) && always_admits(rule, other)
        });
        if let Some((other, rule)) = covering {
            let path = Path::of_match(config, alternative.rule, alternative.number);
            let first = Path::of_match(config, other.rule, other.number);
            let message = format!(
                "it is never reached: {first} (`{}`) holds for all that it holds for",
                rule.name_text
            );
            warnings.push(Problem::new(path, message).hint("put the narrower rule first"));
        }
    }
    warnings
}

/// Whether a certificate for which the match holds has all that the rule writes from it.
fn always_admits(rule: &Rule, alternative: &Alternative) -> bool {
    let used =
        rule.attributes.iter().flat_map(|(_, template)| template.placeholders()).chain(&rule.bucket_of);
    used.into_iter().all(|placeholder| is_shown(placeholder, &alternative.condition))
}

fn is_shown(placeholder: &Placeholder, condition: &Condition) -> bool {
    let has = |wanted: fn(&Key<'_>) -> bool| condition.patterns().any(|(key, _)| wanted(&key));
    match placeholder {
        Placeholder::Name | Placeholder::Sha256 | Placeholder::Other(_) => true,
        Placeholder::Spiffe => has(|key| *key == Key::Spiffe),
        Placeholder::Dns => has(|key| *key == Key::Dns),
        Placeholder::Subject => has(|key| matches!(key, Key::Subject(_))),
        Placeholder::SubjectKey(wanted) => {
            condition.subject.iter().any(|(key, _)| key.eq_ignore_ascii_case(wanted))
        }
    }
}
