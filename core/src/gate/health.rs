//! gRPC health checks, answered from the backend's state. Sources: grpc/doc/health-checking.md,
//! grpc/health/v1/health.proto.
//!
//! An OTLP backend seldom implements the health service, but always `Export`, so a check is forwarded as an empty
//! export. All services share the result, since a filter can change the path only before it sees the body. A backend
//! that accepts the export is serving. Everything else becomes 14 UNAVAILABLE, never a message with `NOT_SERVING`:
//! nearly every error response has no body, and a filter cannot add one. Clients treat both the same.

use std::rc::Rc;

use super::client::Client;
use super::edits::HeaderEdits;
use super::head::{Encoding, Head};
use super::headers::{Headers, headers_size, is_grpc, printable, value};
use super::load::Gate;
use super::memory::Memory;
use super::path::{HEALTH_CHECK, HEALTH_WATCH};
use super::request::{MAX_FORWARDED, Request};
use crate::quota::Store;
use crate::response::{Protocol, Reason};
use crate::time::Timestamp;
use otlp_gate_wire::otlp::{Signal, health_service};

/// The longest body of a check, in bytes: many times the length of any service's name.
const MAX_BODY: usize = 4096;

/// The headers of a health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthHead {
    watch: bool,
    encoding: Encoding,
    headers: u64,
}

/// A health check of an identified client.
pub struct HealthCheck {
    request: Request,
    watch: bool,
    /// Whether the backend's response has a message.
    has_message: bool,
}

impl HealthHead {
    /// Reads the headers of a request that is not an export. `None` where it is not a health check either.
    ///
    /// # Errors
    /// Why the health check is rejected.
    pub fn read(headers: &Headers) -> Option<Result<HealthHead, Reason>> {
        let path = value(headers, b":path")?;
        let watch = path == HEALTH_WATCH.as_bytes();
        if !(watch || path == HEALTH_CHECK.as_bytes()) || !is_grpc(value(headers, b"content-type")?) {
            return None;
        }
        if let Some(reason) = Head::method(headers) {
            return Some(Err(reason));
        }
        let encoding = Encoding::read(headers, Protocol::Grpc);
        Some(encoding.map(|encoding| HealthHead { watch, encoding, headers: headers_size(headers) }))
    }
}

impl HealthCheck {
    /// Opens a check at its headers. It is charged as one request and nothing else.
    ///
    /// # Errors
    /// As [`Request::open`], except that no other quota needs anything left.
    pub fn open<S: Store>(
        gate: &Rc<Gate>,
        client: &Rc<Client>,
        health: HealthHead,
        memory: &Memory,
        store: &S,
        now: Timestamp,
    ) -> Result<HealthCheck, Reason> {
        let head = Head {
            protocol: Protocol::Grpc,
            signal: gate.probe_signal.get(),
            encoding: health.encoding,
            length: None,
            headers: health.headers,
        };
        let request = Request::open_for(gate, client, head, &[], memory, store, now)?;
        Ok(HealthCheck { request, watch: health.watch, has_message: false })
    }

    /// The header edits, besides the path.
    pub fn header_edits<'a>(&'a self, headers: &Headers<'a>) -> HeaderEdits<'a> {
        self.request.header_edits(headers)
    }

