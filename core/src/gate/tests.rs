//! Whole requests through a gate: every way to get in, and every way not to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::identity::{Fingerprint, Identity, sha256, twin, xfcc};
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

const SECOND: Nanos = Nanos::from_secs(1);

#[derive(Default)]
pub(super) struct Shelf(RefCell<BTreeMap<String, (Vec<u8>, u32)>>);

impl Store for Shelf {
    fn get(&self, key: &str, _fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
        Ok(self.0.borrow().get(key).cloned())
    }

    fn set(&self, key: &str, value: &[u8], version: u32) -> Result<bool, StoreFailed> {
        self.0.borrow_mut().insert(key.to_owned(), (value.to_vec(), version.wrapping_add(1).max(1)));
        Ok(true)
    }
}

/// A gate, its worker, and a clock.
pub(super) struct Fixture {
    pub(super) gate: Rc<Gate>,
    pub(super) store: Shelf,
    pub(super) memory: Memory,
    pub(super) now: Timestamp,
}

impl Fixture {
    pub(super) fn new(policy: &str) -> Self {
        let gate = Rc::new(Gate::load(policy.as_bytes()).unwrap());
        Fixture { gate, store: Shelf::default(), memory: Memory::default(), now: Timestamp::from_secs(1) }
    }

    fn open(&self, client: &Rc<Client>, head: Head) -> Result<Request, Reason> {
        Request::open(&self.gate, client, head, &self.memory, &self.store, self.now)
    }

    /// One request with `body`, as the filter would carry it; what the backend gets.
    pub(super) fn send(&self, client: &Rc<Client>, head: Head, body: &[u8]) -> Result<Vec<u8>, Reason> {
        let mut request = self.open(client, head)?;
        for chunk in body.chunks(1000) {
            request.body(chunk.len())?.extend_from_slice(chunk);
        }
        let outgoing = request.finish(&self.store, self.now)?;
        Ok(outgoing.pieces().flatten().copied().collect())
    }
}

