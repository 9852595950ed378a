//! Which client a request comes from.

use super::*;

#[test]
fn a_certificate_identifies_its_client() {
    let gate = Gate::load(POLICY.as_bytes()).unwrap();
    let dns = Identity::from_texts(&[], &["Berlin.Globex.example"], None, Some([0xaa; 32]));
    assert_eq!(gate.client(&dns).unwrap().name().to_lowercase(), "globex-berlin");
    let cases = [
        (spiffe("spiffe://acme.example/other"), Reason::UnknownClient),
        (Identity::default(), Reason::NoCertificate),
        (
            Identity::from_texts(&["spiffe://acme.example/edge/7"], &[], None, Some([0xdd; 32])),
            Reason::Denied,
        ),
    ];
    for (identity, reason) in cases {
        assert_eq!(gate.client(&identity).unwrap_err(), reason);
    }
}

fn peer(policy: &str, header: &str) -> Result<Peer, Reason> {
    let gate = Gate::load(policy.as_bytes()).unwrap();
    gate.peer(Some(connection().0), &[(b"x-forwarded-client-cert", header.as_bytes())], UNVERIFIED)
}

#[test]
fn a_connection_needs_the_certificate_from_the_proxy() {
    let (_, header) = connection();
    assert!(matches!(peer(POLICY, &header), Ok(Peer::Client(client)) if client.name() == "acme"));
    // Another certificate's, or none.
    let other = include_str!("../../identity/testdata/rsa.pem").replace('\n', "%0A");
    for header in ["", "Hash=00", &format!("Cert=\"{other}\"")] {
        let rejected = peer(POLICY, header).unwrap_err();
        assert_eq!(rejected, Reason::CertificateWithheld);
        let response = rejected.response(crate::response::Protocol::HttpProtobuf, 0);
        assert_eq!(response.http_status, 503);
    }
    let gate = Gate::load(POLICY.as_bytes()).unwrap();
    assert_eq!(gate.peer(None, &[], UNVERIFIED).unwrap_err(), Reason::NoCertificate);
}

