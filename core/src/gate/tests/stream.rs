//! Streams of exports: how they end, what their responses mean, and what is counted.

use super::fake_proxy::{Gateway, TestStream};
use super::*;
use otlp_gate_wire::otlp::put_bytes;

const HTTP_EXPORT: [(&str, &str); 3] =
    [(":method", "POST"), (":path", "/v1/traces"), ("content-type", "application/x-protobuf")];
const GRPC_EXPORT: [(&str, &str); 3] = [
    (":method", "POST"),
    (":path", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
    ("content-type", "application/grpc"),
];
const VIA_UPSTREAM: &str = "via_upstream";
const BY_PROXY: &str = "upstream_reset_before_response_started{connection_failure}";

fn one(result: &str) -> BTreeMap<String, u64> {
    BTreeMap::from([(result.to_owned(), 1)])
}

/// Sends a body of all the items that the quota has.
fn whole_quota(gateway: &Gateway, headers: &[(&str, &str)]) -> TestStream {
    let grpc = headers.contains(&("content-type", "application/grpc"));
    let body = if grpc { framed(&forged(100), 0) } else { forged(100) };
    gateway.forward(headers, &body)
}

/// Whether the client's items have been refunded: the next request has some left.
fn is_refunded(gateway: &Gateway) -> bool {
    let (_, action) = gateway.begin(&HTTP_EXPORT, false);
    action == Action::Continue
}

#[test]
fn a_request_that_ends_with_its_headers_is_an_empty_export() {
    let gateway = Gateway::new(POLICY);
    let (mut stream, action) = gateway.begin(&HTTP_EXPORT, true);
    assert_eq!(action, Action::Continue);
    assert!(gateway.proxy.request_body.borrow().is_empty());
    gateway.respond(&mut stream, &[(":status", "200")], &[], VIA_UPSTREAM);
    assert_eq!(gateway.proxy.results(), one("accepted"));
    // gRPC has a frame in any case.
    let gateway = Gateway::new(POLICY);
    let (_, action) = gateway.begin(&GRPC_EXPORT, true);
    assert_eq!(action, Action::Pause);
    assert_eq!(gateway.proxy.take_response().unwrap().grpc_status, Some(3));
    assert_eq!(gateway.proxy.results(), one("invalid"));
}

#[test]
fn profiles_are_rejected_where_the_backend_takes_none() {
    let policy = POLICY.replacen('{', "{\"noProfiles\": true,", 1);
    let message = b"not supported: the gateway's backend takes no profiles";
    for (path, content_type, status) in [
        (Signal::Profiles.grpc_path(), "application/grpc", (200, Some(12))),
        (Signal::Profiles.http_path(), "application/json", (404, None)),
        (Signal::Profiles.http_path(), "application/x-protobuf", (404, None)),
    ] {
        let headers = [(":method", "POST"), (":path", path), ("content-type", content_type)];
        let gateway = Gateway::new(&policy);
        // Before its body is read, and without a charge: the quota has ten requests.
        for _ in 0..20 {
            assert_eq!(gateway.begin(&headers, false).1, Action::Pause);
            let response = gateway.proxy.take_response().unwrap();
            assert_eq!((response.http_status, response.grpc_status), status);
            assert!(response.body.windows(message.len()).any(|it| it == message));
            assert!(response.headers.iter().all(|(name, _)| !name.contains("encoding")), "{response:?}");
        }
        assert_eq!(gateway.proxy.results(), BTreeMap::from([("unsupported".to_owned(), 20)]));
        assert_eq!(Gateway::new(POLICY).begin(&headers, false).1, Action::Continue);
    }
}

#[test]
fn a_request_that_ends_with_its_body_is_forwarded_whole() {
    let gateway = Gateway::new(POLICY);
    let (mut stream, action) = gateway.begin(&GRPC_EXPORT, false);
    assert_eq!(action, Action::Continue);
    let body = framed(&forged(3), 0);
    let (first, last) = body.split_at(20);
    assert_eq!(gateway.body(&mut stream, first, false), Action::Drop);
    assert_eq!(gateway.body(&mut stream, b"", false), Action::Drop);
    assert_eq!(gateway.body(&mut stream, last, true), Action::Continue);
    let forwarded = gateway.proxy.request_body.borrow().clone();
    let message = otlp_gate_wire::encoding::frame(&forwarded).unwrap().message;
    assert_eq!(attributes(message)["tenant.id"], "acme");
    assert_eq!(gateway.proxy.properties.borrow()["otlp_gate.client"], b"acme");
    let headers = gateway.proxy.request_headers.borrow();
    assert!(headers.contains(&(b"x-scope-orgid".to_vec(), b"acme".to_vec())), "{headers:?}");
    assert!(!headers.iter().any(|(name, _)| name == b"x-forwarded-client-cert"));
    let forged = "client=.=acme;.;otlp_gate_forged_attributes_total";
    assert_eq!(gateway.proxy.metric(forged), 1);
}

#[test]
fn an_end_of_stream_in_an_empty_last_piece_ends_the_request() {
    let gateway = Gateway::new(POLICY);
    let (mut stream, _) = gateway.begin(&HTTP_EXPORT, false);
    assert_eq!(gateway.body(&mut stream, &forged(1), false), Action::Drop);
    assert_eq!(gateway.body(&mut stream, b"", true), Action::Continue);
    assert_eq!(attributes(&gateway.proxy.request_body.borrow())["tenant.id"], "acme");
}

#[test]
fn a_request_that_ends_with_trailers_is_rejected() {
    let gateway = Gateway::new(POLICY);
    let (mut stream, _) = gateway.begin(&GRPC_EXPORT, false);
    assert_eq!(gateway.body(&mut stream, &framed(&forged(1), 0), false), Action::Drop);
    assert_eq!(stream.on_request_trailers(), Action::Pause);
    assert_eq!(gateway.proxy.take_response().unwrap().grpc_status, Some(3));
    // What comes after a rejection changes nothing.
    assert_eq!(gateway.body(&mut stream, &framed(&forged(1), 0), true), Action::Drop);
    assert_eq!(stream.on_request_trailers(), Action::Pause);
    stream.on_log();
    assert_eq!((gateway.proxy.take_response(), gateway.proxy.results()), (None, one("invalid")));
}

#[test]
fn a_response_decides_the_result_and_the_refund() {
    // The export, the HTTP status, the gRPC status in headers or in trailers, and where the response comes from.
    for (export, http, in_headers, in_trailers, details, result, refunded) in [
        (&GRPC_EXPORT, "200", "0", "", VIA_UPSTREAM, "accepted", false),
        (&GRPC_EXPORT, "200", "", "0", VIA_UPSTREAM, "accepted", false),
        (&HTTP_EXPORT, "200", "", "", VIA_UPSTREAM, "accepted", false),
        (&GRPC_EXPORT, "200", "14", "", VIA_UPSTREAM, "backend_refused", true),
        (&GRPC_EXPORT, "200", "", "14", VIA_UPSTREAM, "backend_refused", true),
        // Where there are trailers, their status is the one that clients read.
        (&GRPC_EXPORT, "200", "14", "0", VIA_UPSTREAM, "accepted", false),
        (&GRPC_EXPORT, "200", "0", "14", VIA_UPSTREAM, "backend_refused", true),
        (&GRPC_EXPORT, "200", "", "3", VIA_UPSTREAM, "backend_refused", false),
        (&GRPC_EXPORT, "200", "", "8", VIA_UPSTREAM, "backend_refused", false),
        (&GRPC_EXPORT, "503", "", "", VIA_UPSTREAM, "backend_refused", true),
        (&HTTP_EXPORT, "429", "", "", VIA_UPSTREAM, "backend_refused", true),
        (&HTTP_EXPORT, "400", "", "", VIA_UPSTREAM, "backend_refused", false),
        // The proxy's own responses: whether the backend took the items is unknown.
        (&GRPC_EXPORT, "200", "14", "", BY_PROXY, "backend_failed", false),
        (&HTTP_EXPORT, "503", "", "", BY_PROXY, "backend_failed", false),
        (&HTTP_EXPORT, "504", "", "", "response_timeout", "backend_failed", false),
    ] {
        let gateway = Gateway::new(POLICY);
        let mut stream = whole_quota(&gateway, export);
        let status = |status| Some(("grpc-status", status)).filter(|_| !str::is_empty(status));
        let headers: Vec<_> = [(":status", http)].into_iter().chain(status(in_headers)).collect();
        let trailers: Vec<_> = status(in_trailers).into_iter().collect();
        gateway.respond(&mut stream, &headers, &trailers, details);
        stream.on_log();
        assert_eq!(gateway.proxy.results(), one(result), "{headers:?} {trailers:?} {details}");
        assert_eq!(is_refunded(&gateway), refunded, "{headers:?} {trailers:?} {details}");
    }
}

#[test]
fn a_status_in_headers_counts_when_the_response_ends_with_its_body() {
    for (status, result, refunded) in [("0", "accepted", false), ("14", "backend_refused", true)] {
        let gateway = Gateway::new(POLICY);
        let mut stream = whole_quota(&gateway, &GRPC_EXPORT);
        gateway.proxy.set("response.code_details", VIA_UPSTREAM.as_bytes());
        *gateway.proxy.response_headers.borrow_mut() = [(":status", "200"), ("grpc-status", status)]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
        assert_eq!(stream.on_response_headers(false), Action::Continue);
        stream.on_response_body(false);
        assert!(gateway.proxy.results().is_empty());
        stream.on_response_body(true);
        stream.on_log();
        assert_eq!(gateway.proxy.results(), one(result), "{status}");
        assert_eq!(is_refunded(&gateway), refunded, "{status}");
    }
}

#[test]
fn a_throttling_response_with_retry_info_is_refunded() {
    let retry_info = details_of_a_throttled_request();
    let gateway = Gateway::new(POLICY);
    let mut stream = whole_quota(&gateway, &GRPC_EXPORT);
    let trailers = [("grpc-status", "8"), ("grpc-status-details-bin", &*retry_info)];
    gateway.respond(&mut stream, &[(":status", "200")], &trailers, VIA_UPSTREAM);
    assert_eq!(gateway.proxy.results(), one("backend_refused"));
    assert!(is_refunded(&gateway));
}

/// The `grpc-status-details-bin` of a response that another gate sends to a client over its quota.
fn details_of_a_throttled_request() -> String {
    let gateway = Gateway::new(POLICY);
    whole_quota(&gateway, &GRPC_EXPORT);
    gateway.begin(&GRPC_EXPORT, false);
    let headers = gateway.proxy.take_response().unwrap().headers;
    headers.into_iter().find(|(name, _)| name == "grpc-status-details-bin").unwrap().1
}

#[test]
fn a_request_without_a_response_is_unanswered_and_not_refunded() {
    let gateway = Gateway::new(POLICY);
    let stream = whole_quota(&gateway, &GRPC_EXPORT);
    stream.on_log();
    drop(stream);
    assert_eq!(gateway.proxy.results(), one("unanswered"));
    assert!(!is_refunded(&gateway));
    // So is one whose response ends before its status.
    let gateway = Gateway::new(POLICY);
    let mut stream = whole_quota(&gateway, &GRPC_EXPORT);
    gateway.respond(&mut stream, &[(":status", "200")], &[], VIA_UPSTREAM);
    stream.on_log();
    assert_eq!(gateway.proxy.results(), one("unanswered"));
}

#[test]
fn a_client_that_disconnects_while_it_sends_is_unanswered() {
    let gateway = Gateway::new(POLICY);
    let (mut stream, _) = gateway.begin(&GRPC_EXPORT, false);
    gateway.body(&mut stream, &framed(&forged(100), 0)[..50], false);
    stream.on_log();
    drop(stream);
    let requests = "client=.=acme;.;signal=.=traces;.;result=.=unanswered;.;otlp_gate_requests_total";
    assert_eq!(gateway.proxy.metric(requests), 1);
    assert_eq!(gateway.worker.memory.held(), 0);
    // Nothing was charged but the request.
    assert!(is_refunded(&gateway));
    whole_quota(&gateway, &GRPC_EXPORT);
}

#[test]
fn memory_is_held_until_the_proxy_deletes_the_stream() {
    let gateway = Gateway::new(POLICY);
    let held = || gateway.worker.memory.held();
    let mut stream = whole_quota(&gateway, &HTTP_EXPORT);
    let forwarded = held();
    gateway.respond(&mut stream, &[(":status", "200")], &[], VIA_UPSTREAM);
    // The client may not have read the response.
    assert!(held() > 0 && held() < forwarded, "{} of {forwarded}", held());
    drop(stream);
    assert_eq!(held(), 0);
    // A request that is rejected at its headers, and one that is rejected at its end.
    let (stream, action) = gateway.begin(&[(":method", "GET"), (":path", "/")], true);
    assert!(action == Action::Pause && held() > 0);
    drop(stream);
    gateway.proxy.now.set(gateway.proxy.now.get() + SECOND);
    let (mut stream, _) = gateway.begin(&HTTP_EXPORT, false);
    assert_eq!(gateway.body(&mut stream, b"no protobuf", true), Action::Pause);
    assert!(held() > 0);
    drop(stream);
    assert_eq!(held(), 0);
}

#[test]
fn unread_responses_have_no_body_once_they_hold_too_much() {
    let gateway = Gateway::new(POLICY);
    let mut streams = Vec::new();
    let without_body = (0..1000).find(|_| {
        let (stream, _) =
            gateway.begin(&[(":method", "POST"), (":path", "/"), ("content-type", "text/plain")], true);
        streams.push(stream);
        gateway.proxy.take_response().unwrap().body.is_empty()
    });
    // Half of 16 MiB, in parts of 16 KiB and three times the headers.
    assert!((400..512).contains(&without_body.unwrap()), "{without_body:?}");
    streams.clear();
    assert_eq!(gateway.worker.memory.held(), 0);
}

#[test]
fn a_body_that_the_proxy_does_not_take_is_not_forwarded() {
    let gateway = Gateway::new(POLICY);
    let (mut stream, _) = gateway.begin(&GRPC_EXPORT, false);
    gateway.proxy.rejects_body.set(true);
    assert_eq!(gateway.body(&mut stream, &framed(&forged(1), 0), true), Action::Pause);
    assert_eq!(gateway.proxy.take_response().unwrap().grpc_status, Some(14));
    assert_eq!(gateway.proxy.results(), one("busy"));
}

#[test]
fn small_pieces_are_gathered_and_parts_end_where_frames_do() {
    const FRAME: usize = 1 << 14;
    let policy = POLICY.replace("\"100KiB/s\"", "\"1MiB/s\"");
    for unknown in [0, 1, 16_250, 16_300, 16_384, 20_000, 100_000] {
        let gateway = Gateway::new(&policy);
        // An unknown field behind the edits.
        let mut field = Vec::new();
        put_bytes(&mut field, 1999, &vec![7; unknown]);
        let message = [&forged(1)[..], &field].concat();
        gateway.forward(&GRPC_EXPORT, &framed(&message, 0));
        let (written, body) = (gateway.proxy.written.borrow().clone(), gateway.proxy.request_body.borrow());
        assert_eq!(written.iter().sum::<usize>(), body.len());
        assert!(body.ends_with(&field), "{unknown}");
        let ends: Vec<usize> = (1..=written.len()).map(|parts| written[..parts].iter().sum()).collect();
        assert!((FRAME..=body.len()).step_by(FRAME).all(|end| ends.contains(&end)), "{unknown}: {written:?}");
        assert!(written.len() <= 2 + body.len() / FRAME + 1, "{unknown}: {written:?}");
    }
}

#[test]
fn an_empty_message_that_came_compressed_replaces_the_body() {
    let gateway = Gateway::new(POLICY);
    let headers = [&HTTP_EXPORT[..], &[("content-encoding", "gzip")]].concat();
    gateway.forward(&headers, &gzip(b""));
    assert!(gateway.proxy.request_body.borrow().is_empty());
}

#[test]
fn accepted_requests_are_counted_by_client_and_signal() {
    let gateway = Gateway::new(POLICY);
    for _ in 0..2 {
        let mut stream = gateway.forward(&HTTP_EXPORT, &forged(20));
        gateway.respond(&mut stream, &[(":status", "200")], &[], VIA_UPSTREAM);
    }
    let tags = "client=.=acme;.;signal=.=traces;.;";
    let metric = |name: &str| gateway.proxy.metric(&format!("{tags}{name}"));
    assert_eq!(metric("result=.=accepted;.;otlp_gate_requests_total"), 2);
    assert_eq!(metric("otlp_gate_items_total"), 40);
    assert_eq!(metric("otlp_gate_bytes_total"), 2 * forged(20).len() as u64);
    assert_eq!(gateway.proxy.metric("client=.=acme;.;otlp_gate_quota_used_percent"), 40);
}

#[test]
fn a_client_that_metrics_do_not_name_is_counted_as_other() {
    let policy =
        POLICY.replace("\"name\": \"acme\"", "\"name\": \"{n}.edge\"").replace("/edge/*", "/edge/{n}");
    let gateway = Gateway::new(&policy);
    let mut stream = gateway.forward(&HTTP_EXPORT, &forged(20));
    gateway.respond(&mut stream, &[(":status", "200")], &[], VIA_UPSTREAM);
    let accepted = "client=.=other;.;signal=.=traces;.;result=.=accepted;.;otlp_gate_requests_total";
    assert_eq!(gateway.proxy.metric(accepted), 1);
    assert_eq!(gateway.proxy.metric("client=.=other;.;otlp_gate_quota_used_percent"), 0);
}

#[test]
fn a_throttled_request_shows_a_used_up_quota() {
    let gateway = Gateway::new(POLICY);
    let used = || gateway.proxy.metric("client=.=acme;.;otlp_gate_quota_used_percent");
    gateway.forward(&GRPC_EXPORT, &framed(&forged(60), 0));
    assert_eq!(used(), 60);
    let (mut stream, _) = gateway.begin(&GRPC_EXPORT, false);
    assert_eq!(gateway.body(&mut stream, &framed(&forged(60), 0), true), Action::Pause);
    let response = gateway.proxy.take_response().unwrap();
    assert_eq!((response.http_status, response.grpc_status), (200, Some(8)));
    assert_eq!(used(), 100);
    assert_eq!(gateway.proxy.results(), one("over_quota"));
}

#[test]
fn shadow_mode_counts_what_would_be_throttled() {
    let gateway = Gateway::new(&POLICY.replace("\"quotas\": {", "\"quotas\": {\"mode\": \"shadow\", "));
    whole_quota(&gateway, &HTTP_EXPORT);
    let shadow = "client=.=acme;.;signal=.=traces;.;otlp_gate_shadow_throttled_requests_total";
    assert_eq!(gateway.proxy.metric(shadow), 0);
    whole_quota(&gateway, &HTTP_EXPORT);
    assert_eq!(gateway.proxy.metric(shadow), 1);
}

#[test]
fn a_store_that_fails_lets_requests_through_and_counts_them() {
    let gateway = Gateway::new(POLICY);
    gateway.proxy.shared_fails.set(true);
    for _ in 0..3 {
        whole_quota(&gateway, &HTTP_EXPORT);
    }
    let unmetered = "client=.=acme;.;signal=.=traces;.;otlp_gate_unmetered_requests_total";
    assert_eq!(gateway.proxy.metric(unmetered), 3);
}

const CORS: &str = r#"{"clients": [{"name": "acme", "match": {"spiffe": "spiffe://acme.example/edge/*"}}],
    "corsOrigins": ["https://shop.example.com"]}"#;
