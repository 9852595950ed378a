//! Policies: when a stream gets one, which one stays, and what is shown of it.

use super::fake_proxy::Gateway;
use super::*;

const EXPORT: [(&str, &str); 3] =
    [(":method", "POST"), (":path", "/v1/traces"), ("content-type", "application/x-protobuf")];
const REVISION: &str = "otlp_gate_policy_revision";

/// The policy with another value for `tenant.id`, in this revision.
fn policy(tenant: &str, revision: &str) -> String {
    let policy = POLICY.replace("{\"tenant.id\": \"acme\"}", &format!("{{\"tenant.id\": \"{tenant}\"}}"));
    policy.replacen('{', &format!("{{\"revision\": \"{revision}\", "), 1)
}

fn tenant(gateway: &Gateway) -> String {
    attributes(&gateway.proxy.request_body.borrow())["tenant.id"].clone()
}

#[test]
fn a_policy_counts_for_the_streams_that_begin_after_it() {
    let mut gateway = Gateway::new(&policy("one", "1"));
    gateway.forward(&EXPORT, &forged(1));
    assert_eq!(tenant(&gateway), "one");
    let mut begun = gateway.plugin.stream(8);
    let (mut open, _) = gateway.begin(&EXPORT, false);
    gateway.configure(&policy("two", "2"));
    // Also on a connection that has been identified before.
    gateway.forward(&EXPORT, &forged(1));
    assert_eq!(tenant(&gateway), "two");
    assert_eq!(gateway.body(&mut open, &forged(1), true), Action::Continue);
    assert_eq!(tenant(&gateway), "one");
    let (_, certificate) = connection();
    let headers = [&EXPORT[..], &[("x-forwarded-client-cert", &certificate)]].concat();
    assert_eq!(gateway.headers(&mut begun, &headers, false), Action::Continue);
    assert_eq!(gateway.body(&mut begun, &forged(1), true), Action::Continue);
    assert_eq!(tenant(&gateway), "one");
}

#[test]
fn a_response_is_settled_by_the_policy_of_its_request() {
    let mut gateway = Gateway::new(&policy("one", "1"));
    let mut stream = gateway.forward(&EXPORT, &forged(100));
    gateway.configure(&policy("two", "2"));
    gateway.respond(&mut stream, &[(":status", "503")], &[], "via_upstream");
    // The bucket is the same: what the old policy charged is refunded to it.
    gateway.forward(&EXPORT, &forged(100));
    // A policy without clients does not affect requests that have been forwarded.
    let mut gateway = Gateway::new(&policy("one", "1"));
    let mut stream = gateway.forward(&EXPORT, &forged(1));
    gateway.configure("{}");
    gateway.respond(&mut stream, &[(":status", "200")], &[], "via_upstream");
    let accepted = "client=.=acme;.;signal=.=traces;.;result=.=accepted;.;otlp_gate_requests_total";
    assert_eq!(gateway.proxy.metric(accepted), 1);
    let (_, action) = gateway.begin(&EXPORT, false);
    assert_eq!((action, gateway.proxy.take_response().unwrap().http_status), (Action::Pause, 403));
}

#[test]
fn the_last_valid_policy_of_a_name_stays() {
    let mut gateway = Gateway::new(&policy("one", "1"));
    gateway.configure("{\"clients\": 7}");
    gateway.forward(&EXPORT, &forged(1));
    assert_eq!(tenant(&gateway), "one");
    assert_eq!(gateway.proxy.metric("otlp_gate_rejected_policies_total"), 1);
    assert_eq!(gateway.proxy.metric(REVISION), 1);
    let logged = gateway.proxy.logged.borrow().clone();
    assert!(matches!(&logged[..], [line] if line.contains("cannot be read")), "{logged:?}");
    // For a new plugin of the same name as well, and for none of another name.
    let mut other = Plugin::new(gateway.worker, 2);
    other.configure();
    core::mem::swap(&mut gateway.plugin, &mut other);
    gateway.forward(&EXPORT, &forged(1));
    assert_eq!(tenant(&gateway), "one");
    gateway.proxy.set("plugin_root_id", b"another");
    gateway.plugin.configure();
    let (_, action) = gateway.begin(&EXPORT, false);
    assert_eq!((action, gateway.proxy.take_response().unwrap().http_status), (Action::Pause, 503));
}

#[test]
fn without_a_valid_policy_clients_are_asked_to_retry() {
    let gateway = Gateway::new("no policy");
    let grpc = [
        (":method", "POST"),
        (":path", "/opentelemetry.proto.collector.logs.v1.LogsService/Export"),
        ("content-type", "application/grpc"),
    ];
    let (stream, action) = gateway.begin(&grpc, false);
    let response = gateway.proxy.take_response().unwrap();
    assert_eq!((action, response.grpc_status), (Action::Pause, Some(14)));
    assert!(response.headers.iter().any(|(name, _)| name == "grpc-status-details-bin"));
    stream.on_log();
    let rejected = "signal=.=logs;.;result=.=no_policy;.;otlp_gate_requests_total";
    assert_eq!(gateway.proxy.metric(rejected), 1);
}

#[test]
fn the_revision_is_that_of_the_policy_in_use() {
    let mut gateway = Gateway::new(&policy("one", "a1"));
    assert_eq!(gateway.proxy.metric(REVISION), 0xa1);
    *gateway.proxy.configuration.borrow_mut() = policy("two", "b2").into();
    let mut second = Plugin::new(gateway.worker, 2);
    second.configure();
    assert_eq!(gateway.proxy.metric(REVISION), 0xb2);
    // Without the second plugin the first is in use again.
    drop(second);
    assert_eq!(gateway.proxy.metric(REVISION), 0xa1);
    gateway.configure(&policy("three", "c3"));
    assert_eq!(gateway.proxy.metric(REVISION), 0xc3);
}
