//! Matches that never decide, since a rule before them holds for all that they hold for.

use super::super::condition::{Condition, Key, Sample, Values};
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
        let mut covering = None;
        for (other, rule) in before.filter_map(|at| policy.alternative(at)) {
            comparisons += 1;
            if covers(rule, other, &sample, Values::Any) {
                covering = Some((other, rule, ""));
                break;
            }
            if covering.is_none() && covers(rule, other, &sample, Values::One) {
                covering = Some((other, rule, ", unless a certificate has several values of one key"));
            }
        }
        if let Some((other, rule, exception)) = covering {
            let path = Path::of_match(config, alternative.rule, alternative.number);
            let first = Path::of_match(config, other.rule, other.number);
            let message = format!(
                "it is never reached: {first} (`{}`) holds for all that it holds for{exception}",
                rule.name_text
            );
            warnings.push(Problem::new(path, message).hint("put the narrower rule first"));
        }
    }
    warnings
}

/// Whether a rule takes all certificates for which the sampled match holds.
fn covers(rule: &Rule, alternative: &Alternative, sample: &Sample<'_>, values: Values) -> bool {
    let mut used =
        rule.attributes.iter().flat_map(|(_, template)| template.placeholders()).chain(&rule.bucket_of);
    alternative.condition.covers(sample, values)
        && used.all(|placeholder| is_shown(placeholder, &alternative.condition, values))
}

/// Whether a certificate for which the condition holds has a value for this.
fn is_shown(placeholder: &Placeholder, condition: &Condition, values: Values) -> bool {
    let has = |wanted: fn(&Key<'_>) -> bool| condition.patterns().any(|(key, _)| wanted(&key));
    match placeholder {
        Placeholder::Name | Placeholder::Sha256 | Placeholder::Other(_) => true,
        Placeholder::Spiffe => has(|key| *key == Key::Spiffe),
        Placeholder::Dns => has(|key| *key == Key::Dns),
        Placeholder::Subject => has(|key| matches!(key, Key::Subject(_))),
        // What is there twice has no value of its own.
        Placeholder::SubjectKey(wanted) => {
            values == Values::One && condition.subject.iter().any(|(key, _)| key.eq_ignore_ascii_case(wanted))
        }
    }
}
