//! One request and its response, as the proxy's callbacks take them through the gate.

use std::rc::Rc;

use super::client::{Client, TrustedHop};
use super::cors::AllowedOrigin;
use super::edits::HeaderEdits;
use super::head::Head;
use super::headers::{Headers, headers_size};
use super::health::{HealthCheck, HealthHead};
use super::host::{HeaderMap, Host};
use super::load::Gate;
use super::memory::Reservation;
use super::metrics::{Metric, QuotaUsed};
use super::outcome::Outcome;
use super::request::{Outgoing, Request};
use super::worker::Worker;
use crate::response::{Protocol, Reason, Response};
use crate::time::Timestamp;
use otlp_gate_wire::otlp::Signal;

/// The properties that the proxy's access log can show: the client's name, the result as metrics have it, and why the
/// request was rejected.
const CLIENT: &[u8] = b"otlp_gate.client";
const RESULT: &[u8] = b"otlp_gate.result";
const REASON: &[u8] = b"otlp_gate.reason";

/// What the proxy does after a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Goes on.
    Continue,
    /// Waits (with headers or trailers).
    Pause,
    /// Waits, and forgets this piece of the body.
    Drop,
}

/// One request and its response. What it holds of the worker's memory counts until it is dropped: the proxy may hold a
/// response that the client does not read.
pub struct Stream<'w, H: Host> {
    id: u32,
    worker: &'w Worker<H>,
    gate: Option<Rc<Gate>>,
    client: Option<Rc<Client>>,
    /// The hop that forwards the client's identity.
    hop: Option<TrustedHop>,
    /// The origin of the web page that sends, where its pages may send.
    origin: Option<AllowedOrigin>,
    /// The size of the request's headers, in bytes.
    headers_size: u64,
    /// The memory that it holds once it is answered.
    reservation: Option<Reservation>,
    state: State,
}

enum State {
    New,
    Receiving(Request),
    Forwarded {
        request: Request,
        items: u64,
        bytes: u64,
    },
    ReceivingCheck(HealthCheck),
    ForwardedCheck(HealthCheck),
    /// The client may leave the response unread, so the check keeps its memory.
    AnsweredCheck(#[expect(dead_code, reason = "it holds its client's share of the memory")] HealthCheck),
    Done,
}

impl<'w, H: Host> Stream<'w, H> {
    pub(super) fn new(id: u32, worker: &'w Worker<H>, gate: Option<Rc<Gate>>) -> Self {
        Stream {
            id,
            worker,
            gate,
            client: None,
            hop: None,
            origin: None,
            headers_size: 0,
            reservation: None,
            state: State::New,
        }
    }

    /// The request's headers came; `end_of_stream` if that is all of it.
    pub fn on_request_headers(&mut self, end_of_stream: bool) -> Action {
        let host = &self.worker.host;
        host.request_headers(|headers| self.open(headers, end_of_stream))
    }

    fn open(&mut self, headers: &Headers, end_of_stream: bool) -> Action {
        self.origin = self.gate.as_ref().and_then(|gate| gate.allowed_origin(headers));
        if let Some(response) = self.origin.as_ref().and_then(|origin| origin.preflight(headers)) {
            self.worker.counters.add(Metric::Requests, None, None, Some("preflight"), 1);
            self.log_result("preflight");
            return self.respond(&response);
        }
        let (head, health) = match Head::read(headers) {
            Ok(head) => {
                self.headers_size = head.headers;
                (Some(head), None)
            }
            Err((protocol, reason)) => {
                self.headers_size = headers_size(headers);
                match HealthHead::read(headers) {
                    Some(Ok(health)) => (None, Some(health)),
                    Some(Err(reason)) => return self.reject(Protocol::Grpc, &reason, None, None),
                    None => return self.reject(protocol, &reason, None, None),
                }
            }
        };
        let (protocol, signal) = head.map_or((Protocol::Grpc, None), |it| (it.protocol, Some(it.signal)));
        let Some(gate) = self.gate.take() else {
            return self.reject(protocol, &Reason::NoPolicy, None, signal);
        };
        let Worker { host, memory, store, .. } = self.worker;
        let now = host.now();
        let (client, hop) = match gate.current_client(self.worker, headers, now) {
            Ok(sender) => sender,
            Err(reason) => return self.reject(protocol, &reason, None, signal),
        };
        self.hop = hop;
        // The cache of the shared store is for quotas.
        gate.look_up_metrics(&client, host, now);
        self.client = Some(Rc::clone(&client));
        host.set_property(CLIENT, client.name().as_bytes());
        let opened = match (head, health) {
            (Some(head), _) => Request::open(&gate, &client, head, memory, store, now).map(|request| {
                apply(host, HeaderMap::Request, &request.header_edits(headers));
                State::Receiving(request)
            }),
            (None, Some(health)) => {
                HealthCheck::open(&gate, &client, health, memory, store, now).map(|check| {
                    apply(host, HeaderMap::Request, &check.header_edits(headers));
                    host.set_header(HeaderMap::Request, ":path", check.path());
                    State::ReceivingCheck(check)
                })
            }
            (None, None) => return Action::Pause,
        };
        match opened {
            Ok(state) => self.state = state,
            Err(reason) => return self.reject(protocol, &reason, Some(&client), signal),
        }
        if end_of_stream { self.finish() } else { Action::Continue }
    }

