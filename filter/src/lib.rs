//! The proxy-wasm adapter: it moves bytes between Envoy and `otlp-gate-core` and decides nothing.
//!
//! **Architecture Invariant:** no logic lives here. What depends on a request's content is asked of core; what is left is
//! the order of the proxy's callbacks.

mod body_alloc;
mod callbacks;
mod host;
mod worker;

use std::rc::Rc;

use otlp_gate_core::gate::{
    Answer, Check, Client, Head, HeaderEdits, Health, Held, Metric, Origin, Outgoing, Request, Used,
    headers_size,
};
use otlp_gate_core::response::{Protocol, Reason, Response};
use otlp_gate_wire::otlp::Signal;

use callbacks::Action;
use host::{HeaderMap, Map};
use worker::{Known, Loaded, count};

/// A plugin as it is configured in the proxy. Each policy has one of its own, which the proxy keeps while connections
/// still use it, and takes again without a word if the same policy comes back meanwhile.
#[derive(Default)]
struct Plugin {
    loaded: Option<Rc<Loaded>>,
}

impl Plugin {
    fn configure(&mut self, id: u32) {
        let name = host::property(b"plugin_root_id").unwrap_or_default();
        self.loaded = worker::configure(id, &name, &host::configuration());
    }

    fn stream(&self, id: u32) -> Stream {
        Stream {
            id,
            loaded: self.loaded.clone(),
            known: None,
            origin: None,
            size: 0,
            held: None,
            state: State::New,
        }
    }
}

/// One request and its answer.
struct Stream {
    id: u32,
    loaded: Option<Rc<Loaded>>,
    known: Option<Known>,
    /// The web page that sends, if one does that may.
    origin: Option<Origin>,
    /// How large its headers are.
    size: u64,
    /// What it holds until the proxy has forgotten it, once it is answered.
    held: Option<Held>,
    state: State,
}

enum State {
    New,
    Open(Request),
    Forwarded {
        request: Request,
        items: u64,
        bytes: u64,
    },
    /// A health check that arrives, that the backend is to answer, and whose client is kept waiting.
    Check(Check),
    Asked(Check),
    Held(#[expect(dead_code, reason = "it holds its client's share of the memory")] Check),
    Done,
}

impl Stream {
    fn on_request_headers(&mut self, end_of_stream: bool) -> Action {
        let headers = HeaderMap::read(Map::RequestHeaders);
        let headers = headers.pairs();
        self.origin = self.loaded.as_ref().and_then(|loaded| loaded.gate.origin(&headers));
        if let Some(response) = self.origin.as_ref().and_then(|origin| origin.preflight(&headers)) {
            count(Metric::Requests, None, None, Some("preflight"), 1);
            return self.answer(&response);
        }
        let (head, health) = match Head::read(&headers) {
            Ok(head) => {
                self.size = head.headers;
                (Some(head), None)
            }
            Err((protocol, reason)) => {
                self.size = headers_size(&headers);
                match Health::read(&headers) {
                    Some(Ok(health)) => (None, Some(health)),
                    Some(Err(reason)) => return self.refuse(Protocol::Grpc, &reason, None, None),
                    None => return self.refuse(protocol, &reason, None, None),
                }
            }
        };
        let (protocol, signal) = head.map_or((Protocol::Grpc, None), |it| (it.protocol, Some(it.signal)));
        let Some(loaded) = self.loaded.take() else {
            return self.refuse(protocol, &Reason::NoPolicy, None, signal);
        };
        let known = match loaded.client(&headers) {
            Ok(known) => known,
            Err(reason) => return self.refuse(protocol, &reason, None, signal),
        };
        let client = Rc::clone(&known.client);
        self.known = Some(known);
        host::set_property(b"otlp_gate.client", client.name.as_bytes());
        let (gate, memory, store, now) = (&loaded.gate, worker::memory(), worker::store(), host::now());
        let opened = match (head, health) {
            (Some(head), _) => Request::open(gate, &client, head, &memory, &*store, now).map(|request| {
                apply(&request.header_edits(&headers), Map::RequestHeaders);
                State::Open(request)
            }),
            (None, Some(health)) => Check::open(gate, &client, health, &memory, &*store, now).map(|check| {
                apply(&check.header_edits(&headers), Map::RequestHeaders);
                host::set_header(Map::RequestHeaders, ":path", check.path());
                State::Check(check)
            }),
            (None, None) => return Action::Pause,
        };
        match opened {
            Ok(state) => self.state = state,
            Err(reason) => return self.refuse(protocol, &reason, Some(&client), signal),
        }
        if end_of_stream { self.finish() } else { Action::Continue }
    }

