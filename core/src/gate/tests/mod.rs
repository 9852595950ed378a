//! Tests of requests, and of whole streams with a fake of the proxy.

#[cfg(not(target_arch = "wasm32"))]
mod authorities;
mod bounds;
mod caches;
mod fake_proxy;
mod identify;
mod message;
mod plugins;
mod quotas;
mod reports;
mod stream;
mod stream_health;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::*;
use crate::identity::{Examination, Fingerprint, Identity, sha256, with_other_signature, xfcc};
use crate::quota::{Store, StoreFailed, Throttled};
use crate::response::Reason;
use crate::time::{Nanos, Timestamp};
use otlp_gate_wire::otlp::Signal;

pub(super) const POLICY: &str = r#"{
    "gate": "otel/gateway",
    "clients": [
        {"name": "acme", "match": {"spiffe": "spiffe://acme.example/edge/*"}, "attributes": {"tenant.id": "acme"}},
        {"name": "{org}-{site}", "match": {"dns": "{site}.{org}.example"}, "attributes": {"tenant.id": "{org}"}, "quotaPer": "{org}"}
    ],
    "attributes": {"otlp_gate.client": "{name}"},
    "headers": {"X-Scope-OrgID": "{tenant.id}"},
    "deny": ["sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"],
    "quotas": {"tiers": {"default": {"requests": "10/s", "items": "100/s", "bytes": "100KiB/s", "burst": "1s"}}},
    "limits": {"wire": "1MiB", "inflated": "4MiB", "held": "2MiB"}
}"#;

/// An examination that verifies no signature.
pub(super) const UNVERIFIED: Examination<'static> =
    Examination::unverified(Timestamp::from_secs(2_000_000_000));

const SECOND: Nanos = Nanos::from_secs(1);

/// A store of one worker: every write succeeds.
#[derive(Default)]
pub(super) struct OneWorker(RefCell<BTreeMap<String, (Vec<u8>, u32)>>);

impl Store for OneWorker {
    fn get(&self, key: &str, _fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
        Ok(self.0.borrow().get(key).cloned())
    }

    fn set(&self, key: &str, value: &[u8], version: u32) -> Result<bool, StoreFailed> {
        self.0.borrow_mut().insert(key.to_owned(), (value.to_vec(), version.wrapping_add(1).max(1)));
        Ok(true)
    }
}

/// A gate, its store and memory, and a clock.
pub(super) struct Fixture {
    pub(super) gate: Rc<Gate>,
    pub(super) store: OneWorker,
    pub(super) memory: Memory,
    pub(super) now: Timestamp,
}

impl Fixture {
    pub(super) fn new(policy: &str) -> Self {
        let gate = Rc::new(Gate::load(policy.as_bytes()).unwrap());
        Fixture { gate, store: OneWorker::default(), memory: Memory::default(), now: Timestamp::from_secs(1) }
    }

    fn open(&self, client: &Rc<Client>, head: Head) -> Result<Request, Reason> {
        Request::open(&self.gate, client, head, &self.memory, &self.store, self.now)
    }

    /// Sends one request with `body`; gives what the backend gets.
    pub(super) fn send(&self, client: &Rc<Client>, head: Head, body: &[u8]) -> Result<Vec<u8>, Reason> {
        let mut request = self.open(client, head)?;
        for piece in body.chunks(1000) {
            request.body(piece.len())?.extend_from_slice(piece);
        }
        let outgoing = request.finish(&self.store, self.now)?;
        Ok(outgoing.pieces().flatten().copied().collect())
    }
}

fn spiffe(id: &str) -> Identity {
    Identity::from_texts(&[id], &[], None, Some([0xaa; 32]))
}

pub(super) fn acme(gate: &Gate) -> Rc<Client> {
    Rc::new(gate.client(&spiffe("spiffe://acme.example/edge/7")).unwrap())
}

fn head(protocol: crate::response::Protocol, encoding: Encoding) -> Head {
    Head { protocol, encoding, ..GRPC }
}

const GRPC: Head = Head {
    protocol: crate::response::Protocol::Grpc,
    signal: Signal::Traces,
    encoding: Encoding::Identity,
    length: None,
    headers: 0,
};
pub(super) const HTTP: Head = Head { protocol: crate::response::Protocol::HttpProtobuf, ..GRPC };
const JSON: Head = Head { protocol: crate::response::Protocol::HttpJson, ..GRPC };

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.into())) };
    KeyValue { key: key.into(), value: Some(value), ..Default::default() }
}

/// A request of `spans` spans that forges an owned attribute.
pub(super) fn forged(spans: usize) -> Vec<u8> {
    let resource = Resource {
        attributes: vec![attribute("tenant.id", "evil"), attribute("service.name", "shop")],
        ..Default::default()
    };
    let scope = ScopeSpans { spans: vec![Span::default(); spans], ..Default::default() };
    let spans = ResourceSpans { resource: Some(resource), scope_spans: vec![scope], ..Default::default() };
    ExportTraceServiceRequest { resource_spans: vec![spans] }.encode_to_vec()
}

pub(super) fn framed(message: &[u8], compressed: u8) -> Vec<u8> {
    [&[compressed][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

pub(super) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0; data.len() + 100];
    let mut deflate = zlib_rs::Deflate::new(6, true, 31);
    deflate.compress(data, &mut out, zlib_rs::DeflateFlush::Finish).unwrap();
    out.truncate(deflate.total_out() as usize);
    out
}

fn zstd(data: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(data, ruzstd::encoding::CompressionLevel::Fastest)
}

fn attributes(message: &[u8]) -> BTreeMap<String, String> {
    let request = ExportTraceServiceRequest::decode(message).unwrap();
    let resource = request.resource_spans[0].resource.clone().unwrap();
    let pairs =
        resource.attributes.into_iter().map(|attribute| match attribute.value.unwrap().value.unwrap() {
            Value::StringValue(value) => (attribute.key, value),
            other => panic!("{other:?}"),
        });
    pairs.collect()
}

const PEM: &str = include_str!("../../identity/testdata/p256.pem");

/// The fingerprint and the header that Envoy makes of the certificate in testdata.
fn connection() -> ([u8; 32], String) {
    use base64::Engine;
    let base64: String = PEM.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(base64).unwrap();
    let fingerprint = sha256(&der);
    let hash = Fingerprint(fingerprint).hex();
    (fingerprint, format!("Hash={hash};Cert=\"{}\"", PEM.replace('\n', "%0A")))
}

fn globex(gate: &Gate) -> Rc<Client> {
    let identity = Identity::from_texts(&[], &["a.globex.example"], None, Some([0xaa; 32]));
    Rc::new(gate.client(&identity).unwrap())
}