    /// A piece of the request's body came, of `size` bytes; `end_of_stream` if it is the last.
    pub fn on_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let body = match &mut self.state {
            State::Receiving(request) => request.body(size),
            State::ReceivingCheck(check) => check.body(size),
            _ => return Action::Drop,
        };
        match body {
            Ok(body) => self.worker.host.read_request_body(size, body),
            Err(reason) => return self.reject_open(&reason),
        }
        if end_of_stream {
            return self.finish();
        }
        let received = match &self.state {
            State::Receiving(request) => request.check_received(),
            State::ReceivingCheck(check) => check.check_received(),
            _ => Ok(()),
        };
        match received {
            Ok(()) => Action::Drop,
            Err(reason) => self.reject_open(&reason),
        }
    }

    /// The request's trailers came. OTLP's clients end a request with its body. Here the body cannot be returned to the
    /// proxy any more.
    pub fn on_request_trailers(&mut self) -> Action {
        self.reject_open(&Reason::Invalid("the request ends with trailers".to_owned()))
    }

    /// The response's headers came; `end_of_stream` if that is all of it.
    pub fn on_response_headers(&mut self, end_of_stream: bool) -> Action {
        let host = &self.worker.host;
        if let State::ForwardedCheck(check) = &self.state {
            let header = |name| host.header(HeaderMap::Response, name);
            let (http, grpc) = (header(":status"), header("grpc-status"));
            if let Err(reason) = check.check_headers(http.as_deref(), grpc.as_deref(), from_backend(host)) {
                return self.reject_open(&reason);
            }
            for name in ["content-length", "grpc-encoding"] {
                host.remove_header(HeaderMap::Response, name.as_bytes());
            }
        }
        // The gate's own responses have these headers already.
        if let (Some(origin), State::Receiving(_) | State::Forwarded { .. }) = (&self.origin, &self.state) {
            apply(host, HeaderMap::Response, &origin.edits());
        }
        if let State::Forwarded { request, .. } = &self.state {
            let status = host.header(HeaderMap::Response, ":status").unwrap_or_default();
            let outcome = match request.head.protocol {
                // A status in headers counts if no trailers follow them ("Trailers-Only").
                Protocol::Grpc => end_of_stream
                    .then(|| grpc_outcome(host, HeaderMap::Response))
                    .flatten()
                    .or_else(|| (status != b"200").then(|| Outcome::of_http(&status))),
                _ => Some(Outcome::of_http(&status)),
            };
            self.on_outcome(outcome);
        }
        Action::Continue
    }

    /// A piece of the response's body came; `end_of_stream` if nothing follows it.
    pub fn on_response_body(&mut self, end_of_stream: bool) {
        if let State::ForwardedCheck(check) = &mut self.state {
            self.worker.host.replace_response_body(check.response_body());
        } else if end_of_stream {
            // No trailers come, so the status is in the headers, if there is one.
            self.on_outcome(grpc_outcome(&self.worker.host, HeaderMap::Response));
        }
    }

    /// The response's trailers came.
    pub fn on_response_trailers(&mut self) -> Action {
        let host = &self.worker.host;
        match &self.state {
            State::Forwarded { .. } => self.on_outcome(grpc_outcome(host, HeaderMap::ResponseTrailers)),
            State::ForwardedCheck(check) => {
                let end = check.check_end(host.header(HeaderMap::ResponseTrailers, "grpc-status").as_deref());
                let result = end.as_ref().map_or_else(Reason::label, |_| "serving");
                self.worker.counters.add(Metric::Requests, Some(check.client()), None, Some(result), 1);
                self.log_result(result);
                let State::ForwardedCheck(check) = core::mem::replace(&mut self.state, State::Done) else {
                    return Action::Continue;
                };
                self.state = State::AnsweredCheck(check);
                match end {
                    Ok(true) => return Action::Pause,
                    Ok(false) => {}
                    Err(reason) => fail(host, &reason),
                }
            }
            _ => {}
        }
        Action::Continue
    }

