//! Outcome of a request or a handshake, as the client sees it.

use std::error::Error as _;
use std::fmt;

use hyper::StatusCode;
use tonic::{Code, Status};

/// What happened to a request, without the server's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server accepted it: gRPC status OK, an HTTP 2xx status, or a completed handshake.
    Accepted,
    /// A gRPC status other than OK.
    GrpcRejected {
        /// The status code.
        code: Code,
        /// Whether the status has a `google.rpc.RetryInfo`, which makes it retryable (OTLP specification, "Failures").
        retryable: bool,
    },
    /// An HTTP status other than 2xx.
    HttpRejected(StatusCode),
    /// The connection failed or was closed before the server could answer a request.
    NoConnection,
}

/// What happened to a request, with the text that came with it.
#[derive(Debug, Clone)]
pub(crate) struct ProbeResult {
    /// What happened.
    pub(crate) outcome: Outcome,
    /// The server's message, or the error of TLS or the operating system; empty if accepted.
    pub(crate) message: String,
}

impl Outcome {
    /// The gRPC answer to a client that is over its quota.
    pub(crate) const THROTTLED: Outcome =
        Outcome::GrpcRejected { code: Code::ResourceExhausted, retryable: true };
    /// The gRPC answer to a request that is larger than the client's quota can ever be.
    pub(crate) const TOO_LARGE: Outcome =
        Outcome::GrpcRejected { code: Code::ResourceExhausted, retryable: false };
    /// The gRPC answer to a revoked certificate.
    pub(crate) const UNAUTHENTICATED: Outcome =
        Outcome::GrpcRejected { code: Code::Unauthenticated, retryable: false };
    /// The gRPC answer to a signal that the backend does not take.
    pub(crate) const UNIMPLEMENTED: Outcome =
        Outcome::GrpcRejected { code: Code::Unimplemented, retryable: false };
    /// The gRPC answer to a certificate that matches no rule.
    pub(crate) const PERMISSION_DENIED: Outcome =
        Outcome::GrpcRejected { code: Code::PermissionDenied, retryable: false };
}

impl ProbeResult {
    pub(super) fn accepted() -> Self {
        ProbeResult { outcome: Outcome::Accepted, message: String::new() }
    }

    pub(super) fn rejected(status: &Status) -> Self {
        // tonic also makes a status of a broken connection. Only that one has a source.
        if let Some(source) = status.source() {
            return ProbeResult::no_connection(source);
        }
        let retryable = status.metadata().get_bin("google.rpc.retryinfo-bin").is_some();
        let outcome = Outcome::GrpcRejected { code: status.code(), retryable };
        ProbeResult { outcome, message: status.message().to_owned() }
    }

    /// Takes the message of the innermost error, which is TLS's or the operating system's.
    pub(super) fn no_connection(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut innermost = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        ProbeResult { outcome: Outcome::NoConnection, message: innermost.to_string() }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self {
            Outcome::Accepted => return f.write_str("accepted"),
            Outcome::NoConnection => return f.write_str("no connection"),
            Outcome::HttpRejected(status) => return write!(f, "{status}"),
            Outcome::GrpcRejected { code, .. } => code,
        };
        // As the gRPC specification writes it: PERMISSION_DENIED (7). `Code` prints PermissionDenied.
        for (position, letter) in format!("{code:?}").chars().enumerate() {
            if position > 0 && letter.is_uppercase() {
                f.write_str("_")?;
            }
            write!(f, "{}", letter.to_ascii_uppercase())?;
        }
        write!(f, " ({})", *code as i32)?;
        if matches!(self, Outcome::GrpcRejected { retryable: true, .. }) {
            f.write_str(", retryable")?;
        }
        Ok(())
    }
}

impl fmt::Display for ProbeResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.outcome)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_written_as_the_specification_does() {
        assert_eq!(Outcome::THROTTLED.to_string(), "RESOURCE_EXHAUSTED (8), retryable");
        assert_eq!(Outcome::PERMISSION_DENIED.to_string(), "PERMISSION_DENIED (7)");
        assert_eq!(Outcome::HttpRejected(StatusCode::FORBIDDEN).to_string(), "403 Forbidden");
    }
}