    /// The path of the export that it is forwarded as.
    pub fn path(&self) -> &'static str {
        self.request.head.signal.grpc_path()
    }

    /// The client that sends it.
    pub fn client(&self) -> &Rc<Client> {
        &self.request.client
    }

    /// The body so far, with capacity for `len` bytes more.
    ///
    /// # Errors
    /// The body is too large, or the worker is at its memory limit.
    pub fn body(&mut self, len: usize) -> Result<&mut Vec<u8>, Reason> {
        let body = self.request.body(0)?;
        if body.len().saturating_add(len) > MAX_BODY {
            return Err(Reason::TooLarge(format!("more than {MAX_BODY} bytes in a health check")));
        }
        self.request.body(len)
    }

    /// Checks whether what has been received may still become one message.
    ///
    /// # Errors
    /// It is more than one message, or has a wrong frame.
    pub fn check_received(&self) -> Result<(), Reason> {
        self.request.check_received()
    }

    /// Checks the whole body; gives the body of the export.
    ///
    /// # Errors
    /// Why the check is rejected.
    pub fn finish<S: Store>(&mut self, store: &S, now: Timestamp) -> Result<&'static [u8], Reason> {
        /// The frame of an empty export.
        const EMPTY_EXPORT: &[u8] = &[0; 5];
        // The certificate may have expired while the body was received.
        self.client().check_validity(now)?;
        let (message, offset) = self.request.message(store, now, Some(MAX_BODY as u64))?;
        self.request.receiving = None;
        let name = health_service(message.get(offset..).unwrap_or_default())
            .map_err(|malformed| Reason::Invalid(malformed.to_string()))?;
        if !name.is_empty() && !Signal::ALL.iter().any(|signal| service(*signal).as_bytes() == name) {
            return Err(Reason::UnknownService(printable(name, 64)));
        }
        let bound = self.request.gate.policy.limits().inflated.bytes().saturating_mul(MAX_FORWARDED);
        if self.request.forwarded.resize(0, bound) { Ok(EMPTY_EXPORT) } else { Err(Reason::Busy) }
    }

    /// Checks the headers of the response: its HTTP status, its gRPC status if it is there already, and whether it
    /// comes from the backend.
    ///
    /// # Errors
    /// The backend is not serving.
    pub fn check_headers(
        &self,
        http: Option<&[u8]>,
        grpc: Option<&[u8]>,
        backend: bool,
    ) -> Result<(), Reason> {
        match grpc {
            Some(status) => Err(self.not_serving(status, backend)),
            None if http == Some(b"200") => Ok(()),
            None => Err(Reason::NotServing("its response is not gRPC")),
        }
    }

    /// What replaces a piece of the response's body.
    pub fn response_body(&mut self) -> &'static [u8] {
        /// HealthCheckResponse{status (1): SERVING (1)}, after its frame.
        const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];
        if core::mem::replace(&mut self.has_message, true) { b"" } else { SERVING }
    }

    /// Checks the gRPC status at the end of the response; returns whether the stream stays open to wait for a change. A
    /// client whose `Watch` ends after a message calls it again at once, so it stays open until the proxy ends it.
    ///
    /// # Errors
    /// The backend is not serving.
    pub fn check_end(&self, grpc: Option<&[u8]>) -> Result<bool, Reason> {
        match grpc {
            Some(b"0") if self.has_message => Ok(self.watch),
            status => Err(self.not_serving(status.unwrap_or_default(), true)),
        }
    }

    fn not_serving(&self, status: &[u8], backend: bool) -> Reason {
        Reason::NotServing(match status {
            _ if !backend => "it is unreachable",
            b"0" => "its response has no message",
            b"12" => {
                // Clients read status 12 as "no health service", and treat the backend as healthy.
                self.request.gate.probe_signal.unimplemented(self.request.head.signal);
                "it does not implement this signal; the next check uses another one"
            }
            _ => "it rejects an empty export",
        })
    }
}

