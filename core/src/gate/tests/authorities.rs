//! Client CAs: which one signed a certificate, and what they revoked.

use super::fake_proxy::Gateway;
use super::*;
use crate::identity::test_authorities::{authority, client_of};

/// Connects as the holder of a certificate, and gives the header that the proxy adds.
fn connect(gateway: &Gateway, id: u64, der: &[u8], chain: &[&[u8]]) -> String {
    gateway.proxy.set("connection.id", &id.to_le_bytes());
    let hex = Fingerprint(sha256(der)).hex();
    gateway.proxy.set("connection.sha256_peer_certificate_digest", hex.as_bytes());
    let chain: String = [&[der][..], chain].concat().iter().map(|der| pem(der)).collect();
    format!("Hash={hex};Cert=\"{}\";Chain=\"{chain}\"", pem(der))
}

fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n").replace('\n', "%0A")
}

fn policy(cas: &str) -> String {
    format!(r#"{{"clientCAs": [{cas}], {}"#, POLICY.trim_start().trim_start_matches('{'))
}

const EXPORT: &[(&str, &str)] = &[
    (":method", "POST"),
    (":path", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
    ("content-type", "application/grpc"),
];

/// The gRPC status and message of a request on a connection; `None` if the request is accepted.
fn send(gateway: &Gateway, header: &str) -> Option<(u32, String)> {
    let headers = [EXPORT, &[("x-forwarded-client-cert", header)]].concat();
    let (_, action) = gateway.begin_without_certificate(&headers, false);
    let response = gateway.proxy.take_response();
    assert_eq!(response.is_none(), action == Action::Continue);
    response.map(|response| (response.grpc_status.unwrap(), String::from_utf8(response.body).unwrap()))
}

#[test]
fn a_revocation_ends_an_open_connection() {
    let (own, other) = (authority("own"), authority("other"));
    let uri = "spiffe://acme.example/edge/1";
    let (client, same_serial) = (client_of(&own, uri), client_of(&other, uri));
    let cas =
        |revoked: &[&str]| policy(&format!(r#"{{"keys": [{}, {}]}}"#, own.entry(revoked), other.entry(&[])));
    let mut gateway = Gateway::new(&cas(&[]));
    let header = connect(&gateway, 1, &client.der, &[]);
    assert_eq!(send(&gateway, &header), None);
    gateway.configure(&cas(&["07"]));
    assert_eq!(
        send(&gateway, &header),
        Some((16, "client certificate is revoked; hint: use a new certificate and reconnect".to_owned()))
    );
    let header = connect(&gateway, 2, &same_serial.der, &[]);
    assert_eq!(send(&gateway, &header), None);
    assert_eq!(gateway.proxy.verified.get(), 0, "the key identifiers are enough");
}

#[test]
fn signatures_are_verified_once_per_connection_and_only_if_cas_have_names() {
    let own = authority("own");
    let client = client_of(&own, "spiffe://acme.example/edge/1");
    let mut gateway = Gateway::new(&policy(&format!(r#"{{"keys": [{}]}}"#, own.entry(&["07", "08"]))));
    gateway.configure(&policy(&format!(r#"{{"keys": [{}]}}"#, own.entry(&[]))));
    let header = connect(&gateway, 1, &client.der, &[]);
    assert_eq!(send(&gateway, &header), None);
    assert_eq!(gateway.proxy.verified.get(), 0);
    gateway.configure(&policy(&format!(r#"{{"name": "own", "keys": [{}]}}"#, own.entry(&[]))));
    for _ in 0..3 {
        assert_eq!(send(&gateway, &header), None);
    }
    assert_eq!(gateway.proxy.verified.get(), 1);
    // One name is enough.
    let cas = format!(
        r#"{{"name": "own", "keys": [{}]}}, {{"keys": [{}]}}"#,
        own.entry(&[]),
        authority("x").entry(&[])
    );
    gateway.configure(&policy(&cas));
    assert_eq!(send(&gateway, &header), None);
    assert_eq!(gateway.proxy.verified.get(), 2);
}

#[test]
fn signatures_are_verified_for_whatever_asks_for_the_ca() {
    let own = authority("own");
    let entry = own.entry(&[]);
    let header =
        |gateway: &Gateway| connect(gateway, 1, &client_of(&own, "spiffe://acme.example/edge/1").der, &[]);
    let issuer = r#""issuer": {"key": "KEY"}"#.replace("KEY", &"ab".repeat(32));
    let rule = format!(r#""clients": [{{"name": "issued", "match": {{{issuer}}}}}, "#);
    let hop = format!(r#""trustedHops": [{{{issuer}}}], "deny": ["#);
    let plain = policy(&format!(r#"{{"keys": [{entry}]}}"#));
    let of_verify = policy(&format!(r#"{{"verify": true, "keys": [{entry}]}}"#));
    let of_verify = of_verify.replacen('{', r#"{"verify": true, "#, 1);
    for (policy, verified) in [
        (plain.clone(), 0),
        (plain.replacen(r#""clients": ["#, &rule, 1), 1),
        (plain.replacen(r#""deny": ["#, &hop, 1), 1),
        (of_verify, 1),
    ] {
        let gateway = Gateway::new(&policy);
        assert_eq!(send(&gateway, &header(&gateway)), None);
        assert_eq!(gateway.proxy.verified.get(), verified, "{policy}");
    }
}

#[test]
fn a_chain_in_a_hops_header_has_the_issuers_only() {
    use crate::identity::certificate_header::{Problem, chain};
    use base64::Engine;
    let (own, other) = (authority("own"), authority("other"));
    let client = client_of(&own, "spiffe://a");
    let header = |ders: &[&[u8]]| {
        let texts = ders.iter().map(|der| base64::engine::general_purpose::STANDARD.encode(der));
        texts.collect::<Vec<_>>().join(",")
    };
    assert_eq!(chain(header(&[&client.der, &own.der]).as_bytes()).map(|all| all.len()), Ok(2));
    for wrong in [[&client.der, &other.der], [&own.der, &client.der], [&client.der, &client.der]] {
        let wrong = wrong.map(Vec::as_slice);
        assert_eq!(chain(header(&wrong).as_bytes()), Err(Problem::NoChain));
    }
}

#[test]
fn a_hop_whose_certificate_is_revoked_or_denied_is_none() {
    let own = authority("own");
    let uri = "spiffe://hop.example/front";
    let hop = client_of(&own, uri);
    let with = |revoked: &[&str], deny: &str| {
        let hops = format!(r#""trustedHops": [{{"spiffe": "{uri}"}}], "deny": [{deny}"#);
        policy(&format!(r#"{{"keys": [{}]}}"#, own.entry(revoked))).replacen(r#""deny": ["#, &hops, 1)
    };
    // A hop that forwards no client, a revoked certificate, a denied one.
    for (policy, message) in [
        (with(&[], ""), "only the element about the hop itself"),
        (with(&["07"], ""), "client certificate is revoked"),
        (with(&[], r#""serial:07", "#), "certificate is denied by the gateway"),
    ] {
        let gateway = Gateway::new(&policy);
        let header = connect(&gateway, 1, &hop.der, &[]);
        let (_, answer) = send(&gateway, &header).unwrap();
        assert!(answer.contains(message), "{answer}");
    }
}

#[test]
fn a_serial_number_is_denied_for_one_ca_and_a_certificate_by_its_signed_part() {
    let (own, other) = (authority("own"), authority("other"));
    let uri = "spiffe://acme.example/edge/1";
    let client = client_of(&own, uri);
    let cas = |entry: &str| {
        policy(&format!(
            r#"{{"name": "own", "keys": [{}]}}, {{"name": "other", "keys": [{}]}}"#,
            own.entry(&[]),
            other.entry(&[])
        ))
        .replace("\"deny\": [", &format!("\"deny\": [\"{entry}\", "))
    };
    let certificate = Identity::from_der(&client.der).unwrap().certificate.unwrap();
    let (signed, key) = (certificate.signed, certificate.key);
    let mut gateway = Gateway::new(&cas("serial:99@own"));
    let header = connect(&gateway, 1, &client.der, &[]);
    for (entry, denied) in [
        ("serial:07@own".to_owned(), true),
        ("serial:07@other".to_owned(), false),
        ("serial:07".to_owned(), true),
        ("serial:0007@own".to_owned(), true),
        ("serial:08@own".to_owned(), false),
        (format!("key:{}", Fingerprint(key).hex()), true),
        (format!("signed:{}", Fingerprint(signed).hex()), true),
        (format!("signed:{}", "ab".repeat(32)), false),
    ] {
        gateway.configure(&cas(&entry));
        assert_eq!(send(&gateway, &header).map(|(status, _)| status), denied.then_some(7), "{entry}");
    }
    // A certificate of a CA that the policy does not have.
    let stranger = client_of(&authority("stranger"), uri);
    gateway.configure(&cas("serial:07@own"));
    let header = connect(&gateway, 2, &stranger.der, &[]);
    assert_eq!(send(&gateway, &header).map(|(status, _)| status), Some(7));
}
