//! The hooks, as Envoy calls them. They run under AddressSanitizer as well (CONTRIBUTING.md). What a real Envoy does is tested in tests/.

use core::ffi::c_void;
use core::ptr;
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use otlp_gate_core::identity::hex;
use sha2::{Digest as _, Sha256};

use crate::abi::{CONTINUE, EnvoyBuffer, EnvoyFilter, STOP_ITERATION, STOP_ITERATION_NO_BUFFER};
use crate::fake_envoy::{Response, envoy};
use crate::hooks::{self, *};

const PEM: &str = include_str!("../../core/src/identity/testdata/p256.pem");
const EXPORT: [(&str, &str); 4] = [
    (":method", "POST"),
    (":path", "/v1/traces"),
    ("content-type", "application/x-protobuf"),
    ("x-scope-orgid", "forged"),
];

/// A policy that sets `tenant.id` to this.
fn policy(tenant: &str) -> String {
    format!(
        r#"{{"gate": "otel/gateway", "revision": "2a", "headers": {{"X-Scope-OrgID": "{{tenant.id}}"}},
        "clients": [{{"name": "acme", "match": {{"spiffe": "spiffe://acme.example/**"}}, "attributes": {{"tenant.id": "{tenant}"}}}}]}}"#
    )
}

/// Envoy's object, which the module only passes back.
fn object() -> EnvoyFilter {
    ptr::without_provenance_mut(8)
}

fn configure(name: &str, policy: &str) -> *const c_void {
    let config = envoy_dynamic_module_on_http_filter_config_new(
        object(),
        EnvoyBuffer::of(name.as_bytes()),
        EnvoyBuffer::of(policy.as_bytes()),
    );
    assert!(!config.is_null());
    config
}

/// A pointer that another thread uses, as Envoy's threads do.
#[derive(Clone, Copy)]
struct Shared(*const c_void);

// SAFETY: configurations are shared by all threads.
unsafe impl Send for Shared {}

/// A new stream with these headers, and acme's certificate.
fn begin(config: *const c_void, headers: &[(&str, &str)]) -> (*const c_void, u32) {
    let base64: String = PEM.lines().filter(|line| !line.starts_with('-')).collect();
    let hash = hex(&Sha256::digest(STANDARD.decode(base64).unwrap()));
    let certificate = format!("Hash={hash};Cert=\"{}\"", PEM.replace('\n', "%0A"));
    envoy(|envoy| {
        envoy.request_headers = headers
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect();
        envoy.request_headers.push((b"x-forwarded-client-cert".to_vec(), certificate.into_bytes()));
        envoy.fingerprint = hash;
        envoy.response = None;
        envoy.is_reset = false;
        envoy.body.clear();
    });
    let filter = envoy_dynamic_module_on_http_filter_new(config, object());
    let status = envoy_dynamic_module_on_http_filter_request_headers(object(), filter, false);
    (filter, status)
}

fn body(filter: *const c_void, chunks: &[&[u8]], end_of_stream: bool) -> u32 {
    envoy(|envoy| envoy.body = chunks.iter().map(|chunk| chunk.to_vec()).collect());
    envoy_dynamic_module_on_http_filter_request_body(object(), filter, end_of_stream)
}

fn end(filter: *const c_void) {
    envoy_dynamic_module_on_http_filter_stream_complete(object(), filter);
    envoy_dynamic_module_on_http_filter_destroy(filter);
}

/// A field of a message with these bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

/// One ResourceSpans with one span of this name.
fn traces(name: &str) -> Vec<u8> {
    field(1, &field(2, &field(2, &field(5, name.as_bytes()))))
}

