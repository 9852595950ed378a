//! Why a certificate is the client that it is, for people.

use super::condition::{Condition, Key};
use super::header;
use super::pattern::{MAX_CAPTURE, Reading, is_capture_byte};
use super::rule::Misfit;
use super::{Policy, Verdict};
use crate::identity::{Fingerprint, Identity};

/// A verdict and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What [`Policy::identify`] says.
    pub verdict: Verdict,
    /// The index in `clients` of the rule that decided, if one did.
    pub rule: Option<usize>,
    /// Which of that rule's matches held, from 0.
    pub alternative: usize,
    /// What held, key by key.
    pub matched: Vec<Matched>,
    /// The words that were captured, sorted.
    pub captures: Vec<(String, String)>,
    /// Rules before it whose patterns held, and that are not for this certificate all the same.
    pub passed_over: Vec<PassedOver>,
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
    /// Why it is not for this certificate.
    pub reason: String,
}

pub(super) fn explain(policy: &Policy, identity: &Identity) -> Explanation {
    let mut explanation = Explanation {
        verdict: Verdict::Denied,
        rule: None,
        alternative: 0,
        matched: Vec::new(),
        captures: Vec::new(),
        passed_over: Vec::new(),
    };
    if policy.denies(identity) {
        return explanation;
    }
    if let Some(client) = policy.verify_client(identity) {
        explanation.verdict = policy.admitted(client);
        return explanation;
    }
    for position in policy.index.candidates(identity) {
        let Some((alternative, rule)) = policy.alternative(position) else { continue };
        let pass_over = |reason| PassedOver { rule: alternative.rule, reason };
        let Some(captures) = alternative.condition.holds(identity, Reading::Strict) else {
            explanation.passed_over.extend(near_miss(&alternative.condition, identity).map(pass_over));
            continue;
        };
        match rule.admit(alternative.rule, identity, &captures, &policy.stamping) {
            Ok(client) => {
                explanation.verdict = policy.admitted(client);
                explanation.rule = Some(alternative.rule);
                explanation.alternative = alternative.number;
                explanation.matched = matched(&alternative.condition, identity);
                explanation.captures =
                    captures.iter().map(|(word, value)| ((*word).to_owned(), (*value).to_owned())).collect();
                return explanation;
            }
            Err(misfit) => explanation.passed_over.push(pass_over(misfit.to_string())),
        }
    }
    explanation.verdict = policy.identify_unknown(identity);
    explanation
}

fn matched(condition: &Condition, identity: &Identity) -> Vec<Matched> {
    let patterns = condition.patterns_on(identity).filter_map(|(key, _, value)| {
        let key = match key {
            Key::Spiffe => "spiffe".to_owned(),
            Key::Dns => "dns".to_owned(),
            Key::Subject(key) => format!("subject.{key}"),
        };
        Some(Matched { key, value: value?.to_owned() })
    });
    let sha256 =
        condition.sha256.map(|digest| Matched { key: "sha256".into(), value: Fingerprint(digest).hex() });
    patterns.chain(sha256).collect()
}

/// Why a match does not hold that would if words could be anything.
fn near_miss(condition: &Condition, identity: &Identity) -> Option<String> {
    let mut captures = Vec::new();
    for (_, pattern, value) in condition.patterns_on(identity) {
        if !pattern.matches(value?, Reading::Loose, &mut captures) {
            return None;
        }
    }
    if condition.sha256.is_some_and(|digest| !identity.has_fingerprint(&digest)) {
        return None;
    }
    let fits = |value: &str| value.len() <= MAX_CAPTURE && value.bytes().all(is_capture_byte);
    let reason = match captures.iter().find(|(_, value)| !fits(value)) {
        Some((word, value)) => format!(
            "{{{word}}} would be `{}`, and a captured word is at most {MAX_CAPTURE} of A-Z a-z 0-9 . _ -",
            value.escape_debug()
        ),
        None => "a word that it captures twice has two values".to_owned(),
    };
    Some(reason)
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