    /// The stream has ended, or its client has gone.
    pub fn on_log(&self) {
        match &self.state {
            State::Receiving(request) | State::Forwarded { request, .. } => {
                self.count_result(request, "unanswered");
            }
            State::ReceivingCheck(check) | State::ForwardedCheck(check) => {
                let client = Some(&**check.client());
                self.worker.counters.add(Metric::Requests, client, None, Some("unanswered"), 1);
                self.log_result("unanswered");
            }
            State::New | State::AnsweredCheck(_) | State::Done => {}
        }
    }

    /// Forwards the request, whose body is complete, or rejects it.
    fn finish(&mut self) -> Action {
        let worker = self.worker;
        let now = worker.host.now();
        // Its certificate may have expired while the body was received. The request checks the client's.
        if let Some(Err(reason)) = self.hop.as_ref().map(|hop| hop.check_validity(now)) {
            return self.reject_open(&reason);
        }
        let request = match &mut self.state {
            State::Receiving(request) => request,
            State::ReceivingCheck(_) => return self.finish_check(now),
            _ => return Action::Pause,
        };
        let outgoing = match request.finish(&worker.store, now) {
            Ok(outgoing) => outgoing,
            Err(reason) => return self.reject_open(&reason),
        };
        if !forward(&worker.host, &outgoing) {
            return self.reject_open(&Reason::Busy);
        }
        let State::Receiving(request) = core::mem::replace(&mut self.state, State::Done) else {
            return Action::Pause;
        };
        worker.counters.show_used(&request.client, request.used);
        let (client, signal) = (Some(&*request.client), Some(request.head.signal));
        let add = |metric, signal, by| worker.counters.add(metric, client, signal, None, by);
        add(Metric::ForgedAttributes, None, outgoing.removed());
        add(Metric::ShadowThrottled, signal, u64::from(request.shadow_throttled));
        add(Metric::Unmetered, signal, u64::from(request.unmetered));
        self.state = State::Forwarded { items: outgoing.items(), bytes: outgoing.bytes, request };
        Action::Continue
    }

    /// Forwards the health check, whose body is complete, or rejects it.
    fn finish_check(&mut self, now: Timestamp) -> Action {
        let State::ReceivingCheck(check) = &mut self.state else { return Action::Pause };
        let host = &self.worker.host;
        match check.finish(&self.worker.store, now) {
            Ok(body) if host.replace_request_body(body) => {}
            Ok(_) => return self.reject_open(&Reason::Busy),
            Err(reason) => return self.reject_open(&reason),
        }
        if let State::ReceivingCheck(check) = core::mem::replace(&mut self.state, State::Done) {
            self.state = State::ForwardedCheck(check);
        }
        Action::Continue
    }

    /// Rejects a request that has been opened.
    fn reject_open(&mut self, reason: &Reason) -> Action {
        match core::mem::replace(&mut self.state, State::Done) {
            State::Receiving(request) => {
                let (client, head) = (Rc::clone(&request.client), request.head);
                self.reservation = request.into_reservation();
                self.reject(head.protocol, reason, Some(&client), Some(head.signal))
            }
            State::ReceivingCheck(check) | State::ForwardedCheck(check) => {
                self.reject(Protocol::Grpc, reason, Some(check.client()), None)
            }
            _ => Action::Pause,
        }
    }

    fn reject(
        &mut self,
        protocol: Protocol,
        reason: &Reason,
        client: Option<&Client>,
        signal: Option<Signal>,
    ) -> Action {
        let worker = self.worker;
        let jitter = worker.host.now().as_nanos() ^ (u64::from(self.id) << 7);
        worker.counters.add(Metric::Requests, client, signal, Some(reason.label()), 1);
        self.log_result(reason.label());
        worker.host.set_property(REASON, reason.to_string().as_bytes());
        if let Some(client) = &self.client {
            worker.counters.show_used(client, QuotaUsed::of(reason));
        }
        let response = reason.response(protocol, jitter);
        if self.reservation.is_none() {
            let bucket = client.map(|client| client.bucket());
            self.reservation = worker.memory.reserve_response(bucket, self.headers_size);
        }
        match self.reservation {
            Some(_) => self.respond(&response),
            None => self.respond(&response.without_body()),
        }
    }

    fn respond(&mut self, response: &Response) -> Action {
        self.state = State::Done;
        let mut headers: Vec<(&str, &str)> =
            response.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        headers.extend(self.origin.iter().flat_map(|origin| origin.edits().add));
        let (http_status, grpc_status) = (response.http_status, response.grpc_status);
        self.worker.host.respond(http_status, &headers, &response.body, grpc_status);
        Action::Pause
    }

