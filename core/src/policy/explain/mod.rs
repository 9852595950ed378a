//! Why a certificate is identified as a client, or is not.

mod difference;
mod excerpt;
mod near_miss;

use self::near_miss::NearMiss;
use super::condition::Condition;
use super::header;
use super::problem::ConfigPath;
use super::rule::Misfit;
use super::{Alternative, Decision, Identification, Policy, RuleMatch};
use crate::identity::Identity;
use crate::sort;

/// The most matches that are compared with a certificate that none of them matches.
const MAX_COMPARED: usize = 20_000;
/// The most near misses that are reported.
const MAX_TOLD: usize = 8;
/// The most that are reported of equally near ones, if more than wildcards differ.
const MAX_NEAREST: usize = 3;

/// What a certificate is identified as, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What [`Policy::identify`] gives.
    pub identification: Identification,
    /// The name of the client, also if it is on the deny list.
    pub name: Option<String>,
    /// The index in `clients` of the rule that matched, if one did.
    pub rule: Option<usize>,
    /// The index of the match of that rule that matched.
    pub alternative: usize,
    /// The keys of that match, with the values of the certificate.
    pub matched: Vec<Matched>,
    /// The captures, sorted by name.
    pub captures: Vec<(String, String)>,
    /// Rules that nearly matched: those before the rule that matched in which only wildcards do not match. If no rule
    /// matched and there are none of these, the most similar rules.
    pub passed_over: Vec<PassedOver>,
    /// Later rules that match as well.
    pub later: Vec<usize>,
}

/// One key of a match, and the value that matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// The key: `spiffe`, `email`, `subject.CN`, `issuer.subject.O`, `ca`.
    pub key: String,
    /// The certificate's value: of several the first that matched, and all that `extendedKeyUsage` requires.
    pub value: String,
}

/// A rule that nearly matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Its index in `clients`.
    pub rule: usize,
    /// The part of it that does not match.
    pub path: ConfigPath,
    /// Why it does not match.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
}

pub(super) fn explain(policy: &Policy, identity: &Identity) -> Explanation {
    let mut explanation = Explanation {
        identification: Identification::Unknown,
        name: None,
        rule: None,
        alternative: 0,
        matched: Vec::new(),
        captures: Vec::new(),
        passed_over: Vec::new(),
        later: Vec::new(),
    };
    let client = match policy.decide(identity) {
        Decision::Denied => {
            explanation.identification = Identification::Denied;
            return explanation;
        }
        Decision::Revoked => {
            explanation.identification = Identification::Revoked;
            return explanation;
        }
        Decision::Reserved(client) => {
            explanation.name = Some(client.name.clone());
            explanation.identification = policy.unless_denied(client);
            return explanation;
        }
        Decision::Rule(RuleMatch { alternative, captures, client }) => {
            explanation.name = Some(client.name.clone());
            explanation.rule = Some(alternative.rule);
            explanation.alternative = alternative.number;
            explanation.matched = matched(&alternative.condition, identity);
            explanation.captures =
                captures.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let rules = policy.matches(identity).map(|found| found.alternative.rule);
            explanation.later = rules.filter(|rule| *rule != alternative.rule).collect();
            explanation.later.dedup();
            Some(client)
        }
        Decision::Unknown(client) => Some(client),
        Decision::Rejected => None,
    };
    if let Some(client) = client {
        explanation.identification = policy.unless_denied(client);
    }
    explanation.passed_over = passed_over(policy, identity, explanation.rule);
    explanation
}

fn matched(condition: &Condition, identity: &Identity) -> Vec<Matched> {
    let mut captures = Vec::new();
    let patterns = condition.outcomes(identity, &mut captures).filter_map(|outcome| {
        Some(Matched { key: outcome.key.to_string(), value: outcome.value?.to_owned() })
    });
    let mut matched: Vec<Matched> = patterns.collect();
    for fact in condition.facts() {
        let value = fact.value_in(identity);
        match matched.last_mut().filter(|last| last.key == fact.key()) {
            Some(last) => last.value = [&last.value, ", ", &value].concat(),
            None => matched.push(Matched { key: fact.key().to_owned(), value }),
        }
    }
    matched
}

