//! How a request is refused: status, message, and when to try again, in the client's own protocol.
//!
//! Sources: OTLP specification ("Failures", "OTLP/HTTP Throttling"), google/rpc/status.proto, google/rpc/error_details.proto.

use core::fmt;
use core::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::Serialize;

use crate::identity::{Invalid, Utc, Validity, xfcc};
use crate::quota;
use otlp_gate_wire::otlp::{put_bytes, put_uint};

/// Longest time that a client is asked to wait. Python's exporters give up where the hint is beyond their deadline (10 s),
/// so a long wait is told in short turns.
const LONGEST_HINT: Duration = Duration::from_secs(5);

/// How long a client waits when it is not its own doing: no policy yet, or the worker's memory is full.
const BUSY_HINT: Duration = Duration::from_secs(1);

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The connection has no client certificate.
    NoCertificate,
    /// The proxy does not hand the client's certificate over to the filter.
    CertificateWithheld,
    /// The certificate is not in the form that RFC 5280 asks for.
    CertificateUnreadable,
    /// The certificate is not valid any more, or not yet.
    CertificateInvalid {
        /// Which of the two.
        invalid: Invalid,
        /// When it is valid.
        validity: Validity,
    },
    /// A hop does not say who its client is.
    Hop(xfcc::Problem),
    /// The certificate is no client's.
    UnknownClient,
    /// The certificate is on the deny list.
    Denied,
    /// A quota does not allow it, now or ever.
    Quota {
        /// The name of the client whose limit it is; none where it is that of all clients together.
        client: Option<String>,
        /// Which limit, and for how long.
        refusal: quota::Throttled,
    },
    /// Larger than a limit of the gate: which one, in words.
    TooLarge(String),
    /// Headers of more than the gate takes, in bytes.
    Headers {
        /// What they have.
        size: u64,
        /// What they may have.
        limit: u64,
    },
    /// Not a valid message: what is wrong.
    Invalid(String),
    /// A content type or an encoding that the gate does not read: which one.
    Unsupported(String),
    /// Not an OTLP export: which path came, and which are taken.
    UnknownPath(String),
    /// An OTLP path with a method other than POST: which one, in quotes.
    Method(String),
    /// The backend did not answer a health check as one that serves: what it did instead.
    NotServing(&'static str),
    /// A health check of a service that the gate does not know: which one, in quotes.
    UnknownService(String),
    /// There is no valid policy yet.
    NoPolicy,
    /// The worker holds as many bytes as it may.
    Busy,
}

/// What a refused client speaks, so that it can read why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with protobuf.
    HttpProtobuf,
    /// OTLP/HTTP with JSON.
    HttpJson,
}

/// An answer that the gate gives itself. To an export it is never a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status; 200 for gRPC, whose status is below.
    pub http_status: u32,
    /// The gRPC status, for gRPC only.
    pub grpc_status: Option<u32>,
    /// Headers besides the status.
    pub headers: Vec<(&'static str, String)>,
    /// The HTTP body, or gRPC's message.
    pub body: Vec<u8>,
}

impl Protocol {
    /// What a client may compress with, as a header lists it.
    pub(crate) fn encodings(self) -> &'static str {
        match self {
            Protocol::Grpc => "identity,gzip,zstd",
            Protocol::HttpProtobuf | Protocol::HttpJson => "identity,gzip,zstd,deflate",
        }
    }
}

impl Response {
    /// The same without the body: for a client that may leave it unread, where there is no room to keep it.
    pub fn without_body(mut self) -> Self {
        // What gRPC says is in its headers.
        if self.grpc_status.is_none() {
            self.body.clear();
            self.headers.retain(|(name, _)| *name != "content-type");
        }
        self
    }
}

