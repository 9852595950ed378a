//! Trace export requests as SDKs send them: spans of about 300 bytes with seven attributes each, one Resource per
//! hundred spans.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use otlp_gate_wire::otlp::put_bytes;

const RESOURCE: [(&str, &str); 4] = [
    ("service.name", "shop"),
    ("host.name", "edge-01"),
    ("telemetry.sdk.language", "go"),
    ("k8s.pod.name", "shop-7c9f"),
];
const SPAN: [(&str, &str); 7] = [
    ("http.request.method", "GET"),
    ("url.path", "/api/v1/items/281647"),
    ("http.response.status_code", "200"),
    ("server.address", "items.example.com"),
    ("user_agent.original", "curl/8.5.0"),
    ("client.address", "10.2.3.4"),
    ("thread.id", "17"),
];
const PER_RESOURCE: usize = 100;
const TIME: u64 = 1_795_314_654_815_535_126;

/// A request with this number of spans, in protobuf.
pub(crate) fn protobuf(spans: usize) -> Vec<u8> {
    let of_one: Vec<u8> = (0..PER_RESOURCE as u64).flat_map(|number| field(2, &span(number))).collect();
    let scope_spans = field(2, &[field(1, &field(1, b"shop")), of_one].concat());
    let resource: Vec<u8> =
        RESOURCE.iter().flat_map(|(key, value)| field(1, &attribute(key, value))).collect();
    field(1, &[field(1, &resource), scope_spans].concat()).repeat(spans / PER_RESOURCE)
}

/// A request with this number of spans, in JSON.
pub(crate) fn json(spans: usize) -> Vec<u8> {
    let attributes = |pairs: &[(&str, &str)]| {
        let one =
            |(key, value): &(&str, &str)| format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#);
        pairs.iter().map(one).collect::<Vec<_>>().join(",")
    };
    let (trace, id) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let span = format!(
        r#"{{"traceId":"{trace}","spanId":"{id}","parentSpanId":"{id}","name":"GET /api/v1/items","kind":2,"startTimeUnixNano":"{TIME}","endTimeUnixNano":"{TIME}","attributes":[{}]}}"#,
        attributes(&SPAN)
    );
    let resource_spans = format!(
        r#"{{"resource":{{"attributes":[{}]}},"scopeSpans":[{{"scope":{{"name":"shop"}},"spans":[{}]}}]}}"#,
        attributes(&RESOURCE),
        vec![span; PER_RESOURCE].join(",")
    );
    format!(r#"{{"resourceSpans":[{}]}}"#, vec![resource_spans; spans / PER_RESOURCE].join(",")).into_bytes()
}

/// The message compressed with gzip, at the level that exporters use.
pub(crate) fn gzip(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(message).and_then(|()| encoder.finish());
    written.unwrap_or_default()
}

/// A span with random-looking IDs, the part of a span that does not compress.
fn span(number: u64) -> Vec<u8> {
    let id =
        |which: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(which as u32 * 9).to_le_bytes();
    let trace = [id(0), id(1)].concat();
    let mut span =
        [field(1, &trace), field(2, &id(2)), field(4, &id(3)), field(5, b"GET /api/v1/items")].concat();
    span.extend([6 << 3, 2]);
    for number in [7, 8] {
        span.push(number << 3 | 1);
        span.extend(TIME.to_le_bytes());
    }
    span.extend(SPAN.iter().flat_map(|(key, value)| field(9, &attribute(key, value))));
    span
}

fn attribute(key: &str, value: &str) -> Vec<u8> {
    [field(1, key.as_bytes()), field(2, &field(1, value.as_bytes()))].concat()
}

/// A length-delimited field.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, u32::from(number), bytes);
    out
}
