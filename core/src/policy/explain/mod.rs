//! Why a certificate is the client that it is, for people.

mod difference;
mod excerpt;
mod near_miss;

use self::near_miss::NearMiss;
use super::condition::{Condition, Key};
use super::header;
use super::problem::ConfigPath;
use super::rule::Misfit;
use super::{Alternative, Decision, Identification, Policy, RuleMatch};
use crate::identity::{Fingerprint, Identity};
use crate::sort;

/// So many matches are compared with a certificate that none of them is for.
const MAX_COMPARED: usize = 20_000;
/// So many rules that nearly matched are told.
const MAX_TOLD: usize = 8;
/// So many of those that are equally near, where none would match but for one thing.
const MAX_NEAREST: usize = 3;

/// What a certificate is identified as, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What [`Policy::identify`] gives.
    pub identification: Identification,
    /// The name of the client that a rule makes of it, also where the name is on the deny list.
    pub name: Option<String>,
    /// The index in `clients` of the rule that decided, if one did.
    pub rule: Option<usize>,
    /// Which of that rule's matches held, from 0.
    pub alternative: usize,
    /// What held, key by key.
    pub matched: Vec<Matched>,
    /// The words that were captured, sorted.
    pub captures: Vec<(String, String)>,
    /// Rules that nearly matched: of those before the rule that decided, those that would match but for one thing. Where none
    /// decided and there are none of these, the nearest.
    pub passed_over: Vec<PassedOver>,
    /// Rules after the one that decided that match as well.
    pub later: Vec<usize>,
}

/// One key of a match that held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// As in the config: `spiffe`, `dns`, `subject.CN`, `sha256`.
    pub key: String,
    /// What the certificate has there.
    pub value: String,
}

/// A rule that nearly was it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Its index in `clients`.
    pub rule: usize,
    /// What of it does not fit.
    pub path: ConfigPath,
    /// Why it is not for this certificate.
    pub reason: String,
    /// What to change.
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
                captures.iter().map(|(word, value)| ((*word).to_owned(), (*value).to_owned())).collect();
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
        let key = match outcome.key {
            Key::Spiffe => "spiffe".to_owned(),
            Key::Dns => "dns".to_owned(),
            Key::Subject(key) => format!("subject.{key}"),
        };
        Some(Matched { key, value: outcome.value?.to_owned() })
    });
    let sha256 =
        condition.sha256.map(|digest| Matched { key: "sha256".into(), value: Fingerprint(digest).hex() });
    patterns.chain(sha256).collect()
}

/// The rules that nearly matched, of those before `decided`.
fn passed_over(policy: &Policy, identity: &Identity, decided: Option<usize>) -> Vec<PassedOver> {
    let mut misses: Vec<(usize, NearMiss)> = Vec::new();
    let before = policy.alternatives.iter().take(MAX_COMPARED);
    for alternative in before.take_while(|it| decided.is_none_or(|decided| it.rule < decided)) {
        let Some(miss) = miss(policy, alternative, identity) else { continue };
        match misses.last_mut() {
            // Of a rule's matches, the nearest.
            Some((rule, other)) if *rule == alternative.rule => {
                if (!miss.slip, miss.distance) < (!other.slip, other.distance) {
                    *other = miss;
                }
            }
            _ => misses.push((alternative.rule, miss)),
        }
    }
    let slips = misses.iter().any(|(_, miss)| miss.slip);
    misses.retain(|(_, miss)| miss.slip || (!slips && decided.is_none()));
    let nearest = misses.iter().map(|(_, miss)| miss.distance).min();
    if !slips {
        misses.retain(|(_, miss)| Some(miss.distance) == nearest);
    }
    let most = if slips { MAX_TOLD } else { MAX_NEAREST };
    let misses = sort::by_key(misses, |(rule, miss)| (miss.distance, *rule));
    let passed_over = misses.into_iter().take(most).map(|(rule, miss)| {
        let NearMiss { path, reason, hint, .. } = miss;
        PassedOver { rule, path, reason, hint }
    });
    passed_over.collect()
}

/// How near an alternative is to a certificate that it is not for; `None` where it is for it, or has nothing to do with it.
fn miss(policy: &Policy, alternative: &Alternative, identity: &Identity) -> Option<NearMiss> {
    let rule = policy.rules.get(alternative.rule)?;
    let path = ConfigPath::client(alternative.rule);
    let listed = policy.alternatives.iter().filter(|it| it.rule == alternative.rule).nth(1).is_some();
    let of_match = path.key("match");
    let of_match = if listed { of_match.index(alternative.number) } else { of_match };
    let Some(captures) = alternative.condition.holds(identity) else {
        return near_miss::of_condition(&alternative.condition, identity, &of_match);
    };
    let misfit = rule.admit(alternative.rule, identity, &captures, &policy.shared).err()?;
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
                        "capture the value that is meant under `match`, as in subject: {{{key}: [.., \"{{word}}\"]}}"
                    )
                }
                _ => "use something that it has, or issue the certificate with it".to_owned(),
            };
            (path, key)
        }
        Misfit::Header(name) => (
            ConfigPath::of("headers").key(name),
            "fill the header with something that is always plain text".to_owned(),
        ),
    };
    let reason = match &misfit {
        Misfit::Missing(placeholder @ super::Placeholder::SubjectKey(key)) if repeats(identity, key) => {
            format!("the rule uses {placeholder}, of which the certificate has several values")
        }
        _ => misfit.to_string(),
    };
    Some(NearMiss { path, reason, hint: Some(hint), distance: 0, slip: true })
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
                write!(f, "the header `{name}` would get a value that is not {}", header::VALUE)
            }
        }
    }
}

#[cfg(test)]
mod tests;
