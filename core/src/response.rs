//! Rejections: the status, message and retry hint of a response, in the client's own protocol.
//!
//! Sources: OTLP specification ("Failures", "OTLP/HTTP Throttling"), google/rpc/status.proto,
//! google/rpc/error_details.proto.

use core::fmt;
use core::time::Duration;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::Serialize;

use crate::identity::{Invalid, Utc, Validity, certificate_header, xfcc};
use crate::quota::Throttled;
use otlp_gate_wire::otlp::{Signal, put_bytes, put_uint};

/// The longest retry hint. Python's exporters give up if the hint is beyond their deadline (10 s), so a client with a
/// longer wait gets another hint with each retry.
const MAX_RETRY_HINT: Duration = Duration::from_secs(5);

/// The retry hint where the gateway is the reason: it has no policy yet, or is at its memory limit.
const BUSY_RETRY_HINT: Duration = Duration::from_secs(1);

/// Why a request is rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The connection has no client certificate.
    NoCertificate,
    /// The proxy does not pass the client's certificate to the filter.
    CertificateWithheld,
    /// The certificate is not DER as RFC 5280 requires.
    CertificateUnreadable,
    /// The certificate has expired, or is not valid yet.
    CertificateInvalid {
        /// Which of the two.
        invalid: Invalid,
        /// The certificate's validity.
        validity: Validity,
    },
    /// A trusted hop does not forward its client's identity.
    Hop(xfcc::Problem),
    /// A trusted hop does not forward its client's certificate.
    HopHeader {
        /// The name of the header that should have it.
        header: Rc<str>,
        /// What is wrong with it.
        problem: certificate_header::Problem,
    },
    /// A CA of the gate has revoked the certificate.
    Revoked,
    /// The certificate matches no rule.
    UnknownClient,
    /// The certificate or its client is on the deny list.
    Denied,
    /// The request is over a quota.
    Quota {
        /// The name of the client whose quota it is; `None` for the quota of all clients together.
        client: Option<String>,
        /// The limit, and whether a retry may succeed.
        throttled: Throttled,
    },
    /// The request is larger than a limit: which one.
    TooLarge(String),
    /// The headers are larger than `limits.headers`, in bytes.
    Headers {
        /// Their size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The message is invalid: what is wrong.
    Invalid(String),
    /// The content type or the encoding is not supported: which one.
    Unsupported(String),
    /// The backend does not take this signal.
    SignalNotTaken(Signal),
    /// The path is not one of OTLP: which one, and which are supported.
    UnknownPath(String),
    /// The method is not POST: which one, in quotes.
    Method(String),
    /// The backend failed a health check: what it did.
    NotServing(&'static str),
    /// A health check of an unknown service: which one, in quotes.
    UnknownService(String),
    /// There is no valid policy yet.
    NoPolicy,
    /// The worker is at its memory limit for requests.
    Busy,
}

/// The protocol of a request, in which a rejection is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with protobuf.
    HttpProtobuf,
    /// OTLP/HTTP with JSON.
    HttpJson,
}

/// A response of the gate itself. To an export it is never a success.
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
    /// The supported encodings, as a header lists them.
    pub(crate) fn encodings(self) -> &'static str {
        match self {
            Protocol::Grpc => "identity,gzip,zstd",
            Protocol::HttpProtobuf | Protocol::HttpJson => "identity,gzip,zstd,deflate",
        }
    }
}

