//! The caches of clients, by connection and by what trusted hops forward.

use super::fake_proxy::Gateway;
use super::*;
use crate::gate::client_cache::{ClientCache, MAX_CONNECTIONS};
use crate::identity::Validity;

const EXPORT: [(&str, &str); 3] =
    [(":method", "POST"), (":path", "/v1/traces"), ("content-type", "application/x-protobuf")];

/// How often the gate asked the proxy about the certificate of a connection.
fn lookups(gateway: &Gateway) -> usize {
    gateway.proxy.reads.borrow().get("connection.sha256_peer_certificate_digest").copied().unwrap_or_default()
}

#[test]
fn a_connection_is_identified_once() {
    let gateway = Gateway::new(POLICY);
    gateway.forward(&EXPORT, &forged(1));
    // Without a certificate in the headers only the cache has the client.
    let (_, action) = gateway.begin_without_certificate(&EXPORT, false);
    assert_eq!((action, lookups(&gateway)), (Action::Continue, 1));
    gateway.connect(2);
    let (_, action) = gateway.begin_without_certificate(&EXPORT, false);
    assert_eq!((action, lookups(&gateway)), (Action::Pause, 2));
    // A rejection is not cached.
    let (_, action) = gateway.begin(&EXPORT, false);
    assert_eq!((action, lookups(&gateway)), (Action::Continue, 3));
}

#[test]
fn a_connection_without_an_id_is_identified_with_each_request() {
    let gateway = Gateway::new(POLICY);
    for id in [None, Some(b"short")] {
        gateway.proxy.properties.borrow_mut().remove("connection.id");
        if let Some(id) = id {
            gateway.proxy.set("connection.id", id);
        }
        let before = lookups(&gateway);
        gateway.forward(&EXPORT, &forged(1));
        gateway.forward(&EXPORT, &forged(1));
        assert_eq!(lookups(&gateway) - before, 2, "{id:?}");
    }
}

#[test]
fn a_cached_client_is_rejected_once_its_certificate_expires() {
    let gateway = Gateway::new(POLICY);
    gateway.forward(&EXPORT, &forged(1));
    gateway.proxy.now.set(Timestamp::from_secs(2_110_000_001));
    let (_, action) = gateway.begin(&EXPORT, false);
    assert_eq!((action, lookups(&gateway)), (Action::Pause, 1));
    assert_eq!(gateway.proxy.take_response().unwrap().http_status, 401);
    let expired = "client=.=acme;.;signal=.=traces;.;result=.=certificate_expired;.;otlp_gate_requests_total";
    assert_eq!(gateway.proxy.metric(expired), 1);
}

