//! Requests: headers, client identification, and a whole request.

use std::rc::Rc;

use otlp_gate_core::gate::{Forwarded, Gate, Head, Headers, Memory, Request, TrustedHop};
use otlp_gate_core::identity::{Examination, Identity, Validity};
use otlp_gate_core::quota::{CachedStore, MemoryStore};
use otlp_gate_core::time::{Nanos, Timestamp};

use crate::{measure, messages};

const HEADERS: &Headers = &[
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":path", b"/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
    (b":authority", b"otel-gateway.example.com:4317"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
    (b"grpc-encoding", b"gzip"),
    (b"user-agent", b"OTel-OTLP-Exporter-Go/1.38.0"),
    (b"x-forwarded-proto", b"https"),
    (b"x-request-id", b"0d1b4ab7-6d6a-4a0f-9b36-0c5b9f1d3b53"),
];
const CHUNK: usize = 16 << 10;
const START: Timestamp = Timestamp::from_secs(1);

/// A policy of a hundred rules with patterns. The client matches the last one.
fn policy() -> String {
    let rule = |number: u32| {
        format!(
            r#"{{"name":"{{site}}.org{number}","match":{{"spiffe":"spiffe://org{number}.example/edge/{{site}}"}},"attributes":{{"tenant.id":"org{number}"}}}}"#
        )
    };
    let rules: Vec<String> = (0..100).map(rule).collect();
    format!(
        r#"{{"gate":"otel/gateway","clients":[{}],"attributes":{{"otlp_gate.client":"{{name}}"}},"headers":{{"X-Scope-OrgID":"{{tenant.id}}"}},
        "quotas":{{"tiers":{{"default":{{"requests":"200/s","bytes":"8MiB/s","items":"50k/s"}}}}}}}}"#,
        rules.join(",")
    )
}

pub(crate) fn all() {
    measure("read a request's headers", || Head::read(HEADERS).is_ok());
    let policy = policy();
    measure("load a policy of 100 rules", || Gate::load(policy.as_bytes()).is_ok());
    let (Ok(gate), Ok(head)) = (Gate::load(policy.as_bytes()), Head::read(HEADERS)) else { return };
    let gate = Rc::new(gate);
    let (uri, subject) = ("spiffe://org99.example/edge/7", "CN=edge-7,O=Acme\\, Inc.");
    let identify = || {
        let identity = Identity::from_texts(&[uri], &["edge-7.example"], Some(subject), Some([0xaa; 32]));
        gate.client(&identity)
    };
    measure("identify a client by one of 100 rules", || identify().is_ok());
    let element = format!(
        "Hash={};Subject=\"CN=edge-7,O=Acme\\, Inc.\";URI=spiffe://org99.example/edge/7",
        "ab".repeat(32)
    );
    let headers: &Headers = &[HEADERS, &[(b"x-forwarded-client-cert", element.as_bytes())]].concat();
    let hop = TrustedHop::new([7; 32], Validity { not_before: 0, not_after: i64::MAX });
    measure("read the identity that a hop forwards", || gate.forwarded(headers, &hop, START).is_ok());
    measure("identify a client by a forwarded identity", || {
        gate.forwarded_client(&Forwarded::element(&element), Examination::unverified(START)).is_ok()
    });
    let Ok(client) = identify() else { return };
    let client = Rc::new(client);
    let (store, memory) = (CachedStore::new(MemoryStore::default()), Memory::default());
    let message = messages::gzip(&messages::protobuf(100));
    let frame = [&[1][..], &(message.len() as u32).to_be_bytes(), &message].concat();
    let mut now = START;
    measure("carry a request of 100 spans with gzip, from its headers to its end", || {
        now += Nanos::from_secs(1);
        gate.look_up_metrics(&client, &store, now);
        let mut request = Request::open(&gate, &client, head, &memory, &store, now).ok()?;
        drop(request.header_edits(HEADERS));
        for chunk in frame.chunks(CHUNK) {
            request.body(chunk.len()).ok()?.extend_from_slice(chunk);
        }
        let outgoing = request.finish(&store, now).ok()?;
        gate.count_accepted(&client, outgoing.bytes);
        Some(outgoing.pieces().map(<[u8]>::len).sum::<usize>())
    });
}
