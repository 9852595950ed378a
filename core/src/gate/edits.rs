//! Which headers of a request are forwarded, and which are set.
//!
//! Some backends treat different names as one: CGI, WSGI, Rack and PHP turn every character that is not a letter or
//! digit into `_`, so `x_scope_orgid` and `x.scope.orgid` are `X-Scope-OrgID` there. All such spellings are one name
//! here.

use super::headers::{FORWARDED_CERTIFICATE, Headers, value};
use super::request::Request;
use crate::policy::is_spelling;
use crate::response::Protocol;

/// Headers that describe the body as the client encoded it, or that only a proxy may set.
const REPLACED: [&str; 4] = ["content-length", "content-encoding", "grpc-encoding", FORWARDED_CERTIFICATE];

/// Headers that are forwarded in this spelling only: other spellings would have an effect on some backends. The second
/// list has prefixes of names.
const ONE_SPELLING: [&str; 2] = ["content-type", "transfer-encoding"];
const PROXY_PREFIXES: [&str; 2] = ["x-forwarded-", "x-envoy-"];

/// The edits of headers, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderEdits<'a> {
    /// Headers to remove, all values of them.
    pub remove: Vec<&'a [u8]>,
    /// Headers to add.
    pub add: Vec<(&'a str, &'a str)>,
}

impl Request {
    /// The edits of the request's headers. Headers that describe the body as the client encoded it are removed, and
    /// owned headers in every spelling.
    pub fn header_edits<'a>(&'a self, headers: &Headers<'a>) -> HeaderEdits<'a> {
        let owned = self.gate.policy.owned_headers();
        let is_removed = |name: &[u8]| {
            owned.iter().any(|own| is_spelling(name, own.as_bytes()))
                || if is_plain(name) { is_any(name, &REPLACED) } else { is_other_spelling(name) }
        };
        let names = headers.iter().map(|(name, _)| *name);
        let mut edits = HeaderEdits {
            remove: names.filter(|name| is_removed(name)).collect(),
            add: self
                .client
                .resolved
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
        };
        // gRPC's specification requires this header, and some servers reject a call without it. Envoy forwards no other
        // value.
        if self.head.protocol == Protocol::Grpc && value(headers, b"te").is_none() {
            edits.add.push(("te", "trailers"));
        }
        edits
    }
}

/// Whether a name has only letters, digits and `-`, as nearly all names do, or is a pseudo header.
fn is_plain(name: &[u8]) -> bool {
    let name = name.strip_prefix(b":").unwrap_or(name);
    name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

fn is_any(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|own| name == own.as_bytes())
}

#[cold]
fn is_other_spelling(name: &[u8]) -> bool {
    let is = |own: &&str| is_spelling(name, own.as_bytes());
    let begins = |own: &&str| name.get(..own.len()).is_some_and(|start| is_spelling(start, own.as_bytes()));
    REPLACED.iter().chain(&ONE_SPELLING).any(is) || PROXY_PREFIXES.iter().any(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_body_and_of_the_proxy_are_found_in_every_spelling() {
        for name in [
            "content_length",
            "content.encoding",
            "grpc_encoding",
            "content_type",
            "transfer_encoding",
            "x-forwarded_client-cert",
            "x_forwarded_for",
            "x_envoy_retry_on",
        ] {
            assert!(!is_plain(name.as_bytes()) && is_other_spelling(name.as_bytes()), "{name}");
        }
        for name in ["x_forwarded", "content_type_2", "x_request_id", "tenant_id", "baggage_"] {
            assert!(!is_other_spelling(name.as_bytes()), "{name}");
        }
        for name in [":path", "content-type", "x-request-id", "te"] {
            assert!(is_plain(name.as_bytes()), "{name}");
        }
    }
}
