//! One thing that was tried, and what became of it.

use serde::Serialize;

use crate::probe::{Outcome, ProbeResult};

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Case {
    /// What it was.
    pub case: String,
    /// Which listener it was tried on.
    pub listener: Listener,
    /// What became of it.
    pub result: Verdict,
    /// What should happen.
    pub expected: String,
    /// What happened, or why it was not tried.
    pub seen: String,
}

/// A listener of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Listener {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP.
    Http,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// Not as it should be.
    Fail,
    /// It could not be tried.
    Skipped,
}

impl Case {
    /// An answer that should be `expected`.
    pub(super) fn of(
        case: impl Into<String>,
        listener: Listener,
        expected: Outcome,
        seen: &ProbeResult,
    ) -> Self {
        let result = if seen.outcome == expected { Verdict::Pass } else { Verdict::Fail };
        Case { case: case.into(), listener, result, expected: expected.to_string(), seen: seen.to_string() }
    }

    /// It could not be tried.
    pub(super) fn skipped(case: impl Into<String>, listener: Listener, reason: impl Into<String>) -> Self {
        let (case, seen) = (case.into(), reason.into());
        Case { case, listener, result: Verdict::Skipped, expected: String::new(), seen }
    }
}

impl Listener {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Listener::Grpc => "grpc",
            Listener::Http => "http",
        }
    }

    /// What is spoken there, by its ALPN name.
    pub(super) fn protocol(self) -> &'static [u8] {
        match self {
            Listener::Grpc => b"h2",
            Listener::Http => b"http/1.1",
        }
    }
}
