//! What becomes of a request's body and headers.

use proptest::prelude::*;

use super::*;

#[test]
fn every_encoding_is_forwarded_uncompressed_with_attributes_set() {
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
fn json_is_forwarded_with_attributes_set_and_charged_by_its_items() {
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
    let rejected = fixture.send(&client, JSON, message(101).as_bytes()).unwrap_err();
    let Reason::Quota { throttled: Throttled::ExceedsBurst { asked: 101, .. }, .. } = rejected else {
        panic!("{rejected}")
    };
}

#[test]
fn invalid_messages_are_rejected() {
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
fn a_second_message_is_rejected_before_the_stream_ends() {
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
fn a_compression_ratio_beyond_the_limit_is_rejected_below_the_size_limit() {
    let policy = POLICY.replace("\"inflated\": \"4MiB\"", "\"inflated\": \"64MiB\", \"ratio\": 50");
    let policy = policy.replace("\"100KiB/s\"", "\"1GiB/s\"");
    let fixture = Fixture::new(&policy);
    let bomb = gzip(&vec![0; 3 << 20]);
    let reason = fixture.send(&acme(&fixture.gate), head(HTTP.protocol, Encoding::Gzip), &bomb).unwrap_err();
    assert_eq!(reason.label(), "too_large");
}

#[test]
fn a_message_that_compresses_well_is_forwarded() {
    let policy = POLICY.replace("\"inflated\": \"4MiB\"", "\"inflated\": \"64MiB\"");
    let policy = policy.replace("\"100KiB/s\"", "\"8MiB/s\"").replace("\"100/s\"", "\"10k/s\"");
    let fixture = Fixture::new(&policy);
    let client = acme(&fixture.gate);
    // Like 512 records with the same stack trace of 4 KiB: 2 MiB with a compression ratio of some hundred.
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
fn a_small_message_cannot_grow_to_the_largest() {
    let policy = POLICY.replace("\"inflated\": \"4MiB\"", "\"inflated\": \"64MiB\"");
    let long = format!("\"tenant.id\": \"acme{}\"", "x".repeat(1000));
    let policy = policy.replace("\"tenant.id\": \"acme\"", &long);
    let policy = policy.replace("\"headers\": {\"X-Scope-OrgID\": \"{tenant.id}\"},", "");
    let policy = policy.replace("\"bytes\": \"100KiB/s\", ", "").replace("\"100/s\"", "\"1M/s\"");
    let fixture = Fixture::new(&policy);
    let client = acme(&fixture.gate);
    // A client with a kilobyte of attributes may send as many Resources as a batch has items.
    assert!(fixture.send(&client, HTTP, &[0x0a, 0].repeat(8192)).is_ok());
    let rejected = fixture.send(&client, HTTP, &[0x0a, 0].repeat(20_000)).unwrap_err();
    assert!(rejected.to_string().contains("bytes with its attributes set"), "{rejected}");
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
fn owned_headers_are_replaced_in_every_spelling_and_headers_of_the_old_body_removed() {
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
fn a_grpc_call_is_forwarded_with_te() {
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
fn a_large_policy_may_be_compressed() {
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
    fn any_bytes_in_any_pieces_are_forwarded_or_rejected(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..6),
        compressed in any::<bool>(),
        protocol in prop::sample::select(vec![GRPC.protocol, HTTP.protocol, JSON.protocol]),
    ) {
        let fixture = Fixture::new(POLICY);
        let client = acme(&fixture.gate);
        let encoding = if compressed { Encoding::Gzip } else { Encoding::Identity };
        for signal in Signal::ALL {
            let head = Head { protocol, signal, encoding, length: None, headers: 0 };
            let mut request = fixture.open(&client, head).unwrap();
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
