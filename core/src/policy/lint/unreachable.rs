//! Matches that are never reached: an earlier rule matches every certificate that they match.

use super::super::condition::{Condition, Key, Sample, Values};
use super::super::fact::Fact;
use super::super::problem::{ConfigPath, Problem};
use super::super::rule::Rule;
use super::super::template::Placeholder;
use super::super::{Alternative, Policy};
use crate::config::PolicyConfig;

/// The most matches that are compared. Where thousands start alike, the last ones are not checked.
const MAX_COMPARISONS: usize = 200_000;

pub(super) fn lint(policy: &Policy, config: &PolicyConfig) -> Vec<Problem> {
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
            let path = ConfigPath::of_match(config, alternative.rule, alternative.number);
            let first = ConfigPath::of_match(config, other.rule, other.number);
            let message = format!(
                "never reached: {first} (`{}`) matches the same certificates{exception}",
                rule.name_text
            );
            warnings.push(Problem::new(path, message).hint("put the narrower rule first"));
        }
    }
    warnings
}

/// Trusted hops whose certificates an earlier entry matches.
pub(super) fn hops(policy: &Policy) -> Vec<Problem> {
    let (mut warnings, mut comparisons) = (Vec::new(), 0);
    for (index, hop) in policy.hops.iter().enumerate() {
        comparisons += index;
        if comparisons > MAX_COMPARISONS {
            break;
        }
        let sample = hop.certificate.sample();
        let mut before = policy.hops.iter().take(index);
        if let Some(first) = before.position(|other| other.certificate.covers(&sample, Values::Any)) {
            let path = ConfigPath::of("trustedHops");
            let message =
                format!("never reached: {} matches the same certificates", path.clone().index(first));
            let hint = "put the narrower entry first, or remove it";
            warnings.push(Problem::new(path.index(index), message).hint(hint));
        }
    }
    warnings
}

/// Whether a rule matches all certificates for which the sampled match holds.
fn covers(rule: &Rule, alternative: &Alternative, sample: &Sample<'_>, values: Values) -> bool {
    let mut used =
        rule.attributes.iter().flat_map(|(_, template)| template.placeholders()).chain(&rule.bucket_of);
    alternative.condition.covers(sample, values)
        && used.all(|placeholder| is_shown(placeholder, &alternative.condition, values))
}

/// Whether every certificate for which the condition holds has a value for this placeholder.
fn is_shown(placeholder: &Placeholder, condition: &Condition, values: Values) -> bool {
    let has = |wanted: fn(&Key<'_>) -> bool| condition.patterns().any(|(key, _)| wanted(&key));
    let knows = |wanted: fn(&Fact<'_>) -> bool| condition.facts().any(|fact| wanted(&fact));
    match placeholder {
        Placeholder::Name | Placeholder::Sha256 | Placeholder::Named(_) => true,
        Placeholder::Spiffe => has(|key| *key == Key::Spiffe),
        Placeholder::Dns => has(|key| *key == Key::Dns),
        Placeholder::Email => has(|key| *key == Key::Email),
        Placeholder::Ip => knows(|fact| matches!(fact, Fact::Ip(_))),
        Placeholder::Subject => has(|key| matches!(key, Key::Subject(_))),
        Placeholder::Issuer => has(|key| matches!(key, Key::Issuer(_))),
        Placeholder::Ca => knows(|fact| matches!(fact, Fact::Ca(_))),
        // Only the certificate itself has these: behind a trusted hop that does not forward it, it has none.
        Placeholder::Serial => {
            has(|key| matches!(key, Key::Issuer(_)))
                || knows(|fact| matches!(fact, Fact::IssuerKeyId(_) | Fact::IssuerKey(_) | Fact::Usage(_)))
        }
        // A key that the subject has twice has no value.
        Placeholder::SubjectKey(wanted) => {
            values == Values::One && condition.subject.iter().any(|(key, _)| key.eq_ignore_ascii_case(wanted))
        }
    }
}