const ORIGIN: (&str, &str) = ("origin", "https://shop.example.com");
const ALLOW_ORIGIN: &str = "access-control-allow-origin";

#[test]
fn a_preflight_is_answered_without_a_client() {
    let gateway = Gateway::new(CORS);
    let preflight =
        [(":method", "OPTIONS"), (":path", "/v1/traces"), ORIGIN, ("access-control-request-method", "POST")];
    let (stream, action) = gateway.begin_without_certificate(&preflight, true);
    let response = gateway.proxy.take_response().unwrap();
    assert_eq!((action, response.http_status, response.grpc_status), (Action::Pause, 204, None));
    assert_eq!(response.headers.iter().filter(|(name, _)| name == ALLOW_ORIGIN).count(), 1);
    stream.on_log();
    assert_eq!(gateway.proxy.metric("result=.=preflight;.;otlp_gate_requests_total"), 1);
    assert_eq!(gateway.proxy.results(), one("preflight"));
    // Of another origin it is a request like any other.
    let other =
        preflight.map(|header| if header == ORIGIN { ("origin", "https://evil.example") } else { header });
    gateway.begin_without_certificate(&other, true);
    assert_eq!(gateway.proxy.take_response().unwrap().http_status, 405);
}

#[test]
fn responses_allow_the_pages_origin_once() {
    let gateway = Gateway::new(CORS);
    let headers = [&HTTP_EXPORT[..], &[ORIGIN]].concat();
    let mut stream = gateway.forward(&headers, &forged(1));
    gateway.respond(&mut stream, &[(":status", "200"), (ALLOW_ORIGIN, "*")], &[], VIA_UPSTREAM);
    let origins = |headers: &[(Vec<u8>, Vec<u8>)]| {
        let values = headers.iter().filter(|(name, _)| name == ALLOW_ORIGIN.as_bytes());
        values.map(|(_, value)| String::from_utf8(value.clone()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(origins(&gateway.proxy.response_headers.borrow()), [ORIGIN.1]);
    // The gate's own response has it, and its headers pass the filter once more.
    let (mut stream, _) = gateway.begin(&headers, false);
    gateway.body(&mut stream, b"no protobuf", true);
    let own = gateway.proxy.take_response().unwrap().headers;
    assert_eq!(own.iter().filter(|(name, _)| name == ALLOW_ORIGIN).count(), 1);
    gateway.respond(&mut stream, &[(":status", "400"), (ALLOW_ORIGIN, ORIGIN.1)], &[], "otlp_gate");
    assert_eq!(origins(&gateway.proxy.response_headers.borrow()), [ORIGIN.1]);
}

#[test]
fn the_access_log_gets_the_client_the_result_and_the_reason() {
    let shown = |gateway: &Gateway| {
        let properties = gateway.proxy.properties.borrow();
        ["client", "result", "reason"].map(|name| {
            let value = properties.iter().find(|(of, _)| of.strip_prefix("otlp_gate.") == Some(name));
            value.map(|(_, value)| String::from_utf8(value.clone()).unwrap()).unwrap_or_default()
        })
    };
    let gateway = Gateway::new(POLICY);
    let mut stream = gateway.forward(&HTTP_EXPORT, &forged(1));
    gateway.respond(&mut stream, &[(":status", "200")], &[], VIA_UPSTREAM);
    assert_eq!(shown(&gateway), ["acme", "accepted", ""]);

    let gateway = Gateway::new(POLICY);
    gateway.forward(&HTTP_EXPORT, &forged(1)).on_log();
    assert_eq!(shown(&gateway), ["acme", "unanswered", ""]);

    let gateway = Gateway::new(POLICY);
    whole_quota(&gateway, &HTTP_EXPORT);
    assert!(!is_refunded(&gateway));
    let [client, result, reason] = shown(&gateway);
    assert_eq!([client, result], ["acme", "over_quota"]);
    assert!(reason.contains("items"), "{reason}");

    let gateway = Gateway::new(POLICY);
    gateway.proxy.properties.borrow_mut().remove("connection.sha256_peer_certificate_digest");
    gateway.begin(&HTTP_EXPORT, false);
    let [client, result, reason] = shown(&gateway);
    assert_eq!([client, result], ["", "no_certificate"]);
    assert!(!reason.is_empty());
}

#[test]
fn a_busy_client_of_a_pattern_is_counted_by_its_name() {
    let policy = r#"{
        "gate": "otel/gateway",
        "clients": [{"name": "acme-{site}", "match": {"spiffe": "spiffe://acme.example/edge/{site}"}}],
        "quotas": {"tiers": {"default": {"requests": "10/s", "items": "100/s"}}}
    }"#;
    let mut gateway = Gateway::new(policy);
    let mut now = Timestamp::from_secs(2_000_000_000);
    let items = |gateway: &Gateway, client: &str| {
        gateway.proxy.metric(&format!("client=.={client};.;signal=.=traces;.;otlp_gate_items_total"))
    };
    for round in 0..4 {
        let mut stream = gateway.forward(&HTTP_EXPORT, &forged(1));
        gateway.respond(&mut stream, &[(":status", "200")], &[], VIA_UPSTREAM);
        now += Nanos::from_secs(5);
        gateway.proxy.now.set(now);
        if round == 2 {
            // The next policy knows it from its first request on.
            gateway.configure(&policy.replace("\"10/s\"", "\"20/s\""));
        }
    }
    assert_eq!((items(&gateway, "other"), items(&gateway, "acme-1")), (1, 3));
    let rate = |dimension: &str| {
        gateway.proxy.metric(&format!("client=.=acme-1;.;otlp_gate_quota_{dimension}_per_second"))
    };
    assert_eq!((rate("requests"), rate("items"), rate("spans")), (20, 100, 0));
}