impl Reason {
    /// The value of the `result` tag in metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Reason::NoCertificate | Reason::Hop(_) => "no_certificate",
            Reason::CertificateWithheld => "certificate_withheld",
            Reason::CertificateUnreadable => "certificate_unreadable",
            Reason::CertificateInvalid { invalid: Invalid::Expired, .. } => "certificate_expired",
            Reason::CertificateInvalid { .. } => "certificate_not_yet_valid",
            Reason::UnknownClient => "unknown_client",
            Reason::Denied => "denied",
            Reason::Quota { client: None, .. } => "over_total",
            Reason::Quota { .. } => "over_quota",
            Reason::TooLarge(_) | Reason::Headers { .. } => "too_large",
            Reason::Invalid(_) => "invalid",
            Reason::Unsupported(_) => "unsupported",
            Reason::UnknownPath(_) | Reason::Method(_) => "not_otlp",
            Reason::NotServing(_) => "not_serving",
            Reason::UnknownService(_) => "unknown_service",
            Reason::NoPolicy => "no_policy",
            Reason::Busy => "busy",
        }
    }

    /// The answer. `jitter` (any number) spreads clients that are refused at the same moment.
    pub fn response(&self, protocol: Protocol, jitter: u64) -> Response {
        let message = self.to_string();
        let retry = self.retry().map(|wait| spread(wait, jitter));
        match protocol {
            Protocol::Grpc => self.grpc(message, retry),
            Protocol::HttpProtobuf | Protocol::HttpJson => self.http(message, retry, protocol),
        }
    }

    /// The gRPC and the HTTP status.
    fn statuses(&self) -> (u32, u32) {
        match self {
            Reason::NoCertificate
            | Reason::Hop(_)
            | Reason::CertificateUnreadable
            | Reason::CertificateInvalid { .. } => (16, 401),
            Reason::UnknownClient | Reason::Denied => (7, 403),
            Reason::Quota { refusal: quota::Throttled::RetryAfter { .. }, .. } => (8, 429),
            Reason::Quota { refusal: quota::Throttled::ExceedsBurst { .. }, .. } | Reason::TooLarge(_) => {
                (8, 413)
            }
            Reason::Headers { .. } => (8, 431),
            Reason::Invalid(_) => (3, 400),
            Reason::Unsupported(_) => (12, 415),
            Reason::UnknownPath(_) => (12, 404),
            Reason::Method(_) => (12, 405),
            Reason::UnknownService(_) => (5, 404),
            Reason::NoPolicy | Reason::Busy | Reason::NotServing(_) | Reason::CertificateWithheld => {
                (14, 503)
            }
        }
    }

    /// How long until it makes sense to try again, if ever.
    fn retry(&self) -> Option<Duration> {
        match self {
            Reason::Quota { refusal: quota::Throttled::RetryAfter { wait, .. }, .. } => Some(*wait),
            Reason::NoPolicy | Reason::Busy | Reason::CertificateWithheld => Some(BUSY_HINT),
            _ => None,
        }
    }

    /// The hint goes out twice: the Collector reads it from the details, Python's exporter from a trailer of its own.
    fn grpc(&self, message: String, retry: Option<Duration>) -> Response {
        let (grpc_status, _) = self.statuses();
        let mut headers = Vec::new();
        if let Some(wait) = retry {
            let info = retry_info(wait);
            let details = status(grpc_status, &message, Some(&info));
            headers.push(("grpc-status-details-bin", STANDARD_NO_PAD.encode(details)));
            headers.push(("google.rpc.retryinfo-bin", STANDARD_NO_PAD.encode(info)));
        }
        if matches!(self, Reason::Unsupported(_)) {
            headers.push(("grpc-accept-encoding", Protocol::Grpc.encodings().into()));
        }
        Response { http_status: 200, grpc_status: Some(grpc_status), headers, body: message.into_bytes() }
    }

    fn http(&self, message: String, retry: Option<Duration>, protocol: Protocol) -> Response {
        let (grpc_status, http_status) = self.statuses();
        let mut headers = Vec::new();
        if let Some(wait) = retry {
            headers.push(("retry-after", wait.as_millis().div_ceil(1000).max(1).to_string()));
        }
        match self {
            Reason::Unsupported(_) => headers.push(("accept-encoding", protocol.encodings().into())),
            Reason::Method(_) => headers.push(("allow", "POST".into())),
            _ => {}
        }
        let body = if protocol == Protocol::HttpJson {
            headers.push(("content-type", "application/json".into()));
            json_status(grpc_status, &message)
        } else {
            headers.push(("content-type", "application/x-protobuf".into()));
            let info = retry.map(retry_info);
            status(grpc_status, &message, info.as_deref())
        };
        Response { http_status, grpc_status: None, headers, body }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoCertificate => f.write_str("a client certificate is required"),
            Reason::CertificateWithheld => f.write_str(
                "the gateway does not hand the client certificate over to its filter \
                 (no Cert of it in x-forwarded-client-cert)",
            ),
            Reason::CertificateUnreadable => {
                f.write_str("the client certificate cannot be read: it is not the DER that RFC 5280 asks for")
            }
            Reason::CertificateInvalid { invalid: Invalid::Expired, validity } => write!(
                f,
                "the client certificate expired at {}: renew it and connect again",
                Utc(validity.not_after)
            ),
            Reason::CertificateInvalid { invalid: Invalid::NotYet, validity } => {
                write!(f, "the client certificate is not valid before {}", Utc(validity.not_before))
            }
            Reason::Hop(problem) => {
                write!(f, "the proxy in front does not say who its client is: {problem}")
            }
            Reason::UnknownClient => f.write_str("this certificate belongs to no client of the gateway"),
            Reason::Denied => f.write_str("this certificate is denied by the gateway"),
            Reason::Quota {
                client,
                refusal: quota::Throttled::RetryAfter { dimension, limit, asked, wait },
            } => {
                let who = match client {
                    Some(name) => format!("client {name} is over its"),
                    None => "all clients together are over their".to_owned(),
                };
                write!(
                    f,
                    "{who} quota of {} {}/s (burst {}): {asked} more fit in {} ms",
                    limit.rate,
                    dimension.key(),
                    limit.capacity,
                    wait.as_millis().max(1)
                )
            }
            Reason::Quota { client, refusal: quota::Throttled::ExceedsBurst { dimension, limit, asked } } => {
                let whose = match client {
                    Some(name) => format!("client {name}"),
                    None => "all clients together".to_owned(),
                };
                write!(
                    f,
                    "{asked} {} in one request never fit into the quota of {whose}: {} {}/s (burst {})",
                    dimension.key(),
                    limit.rate,
                    dimension.key(),
                    limit.capacity
                )
            }
            Reason::TooLarge(what) => write!(f, "the request is too large: {what}"),
            Reason::Headers { size, limit } => write!(
                f,
                "the request's headers are too large: {size} bytes of {limit}; hint: send fewer, or raise limits.headers"
            ),
            Reason::Invalid(what) => write!(f, "not a valid OTLP request: {what}"),
            Reason::Unsupported(what) => write!(f, "not supported: {what}"),
            Reason::UnknownPath(what) => write!(f, "not an OTLP export: {what}"),
            Reason::Method(method) => write!(f, "OTLP exports are sent by POST, not by {method}"),
            Reason::NotServing(what) => write!(f, "the backend is not serving: {what}"),
            Reason::UnknownService(name) => {
                write!(f, "no service {name}; hint: ask for \"\" or a service of OTLP")
            }
            Reason::NoPolicy => f.write_str("the gateway has no policy yet"),
            Reason::Busy => f.write_str("the gateway holds as many requests as it can"),
        }
    }
}

