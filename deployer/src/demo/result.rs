//! Result of the demo: what was measured, and whether it is as expected.

use std::collections::BTreeMap;

use serde::Serialize;

use super::sink::Attributes;
use crate::probe::{Outcome, ProbeResult};

/// Result of the demo; `--json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct DemoResult {
    /// Whether everything is as expected.
    pub(crate) ok: bool,
    /// The valid clients and what happened to their spans.
    pub(crate) clients: Vec<ClientResult>,
    /// Requests and connections that must be rejected or throttled.
    #[serde(rename = "refused")]
    pub(crate) rejected: Vec<RejectedCase>,
    /// Forged attributes that the filter removed, by its own counter.
    pub(crate) forged_attributes_removed: u64,
    /// Forged attributes that were sent.
    #[serde(skip)]
    pub(crate) forged_attributes_sent: u64,
}

/// What happened to a client's spans.
#[derive(Debug, Serialize)]
pub(crate) struct ClientResult {
    /// The client's name in the policy.
    pub(crate) name: String,
    /// The SPIFFE ID or DNS name in its certificate.
    pub(crate) identity: String,
    /// Spans sent.
    pub(crate) sent: usize,
    /// Spans in requests that were accepted.
    pub(crate) accepted: usize,
    /// Spans in requests that were throttled.
    pub(crate) rejected: usize,
    /// The resource attributes that the backend received.
    pub(crate) attributes: BTreeMap<String, String>,
    /// The resource attributes that the client sent.
    #[serde(skip)]
    pub(crate) sent_attributes: BTreeMap<String, String>,
    /// Whether the backend received every accepted span, with the attributes that the policy sets.
    #[serde(skip)]
    pub(crate) ok: bool,
}

/// A request or connection that must not succeed.
#[derive(Debug, Serialize)]
pub(crate) struct RejectedCase {
    /// What was tried.
    pub(crate) case: String,
    /// The expected answer.
    pub(crate) expected: String,
    /// The answer, with its message.
    pub(crate) seen: String,
    /// Whether the answer is the expected one.
    #[serde(skip)]
    pub(crate) ok: bool,
}

impl DemoResult {
    pub(super) fn new(
        clients: Vec<ClientResult>,
        rejected: Vec<RejectedCase>,
        forged_attributes_sent: u64,
        forged_attributes_removed: u64,
    ) -> Self {
        let ok = clients.iter().all(|it| it.ok)
            && rejected.iter().all(|it| it.ok)
            && forged_attributes_removed == forged_attributes_sent;
        DemoResult { ok, clients, rejected, forged_attributes_removed, forged_attributes_sent }
    }
}

impl RejectedCase {
    pub(super) fn new(case: impl Into<String>, expected: Outcome, seen: &ProbeResult) -> Self {
        RejectedCase {
            case: case.into(),
            expected: expected.to_string(),
            seen: seen.to_string(),
            ok: seen.outcome == expected,
        }
    }
}

/// Whether all received Resources have exactly the expected attributes, and the attributes of the first.
pub(super) fn compare(received: &[Attributes], expected: &Attributes) -> (bool, Attributes) {
    let Some(first) = received.first() else { return (false, Attributes::new()) };
    (received.iter().all(|it| it == expected), first.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(pairs: &[(&str, &str)]) -> Attributes {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn one_unexpected_result_is_not_ok() {
        let result = |outcome| ProbeResult { outcome, message: "message".to_owned() };
        let case = |seen| RejectedCase::new("case", Outcome::NoConnection, &result(seen));
        let good = || vec![case(Outcome::NoConnection)];
        assert!(DemoResult::new(Vec::new(), good(), 2, 2).ok);
        assert!(!DemoResult::new(Vec::new(), good(), 2, 1).ok);
        assert!(!DemoResult::new(Vec::new(), vec![case(Outcome::Accepted)], 2, 2).ok);
    }

    #[test]
    fn every_resource_must_have_the_expected_attributes() {
        let (a, b) = (attributes(&[("tenant.id", "acme")]), attributes(&[("tenant.id", "forged")]));
        assert!(compare(&[a.clone(), a.clone()], &a).0);
        assert!(!compare(&[a.clone(), b.clone()], &a).0);
        assert!(!compare(&[b.clone(), b], &a).0);
        assert!(!compare(&[], &a).0);
    }
}
