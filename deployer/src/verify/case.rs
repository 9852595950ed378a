//! One case: what was tried, what must happen, what happened.

use serde::Serialize;

use crate::probe::{Outcome, ProbeResult};

/// One case of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Case {
    /// What was sent, and what must happen.
    pub(crate) case: String,
    /// The listener that it was sent to.
    pub(crate) listener: Listener,
    /// Whether that happened.
    pub(crate) result: CaseResult,
    /// What must happen, in detail; empty if skipped.
    pub(crate) expected: String,
    /// What happened, or why the case was skipped.
    pub(crate) seen: String,
}

/// A listener of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Listener {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP.
    Http,
}

/// Result of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CaseResult {
    /// What must happen happened.
    Pass,
    /// Something else happened.
    Fail,
    /// The case could not be tried.
    Skipped,
}

impl Case {
    /// A case that passes if its outcome is `expected`.
    pub(super) fn new(
        case: impl Into<String>,
        listener: Listener,
        expected: Outcome,
        seen: &ProbeResult,
    ) -> Self {
        let result = if seen.outcome == expected { CaseResult::Pass } else { CaseResult::Fail };
        Case { case: case.into(), listener, result, expected: expected.to_string(), seen: seen.to_string() }
    }

    /// A case that could not be tried.
    pub(super) fn skipped(case: impl Into<String>, listener: Listener, reason: impl Into<String>) -> Self {
        let (case, seen) = (case.into(), reason.into());
        Case { case, listener, result: CaseResult::Skipped, expected: String::new(), seen }
    }
}

impl Listener {
    /// The listener's name in output.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Listener::Grpc => "grpc",
            Listener::Http => "http",
        }
    }

    /// The ALPN protocol that its clients offer.
    pub(super) fn alpn(self) -> &'static [u8] {
        match self {
            Listener::Grpc => b"h2",
            Listener::Http => b"http/1.1",
        }
    }
}