/// Sends a request in two pieces of two chunks; gives its stream, and what Envoy forwards of it.
fn forward(config: *const c_void) -> (*const c_void, Vec<u8>) {
    let message = traces("a span");
    let (filter, status) = begin(config, &EXPORT);
    assert_eq!((status, envoy(|envoy| envoy.response.take())), (CONTINUE, None));
    let (first, rest) = message.split_at(3);
    let (second, third) = rest.split_at(2);
    assert_eq!(body(filter, &[first, second], false), STOP_ITERATION_NO_BUFFER);
    assert_eq!(body(filter, &[third, b""], true), CONTINUE);
    (filter, envoy(|envoy| envoy.body.concat()))
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn accept(filter: *const c_void) {
    envoy(|envoy| envoy.response_headers = vec![(b":status".to_vec(), b"200".to_vec())]);
    assert_eq!(envoy_dynamic_module_on_http_filter_response_headers(object(), filter, true), CONTINUE);
}

fn accepted() -> Option<u64> {
    envoy(|envoy| envoy.metric("otlp_gate_requests_total", &["acme", "traces", "accepted"]))
}

#[test]
fn a_request_is_forwarded_with_its_attributes_and_headers_and_counted() {
    let config = configure("forwarded", &policy("acme"));
    assert_eq!(envoy(|envoy| envoy.metric("otlp_gate_policy_revision", &[])), Some(0x2a));
    let (filter, forwarded) = forward(config);
    assert!(contains(&forwarded, "tenant.id") && contains(&forwarded, "a span"), "{forwarded:?}");
    envoy(|envoy| {
        let headers = &envoy.request_headers;
        let scope: Vec<_> = headers.iter().filter(|(name, _)| name == b"x-scope-orgid").collect();
        assert_eq!(scope, [&(b"x-scope-orgid".to_vec(), b"acme".to_vec())]);
        assert!(headers.iter().all(|(name, _)| name != b"x-forwarded-client-cert"));
        assert_eq!(envoy.filter_state.get("wasm.otlp_gate.client").map(String::as_str), Some("acme"));
    });
    accept(filter);
    end(filter);
    assert_eq!(accepted(), Some(1));
    envoy_dynamic_module_on_http_filter_config_destroy(config);
}

#[test]
fn a_rejection_of_a_grpc_request_has_its_status_in_a_header() {
    let config = configure("rejected", &policy("acme"));
    let grpc = [
        (":method", "POST"),
        (":path", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
        ("content-type", "application/grpc"),
    ];
    let (filter, status) = begin(config, &grpc);
    assert_eq!(status, CONTINUE);
    assert_eq!(body(filter, &[b"\0\0\0\0\x01\xff"], true), STOP_ITERATION_NO_BUFFER);
    let response = envoy(|envoy| envoy.response.take()).unwrap();
    assert!(response.headers.contains(&("grpc-status".to_owned(), "3".to_owned())), "{response:?}");
    end(filter);
    envoy_dynamic_module_on_http_filter_config_destroy(config);
}

#[test]
fn a_panic_ends_its_own_request_only() {
    let config = configure("panic", &policy("acme"));
    for (content_type, headers) in [("application/x-protobuf", None), ("application/grpc", Some("14"))] {
        let (filter, _) = begin(config, &[EXPORT[0], EXPORT[1], ("content-type", content_type)]);
        envoy(|envoy| envoy.response = None);
        let status = hooks::stream(filter, object(), false, STOP_ITERATION, |_| panic!("on purpose"));
        assert_eq!(status, STOP_ITERATION);
        let headers: Vec<_> =
            headers.iter().map(|status| ("grpc-status".to_owned(), (*status).to_owned())).collect();
        let expected = Response { status: 503, headers, body: b"the gateway failed".to_vec() };
        assert_eq!(envoy(|envoy| envoy.response.take()), Some(expected));
        // Nothing of it is forwarded any more.
        assert_eq!(body(filter, &[&traces("late")], true), STOP_ITERATION_NO_BUFFER);
        end(filter);
    }
    let (filter, _) = forward(config);
    hooks::stream(filter, object(), true, (), |_| panic!("on purpose"));
    assert!(envoy(|envoy| envoy.is_reset && envoy.response.is_none()));
    end(filter);
    let (filter, forwarded) = forward(config);
    assert!(contains(&forwarded, "tenant.id"));
    end(filter);
    envoy_dynamic_module_on_http_filter_config_destroy(config);
}

#[test]
fn envoy_may_call_back_while_a_hook_runs() {
    let config = configure("reentrant", &policy("acme"));
    let (filter, _) = begin(config, &EXPORT);
    let status = hooks::stream(filter, object(), false, 7, |_| {
        envoy_dynamic_module_on_http_filter_response_headers(object(), filter, true)
    });
    assert_eq!(status, CONTINUE);
    end(filter);
    envoy_dynamic_module_on_http_filter_config_destroy(config);
}

#[test]
fn all_threads_have_the_last_valid_policy_of_a_name() {
    let valid = configure("kept", &policy("first"));
    let invalid = configure("kept", r#"{"clients": 7}"#);
    assert_eq!(envoy(|envoy| envoy.metric("otlp_gate_rejected_policies_total", &[])), Some(1));
    assert!(envoy(|envoy| envoy.log.concat()).contains("the last valid policy stays active"));
    // Envoy destroys a configuration on any thread, also while another is in use.
    let (shared_valid, shared) = (Shared(valid), Shared(invalid));
    thread::spawn(move || {
        let (Shared(valid), Shared(invalid)) = (shared_valid, shared);
        let (filter, forwarded) = forward(invalid);
        assert!(contains(&forwarded, "first"));
        envoy_dynamic_module_on_http_filter_config_destroy(valid);
        end(filter);
        let (filter, _) = forward(invalid);
        end(filter);
        envoy_dynamic_module_on_http_filter_config_destroy(invalid);
        assert_eq!(envoy(|envoy| envoy.log.len()), 0, "the main thread has logged it");
    })
    .join()
    .unwrap();
    // Without any valid policy, clients are asked to retry.
    let never = configure("never", r#"{"clients": 7}"#);
    let (filter, _) = begin(never, &EXPORT);
    assert_eq!(envoy(|envoy| envoy.response.take()).unwrap().status, 503);
    end(filter);
    envoy_dynamic_module_on_http_filter_config_destroy(never);
}

#[test]
fn a_new_configuration_knows_what_those_before_it_have_counted() {
    let first = configure("counted", &policy("acme"));
    let (filter, _) = forward(first);
    accept(filter);
    end(filter);
    assert_eq!(accepted(), Some(1));
    // Envoy forgets a metric that no configuration uses any more.
    envoy(|envoy| envoy.metrics.clear());
    let second = configure("counted", &policy("acme"));
    assert_eq!(accepted(), Some(0));
    envoy_dynamic_module_on_http_filter_config_destroy(first);
    envoy_dynamic_module_on_http_filter_config_destroy(second);
}