    fn on_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let room = match &mut self.state {
            State::Open(request) => request.room(size),
            State::Check(check) => check.room(size),
            _ => return Action::Drop,
        };
        match room {
            Ok(body) => host::read_request_body(size, body),
            Err(reason) => return self.refuse_open(&reason),
        }
        if end_of_stream {
            return self.finish();
        }
        let arrived = match &self.state {
            State::Open(request) => request.arrived(),
            State::Check(check) => check.arrived(),
            _ => Ok(()),
        };
        match arrived {
            Ok(()) => Action::Drop,
            Err(reason) => self.refuse_open(&reason),
        }
    }

    /// OTLP's clients end with the body. Of one that does not, the body cannot be handed back to the proxy any more.
    fn on_request_trailers(&mut self) -> Action {
        self.refuse_open(&Reason::Invalid("it ends with trailers".to_owned()))
    }

    fn on_response_headers(&mut self) -> Action {
        if let State::Asked(check) = &self.state {
            let header = |name| host::header(Map::ResponseHeaders, name);
            let (http, grpc) = (header(":status"), header("grpc-status"));
            if let Err(reason) = check.answer(http.as_deref(), grpc.as_deref(), by_backend()) {
                return self.refuse_open(&reason);
            }
            for name in ["content-length", "grpc-encoding"] {
                host::remove_header(Map::ResponseHeaders, name.as_bytes());
            }
        }
        // What the gate answered itself says it already.
        if let (Some(origin), State::Open(_) | State::Forwarded { .. }) = (&self.origin, &self.state) {
            apply(&origin.edits(), Map::ResponseHeaders);
        }
        if let State::Forwarded { request, .. } = &self.state {
            let status = host::header(Map::ResponseHeaders, ":status").unwrap_or_default();
            let answer = match request.head.protocol {
                // One that says nothing yet says it in its trailers.
                Protocol::Grpc => grpc_answer(Map::ResponseHeaders)
                    .or_else(|| (status != b"200").then(|| Answer::http(&status))),
                _ => Some(Answer::http(&status)),
            };
            self.answered(answer);
        }
        Action::Continue
    }

    fn on_response_body(&mut self) {
        if let State::Asked(check) = &mut self.state {
            host::replace_response_body(check.body());
        }
    }

    fn on_response_trailers(&mut self) -> Action {
        let status = || host::header(Map::ResponseTrailers, "grpc-status");
        match &self.state {
            State::Forwarded { .. } => self.answered(grpc_answer(Map::ResponseTrailers)),
            State::Asked(check) => {
                let end = check.end(status().as_deref());
                let result = end.as_ref().map_or_else(Reason::label, |_| "serving");
                count(Metric::Requests, Some(check.client()), None, Some(result), 1);
                let State::Asked(check) = core::mem::replace(&mut self.state, State::Done) else {
                    return Action::Continue;
                };
                // Its client may leave the answer unread, so that it holds its share until the proxy has forgotten it.
                self.state = State::Held(check);
                match end {
                    Ok(true) => return Action::Pause,
                    Ok(false) => {}
                    Err(reason) => fail(&reason),
                }
            }
            _ => {}
        }
        Action::Continue
    }

    fn on_log(&self) {
        match &self.state {
            State::Open(request) | State::Forwarded { request, .. } => result(request, "unanswered"),
            State::Check(check) | State::Asked(check) => {
                count(Metric::Requests, Some(check.client()), None, Some("unanswered"), 1);
            }
            State::New | State::Held(_) | State::Done => {}
        }
    }

    /// Forwards the request, whose body is complete, or refuses it.
    fn finish(&mut self) -> Action {
        if let State::Check(_) = &self.state {
            return self.ask();
        }
        let State::Open(request) = &mut self.state else { return Action::Pause };
        let outgoing = match request.finish(&*worker::store(), host::now()) {
            Ok(outgoing) => outgoing,
            Err(reason) => return self.refuse_open(&reason),
        };
        if !write(&outgoing) {
            return self.refuse_open(&Reason::Busy);
        }
        let State::Open(request) = core::mem::replace(&mut self.state, State::Done) else {
            return Action::Pause;
        };
        if let Some(known) = &self.known {
            known.used(request.used);
        }
        let (client, signal) = (Some(&*request.client), Some(request.head.signal));
        count(Metric::Forged, client, None, None, outgoing.removed());
        count(Metric::Shadowed, client, signal, None, u64::from(request.shadowed));
        count(Metric::Uncounted, client, signal, None, u64::from(request.uncounted));
        self.state = State::Forwarded { items: outgoing.items(), bytes: outgoing.bytes, request };
        Action::Continue
    }

    /// Forwards the health check, whose body is complete, or refuses it.
    fn ask(&mut self) -> Action {
        let State::Check(check) = &mut self.state else { return Action::Pause };
        match check.finish(&*worker::store(), host::now()) {
            Ok(body) if host::replace_request_body(body) => {}
            Ok(_) => return self.refuse_open(&Reason::Busy),
            Err(reason) => return self.refuse_open(&reason),
        }
        if let State::Check(check) = core::mem::replace(&mut self.state, State::Done) {
            self.state = State::Asked(check);
        }
        Action::Continue
    }