fn spiffe(id: &str) -> Identity {
    Identity::from_parts(Some(id.as_bytes()), None, None, Some(&[b'a'; 64]))
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

/// A request of `spans` spans from a client that claims to be somebody else.
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

#[test]
fn every_encoding_arrives_stamped_as_an_uncompressed_message() {
    use crate::response::Protocol::{Grpc, HttpProtobuf};
    let fixture = Fixture::new(POLICY);
    let client = acme(&fixture.gate);
    let message = forged(3);
    for (head, body) in [
        (head(Grpc, Encoding::Identity), framed(&message, 0)),
        (head(Grpc, Encoding::Gzip), framed(&gzip(&message), 1)),
        (head(Grpc, Encoding::Gzip), framed(&message, 0)),
        (head(Grpc, Encoding::Zstd), framed(&zstd(&message), 1)),
        (head(HttpProtobuf, Encoding::Identity), message.clone()),
        (head(HttpProtobuf, Encoding::Gzip), gzip(&message)),
        (head(HttpProtobuf, Encoding::Zstd), zstd(&message)),
    ] {
        let out = fixture.send(&client, head, &body).unwrap();
        let out =
            if head.protocol == Grpc { otlp_gate_wire::encoding::frame(&out).unwrap().message } else { &out };
        let want = [("otlp_gate.client", "acme"), ("service.name", "shop"), ("tenant.id", "acme")];
        assert!(attributes(out).iter().map(|(key, value)| (&**key, &**value)).eq(want), "{head:?}");
    }
}

#[test]
fn json_arrives_stamped_and_is_charged_by_what_is_inside() {
    let fixture = Fixture::new(POLICY);
    let client = acme(&fixture.gate);
    let message = |spans: usize| {
        let spans = vec!["{}"; spans].join(",");
        format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"tenant\u002eid"}}]}},"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#
        )
    };
    let attributes = concat!(
        r#"{"key":"otlp_gate.client","value":{"stringValue":"acme"}},"#,
        r#"{"key":"tenant.id","value":{"stringValue":"acme"}}"#
    );
    for (encoding, body) in
        [(Encoding::Identity, message(2).into_bytes()), (Encoding::Gzip, gzip(message(2).as_bytes()))]
    {
        let out = fixture.send(&client, Head { encoding, ..JSON }, &body).unwrap();
        let want = message(2).replace(r#"{"key":"tenant\u002eid"}"#, attributes);
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
    let refused = fixture.send(&client, JSON, message(101).as_bytes()).unwrap_err();
    let Reason::Quota { refusal: Throttled::ExceedsBurst { asked: 101, .. }, .. } = refused else {
        panic!("{refused}")
    };
}

#[test]
fn a_certificate_decides_who_it_is() {
    let gate = Gate::load(POLICY.as_bytes()).unwrap();
    let dns = Identity::from_parts(None, Some(b"Berlin.Globex.example"), None, Some(&[b'a'; 64]));
    assert_eq!(gate.client(&dns).unwrap().name().to_lowercase(), "globex-berlin");
    let cases = [
        (spiffe("spiffe://acme.example/other"), Reason::UnknownClient),
        (Identity::from_parts(None, None, None, None), Reason::NoCertificate),
        (
            Identity::from_parts(Some(b"spiffe://acme.example/edge/7"), None, None, Some(&[b'd'; 64])),
            Reason::Denied,
        ),
    ];
    for (identity, reason) in cases {
        assert_eq!(gate.client(&identity).unwrap_err(), reason);
    }
}

const PEM: &str = include_str!("../identity/testdata/p256.pem");

/// The identity and the header that Envoy makes of the certificate in testdata.
fn connection() -> (Identity, String) {
    use base64::Engine;
    let base64: String = PEM.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(base64).unwrap();
    let hash = Fingerprint(sha256(&der)).hex();
    let identity =
        Identity::from_parts(Some(b"spiffe://acme.example/edge/1"), None, None, Some(hash.as_bytes()));
    (identity, format!("Hash={hash};Cert=\"{}\"", PEM.replace('\n', "%0A")))
}

fn peer(policy: &str, header: &str) -> Result<Peer, Reason> {
    let gate = Gate::load(policy.as_bytes()).unwrap();
    gate.peer(connection().0, &[(b"x-forwarded-client-cert", header.as_bytes())])
}

#[test]
fn a_connection_is_its_clients_only_where_the_proxy_hands_the_certificate_over() {
    let (_, header) = connection();
    assert!(matches!(peer(POLICY, &header), Ok(Peer::Client(client)) if client.name() == "acme"));
    // Another certificate's, or none.
    let other = include_str!("../identity/testdata/rsa.pem").replace('\n', "%0A");
    for header in ["", "Hash=00", &format!("Cert=\"{other}\"")] {
        let refused = peer(POLICY, header).unwrap_err();
        assert_eq!(refused, Reason::CertificateWithheld);
        let response = refused.response(crate::response::Protocol::HttpProtobuf, 0);
        assert_eq!(response.http_status, 503);
    }
    let gate = Gate::load(POLICY.as_bytes()).unwrap();
    assert_eq!(gate.peer(Identity::default(), &[]).unwrap_err(), Reason::NoCertificate);
}

#[test]
fn a_client_and_a_hop_may_send_until_their_certificates_last_second() {
    const END: u64 = 2_110_000_000;
    let fixture = Fixture::new(POLICY);
    let (_, header) = connection();
    let Ok(Peer::Client(client)) = peer(POLICY, &header) else { panic!() };
    let open =
        |now| Request::open(&fixture.gate, &client, HTTP, &fixture.memory, &fixture.store, now).map(drop);
    assert_eq!(open(Timestamp::from_secs(END + 1) - Nanos::new(1)), Ok(()));
    let refused = open(Timestamp::from_secs(END + 1)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the client certificate expired at 2036-11-11T07:06:40Z: renew it and connect again"
    );
    let response = refused.response(crate::response::Protocol::Grpc, 0);
    assert_eq!((response.grpc_status, refused.label()), (Some(16), "certificate_expired"));
    assert_eq!(open(Timestamp::EPOCH).unwrap_err().label(), "certificate_not_yet_valid");

    let hops =
        POLICY.replace("\"deny\"", r#""trustedHops": [{"spiffe": "spiffe://acme.example/edge/1"}], "deny""#);
    let Ok(Peer::Hop(hop)) = peer(&hops, &header) else { panic!() };
    let headers: &Headers = &[(b"x-forwarded-client-cert", b"URI=spiffe://a")];
    assert!(fixture.gate.forwarded(headers, &hop, Timestamp::from_secs(END)).is_ok());
    assert!(fixture.gate.forwarded(headers, &hop, Timestamp::from_secs(END + 1)).is_err());
    // What a hop hands over of its client's certificate counts as well.
    let said = format!("{header};URI=spiffe://acme.example/edge/1");
    let client = Rc::new(fixture.gate.forwarded_client(&said).unwrap());
    let late = Request::open(
        &fixture.gate,
        &client,
        HTTP,
        &fixture.memory,
        &fixture.store,
        Timestamp::from_secs(END + 1),
    );
    assert_eq!(late.err().unwrap().label(), "certificate_expired");
}

#[test]
fn a_client_is_denied_by_whatever_it_can_not_change() {
    use crate::identity::Certificate;
    let (_, header) = connection();
    let read = |header: &str| xfcc::identity(header).unwrap();
    let own = read(&header);
    let Certificate { serial, key, twin, .. } = &**own.certificate.as_ref().unwrap();
    let serial: String = serial.iter().map(|byte| format!("{byte:02X}:")).collect();
    let deny = |entry: &str| {
        peer(&POLICY.replace("\"deny\": [", &format!("\"deny\": [\"{entry}\", ")), &header).err()
    };
    for entry in [
        format!("sha256:{}", own.sha256_hex().unwrap()),
        // The list may have either of the two.
        format!("sha256:{}", Fingerprint(twin.unwrap()).hex()),
        format!("serial:{}", serial.trim_end_matches(':')),
        format!("serial:00{}", serial.replace(':', "").to_lowercase()),
        format!("key:{}", Fingerprint(*key).hex()),
        "name:acme".to_owned(),
    ] {
        assert_eq!(deny(&entry), Some(Reason::Denied), "{entry}");
    }
    for entry in
        ["serial:01", "name:acm", "key:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"]
    {
        assert_eq!(deny(entry), None, "{entry}");
    }
}

#[test]
fn another_signature_makes_no_other_client_of_a_certificate() {
    use base64::Engine;
    let base64 = base64::engine::general_purpose::STANDARD;
    let pem: String = PEM.lines().filter(|line| !line.starts_with('-')).collect();
    let first = base64.decode(pem).unwrap();
    let said = |der: &[u8]| {
        let text = base64.encode(der).replace('+', "%2B");
        xfcc::identity(&format!("Cert=\"-----BEGIN CERTIFICATE-----{text}-----END CERTIFICATE-----\""))
            .unwrap()
    };
    let (one, other) = (said(&first), said(&twin(&first)));
    assert_ne!(one.sha256, other.sha256);
    let hex = one.sha256_hex().unwrap();
    for policy in [
        r#"{"unknown": "default", "quotas": {"tiers": {"default": {"items": "1/s"}}}}"#.to_owned(),
        format!(
            r#"{{"clients": [{{"name": "a", "match": {{"sha256": "{hex}"}}, "quotaPer": "{{sha256}}"}}]}}"#
        ),
    ] {
        let gate = Gate::load(policy.as_bytes()).unwrap();
        let (one, other) = (gate.client(&one).unwrap(), gate.client(&other).unwrap());
        assert_eq!((one.name(), one.resolved.bucket), (other.name(), other.resolved.bucket), "{policy}");
    }
}

#[test]
fn what_is_not_a_valid_message_is_refused() {
    use crate::response::Protocol::{Grpc, HttpProtobuf};
    let fixture = Fixture::new(&POLICY.replace("\"10/s\"", "\"1k/s\"").replace("\"100KiB/s\"", "\"1GiB/s\""));
    let client = acme(&fixture.gate);
    let message = forged(1);
    let truncated = &message[..message.len() - 1];
    let (grpc, http) = (head(Grpc, Encoding::Gzip), head(HttpProtobuf, Encoding::Gzip));
    for (head, body, label) in [
        (GRPC, vec![], "invalid"),
        (GRPC, framed(truncated, 0), "invalid"),
        (GRPC, framed(&message, 1), "invalid"),
        (GRPC, framed(&message, 2), "invalid"),
        (GRPC, [framed(&message, 0), framed(&message, 0)].concat(), "invalid"),
        (grpc, framed(&gzip(&message)[1..], 1), "invalid"),
        (HTTP, truncated.to_vec(), "invalid"),
        (http, vec![], "invalid"),
        (HTTP, b"{}".to_vec(), "invalid"),
        (JSON, message.clone(), "invalid"),
        (JSON, vec![], "invalid"),
        (JSON, b"{}{}".to_vec(), "invalid"),
        (http, message.clone(), "invalid"),
        (http, gzip(&vec![0; 5 << 20]), "too_large"),
        (HTTP, vec![0; (1 << 20) + 1], "too_large"),
    ] {
        let reason = fixture.send(&client, head, &body).unwrap_err();
        assert_eq!(reason.label(), label, "{head:?} {reason}");
    }
    assert_eq!(fixture.memory.held(), 0);
}

#[test]
fn a_second_message_is_refused_before_the_stream_ends() {
    let fixture = Fixture::new(&POLICY.replace("\"10/s\"", "\"1k/s\""));
    let client = acme(&fixture.gate);
    let first = framed(&forged(1), 0);
    let arrived = |head: Head, body: &[u8]| {
        let mut request = fixture.open(&client, head).unwrap();
        request.body(body.len()).unwrap().extend_from_slice(body);
        request.check_received().map_err(|reason| reason.label())
    };
    for end in 0..=first.len() {
        assert_eq!(arrived(GRPC, &first[..end]), Ok(()), "{end}");
    }
    assert_eq!(arrived(GRPC, &[&first[..], &[0]].concat()), Err("invalid"));
    assert_eq!(arrived(GRPC, &framed(&[], 2)), Err("invalid"));
    assert_eq!(arrived(HTTP, &[0, 0, 0, 0, 0, 0]), Ok(()));
}

#[test]
fn a_ratio_beyond_the_limit_is_a_bomb_even_below_the_size_limit() {
    let policy = POLICY.replace("\"inflated\": \"4MiB\"", "\"inflated\": \"64MiB\", \"ratio\": 50");
    let policy = policy.replace("\"100KiB/s\"", "\"1GiB/s\"");
    let fixture = Fixture::new(&policy);
    let bomb = gzip(&vec![0; 3 << 20]);
    let reason = fixture.send(&acme(&fixture.gate), head(HTTP.protocol, Encoding::Gzip), &bomb).unwrap_err();
    assert_eq!(reason.label(), "too_large");
}

#[test]
fn what_compresses_well_is_no_bomb() {
    let policy = POLICY.replace("\"inflated\": \"4MiB\"", "\"inflated\": \"64MiB\"");
    let policy = policy.replace("\"100KiB/s\"", "\"8MiB/s\"").replace("\"100/s\"", "\"10k/s\"");
    let fixture = Fixture::new(&policy);
    let client = acme(&fixture.gate);
    // As 512 records with the same stack trace of 4 KiB: 2 MiB that compress hundreds of times.
    let resource = Resource { attributes: vec![attribute("trace", &"x".repeat(4096))], ..Default::default() };
    let spans = ScopeSpans { spans: vec![Span::default()], ..Default::default() };
    let entry = ResourceSpans { resource: Some(resource), scope_spans: vec![spans], ..Default::default() };
    let message = ExportTraceServiceRequest { resource_spans: vec![entry; 512] }.encode_to_vec();
    let body = gzip(&message);
    assert!(message.len() > 200 * body.len(), "{} in {}", message.len(), body.len());
    let out = fixture.send(&client, Head { encoding: Encoding::Gzip, ..HTTP }, &body);
    assert!(out.is_ok(), "{out:?}");
}

#[test]
fn bytes_are_those_that_go_on_and_an_entry_without_items_is_one() {
    // 300 entries of two bytes each become some 50 each.
    let policy = POLICY.replace("\"100KiB/s\"", "\"10000/s\"").replace("\"100/s\"", "\"1k/s\"");
    let empty = [0x0a, 0].repeat(300);
    let fixture = Fixture::new(&policy);
    let refused = fixture.send(&acme(&fixture.gate), HTTP, &empty).unwrap_err();
    assert!(refused.to_string().contains("bytes in one request never fit"), "{refused}");
    let fixture = Fixture::new(&POLICY.replace("\"100KiB/s\"", "\"1MiB/s\""));
    let refused = fixture.send(&acme(&fixture.gate), HTTP, &empty).unwrap_err();
    assert!(refused.to_string().contains("300 items in one request never fit"), "{refused}");
    assert!(fixture.send(&acme(&fixture.gate), HTTP, &[0x0a, 0].repeat(100)).is_ok());
    assert!(fixture.send(&acme(&fixture.gate), HTTP, &forged(1)).is_err());
}

#[test]
fn a_few_bytes_do_not_become_the_largest_message_there_is() {
    let policy = POLICY.replace("\"inflated\": \"4MiB\"", "\"inflated\": \"64MiB\"");
    let long = format!("\"tenant.id\": \"acme{}\"", "x".repeat(1000));
    let policy = policy.replace("\"tenant.id\": \"acme\"", &long);
    let policy = policy.replace("\"headers\": {\"X-Scope-OrgID\": \"{tenant.id}\"},", "");
    let policy = policy.replace("\"bytes\": \"100KiB/s\", ", "").replace("\"100/s\"", "\"1M/s\"");
    let fixture = Fixture::new(&policy);
    let client = acme(&fixture.gate);
    // Whoever stamps a kilobyte, and sends as many Resources as a batch has items, is let through.
    assert!(fixture.send(&client, HTTP, &[0x0a, 0].repeat(8192)).is_ok());
    let refused = fixture.send(&client, HTTP, &[0x0a, 0].repeat(20_000)).unwrap_err();
    assert!(refused.to_string().contains("bytes when stamped"), "{refused}");
}

#[test]
fn what_is_refused_after_the_work_is_not_free() {
    let policy = POLICY.replace("\"10/s\"", "\"1k/s\"").replace("\"100/s\"", "\"10k/s\"");
    // 90 KB of gzip that is damaged at its end, that is no message, and a batch that does not fit by its items.
    let dull = [&[0xfa, 0x7c, 0x80, 0xf7, 0x05][..], &vec![0; 97_152]].concat();
    let mut damaged = gzip(&dull);
    let end = damaged.len();
    damaged[end - 6] ^= 1;
    let no_message = gzip(&[&dull[..], &[7]].concat());
    let many = gzip(&forged(40_000));
    let encoded = Head { encoding: Encoding::Gzip, ..HTTP };
    for (body, label) in [(damaged, "invalid"), (no_message, "invalid"), (many, "over_quota")] {
        let mut fixture = Fixture::new(&policy);
        let client = acme(&fixture.gate);
        let mut refused = Vec::new();
        while let Err(reason) = fixture.send(&client, encoded, &body) {
            refused.push(reason);
            if refused.last().unwrap().label() != label || refused.len() > 5 {
                break;
            }
            // It owes nothing: what may be sent is another account.
            if refused.len() == 1 {
                assert!(fixture.send(&client, HTTP, &forged(1)).is_ok());
            }
        }
        // Twice its 100 KiB are not there, and then it is refused before any work.
        let before = fixture.open(&client, encoded).err();
        assert_eq!(before.map(|reason| reason.label()), Some("over_quota"), "{refused:?}");
        assert!(refused.len() <= 6, "{refused:?}");
        fixture.now += SECOND * 2;
        assert!(fixture.open(&client, encoded).is_ok());
    }
}

#[test]
fn no_more_is_inflated_than_a_client_has_left() {
    let fixture = Fixture::new(&POLICY.replace("\"10/s\"", "\"1k/s\""));
    let client = acme(&fixture.gate);
    let encoded = Head { encoding: Encoding::Gzip, ..HTTP };
    // What says itself that it never fits is not begun; what lies is stopped.
    let mut bomb = gzip(&vec![0; 3 << 20]);
    let refused = fixture.send(&client, encoded, &bomb).unwrap_err();
    assert!(refused.to_string().starts_with("3145728 bytes in one request never fit"), "{refused}");
    let end = bomb.len();
    bomb[end - 4..].copy_from_slice(&[1, 0, 0, 0]);
    let refused = fixture.send(&client, encoded, &bomb).unwrap_err();
    assert!(refused.to_string().starts_with("102401 bytes in one request never fit"), "{refused}");
    let head = Head { encoding: Encoding::Zstd, ..HTTP };
    let refused = fixture.send(&client, head, &zstd(&vec![0; 3 << 20])).unwrap_err();
    assert_eq!(refused.label(), "over_quota", "{refused}");
}

#[test]
fn headers_are_bounded_and_count() {
    let policy = POLICY.replace("\"held\": \"2MiB\"", "\"held\": \"2MiB\", \"headers\": \"4KiB\"");
    let fixture = Fixture::new(&policy.replace("\"10/s\"", "\"1k/s\""));
    let client = acme(&fixture.gate);
    let refused = fixture.open(&client, Head { headers: 4097, ..HTTP }).err().unwrap();
    assert_eq!(refused, Reason::Headers { size: 4097, limit: 4096 });
    let opened: Vec<Request> =
        core::iter::from_fn(|| fixture.open(&client, Head { headers: 4096, ..HTTP }).ok()).collect();
    // Each holds 16 KiB and three times its headers, and this client may have half of 2 MiB.
    assert_eq!(opened.len(), 1 + (1 << 20) / (28 << 10));
}

#[test]
fn an_empty_request_is_forwarded_empty() {
    let fixture = Fixture::new(POLICY);
    let client = acme(&fixture.gate);
    assert_eq!(fixture.send(&client, HTTP, b""), Ok(vec![]));
    assert_eq!(fixture.send(&client, GRPC, &[0; 5]), Ok(vec![0; 5]));
    assert_eq!(fixture.send(&client, head(HTTP.protocol, Encoding::Gzip), &gzip(b"")), Ok(vec![]));
}

#[test]
fn quotas_are_charged_by_what_is_inside() {
    let mut fixture = Fixture::new(POLICY);
    let client = acme(&fixture.gate);
    assert!(fixture.send(&client, HTTP, &forged(60)).is_ok());
    let Err(Reason::Quota { client: Some(name), refusal }) = fixture.send(&client, HTTP, &forged(41)) else {
        panic!()
    };
    assert_eq!(name, "acme");
    let Throttled::RetryAfter { asked: 41, wait, .. } = refusal else { panic!("{refusal:?}") };
    assert_eq!(wait.as_millis(), 10);
    assert!(fixture.send(&client, HTTP, &forged(40)).is_ok());
    // Nothing is left: refused at the headers.
    assert!(fixture.open(&client, GRPC).is_err());
    fixture.now += Nanos::from_millis(500);
    assert!(fixture.send(&client, HTTP, &forged(50)).is_ok());
    fixture.now += SECOND;
    let Err(Reason::Quota { refusal: Throttled::ExceedsBurst { .. }, .. }) =
        fixture.send(&client, HTTP, &forged(101))
    else {
        panic!()
    };
}

#[test]
fn clients_of_one_organisation_share_a_bucket_where_the_rule_says_so() {
    let fixture = Fixture::new(POLICY);
    let site = |name: &str| {
        let dns = format!("{name}.globex.example");
        Rc::new(
            fixture
                .gate
                .client(&Identity::from_parts(None, Some(dns.as_bytes()), None, Some(&[b'a'; 64])))
                .unwrap(),
        )
    };
    assert!(fixture.send(&site("a"), HTTP, &forged(60)).is_ok());
    assert!(fixture.send(&site("b"), HTTP, &forged(60)).is_err());
    assert!(fixture.send(&acme(&fixture.gate), HTTP, &forged(60)).is_ok());
}

#[test]
fn what_all_clients_share_is_charged_with_each_ones_own_or_neither_is() {
    let total = r#""quotas": {"total": {"items": "150/s", "burst": "1s"}, "tiers""#;
    let mut fixture = Fixture::new(&POLICY.replace(r#""quotas": {"tiers""#, total));
    let first = acme(&fixture.gate);
    let dns = Identity::from_parts(None, Some(b"a.globex.example"), None, Some(&[b'b'; 64]));
    let second = Rc::new(fixture.gate.client(&dns).unwrap());
    // Who is over its own quota takes nothing from the others.
    assert!(fixture.send(&first, HTTP, &forged(100)).is_ok());
    for _ in 0..3 {
        let refused = fixture.send(&first, HTTP, &forged(50)).unwrap_err();
        assert_eq!(refused.label(), "over_quota");
    }
    let refused = fixture.send(&second, HTTP, &forged(51)).unwrap_err();
    assert_eq!(refused.label(), "over_total");
    assert_eq!(
        refused.to_string(),
        "all clients together are over their quota of 150 items/s (burst 150): 51 more fit in 6 ms"
    );
    // What the shared quota refuses is not charged to the client's own either.
    assert!(fixture.send(&second, HTTP, &forged(50)).is_ok());
    // Nothing is left: refused at the headers.
    assert_eq!(fixture.open(&second, HTTP).err().map(|reason| reason.label()), Some("over_total"));
    fixture.now += Nanos::new(333_333_333);
    let mut request = fixture.open(&second, HTTP).unwrap();
    request.body(10_000).unwrap().extend_from_slice(&forged(49));
    request.finish(&fixture.store, fixture.now).unwrap();
    assert!(fixture.send(&second, HTTP, &forged(30)).is_err());
    request.refund(&fixture.store, fixture.now);
    assert!(fixture.send(&second, HTTP, &forged(49)).is_ok());
}

#[test]
fn how_much_of_a_quota_is_spent_is_known_by_its_tightest_limit() {
    let total = r#""quotas": {"total": {"items": "400/s", "burst": "1s"}, "tiers""#;
    let fixture = Fixture::new(&POLICY.replace(r#""quotas": {"tiers""#, total));
    let client = acme(&fixture.gate);
    let mut request = fixture.open(&client, HTTP).unwrap();
    // One of ten requests, and none of 400 items.
    assert_eq!(request.used, QuotaUsed { own: Some(10), total: Some(0) });
    request.body(10_000).unwrap().extend_from_slice(&forged(60));
    request.finish(&fixture.store, fixture.now).unwrap();
    assert_eq!(request.used, QuotaUsed { own: Some(60), total: Some(15) });
    let refused = fixture.send(&client, HTTP, &forged(41)).unwrap_err();
    assert_eq!(QuotaUsed::of(&refused), QuotaUsed { own: Some(100), total: None });
    // What could never fit says nothing of it.
    let refused = fixture.send(&client, HTTP, &forged(101)).unwrap_err();
    assert_eq!(QuotaUsed::of(&refused), QuotaUsed::default());
}

#[test]
fn a_refund_returns_items_but_not_the_request() {
    let fixture = Fixture::new(&POLICY.replace("\"10/s\"", "\"2/s\""));
    let client = acme(&fixture.gate);
    let mut request = fixture.open(&client, HTTP).unwrap();
    request.body(10_000).unwrap().extend_from_slice(&forged(100));
    request.finish(&fixture.store, fixture.now).unwrap();
    request.refund(&fixture.store, fixture.now);
    request.refund(&fixture.store, fixture.now);
    assert!(fixture.send(&client, HTTP, &forged(100)).is_ok());
    let Err(Reason::Quota { refusal: Throttled::RetryAfter { dimension, .. }, .. }) =
        fixture.open(&client, HTTP)
    else {
        panic!()
    };
    assert_eq!(dimension, crate::quota::Dimension::Requests);
}

#[test]
fn shadow_mode_refuses_nothing_and_says_what_it_would() {
    let fixture = Fixture::new(&POLICY.replace("\"quotas\": {", "\"quotas\": {\"mode\": \"shadow\", "));
    let client = acme(&fixture.gate);
    assert!(fixture.send(&client, HTTP, &forged(100)).is_ok());
    let mut request = fixture.open(&client, HTTP).unwrap();
    request.body(10_000).unwrap().extend_from_slice(&forged(50));
    assert!(request.finish(&fixture.store, fixture.now).is_ok());
    assert!(request.shadow_throttled);
}

fn globex(gate: &Gate) -> Rc<Client> {
    let identity = Identity::from_parts(None, Some(b"a.globex.example"), None, Some(&[b'a'; 64]));
    Rc::new(gate.client(&identity).unwrap())
}

#[test]
fn who_does_not_end_its_requests_is_asked_to_try_again_and_nobody_else() {
    let fixture = Fixture::new(POLICY);
    let (hog, other) = (acme(&fixture.gate), globex(&fixture.gate));
    let mut first = fixture.open(&hog, HTTP).unwrap();
    first.body(900 << 10).unwrap();
    let mut second = fixture.open(&hog, HTTP).unwrap();
    assert_eq!(second.body(900 << 10).unwrap_err(), Reason::Busy);
    assert!(fixture.open(&other, HTTP).unwrap().body(900 << 10).is_ok());
    drop(first);
    assert!(second.body(900 << 10).is_ok());
}

#[test]
fn a_body_holds_no_more_room_than_it_says_it_needs() {
    let fixture = Fixture::new(POLICY);
    let client = acme(&fixture.gate);
    let grows = |head: Head, first: &[u8]| {
        let mut request = fixture.open(&client, head).unwrap();
        request.body(first.len()).unwrap().extend_from_slice(first);
        request.body(100).unwrap().capacity()
    };
    let framed = |len: u32| [&[0][..], &len.to_be_bytes(), &[0; 995]].concat();
    assert_eq!(grows(GRPC, &framed(1200)), 1205);
    assert_eq!(grows(Head { length: Some(1200), ..HTTP }, &[0; 1000]), 1200);
    // Who says nothing, or too much, gets room as it sends; who says too little is refused at the end.
    assert_eq!(grows(HTTP, &[0; 1000]), 2000);
    assert_eq!(grows(GRPC, &framed(u32::MAX)), 2000);
    assert_eq!(grows(Head { length: Some(u64::MAX), ..JSON }, &[0; 1000]), 2000);
    assert_eq!(grows(Head { length: Some(5), ..HTTP }, &[0; 1000]), 1100);
}

#[test]
fn where_there_is_no_room_to_grow_into_there_may_be_enough_for_what_arrived() {
    let fixture = Fixture::new(POLICY);
    let mut other = fixture.open(&globex(&fixture.gate), HTTP).unwrap();
    other.body(1000 << 10).unwrap();
    let mut request = fixture.open(&acme(&fixture.gate), HTTP).unwrap();
    let body = request.body(600 << 10).unwrap();
    body.resize(600 << 10, 0);
    assert_eq!(request.body(100 << 10).unwrap().capacity(), 700 << 10);
}

#[test]
fn requests_that_are_only_open_are_bounded_too() {
    let fixture = Fixture::new(&POLICY.replace("\"10/s\"", "\"1k/s\""));
    let (hog, other) = (acme(&fixture.gate), globex(&fixture.gate));
    let mut open = Vec::new();
    let busy = loop {
        match fixture.open(&hog, GRPC) {
            Ok(request) => open.push(request),
            Err(reason) => break reason,
        }
    };
    assert_eq!((busy, open.len()), (Reason::Busy, 64));
    assert!(fixture.open(&other, GRPC).is_ok());
}

#[test]
fn what_the_backend_does_not_answer_is_bounded_by_what_it_inflates_to() {
    let policy = POLICY.replace("\"10/s\"", "\"1k/s\"").replace("\"100KiB/s\"", "\"1GiB/s\"");
    let fixture = Fixture::new(&policy);
    // An unknown field of 1.5 MiB: two of them are no more than what is left of twice 4 MiB.
    let message = [&[0xfa, 0x7c, 0x80, 0x80, 0x60][..], &vec![0; 3 << 19]].concat();
    let body = gzip(&message);
    let finish = |client: &Rc<Client>| {
        let mut request = fixture.open(client, head(HTTP.protocol, Encoding::Gzip)).unwrap();
        request.body(body.len()).unwrap().extend_from_slice(&body);
        request.finish(&fixture.store, fixture.now).map(|_| request)
    };
    let hog = acme(&fixture.gate);
    let mut unanswered: Vec<Request> = (0..3).map(|_| finish(&hog).unwrap()).collect();
    assert_eq!(finish(&hog).err(), Some(Reason::Busy));
    assert!(finish(&globex(&fixture.gate)).is_ok());
    unanswered.pop();
    assert!(finish(&hog).is_ok());
    unanswered.clear();
    assert_eq!(fixture.memory.held(), 0);
}

#[test]
fn headers_that_the_gate_owns_are_replaced_in_every_spelling_and_those_of_the_old_body_removed() {
    let fixture = Fixture::new(POLICY);
    let client = acme(&fixture.gate);
    let request = fixture.open(&client, GRPC).unwrap();
    let headers: [(&[u8], &[u8]); 8] = [
        (b"x-scope-orgid", b"evil"),
        (b"x_scope_orgid", b"evil"),
        (b"content-type", b"application/grpc"),
        (b"content_type", b"evil"),
        (b"grpc-encoding", b"gzip"),
        (b"x.forwarded-client_cert", b"evil"),
        (b"x_scope", b"its own"),
        (b"te", b"trailers"),
    ];
    let edits = request.header_edits(&headers);
    let removed =
        ["x-scope-orgid", "x_scope_orgid", "content_type", "grpc-encoding", "x.forwarded-client_cert"];
    assert_eq!(edits.remove, removed.map(str::as_bytes));
    assert_eq!(edits.add, [("x-scope-orgid", "acme")]);
}

#[test]
fn a_grpc_call_goes_on_with_te_as_its_specification_has_it() {
    let fixture = Fixture::new(POLICY);
    let client = acme(&fixture.gate);
    for (head, headers, added) in
        [(GRPC, &[(&b"te"[..], &b"trailers"[..])][..], false), (GRPC, &[], true), (HTTP, &[], false)]
    {
        let request = fixture.open(&client, head).unwrap();
        assert_eq!(request.header_edits(headers).add.contains(&("te", "trailers")), added, "{head:?}");
    }
}

#[test]
fn a_large_policy_comes_compressed() {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(gzip(POLICY.as_bytes()));
    let gate = Gate::load(format!("{{\"gzip\":\"{text}\"}}").as_bytes()).unwrap();
    assert_eq!(acme(&gate).name(), "acme");
    for (configuration, message) in [
        ("{\"gzip\":\"!\"}", "not base64"),
        ("{\"gzip\":\"AAAA\"}", "not gzip"),
        ("{", "cannot be read"),
        ("{\"clients\":[{\"name\":\"a\",\"match\":{\"dns\":\"a\"},\"quota\":\"gold\"}]}", "clients[0].quota"),
    ] {
        let Err(error) = Gate::load(configuration.as_bytes()) else { panic!("{configuration}") };
        assert!(error.contains(message), "{error}");
    }
}

proptest! {
    #[test]
    fn any_bytes_in_any_chunks_are_forwarded_or_refused(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..6), compressed in any::<bool>(), protocol in prop::sample::select(vec![GRPC.protocol, HTTP.protocol, JSON.protocol]),
    ) {
        let fixture = Fixture::new(POLICY);
        let client = acme(&fixture.gate);
        let encoding = if compressed { Encoding::Gzip } else { Encoding::Identity };
        for signal in Signal::ALL {
            let mut request = fixture.open(&client, Head { protocol, signal, encoding, length: None, headers: 0 }).unwrap();
            for chunk in &chunks {
                request.body(chunk.len()).unwrap().extend_from_slice(chunk);
            }
            if let Ok(outgoing) = request.finish(&fixture.store, fixture.now) {
                let _ = outgoing.pieces().count();
            }
        }
        prop_assert_eq!(fixture.memory.held(), 0);
    }
}