#[test]
fn a_client_and_a_hop_may_send_until_their_certificates_expire() {
    const END: u64 = 2_110_000_000;
    let fixture = Fixture::new(POLICY);
    let (_, header) = connection();
    let Ok(Peer::Client(client)) = peer(POLICY, &header) else { panic!() };
    let open =
        |now| Request::open(&fixture.gate, &client, HTTP, &fixture.memory, &fixture.store, now).map(drop);
    assert_eq!(open(Timestamp::from_secs(END + 1) - Nanos::new(1)), Ok(()));
    let rejected = open(Timestamp::from_secs(END + 1)).unwrap_err();
    assert_eq!(
        rejected.to_string(),
        "client certificate expired at 2036-11-11T07:06:40Z; hint: renew it and reconnect"
    );
    let response = rejected.response(crate::response::Protocol::Grpc, 0);
    assert_eq!((response.grpc_status, rejected.label()), (Some(16), "certificate_expired"));
    assert_eq!(open(Timestamp::EPOCH).unwrap_err().label(), "certificate_not_yet_valid");

    let hops =
        POLICY.replace("\"deny\"", r#""trustedHops": [{"spiffe": "spiffe://acme.example/edge/1"}], "deny""#);
    let Ok(Peer::Hop(hop)) = peer(&hops, &header) else { panic!() };
    let headers: &Headers = &[(b"x-forwarded-client-cert", b"URI=spiffe://a")];
    assert!(fixture.gate.forwarded(headers, &hop, Timestamp::from_secs(END)).is_ok());
    assert!(fixture.gate.forwarded(headers, &hop, Timestamp::from_secs(END + 1)).is_err());
    // A certificate that a hop forwards is checked as well.
    let said = format!("{header};URI=spiffe://acme.example/edge/1");
    let client = Rc::new(fixture.gate.forwarded_client(&Forwarded::element(&said), UNVERIFIED).unwrap());
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
fn a_client_is_denied_by_what_it_cannot_change() {
    use crate::identity::Certificate;
    let (_, header) = connection();
    let read = |header: &str| xfcc::identity(header).unwrap();
    let own = read(&header);
    let Certificate { serial, key, other_fingerprint, .. } = &**own.certificate.as_ref().unwrap();
    let serial: String = serial.iter().map(|byte| format!("{byte:02X}:")).collect();
    let deny = |entry: &str| {
        peer(&POLICY.replace("\"deny\": [", &format!("\"deny\": [\"{entry}\", ")), &header).err()
    };
    for entry in [
        format!("sha256:{}", own.sha256_hex().unwrap()),
        // The deny list may have either fingerprint.
        format!("sha256:{}", Fingerprint(other_fingerprint.unwrap()).hex()),
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
fn another_signature_of_a_certificate_is_the_same_client() {
    use base64::Engine;
    let base64 = base64::engine::general_purpose::STANDARD;
    let pem: String = PEM.lines().filter(|line| !line.starts_with('-')).collect();
    let first = base64.decode(pem).unwrap();
    let said = |der: &[u8]| {
        let text = base64.encode(der).replace('+', "%2B");
        xfcc::identity(&format!("Cert=\"-----BEGIN CERTIFICATE-----{text}-----END CERTIFICATE-----\""))
            .unwrap()
    };
    let (one, other) = (said(&first), said(&with_other_signature(&first)));
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

/// A policy whose hop has the certificate of [`connection`] and forwards its clients' in this header.
fn hop_policy(header: &str) -> String {
    let hop = format!(
        r#""trustedHops": [{{"spiffe": "spiffe://acme.example/edge/1", "header": "{header}"}}], "deny""#
    );
    POLICY.replace("\"deny\"", &hop)
}

#[test]
fn a_hop_forwards_a_certificate_in_a_header_of_its_own() {
    let (_, own) = connection();
    let gate = Gate::load(hop_policy("SSL-Client-Cert").as_bytes()).unwrap();
    let other: String = include_str!("../../identity/testdata/rsa.pem").replace('\n', " ");
    let elements = format!("{own},Hash={};URI=spiffe://acme.example/edge/9,{own}", "ab".repeat(32));
    let read = |values: &[&str]| {
        let mut headers = vec![(&b"x-forwarded-client-cert"[..], elements.as_bytes())];
        headers.extend(values.iter().map(|value| (&b"ssl-client-cert"[..], value.as_bytes())));
        let Ok(Peer::Hop(hop)) = gate.peer(Some(connection().0), &headers, UNVERIFIED) else { panic!() };
        gate.forwarded(&headers, &hop, Timestamp::from_secs(1_800_000_000))
    };
    let forwarded = read(&[&other]).unwrap();
    assert_eq!(forwarded.identity().unwrap().sha256, Identity::from_header(other.as_bytes()).unwrap().sha256);
    assert_ne!(forwarded.key(), Forwarded::element(other.trim()).key());
    for (values, problem) in [
        (&[][..], "is missing"),
        (&[""], "is missing"),
        (&[&*other, &other], "occurs twice"),
        (&["x"], "is not a certificate in PEM"),
        (&["AAAA"], "has a certificate that cannot be read"),
    ] {
        let reason = read(values).and_then(|forwarded| forwarded.identity().map(drop)).unwrap_err();
        assert!(reason.to_string().contains(&format!("ssl-client-cert {problem}")), "{reason}");
    }
}

#[test]
fn a_hop_may_have_base64_in_the_header_that_the_proxy_appends_to() {
    let (_, own) = connection();
    let gate = Gate::load(hop_policy("X-Forwarded-Client-Cert").as_bytes()).unwrap();
    let other = include_str!("../../identity/testdata/rsa.pem");
    let base64: String = other.lines().filter(|line| !line.starts_with('-')).collect();
    let own = format!("By=spiffe://gate;{own}");
    let read = |value: String| {
        let headers = [(&b"x-forwarded-client-cert"[..], value.as_bytes())];
        let Ok(Peer::Hop(hop)) = gate.peer(Some(connection().0), &headers, UNVERIFIED) else { panic!() };
        let forwarded = gate.forwarded(&headers, &hop, Timestamp::from_secs(1_800_000_000))?;
        forwarded.identity()
    };
    let expected = Identity::from_header(base64.as_bytes()).unwrap();
    assert_eq!(read(format!("{base64},{own}")), Ok(expected.clone()));
    assert_eq!(read(format!("\"{base64}\",{own}")), Ok(expected));
    let element = format!("Hash={};URI=spiffe://acme.example/edge/9", "ab".repeat(32));
    for forged in
        [own.clone(), format!("{element},{own}"), format!("{base64},{element},{own}"), format!("{own},{own}")]
    {
        let reason = read(forged.clone()).unwrap_err();
        assert!(matches!(reason, Reason::HopHeader { .. }), "{forged}: {reason}");
    }
}

#[test]
fn a_certificate_in_a_hops_header_is_of_no_effect_from_a_client() {
    let gate = Gate::load(hop_policy("ssl-client-cert").replace("edge/1", "edge/2").as_bytes()).unwrap();
    let (fingerprint, own) = connection();
    let other: String = include_str!("../../identity/testdata/rsa.pem").replace('\n', " ");
    let headers = [(&b"x-forwarded-client-cert"[..], own.as_bytes()), (b"ssl-client-cert", other.as_bytes())];
    assert!(
        matches!(gate.peer(Some(fingerprint), &headers, UNVERIFIED), Ok(Peer::Client(client)) if client.name() == "acme")
    );
    assert_eq!(gate.policy.owned_headers(), ["ssl-client-cert", "x-scope-orgid"]);
}