    fn refuse_open(&mut self, reason: &Reason) -> Action {
        match core::mem::replace(&mut self.state, State::Done) {
            State::Open(request) => {
                let (client, head) = (Rc::clone(&request.client), request.head);
                self.held = request.held();
                self.refuse(head.protocol, reason, Some(&client), Some(head.signal))
            }
            State::Check(check) | State::Asked(check) => {
                self.refuse(Protocol::Grpc, reason, Some(check.client()), None)
            }
            _ => Action::Pause,
        }
    }

    fn refuse(
        &mut self,
        protocol: Protocol,
        reason: &Reason,
        client: Option<&Client>,
        signal: Option<Signal>,
    ) -> Action {
        let jitter = host::now().as_nanos() ^ (u64::from(self.id) << 7);
        count(Metric::Requests, client, signal, Some(reason.label()), 1);
        if let Some(known) = &self.known {
            known.used(Used::of(reason));
        }
        let response = reason.response(protocol, jitter);
        if self.held.is_none() {
            self.held = worker::memory().answer(client, self.size);
        }
        match self.held {
            Some(_) => self.answer(&response),
            None => self.answer(&response.without_body()),
        }
    }

    fn answer(&mut self, response: &Response) -> Action {
        self.state = State::Done;
        let mut headers: Vec<(&str, &str)> =
            response.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        headers.extend(self.origin.iter().flat_map(|origin| origin.edits().add));
        host::response(response.http_status, &headers, &response.body, response.grpc_status);
        Action::Pause
    }

    /// Takes note of the backend's answer, if there is one yet: whether it took the request.
    fn answered(&mut self, answer: Option<Answer>) {
        let Some(answer) = answer else { return };
        let State::Forwarded { mut request, items, bytes } = core::mem::replace(&mut self.state, State::Done)
        else {
            return;
        };
        if answer == Answer::Taken {
            request.taken();
            if let Some(known) = &self.known {
                known.accepted(request.head.signal, items, bytes);
            }
        } else if by_backend() {
            if answer == Answer::Again {
                request.refund(&*worker::store(), host::now());
            }
            result(&request, "backend_refused");
        } else {
            // The proxy answers itself where the backend is gone or too slow; then nobody knows what became of the items.
            result(&request, "backend_failed");
        }
        self.held = request.held();
    }
}

/// Whether it is the backend whose answer comes, and not the proxy's own.
fn by_backend() -> bool {
    host::property(b"response\0code_details").as_deref() == Some(b"via_upstream")
}

/// Makes an answer whose headers are out already end as one that is refused.
fn fail(reason: &Reason) {
    let response = reason.response(Protocol::Grpc, 0);
    let status = response.grpc_status.unwrap_or_default().to_string();
    host::remove_header(Map::ResponseTrailers, b"grpc-status-details-bin");
    host::set_header(Map::ResponseTrailers, "grpc-status", &status);
    host::set_header(Map::ResponseTrailers, "grpc-message", &String::from_utf8_lossy(&response.body));
}

/// What these headers or trailers say, if they have a status of gRPC.
fn grpc_answer(map: Map) -> Option<Answer> {
    let status = host::header(map, "grpc-status")?;
    Some(Answer::grpc(&status, || host::header(map, "grpc-status-details-bin")))
}

fn result(request: &Request, result: &str) {
    count(Metric::Requests, Some(&request.client), Some(request.head.signal), Some(result), 1);
}

fn apply(edits: &HeaderEdits, map: Map) {
    for name in &edits.remove {
        host::remove_header(map, name);
    }
    for (name, value) in &edits.add {
        host::add_header(map, name, value);
    }
}

/// Hands the body to the proxy. A call into the proxy costs about as much as copying some KiB, so small pieces are
/// gathered and large ones go out from where they are. Whether the proxy took all of it.
fn write(outgoing: &Outgoing) -> bool {
    const SMALL: usize = 4096;
    let mut gathered = Vec::new();
    let mut put = {
        let mut first = true;
        move |bytes: &[u8]| {
            if core::mem::take(&mut first) {
                host::replace_request_body(bytes)
            } else {
                host::append_to_request_body(bytes)
            }
        }
    };
    for piece in outgoing.pieces() {
        if piece.len() < SMALL {
            gathered.extend_from_slice(piece);
            continue;
        }
        if !gathered.is_empty() && !put(&gathered) {
            return false;
        }
        gathered.clear();
        if !put(piece) {
            return false;
        }
    }
    if !gathered.is_empty() {
        return put(&gathered);
    }
    if outgoing.pieces().next().is_none() {
        // An empty message may have come as a compressed one. Where there was no body, there is nothing to replace.
        put(b"");
    }
    true
}