impl Response {
    /// The same without the body: for a client that may leave it unread, where there is no memory to keep it.
    pub fn without_body(mut self) -> Self {
        // gRPC has its message in the headers.
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
            Reason::NoCertificate | Reason::Hop(_) | Reason::HopHeader { .. } => "no_certificate",
            Reason::CertificateWithheld => "certificate_withheld",
            Reason::CertificateUnreadable => "certificate_unreadable",
            Reason::CertificateInvalid { invalid: Invalid::Expired, .. } => "certificate_expired",
            Reason::CertificateInvalid { .. } => "certificate_not_yet_valid",
            Reason::Revoked => "certificate_revoked",
            Reason::UnknownClient => "unknown_client",
            Reason::Denied => "denied",
            Reason::Quota { client: None, .. } => "over_total",
            Reason::Quota { .. } => "over_quota",
            Reason::TooLarge(_) | Reason::Headers { .. } => "too_large",
            Reason::Invalid(_) => "invalid",
            Reason::Unsupported(_) | Reason::SignalNotTaken(_) => "unsupported",
            Reason::UnknownPath(_) | Reason::Method(_) => "not_otlp",
            Reason::NotServing(_) => "not_serving",
            Reason::UnknownService(_) => "unknown_service",
            Reason::NoPolicy => "no_policy",
            Reason::Busy => "busy",
        }
    }

    /// The response. `jitter` (any number) spreads the retries of clients that are rejected at the same moment.
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
            | Reason::HopHeader { .. }
            | Reason::CertificateUnreadable
            | Reason::CertificateInvalid { .. }
            | Reason::Revoked => (16, 401),
            Reason::UnknownClient | Reason::Denied => (7, 403),
            Reason::Quota { throttled: Throttled::RetryAfter { .. }, .. } => (8, 429),
            Reason::Quota { throttled: Throttled::ExceedsBurst { .. }, .. } | Reason::TooLarge(_) => (8, 413),
            Reason::Headers { .. } => (8, 431),
            Reason::Invalid(_) => (3, 400),
            Reason::Unsupported(_) => (12, 415),
            Reason::UnknownPath(_) | Reason::SignalNotTaken(_) => (12, 404),
            Reason::Method(_) => (12, 405),
            Reason::UnknownService(_) => (5, 404),
            Reason::NoPolicy | Reason::Busy | Reason::NotServing(_) | Reason::CertificateWithheld => {
                (14, 503)
            }
        }
    }

    /// The time until a retry may succeed, if one may.
    fn retry(&self) -> Option<Duration> {
        match self {
            Reason::Quota { throttled: Throttled::RetryAfter { wait, .. }, .. } => Some(*wait),
            Reason::NoPolicy | Reason::Busy | Reason::CertificateWithheld => Some(BUSY_RETRY_HINT),
            _ => None,
        }
    }

    /// The retry hint is sent twice: the Collector reads it from the status details, Python's exporter from a trailer
    /// of its own.
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
            Reason::NoCertificate => f.write_str("client certificate is required"),
            Reason::CertificateWithheld => f.write_str(
                "gateway does not pass the client certificate to its filter (x-forwarded-client-cert has no Cert of it)",
            ),
            Reason::CertificateUnreadable => {
                f.write_str("client certificate cannot be read: it is not DER as RFC 5280 requires")
            }
            Reason::CertificateInvalid { invalid: Invalid::Expired, validity } => write!(
                f,
                "client certificate expired at {}; hint: renew it and reconnect",
                Utc(validity.not_after)
            ),
            Reason::CertificateInvalid { invalid: Invalid::NotYet, validity } => {
                write!(f, "client certificate is not valid before {}", Utc(validity.not_before))
            }
            Reason::Hop(problem) => {
                write!(f, "trusted hop does not forward its client's identity: {problem}")
            }
            Reason::HopHeader { header, problem } => {
                write!(f, "trusted hop does not forward its client's certificate: {header} {problem}")
            }
            Reason::Revoked => f.write_str("client certificate is revoked; hint: use a new certificate and reconnect"),
            Reason::UnknownClient => f.write_str("certificate matches no configured client"),
            Reason::Denied => f.write_str("certificate is denied by the gateway's policy"),
            Reason::Quota { client, throttled } => throttled_message(f, client.as_deref(), throttled),
            Reason::TooLarge(what) => write!(f, "request too large: {what}"),
            Reason::Headers { size, limit } => write!(
                f,
                "request headers too large: {size} bytes, limit {limit}; hint: send fewer headers, or raise `limits.headers`"
            ),
            Reason::Invalid(what) => write!(f, "invalid OTLP request: {what}"),
            Reason::Unsupported(what) => write!(f, "not supported: {what}"),
            Reason::SignalNotTaken(signal) => {
                write!(f, "not supported: the gateway's backend takes no {}", signal.name())
            }
            Reason::UnknownPath(what) => write!(f, "not an OTLP export: {what}"),
            Reason::Method(method) => write!(f, "method {method} is not allowed; hint: send OTLP exports with POST"),
            Reason::NotServing(what) => write!(f, "backend is not serving: {what}"),
            Reason::UnknownService(name) => {
                write!(f, "unknown service {name}; hint: check the service \"\" or one of OTLP")
            }
            Reason::NoPolicy => f.write_str("gateway has no valid policy yet"),
            Reason::Busy => f.write_str("gateway is at its memory limit for requests in flight"),
        }
    }
}