/// The rules before `decided` that nearly matched.
fn passed_over(policy: &Policy, identity: &Identity, decided: Option<usize>) -> Vec<PassedOver> {
    let mut misses: Vec<(usize, NearMiss)> = Vec::new();
    let before = policy.alternatives.iter().take(MAX_COMPARED);
    for alternative in before.take_while(|it| decided.is_none_or(|decided| it.rule < decided)) {
        let Some(miss) = miss(policy, alternative, identity) else { continue };
        match misses.last_mut() {
            // Of several matches of a rule, the nearest.
            Some((rule, other)) if *rule == alternative.rule => {
                if (!miss.wildcards_only, miss.distance) < (!other.wildcards_only, other.distance) {
                    *other = miss;
                }
            }
            _ => misses.push((alternative.rule, miss)),
        }
    }
    let wildcards_only = misses.iter().any(|(_, miss)| miss.wildcards_only);
    misses.retain(|(_, miss)| miss.wildcards_only || (!wildcards_only && decided.is_none()));
    let nearest = misses.iter().map(|(_, miss)| miss.distance).min();
    if !wildcards_only {
        misses.retain(|(_, miss)| Some(miss.distance) == nearest);
    }
    let most = if wildcards_only { MAX_TOLD } else { MAX_NEAREST };
    let misses = sort::by_key(misses, |(rule, miss)| (miss.distance, *rule));
    let passed_over = misses.into_iter().take(most).map(|(rule, miss)| {
        let NearMiss { path, reason, hint, .. } = miss;
        PassedOver { rule, path, reason, hint }
    });
    passed_over.collect()
}

/// Why an alternative does not match a certificate; `None` if it matches, or is too different.
fn miss(policy: &Policy, alternative: &Alternative, identity: &Identity) -> Option<NearMiss> {
    let rule = policy.rules.get(alternative.rule)?;
    let path = ConfigPath::client(alternative.rule);
    let listed = policy.alternatives.iter().filter(|it| it.rule == alternative.rule).nth(1).is_some();
    let of_match = path.key("match");
    let of_match = if listed { of_match.index(alternative.number) } else { of_match };
    let Some(captures) = alternative.condition.holds(identity) else {
        return near_miss::of_condition(&alternative.condition, identity, &of_match);
    };
    let condition = Some(&alternative.condition);
    let misfit = rule.admit(alternative.rule, identity, condition, &captures, &policy.shared).err()?;
    let (path, hint) = match &misfit {
        Misfit::Missing(placeholder) => {
            let attribute =
                rule.attributes.iter().find(|(_, it)| it.placeholders().any(|it| it == placeholder));
            let path = match attribute {
                Some((key, _)) => path.key("attributes").key(key),
                None => path.key("quotaPer"),
            };
            let key = match placeholder {
                super::Placeholder::SubjectKey(key) if repeats(identity, key) => {
                    format!(
                        "capture the value to use under `match`: `subject: {{{key}: [.., \"{{value}}\"]}}`"
                    )
                }
                _ => "use a part that it has, or issue the certificate with it".to_owned(),
            };
            (path, key)
        }
        Misfit::Header(name) => (
            ConfigPath::of("headers").key(name),
            "use placeholders whose values are always visible ASCII".to_owned(),
        ),
    };
    let reason = match &misfit {
        Misfit::Missing(placeholder @ super::Placeholder::SubjectKey(key)) if repeats(identity, key) => {
            format!("the rule uses {placeholder}, of which the certificate has several values")
        }
        _ => misfit.to_string(),
    };
    Some(NearMiss { path, reason, hint: Some(hint), distance: 0, wildcards_only: true })
}

fn repeats(identity: &Identity, key: &str) -> bool {
    identity.subject.as_ref().is_some_and(|subject| subject.values(key).nth(1).is_some())
}

impl core::fmt::Display for Misfit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Misfit::Missing(placeholder) => {
                write!(f, "the rule uses {placeholder}, which the certificate does not have")
            }
            Misfit::Header(name) => {
                write!(f, "the value of the header `{name}` would not be {}", header::VALUE)
            }
        }
    }
}

#[cfg(test)]
mod tests;