/// The name of the gRPC service of a signal.
fn service(signal: Signal) -> &'static str {
    signal.grpc_path().trim_start_matches('/').trim_end_matches("/Export")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixture, HTTP, POLICY, acme, forged, framed, gzip};
    use super::*;
    use crate::quota::{Dimension, Throttled};

    fn read(path: &str, more: &[(&'static str, &'static str)]) -> Option<Result<HealthHead, Reason>> {
        let mut headers: Vec<(&[u8], &[u8])> = vec![(b":method", b"POST"), (b":path", path.as_bytes())];
        headers.extend(more.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        HealthHead::read(&headers)
    }

    const GRPC: (&str, &str) = ("content-type", "application/grpc");

    fn open(fixture: &Fixture, path: &str) -> Result<HealthCheck, Reason> {
        let health = read(path, &[GRPC, ("grpc-encoding", "gzip")]).unwrap().unwrap();
        HealthCheck::open(
            &fixture.gate,
            &acme(&fixture.gate),
            health,
            &fixture.memory,
            &fixture.store,
            fixture.now,
        )
    }

    fn asked(fixture: &Fixture, path: &str, body: &[u8]) -> Result<HealthCheck, Reason> {
        let mut check = open(fixture, path)?;
        check.body(body.len())?.extend_from_slice(body);
        assert_eq!(check.finish(&fixture.store, fixture.now)?, [0; 5]);
        Ok(check)
    }

    /// A HealthCheckRequest.
    fn of(service: &str) -> Vec<u8> {
        if service.is_empty() { vec![] } else { [&[10, service.len() as u8], service.as_bytes()].concat() }
    }

    #[test]
    fn only_calls_of_check_and_watch_are_health_checks() {
        assert!(read(HEALTH_CHECK, &[GRPC]).unwrap().is_ok_and(|head| !head.watch));
        assert!(read(HEALTH_WATCH, &[GRPC]).unwrap().is_ok_and(|head| head.watch));
        for (path, more) in [
            (HEALTH_CHECK, &[][..]),
            (HEALTH_CHECK, &[("content-type", "application/json")]),
            ("/grpc.health.v1.Health/List", &[GRPC]),
            ("/grpc.health.v1.Health/Check/", &[GRPC]),
            ("/", &[GRPC]),
        ] {
            assert_eq!(read(path, more), None, "{path}");
        }
        assert_eq!(
            read(HEALTH_CHECK, &[GRPC, ("grpc-encoding", "br")]).unwrap().unwrap_err().label(),
            "unsupported"
        );
    }

    #[test]
    fn the_server_and_the_services_of_otlp_can_be_checked() {
        let fixture = Fixture::new(&POLICY.replace("\"10/s\"", "\"1k/s\""));
        for service in core::iter::once("").chain(Signal::ALL.map(service)) {
            let check = asked(&fixture, HEALTH_CHECK, &framed(&of(service), 0)).unwrap();
            assert_eq!(check.path(), Signal::Traces.grpc_path());
            assert!(asked(&fixture, HEALTH_WATCH, &framed(&gzip(&of(service)), 1)).is_ok());
        }
        for (body, label) in [
            (framed(&of("shop"), 0), "unknown_service"),
            (framed(&of("opentelemetry.proto.collector.trace.v1.TraceService/Export"), 0), "unknown_service"),
            (framed(b"\x0a\x7f", 0), "invalid"),
            (framed(&[of("a"), of("a")].concat(), 0), "invalid"),
            (vec![], "invalid"),
            (vec![0; 5 << 10], "too_large"),
        ] {
            assert_eq!(asked(&fixture, HEALTH_CHECK, &body).err().map(|it| it.label()), Some(label));
        }
        assert_eq!(fixture.memory.held(), 0);
    }

    #[test]
    fn the_backends_response_decides_the_result() {
        let fixture = Fixture::new(&POLICY.replace("\"10/s\"", "\"1k/s\""));
        let mut check = asked(&fixture, HEALTH_CHECK, &framed(b"", 0)).unwrap();
        assert_eq!(check.check_headers(Some(b"200"), None, true), Ok(()));
        // A backend that ends without a message has not accepted anything.
        assert!(check.check_end(Some(b"0")).is_err());
        assert_eq!((check.response_body(), check.response_body()), (&[0, 0, 0, 0, 2, 8, 1][..], &b""[..]));
        assert_eq!(check.check_end(Some(b"0")), Ok(false));
        assert!(check.check_end(Some(b"14")).is_err() && check.check_end(None).is_err());
        for (http, grpc, backend) in [
            (Some(&b"200"[..]), Some(&b"14"[..]), false),
            (Some(b"200"), Some(b"12"), true),
            (Some(b"200"), Some(b"0"), true),
            (Some(b"404"), None, true),
            (None, None, true),
        ] {
            let reason = check.check_headers(http, grpc, backend).unwrap_err();
            // Never 12, which clients read as healthy.
            assert_eq!(reason.response(Protocol::Grpc, 0).grpc_status, Some(14), "{reason}");
        }
        let mut watch = asked(&fixture, HEALTH_WATCH, &framed(b"", 0)).unwrap();
        watch.response_body();
        assert_eq!(watch.check_end(Some(b"0")), Ok(true));
    }

    #[test]
    fn a_check_is_forwarded_as_a_signal_that_the_backend_implements() {
        let fixture = Fixture::new(&POLICY.replace("\"10/s\"", "\"1k/s\""));
        let path = || asked(&fixture, HEALTH_CHECK, &framed(b"", 0)).unwrap();
        for signal in [Signal::Traces, Signal::Metrics, Signal::Logs, Signal::Profiles, Signal::Traces] {
            let check = path();
            assert_eq!(check.path(), signal.grpc_path());
            assert!(check.check_headers(Some(b"200"), Some(b"12"), true).is_err());
        }
        fixture.gate.probe_signal.accepted(Signal::Logs);
        assert_eq!(path().path(), Signal::Logs.grpc_path());
        assert!(path().check_headers(Some(b"200"), Some(b"13"), true).is_err());
        assert_eq!(path().path(), Signal::Logs.grpc_path());
    }

    #[test]
    fn a_check_is_charged_as_a_request_only() {
        let fixture = Fixture::new(POLICY);
        let client = acme(&fixture.gate);
        assert!(fixture.send(&client, HTTP, &forged(100)).is_ok());
        for _ in 0..9 {
            assert!(asked(&fixture, HEALTH_CHECK, &framed(b"", 0)).is_ok(), "although no items are left");
        }
        let Err(Reason::Quota { throttled: Throttled::RetryAfter { dimension, .. }, .. }) =
            open(&fixture, HEALTH_CHECK)
        else {
            panic!()
        };
        assert_eq!(dimension, Dimension::Requests);
    }

    #[test]
    fn open_watches_are_limited_like_requests() {
        let fixture = Fixture::new(&POLICY.replace("\"10/s\"", "\"10k/s\""));
        let mut held = Vec::new();
        let busy = loop {
            match asked(&fixture, HEALTH_WATCH, &framed(b"", 0)) {
                Ok(check) => held.push(check),
                Err(reason) => break reason,
            }
        };
        // Half of the memory for forwarded messages: twice 4 MiB, each with 16 KiB and three times its headers.
        assert_eq!((busy, held.len()), (Reason::Busy, 246));
        drop(held);
        assert_eq!(fixture.memory.held(), 0);
    }
}