#[test]
fn a_certificate_that_expires_while_a_body_is_received_is_rejected() {
    const END: u64 = 2_110_000_000;
    let check = [
        (":method", "POST"),
        (":path", "/grpc.health.v1.Health/Check"),
        ("content-type", "application/grpc"),
    ];
    let watch = [check[0], (":path", "/grpc.health.v1.Health/Watch"), check[2]];
    let (fingerprint, own) = connection();
    let hops =
        POLICY.replace("\"deny\"", r#""trustedHops": [{"spiffe": "spiffe://acme.example/edge/1"}], "deny""#);
    let element = format!("Hash={};URI=spiffe://acme.example/edge/9,{own}", "ab".repeat(32));
    for (policy, certificate) in [(POLICY, &own), (&*hops, &element)] {
        for (headers, body) in [(&EXPORT, forged(1)), (&check, framed(&[], 0)), (&watch, framed(&[], 0))] {
            let gateway = Gateway::new(policy);
            gateway
                .proxy
                .set("connection.sha256_peer_certificate_digest", Fingerprint(fingerprint).hex().as_bytes());
            gateway.proxy.now.set(Timestamp::from_secs(END));
            let headers = [&headers[..], &[("x-forwarded-client-cert", certificate.as_str())]].concat();
            let (mut stream, action) = gateway.begin_without_certificate(&headers, false);
            assert_eq!(action, Action::Continue, "{headers:?}");
            gateway.proxy.now.set(Timestamp::from_secs(END + 1));
            gateway.body(&mut stream, &body, true);
            let response = gateway.proxy.take_response().unwrap();
            let expired = match response.grpc_status {
                Some(status) => status == 16,
                None => response.http_status == 401,
            };
            assert!(expired, "{headers:?}: {response:?}");
            assert_eq!(gateway.proxy.results(), BTreeMap::from([("certificate_expired".to_owned(), 1)]));
        }
    }
}

#[test]
fn a_full_cache_of_connections_is_emptied() {
    let cache = ClientCache::default();
    let peer = Peer::Hop(TrustedHop::new([7; 32], Validity { not_before: 0, not_after: i64::MAX }));
    for id in 0..MAX_CONNECTIONS as u64 {
        cache.insert_connection(id, &peer);
    }
    assert!(cache.connection(0).is_some());
    cache.insert_connection(u64::MAX, &peer);
    assert!(cache.connection(0).is_none() && cache.connection(u64::MAX).is_some());
    cache.insert_connection(0, &peer);
    assert!(cache.connection(0).is_some() && cache.connection(u64::MAX).is_some());
}

#[test]
fn cached_connections_are_limited_by_their_size() {
    let cache = ClientCache::default();
    let more: String = (0..16).map(|n| format!(", \"a{n}\": \"{}\"", "x".repeat(4000))).collect();
    let long = POLICY.replace("{\"tenant.id\": \"acme\"}", &format!("{{\"tenant.id\": \"acme\"{more}}}"));
    let gate = Gate::load(long.as_bytes()).unwrap();
    let peer = Peer::Client(acme(&gate));
    let fits = (16 << 20) / peer.size() as u64;
    for id in 0..fits {
        cache.insert_connection(id, &peer);
    }
    assert!(cache.connection(0).is_some());
    cache.insert_connection(fits, &peer);
    assert!(cache.connection(0).is_none() && cache.connection(fits).is_some());
}

/// A gateway whose current connection is a trusted hop's.
fn behind_a_hop() -> Gateway {
    let hops = r#""trustedHops": [{"spiffe": "spiffe://acme.example/edge/1"}], "deny""#;
    Gateway::new(&POLICY.replace("\"deny\"", hops))
}

fn forwarded(gateway: &Gateway, element: &str) -> (Action, Vec<u8>) {
    let (_, own) = connection();
    let header = format!("{element},{own}");
    let headers = [&EXPORT[..], &[("x-forwarded-client-cert", &header)]].concat();
    let (_, action) = gateway.begin_without_certificate(&headers, false);
    let client = gateway.proxy.properties.borrow_mut().remove("otlp_gate.client");
    (action, client.unwrap_or_default())
}

#[test]
fn each_request_behind_a_hop_has_its_own_client() {
    let gateway = behind_a_hop();
    let hash = "ab".repeat(32);
    let acme = format!("Hash={hash};URI=spiffe://acme.example/edge/9");
    let globex = format!("Hash={hash};DNS=berlin.globex.example");
    for _ in 0..3 {
        assert_eq!(forwarded(&gateway, &acme), (Action::Continue, b"acme".to_vec()));
        assert_eq!(forwarded(&gateway, &globex), (Action::Continue, b"globex-berlin".to_vec()));
    }
    // The hop itself was identified once, and is no client.
    assert_eq!(lookups(&gateway), 1);
    assert_eq!(forwarded(&gateway, &format!("Hash={hash};URI=spiffe://evil.example")).0, Action::Pause);
    assert_eq!(gateway.proxy.take_response().unwrap().http_status, 403);
    let (_, action) = gateway.begin(&EXPORT, false);
    assert_eq!((action, gateway.proxy.take_response().unwrap().http_status), (Action::Pause, 401));
}

#[test]
fn a_client_behind_a_hop_is_cached_with_its_second_request() {
    let gateway = behind_a_hop();
    let gate = Gate::load(POLICY.as_bytes()).unwrap();
    let element = format!("Hash={};URI=spiffe://acme.example/edge/9", "ab".repeat(32));
    let cached = || gate.clients.forwarded(&element);
    let client = Rc::new(gate.forwarded_client(&Forwarded::element(&element), UNVERIFIED).unwrap());
    gate.clients.insert_forwarded(&element, &client);
    assert!(cached().is_none());
    gate.clients.insert_forwarded(&element, &client);
    assert!(Rc::ptr_eq(&cached().unwrap(), &client));
    // A cached client still depends on its hop's certificate.
    for _ in 0..3 {
        assert_eq!(forwarded(&gateway, &element).0, Action::Continue);
    }
    gateway.proxy.now.set(Timestamp::from_secs(2_110_000_001));
    assert_eq!(forwarded(&gateway, &element).0, Action::Pause);
}

#[test]
fn a_header_that_the_proxy_did_not_write_is_counted_and_logged_once_and_has_no_effect() {
    const COUNTER: &str = "otlp_gate_foreign_client_cert_headers_total";
    let (_, own) = connection();
    let forged = format!("Hash={};DNS=berlin.globex.example", "ab".repeat(32));
    let send = |gateway: &Gateway, id: u64, header: &str| {
        gateway.connect(id);
        let headers = [&EXPORT[..], &[("x-forwarded-client-cert", header)]].concat();
        let (_, action) = gateway.begin_without_certificate(&headers, false);
        let client = gateway.proxy.properties.borrow_mut().remove("otlp_gate.client").unwrap_or_default();
        (action, client, gateway.proxy.metric(COUNTER), gateway.proxy.logged.borrow().len())
    };
    let gateway = Gateway::new(POLICY);
    let acme = b"acme".to_vec();
    assert_eq!(send(&gateway, 1, &own), (Action::Continue, acme.clone(), 0, 0));
    assert_eq!(send(&gateway, 2, &format!("{forged},{own}")), (Action::Continue, acme.clone(), 1, 1));
    assert_eq!(send(&gateway, 3, &format!("{own},{forged}")), (Action::Continue, acme.clone(), 2, 1));
    // The proxy forwards what the client sends, and nothing else.
    assert_eq!(send(&gateway, 4, &forged), (Action::Pause, Vec::new(), 3, 1));
    assert_eq!(gateway.proxy.take_response().unwrap().http_status, 503);
    assert_eq!(send(&gateway, 5, ""), (Action::Pause, Vec::new(), 3, 1));
    assert!(gateway.proxy.logged.borrow()[0].contains("SANITIZE_SET"));
    // With a trusted hop, the proxy is to forward what its clients send.
    let hops = r#""trustedHops": [{"spiffe": "spiffe://acme.example/edge/2"}], "deny""#;
    let gateway = Gateway::new(&POLICY.replace("\"deny\"", hops));
    assert_eq!(send(&gateway, 1, &format!("{forged},{own}")), (Action::Continue, acme, 0, 0));
}