fn throttled_message(f: &mut fmt::Formatter<'_>, client: Option<&str>, throttled: &Throttled) -> fmt::Result {
    let (Throttled::RetryAfter { dimension, limit, asked, .. }
    | Throttled::ExceedsBurst { dimension, limit, asked }) = throttled;
    let (items, rate, burst) = (dimension.key(), limit.rate, limit.capacity);
    match throttled {
        Throttled::RetryAfter { .. } => f.write_str("rate limit exceeded: ")?,
        Throttled::ExceedsBurst { .. } => write!(f, "request of {asked} {items} exceeds the burst: ")?,
    }
    match client {
        Some(name) => write!(f, "client {name} is")?,
        None => f.write_str("all clients together are")?,
    }
    write!(f, " limited to {rate} {items}/s (burst {burst}); ")?;
    match throttled {
        Throttled::RetryAfter { wait, .. } => {
            write!(f, "{asked} more are allowed in {} ms", wait.as_millis().max(1))
        }
        Throttled::ExceedsBurst { .. } => f.write_str("hint: send smaller batches"),
    }
}

/// The wait, at most [`MAX_RETRY_HINT`], and up to a quarter more.
fn spread(wait: Duration, jitter: u64) -> Duration {
    let wait = wait.clamp(Duration::from_millis(20), MAX_RETRY_HINT);
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
        let throttled = Throttled::RetryAfter { dimension: Dimension::Items, limit, asked: 512, wait };
        Reason::Quota { client: Some("acme".into()), throttled }
    }

    fn never() -> Reason {
        let limit = Limit { rate: 1000, capacity: 4000 };
        let throttled = Throttled::ExceedsBurst { dimension: Dimension::Bytes, limit, asked: 5000 };
        Reason::Quota { client: Some("acme".into()), throttled }
    }

    #[test]
    fn each_reason_has_its_status_in_each_protocol() {
        for (reason, grpc, http, retried) in [
            (Reason::NoCertificate, 16, 401, false),
            (Reason::Hop(xfcc::Problem::Missing), 16, 401, false),
            (
                Reason::HopHeader { header: "x".into(), problem: certificate_header::Problem::Missing },
                16,
                401,
                false,
            ),
            (Reason::UnknownClient, 7, 403, false),
            (Reason::Denied, 7, 403, false),
            (Reason::Revoked, 16, 401, false),
            (over(Duration::from_secs(1)), 8, 429, true),
            (never(), 8, 413, false),
            (Reason::TooLarge(String::new()), 8, 413, false),
            (Reason::Headers { size: 2, limit: 1 }, 8, 431, false),
            (Reason::Invalid(String::new()), 3, 400, false),
            (Reason::Unsupported(String::new()), 12, 415, false),
            (Reason::SignalNotTaken(Signal::Profiles), 12, 404, false),
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
    fn messages_name_the_client_the_limit_and_the_amount() {
        assert_eq!(
            over(Duration::from_millis(1500)).to_string(),
            "rate limit exceeded: client acme is limited to 1000 items/s (burst 4000); 512 more are allowed in 1500 ms"
        );
        assert_eq!(
            never().to_string(),
            concat!(
                "request of 5000 bytes exceeds the burst: client acme is limited to 1000 bytes/s (burst 4000); ",
                "hint: send smaller batches"
            )
        );
    }

    #[test]
    fn hints_are_short_and_spread() {
        for jitter in 0..5000 {
            let hour = spread(Duration::from_secs(3600), jitter);
            assert!(hour >= MAX_RETRY_HINT && hour < MAX_RETRY_HINT * 5 / 4, "{hour:?}");
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