    /// Counts and settles what became of the forwarded request, if that is known yet.
    fn on_outcome(&mut self, outcome: Option<Outcome>) {
        let Some(outcome) = outcome else { return };
        let State::Forwarded { mut request, items, bytes } = core::mem::replace(&mut self.state, State::Done)
        else {
            return;
        };
        let worker = self.worker;
        if outcome == Outcome::Accepted {
            request.accepted();
            worker.counters.add_accepted(&request.client, request.head.signal, items, bytes);
            request.gate.count_accepted(&request.client, bytes);
            self.log_result("accepted");
        } else if from_backend(&worker.host) {
            if outcome == Outcome::Retryable {
                request.refund(&worker.store, worker.host.now());
            }
            self.count_result(&request, "backend_refused");
        } else {
            // The proxy's own response: the backend is unreachable or too slow, and whether it took the items is
            // unknown.
            self.count_result(&request, "backend_failed");
        }
        self.reservation = request.into_reservation();
    }

    fn count_result(&self, request: &Request, result: &str) {
        let (client, signal) = (Some(&*request.client), Some(request.head.signal));
        self.worker.counters.add(Metric::Requests, client, signal, Some(result), 1);
        self.log_result(result);
    }

    /// Keeps the request's result for the access log.
    fn log_result(&self, result: &str) {
        self.worker.host.set_property(RESULT, result.as_bytes());
    }
}

/// Whether the response comes from the backend, and not from the proxy itself.
fn from_backend<H: Host>(host: &H) -> bool {
    host.property(b"response\0code_details").as_deref() == Some(b"via_upstream")
}

/// Turns the end of a response whose headers have been sent into a rejection.
fn fail<H: Host>(host: &H, reason: &Reason) {
    let response = reason.response(Protocol::Grpc, 0);
    let status = response.grpc_status.unwrap_or_default().to_string();
    host.remove_header(HeaderMap::ResponseTrailers, b"grpc-status-details-bin");
    host.set_header(HeaderMap::ResponseTrailers, "grpc-status", &status);
    host.set_header(HeaderMap::ResponseTrailers, "grpc-message", &String::from_utf8_lossy(&response.body));
}

/// The outcome in these headers or trailers, if they have a gRPC status.
fn grpc_outcome<H: Host>(host: &H, map: HeaderMap) -> Option<Outcome> {
    let status = host.header(map, "grpc-status")?;
    Some(Outcome::of_grpc(&status, || host.header(map, "grpc-status-details-bin")))
}

fn apply<H: Host>(host: &H, map: HeaderMap, edits: &HeaderEdits) {
    for name in &edits.remove {
        host.remove_header(map, name);
    }
    for (name, value) in &edits.add {
        host.add_header(map, name, value);
    }
}

/// Hands the body to the proxy; returns whether the proxy took all of it.
fn forward<H: Host>(host: &H, outgoing: &Outgoing) -> bool {
    let mut body = ForwardedBody { host, gathered: Vec::new(), length: 0 };
    if !outgoing.pieces().all(|piece| body.add(piece)) || !body.flush() {
        return false;
    }
    if body.length == 0 {
        // An empty message may have come compressed. Where there was no body, there is nothing to replace.
        host.replace_request_body(b"");
    }
    true
}

/// The body as the proxy gets it: in parts that end where frames will. Envoy keeps each part as a slice of its own and
/// moves whole slices into frames. A body in one part would be copied again, and its memory be new for each request.
struct ForwardedBody<'a, H> {
    host: &'a H,
    /// What follows what the proxy has: the small pieces of a part.
    gathered: Vec<u8>,
    /// How much the proxy has.
    length: usize,
}

impl<H: Host> ForwardedBody<'_, H> {
    /// The size of HTTP/2's frames, unless a peer allows more (RFC 9113, 6.5.2).
    const FRAME: usize = 1 << 14;
    /// A call into the proxy costs about as much as copying some KiB, so less than this is gathered.
    const SMALL: usize = 1 << 12;

    /// Adds bytes; returns whether the proxy took what it was given.
    fn add(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let room = Self::FRAME - (self.length + self.gathered.len()) % Self::FRAME;
            let (part, rest) = bytes.split_at(room.min(bytes.len()));
            bytes = rest;
            if part.len() >= Self::SMALL {
                if !self.flush() || !self.put(part) {
                    return false;
                }
                continue;
            }
            self.gathered.extend_from_slice(part);
            if part.len() == room && !self.flush() {
                return false;
            }
        }
        true
    }

    fn flush(&mut self) -> bool {
        let gathered = core::mem::take(&mut self.gathered);
        let taken = gathered.is_empty() || self.put(&gathered);
        self.gathered = gathered;
        self.gathered.clear();
        taken
    }

    fn put(&mut self, bytes: &[u8]) -> bool {
        let is_first = self.length == 0;
        self.length += bytes.len();
        if is_first { self.host.replace_request_body(bytes) } else { self.host.append_to_request_body(bytes) }
    }
}