/// The wait, cut to [`LONGEST_HINT`], and up to a quarter more.
fn spread(wait: Duration, jitter: u64) -> Duration {
    let wait = wait.clamp(Duration::from_millis(20), LONGEST_HINT);
    wait + wait * (jitter % 1024) as u32 / 4096
}

/// google.rpc.Status: code (1), message (2), details (3).
fn status(code: u32, message: &str, retry_info: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    put_uint(&mut out, 1, u64::from(code));
    put_bytes(&mut out, 2, message.as_bytes());
    if let Some(info) = retry_info {
        // google.protobuf.Any: type_url (1), value (2)
        let mut any = Vec::new();
        put_bytes(&mut any, 1, b"type.googleapis.com/google.rpc.RetryInfo");
        put_bytes(&mut any, 2, info);
        put_bytes(&mut out, 3, &any);
    }
    out
}

/// google.rpc.Status in protobuf's JSON form.
fn json_status(code: u32, message: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Status<'a> {
        code: u32,
        message: &'a str,
    }
    serde_json::to_vec(&Status { code, message }).unwrap_or_default()
}

/// google.rpc.RetryInfo: retry_delay (1), a google.protobuf.Duration of seconds (1) and nanos (2).
fn retry_info(wait: Duration) -> Vec<u8> {
    let mut duration = Vec::new();
    put_uint(&mut duration, 1, wait.as_secs());
    put_uint(&mut duration, 2, u64::from(wait.subsec_nanos()));
    let mut out = Vec::new();
    put_bytes(&mut out, 1, &duration);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::{Dimension, Limit};

    fn over(wait: Duration) -> Reason {
        let limit = Limit { rate: 1000, capacity: 4000 };
        let refusal = quota::Throttled::RetryAfter { dimension: Dimension::Items, limit, asked: 512, wait };
        Reason::Quota { client: Some("acme".into()), refusal }
    }

    fn never() -> Reason {
        let limit = Limit { rate: 1000, capacity: 4000 };
        let refusal = quota::Throttled::ExceedsBurst { dimension: Dimension::Bytes, limit, asked: 5000 };
        Reason::Quota { client: Some("acme".into()), refusal }
    }

    #[test]
    fn every_case_has_the_status_that_its_protocol_gives_it() {
        for (reason, grpc, http, retried) in [
            (Reason::NoCertificate, 16, 401, false),
            (Reason::Hop(xfcc::Problem::Missing), 16, 401, false),
            (Reason::UnknownClient, 7, 403, false),
            (Reason::Denied, 7, 403, false),
            (over(Duration::from_secs(1)), 8, 429, true),
            (never(), 8, 413, false),
            (Reason::TooLarge(String::new()), 8, 413, false),
            (Reason::Headers { size: 2, limit: 1 }, 8, 431, false),
            (Reason::Invalid(String::new()), 3, 400, false),
            (Reason::Unsupported(String::new()), 12, 415, false),
            (Reason::UnknownPath(String::new()), 12, 404, false),
            (Reason::Method(String::new()), 12, 405, false),
            (Reason::NotServing(""), 14, 503, false),
            (Reason::UnknownService(String::new()), 5, 404, false),
            (Reason::NoPolicy, 14, 503, true),
            (Reason::Busy, 14, 503, true),
        ] {
            let has = |response: &Response, name| response.headers.iter().any(|(header, _)| *header == name);
            let response = reason.response(Protocol::Grpc, 7);
            assert_eq!((response.http_status, response.grpc_status), (200, Some(grpc)), "{reason:?}");
            assert_eq!(has(&response, "grpc-status-details-bin"), retried, "{reason:?}");
            assert_eq!(has(&response, "google.rpc.retryinfo-bin"), retried, "{reason:?}");
            for protocol in [Protocol::HttpProtobuf, Protocol::HttpJson] {
                let response = reason.response(protocol, 7);
                assert_eq!((response.http_status, response.grpc_status), (http, None), "{reason:?}");
                assert_eq!(has(&response, "retry-after"), retried, "{reason:?}");
            }
        }
    }

    #[test]
    fn the_message_says_which_client_which_limit_which_number() {
        assert_eq!(
            over(Duration::from_millis(1500)).to_string(),
            "client acme is over its quota of 1000 items/s (burst 4000): 512 more fit in 1500 ms"
        );
        assert_eq!(
            never().to_string(),
            "5000 bytes in one request never fit into the quota of client acme: 1000 bytes/s (burst 4000)"
        );
    }

    #[test]
    fn hints_are_short_and_spread() {
        for jitter in 0..5000 {
            let hour = spread(Duration::from_secs(3600), jitter);
            assert!(hour >= LONGEST_HINT && hour < LONGEST_HINT * 5 / 4, "{hour:?}");
            assert!(spread(Duration::ZERO, jitter) >= Duration::from_millis(20));
        }
        assert_ne!(spread(Duration::from_secs(1), 1), spread(Duration::from_secs(1), 2));
    }

    #[test]
    fn a_status_is_read_back_by_another_implementation() {
        #[derive(Clone, PartialEq, prost::Message)]
        struct Status {
            #[prost(int32, tag = "1")]
            code: i32,
            #[prost(string, tag = "2")]
            message: String,
            #[prost(message, repeated, tag = "3")]
            details: Vec<Any>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        struct Any {
            #[prost(string, tag = "1")]
            type_url: String,
            #[prost(bytes, tag = "2")]
            value: Vec<u8>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        struct RetryInfo {
            #[prost(message, optional, tag = "1")]
            delay: Option<Delay>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        struct Delay {
            #[prost(int64, tag = "1")]
            seconds: i64,
            #[prost(int32, tag = "2")]
            nanos: i32,
        }
        use prost::Message;

        let response = over(Duration::from_millis(2500)).response(Protocol::HttpProtobuf, 0);
        let read = Status::decode(&response.body[..]).unwrap();
        assert_eq!((read.code, read.details.len()), (8, 1));
        assert!(read.message.contains("acme"));
        assert_eq!(read.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
        let info = RetryInfo::decode(&read.details[0].value[..]).unwrap();
        assert_eq!(info.delay, Some(Delay { seconds: 2, nanos: 500_000_000 }));
        assert!(response.headers.contains(&("retry-after", "3".into())));
    }
}
