//! Streams of health checks: forwarded as an empty export, answered from the backend's response.

use super::fake_proxy::{Gateway, TestStream};
use super::*;
use crate::gate::path::{HEALTH_CHECK, HEALTH_WATCH};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];
const OK: [(&str, &str); 3] =
    [(":status", "200"), ("content-type", "application/grpc"), ("content-length", "5")];

fn check(gateway: &Gateway, path: &str) -> TestStream {
    let headers = [(":method", "POST"), (":path", path), ("content-type", "application/grpc")];
    gateway.forward(&headers, &framed(b"", 0))
}

fn header(fields: &[(Vec<u8>, Vec<u8>)], name: &str) -> Option<String> {
    let found = fields.iter().find(|(of, _)| of == name.as_bytes());
    found.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
}

/// The backend's response begins with headers and a message.
fn begin_response(gateway: &Gateway, stream: &mut TestStream) {
    gateway.respond(stream, &OK, &[], "via_upstream");
    assert_eq!(header(&gateway.proxy.response_headers.borrow(), "content-length"), None);
    *gateway.proxy.response_body.borrow_mut() = framed(b"", 0);
    stream.on_response_body(false);
}

fn end_response(gateway: &Gateway, stream: &mut TestStream, status: &str) -> Action {
    *gateway.proxy.response_trailers.borrow_mut() = vec![(b"grpc-status".to_vec(), status.into())];
    stream.on_response_trailers()
}

#[test]
fn a_check_is_serving_when_the_backend_accepts_an_empty_export() {
    let gateway = Gateway::new(POLICY);
    let mut stream = check(&gateway, HEALTH_CHECK);
    assert_eq!(header(&gateway.proxy.request_headers.borrow(), ":path").unwrap(), EXPORT);
    assert_eq!(*gateway.proxy.request_body.borrow(), [0; 5]);
    begin_response(&gateway, &mut stream);
    assert_eq!(*gateway.proxy.response_body.borrow(), SERVING);
    *gateway.proxy.response_body.borrow_mut() = b"more".to_vec();
    stream.on_response_body(false);
    assert!(gateway.proxy.response_body.borrow().is_empty());
    assert_eq!(end_response(&gateway, &mut stream, "0"), Action::Continue);
    stream.on_log();
    let serving = "client=.=acme;.;result=.=serving;.;otlp_gate_requests_total";
    assert_eq!((gateway.proxy.metric(serving), gateway.proxy.results().len()), (1, 1));
    // The client may not have read the response.
    assert!(gateway.worker.memory.held() > 0);
    drop(stream);
    assert_eq!(gateway.worker.memory.held(), 0);
}

#[test]
fn a_watch_stays_open_and_holds_memory() {
    let gateway = Gateway::new(POLICY);
    let mut stream = check(&gateway, HEALTH_WATCH);
    begin_response(&gateway, &mut stream);
    assert_eq!(end_response(&gateway, &mut stream, "0"), Action::Pause);
    stream.on_log();
    assert_eq!(gateway.proxy.results(), BTreeMap::from([("serving".to_owned(), 1)]));
    assert!(gateway.worker.memory.held() > 0);
}

#[test]
fn a_check_is_unavailable_when_the_backend_rejects_the_export_or_is_unreachable() {
    for (headers, details) in [
        (&[(":status", "200"), ("grpc-status", "13")][..], "via_upstream"),
        (&[(":status", "200"), ("grpc-status", "14")], "upstream_reset_before_response_started"),
        (&[(":status", "404")], "via_upstream"),
    ] {
        let gateway = Gateway::new(POLICY);
        let mut stream = check(&gateway, HEALTH_CHECK);
        gateway.proxy.set("response.code_details", details.as_bytes());
        *gateway.proxy.response_headers.borrow_mut() =
            headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        assert_eq!(stream.on_response_headers(false), Action::Pause, "{headers:?}");
        assert_eq!(gateway.proxy.take_response().unwrap().grpc_status, Some(14), "{headers:?}");
        assert_eq!(gateway.proxy.results(), BTreeMap::from([("not_serving".to_owned(), 1)]));
    }
}

#[test]
fn a_check_whose_response_fails_at_its_end_becomes_unavailable() {
    let gateway = Gateway::new(POLICY);
    let mut stream = check(&gateway, HEALTH_CHECK);
    begin_response(&gateway, &mut stream);
    assert_eq!(end_response(&gateway, &mut stream, "13"), Action::Continue);
    let trailers = gateway.proxy.response_trailers.borrow().clone();
    assert_eq!(header(&trailers, "grpc-status").unwrap(), "14");
    assert!(header(&trailers, "grpc-message").unwrap().contains("backend"));
    assert_eq!(gateway.proxy.results(), BTreeMap::from([("not_serving".to_owned(), 1)]));
}

#[test]
fn the_next_check_is_forwarded_as_a_signal_that_the_backend_accepts() {
    let gateway = Gateway::new(&POLICY.replace("\"10/s\"", "\"1k/s\""));
    let mut stream = check(&gateway, HEALTH_CHECK);
    gateway.proxy.set("response.code_details", b"via_upstream");
    *gateway.proxy.response_headers.borrow_mut() =
        vec![(b":status".to_vec(), b"200".to_vec()), (b"grpc-status".to_vec(), b"12".to_vec())];
    assert_eq!(stream.on_response_headers(false), Action::Pause);
    check(&gateway, HEALTH_CHECK);
    let path = || header(&gateway.proxy.request_headers.borrow(), ":path").unwrap();
    assert_eq!(path(), Signal::Metrics.grpc_path());
    let logs = [(":method", "POST"), (":path", "/v1/logs"), ("content-type", "application/x-protobuf")];
    let mut stream = gateway.forward(&logs, b"");
    gateway.respond(&mut stream, &[(":status", "200")], &[], "via_upstream");
    check(&gateway, HEALTH_CHECK);
    assert_eq!(path(), Signal::Logs.grpc_path());
}

#[test]
fn a_check_without_a_response_is_unanswered() {
    let gateway = Gateway::new(POLICY);
    let stream = check(&gateway, HEALTH_CHECK);
    stream.on_log();
    let unanswered = "client=.=acme;.;result=.=unanswered;.;otlp_gate_requests_total";
    assert_eq!(gateway.proxy.metric(unanswered), 1);
    drop(stream);
    assert_eq!(gateway.worker.memory.held(), 0);
}

#[test]
fn a_check_of_an_unknown_service_or_with_a_wrong_method_is_rejected() {
    let gateway = Gateway::new(POLICY);
    let headers =
        |method| [(":method", method), (":path", HEALTH_CHECK), ("content-type", "application/grpc")];
    let (mut stream, _) = gateway.begin(&headers("POST"), false);
    assert_eq!(gateway.body(&mut stream, &framed(b"\x0a\x04shop", 0), true), Action::Pause);
    assert_eq!(gateway.proxy.take_response().unwrap().grpc_status, Some(5));
    gateway.begin(&headers("GET"), true);
    assert_eq!(gateway.proxy.take_response().unwrap().grpc_status, Some(12));
}
