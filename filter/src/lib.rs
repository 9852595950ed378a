//! The proxy-wasm adapter: it moves bytes between Envoy and `otlp-gate-core` and decides nothing.
//!
//! **Architecture Invariant:** no logic lives here. What depends on a request's content is asked of core; what is left is
//! the order of the proxy's callbacks.

mod callbacks;
mod host;
mod landing;
mod worker;

use std::rc::Rc;

use otlp_gate_core::gate::{Client, Head, HeaderEdits, Metric, Origin, Outgoing, Request, Used};
use otlp_gate_core::reply::{Protocol, Reason, Reply};
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
        Stream { id, loaded: self.loaded.clone(), known: None, origin: None, state: State::New }
    }
}

/// One request and its answer.
struct Stream {
    id: u32,
    loaded: Option<Rc<Loaded>>,
    known: Option<Known>,
    /// The web page that sends, if one does that may.
    origin: Option<Origin>,
    state: State,
}

enum State {
    New,
    Open(Request),
    Forwarded { request: Request, items: u64, bytes: u64 },
    Done,
}

impl Stream {
    fn on_request_headers(&mut self, end_of_stream: bool) -> Action {
        let headers = HeaderMap::read(Map::RequestHeaders);
        let headers = headers.pairs();
        self.origin = self.loaded.as_ref().and_then(|loaded| loaded.gate.origin(&headers));
        if let Some(reply) = self.origin.as_ref().and_then(|origin| origin.preflight(&headers)) {
            count(Metric::Requests, None, None, Some("preflight"), 1);
            return self.answer(&reply);
        }
        let head = match Head::read(&headers) {
            Ok(head) => head,
            Err((protocol, reason)) => return self.refuse(protocol, &reason, None, None),
        };
        let Some(loaded) = self.loaded.take() else {
            return self.refuse(head.protocol, &Reason::NoPolicy, None, Some(head.signal));
        };
        let known = match loaded.client(&headers) {
            Ok(known) => known,
            Err(reason) => return self.refuse(head.protocol, &reason, None, Some(head.signal)),
        };
        let client = Rc::clone(&known.client);
        self.known = Some(known);
        host::set_property(b"otlp_gate.client", client.name.as_bytes());
        match Request::open(&loaded.gate, &client, head, &worker::memory(), &*worker::store(), host::now()) {
            Ok(request) => {
                apply(&request.header_edits(&headers), Map::RequestHeaders);
                self.state = State::Open(request);
                if end_of_stream { self.finish() } else { Action::Continue }
            }
            Err(reason) => self.refuse(head.protocol, &reason, Some(&client), Some(head.signal)),
        }
    }

    fn on_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let State::Open(request) = &mut self.state else { return Action::Drop };
        match request.room(size) {
            Ok(body) => host::read_request_body(size, body),
            Err(reason) => return self.refuse_open(&reason),
        }
        if end_of_stream {
            return self.finish();
        }
        match request.arrived() {
            Ok(()) => Action::Drop,
            Err(reason) => self.refuse_open(&reason),
        }
    }

    /// OTLP's clients end with the body. Of one that does not, the body cannot be handed back to the proxy any more.
    fn on_request_trailers(&mut self) -> Action {
        self.refuse_open(&Reason::Invalid("it ends with trailers".to_owned()))
    }

    fn on_response_headers(&mut self) {
        // What the gate answered itself says it already.
        if let (Some(origin), State::Open(_) | State::Forwarded { .. }) = (&self.origin, &self.state) {
            apply(&origin.edits(), Map::ResponseHeaders);
        }
        if let State::Forwarded { request, .. } = &self.state {
            let answer = match request.head.protocol {
                Protocol::Grpc => {
                    host::header(Map::ResponseHeaders, "grpc-status").map(|status| status == b"0")
                }
                _ => host::header(Map::ResponseHeaders, ":status").map(|status| status.starts_with(b"2")),
            };
            self.answered(answer);
        }
    }

    fn on_response_trailers(&mut self) {
        if let State::Forwarded { .. } = &self.state {
            self.answered(host::header(Map::ResponseTrailers, "grpc-status").map(|status| status == b"0"));
        }
    }

    fn on_log(&self) {
        match &self.state {
            State::Open(request) | State::Forwarded { request, .. } => result(request, "unanswered"),
            State::New | State::Done => {}
        }
    }

    /// Forwards the request, whose body is complete, or refuses it.
    fn finish(&mut self) -> Action {
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

    fn refuse_open(&mut self, reason: &Reason) -> Action {
        let State::Open(request) = core::mem::replace(&mut self.state, State::Done) else {
            return Action::Pause;
        };
        self.refuse(request.head.protocol, reason, Some(&request.client), Some(request.head.signal))
    }

    fn refuse(
        &mut self,
        protocol: Protocol,
        reason: &Reason,
        client: Option<&Client>,
        signal: Option<Signal>,
    ) -> Action {
        let jitter = host::now() ^ (u64::from(self.id) << 7);
        count(Metric::Requests, client, signal, Some(reason.label()), 1);
        if let Some(known) = &self.known {
            known.used(Used::of(reason));
        }
        self.answer(&reason.reply(protocol, jitter))
    }

    fn answer(&mut self, reply: &Reply) -> Action {
        self.state = State::Done;
        let mut headers: Vec<(&str, &str)> =
            reply.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        headers.extend(self.origin.iter().flat_map(|origin| origin.edits().add));
        host::reply(reply.http_status, &headers, &reply.body, reply.grpc_status);
        Action::Pause
    }

    /// Takes note of the backend's answer, if there is one yet: whether it took the request.
    fn answered(&mut self, answer: Option<bool>) {
        let Some(taken) = answer else { return };
        let State::Forwarded { mut request, items, bytes } = core::mem::replace(&mut self.state, State::Done)
        else {
            return;
        };
        if taken {
            if let Some(known) = &self.known {
                known.accepted(request.head.signal, items, bytes);
            }
            return;
        }
        // The proxy answers itself where the backend is gone or too slow; then nobody knows what became of the items.
        if host::property(b"response\0code_details").as_deref() == Some(b"via_upstream") {
            request.refund(&*worker::store(), host::now());
            result(&request, "backend_refused");
        } else {
            result(&request, "backend_failed");
        }
    }
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
