//! What came back.

use std::error::Error as _;
use std::fmt;

use hyper::StatusCode;
use tonic::{Code, Status};

/// What became of a request, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The backend took it.
    Accepted,
    /// A gRPC status other than OK, and whether it says when to try again.
    Refused {
        /// The status.
        code: Code,
        /// Whether it says when.
        retry: bool,
    },
    /// An HTTP status that is no success.
    HttpRefused(StatusCode),
    /// It never got as far as a request.
    NoConnection,
}

/// What became of a request, and the words that came with it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// In short.
    pub fate: Fate,
    /// In the server's words, or the system's.
    pub words: String,
}

impl Answer {
    pub(super) fn accepted() -> Self {
        Answer { fate: Fate::Accepted, words: String::new() }
    }

    pub(super) fn refused(status: &Status) -> Self {
        // A status that came over the wire has no source; one that stands for a broken connection has.
        if let Some(source) = status.source() {
            return Answer::no_connection(source);
        }
        let retry = status.metadata().get_bin("google.rpc.retryinfo-bin").is_some();
        let fate = Fate::Refused { code: status.code(), retry };
        Answer { fate, words: status.message().to_owned() }
    }

    pub(super) fn no_connection(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut innermost = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        Answer { fate: Fate::NoConnection, words: innermost.to_string() }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self {
            Fate::Accepted => return f.write_str("accepted"),
            Fate::NoConnection => return f.write_str("no connection"),
            Fate::HttpRefused(status) => return write!(f, "{status}"),
            Fate::Refused { code, .. } => code,
        };
        // Written as in the gRPC specification: PERMISSION_DENIED (7).
        for (position, letter) in format!("{code:?}").chars().enumerate() {
            if position > 0 && letter.is_uppercase() {
                f.write_str("_")?;
            }
            write!(f, "{}", letter.to_ascii_uppercase())?;
        }
        write!(f, " ({})", *code as i32)?;
        if matches!(self, Fate::Refused { retry: true, .. }) {
            f.write_str(", try again")?;
        }
        Ok(())
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fate)?;
        if !self.words.is_empty() {
            write!(f, ": {}", self.words)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_written_as_the_specification_does() {
        let over = Fate::Refused { code: Code::ResourceExhausted, retry: true };
        assert_eq!(over.to_string(), "RESOURCE_EXHAUSTED (8), try again");
        let denied = Fate::Refused { code: Code::PermissionDenied, retry: false };
        assert_eq!(denied.to_string(), "PERMISSION_DENIED (7)");
        assert_eq!(Fate::HttpRefused(StatusCode::FORBIDDEN).to_string(), "403 Forbidden");
    }
}
