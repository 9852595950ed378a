//! Rules for the whole certificate: several names of one kind, e-mail and IP addresses, the issuer, extended key
//! usages.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::identity::{Ca, Certificate, MAX_NAMES, Subject, Validity, parse_hex};

/// A certificate by the text of its parts, in order: `uri`, `dns`, `email`, `ip`, `subject`, `issuer`, `keyId`,
/// `usage`, `serial`, and `ca` with the name of the CA that signed it, which may be empty.
pub(super) fn certificate(parts: &[(&str, &str)]) -> Identity {
    let all = |key: &str| -> Vec<String> {
        parts.iter().filter(|(own, _)| *own == key).map(|(_, value)| (*value).to_owned()).collect()
    };
    let one = |key: &str| all(key).into_iter().next();
    let key_id = one("keyId").and_then(|id| parse_hex(&id, 64));
    Identity {
        uris: all("uri"),
        dns: all("dns"),
        emails: all("email"),
        ips: all("ip").iter().map(|ip| ip.parse().unwrap()).collect(),
        subject: one("subject").and_then(|text| Subject::parse(&text)),
        sha256: Some([0xaa; 32]),
        certificate: Some(Box::new(Certificate {
            text: Vec::new(),
            algorithm: Vec::new(),
            signature: Vec::new(),
            serial: one("serial").and_then(|serial| parse_hex(&serial, 20)).unwrap_or_default(),
            signed: [1; 32],
            key: [2; 32],
            validity: Validity { not_before: 0, not_after: i64::MAX },
            issuer: one("issuer").and_then(|text| Subject::parse(&text)),
            authority_key_id: key_id,
            extended_key_usage: all("usage"),
            other_fingerprint: None,
        })),
        ca: one("ca").map(|name| Ca {
            name: Some(name.as_str().into()).filter(|_| !name.is_empty()),
            issuer_key: [0xcc; 32],
        }),
        ..Identity::default()
    }
}

fn policy(config: Value) -> Policy {
    let config: PolicyConfig = serde_json::from_value(config).unwrap();
    Policy::compile(&config).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn policy_with_cas(mut config: Value) -> Policy {
    config["clientCAs"] = json!([{"name": "internal"}, {"name": "partners"}, {}]);
    policy(config)
}

fn client(policy: &Policy, identity: &Identity) -> Option<Client> {
    match policy.identify(identity) {
        Identification::Client(client) => Some(client),
        Identification::Denied | Identification::Revoked | Identification::Unknown => None,
    }
}

fn name(policy: &Policy, identity: &Identity) -> Option<String> {
    client(policy, identity).map(|client| client.name)
}

fn matched(policy: &Policy, identity: &Identity) -> Vec<(String, String)> {
    policy.explain(identity).matched.into_iter().map(|it| (it.key, it.value)).collect()
}

const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";

#[test]
fn each_key_matches_what_it_names() {
    let key = "cc".repeat(32);
    let other_key = "cd".repeat(32);
    let whole = [
        ("uri", "https://acme.example/a"),
        ("uri", "spiffe://acme.example/edge/1"),
        ("dns", "first.example"),
        ("dns", "second.example"),
        ("email", "Ann.Lee@acme.example"),
        ("email", "ops@acme.example"),
        ("ip", "192.0.2.7"),
        ("ip", "2001:db8::7"),
        ("ip", "::ffff:10.0.0.1"),
        ("subject", "CN=x,O=Acme"),
        ("issuer", "CN=Issuing CA 2,OU=a,OU=b,O=Acme"),
        ("keyId", "00aabb"),
        ("usage", CLIENT_AUTH),
        ("usage", "1.3.6.1.4.1.311.20.2.2"),
        ("ca", "partners"),
    ];
    let identity = certificate(&whole);
    for (one, holds) in [
        (json!({"spiffe": "https://acme.example/*"}), true),
        (json!({"spiffe": "spiffe://acme.example/edge/*"}), true),
        (json!({"spiffe": "spiffe://acme.example/*"}), false),
        (json!({"dns": "first.example"}), true),
        (json!({"dns": "SECOND.example"}), true),
        (json!({"dns": "third.example"}), false),
        (json!({"spiffe": "spiffe://**", "dns": "second.*"}), true),
        (json!({"email": "ops@acme.example"}), true),
        (json!({"email": "ops@ACME.example"}), true),
        (json!({"email": "OPS@acme.example"}), false),
        (json!({"email": "*@acme.example"}), true),
        (json!({"email": "Ann.*@acme.example"}), true),
        (json!({"email": "A**@acme.example"}), true),
        (json!({"email": "*@*"}), false),
        (json!({"email": "**@*.example"}), true),
        (json!({"email": "**"}), true),
        (json!({"ip": "192.0.2.7"}), true),
        (json!({"ip": "192.0.2.0/24"}), true),
        (json!({"ip": "0.0.0.0/0"}), true),
        (json!({"ip": "10.0.0.0/8"}), false),
        (json!({"ip": "2001:db8::/32"}), true),
        (json!({"ip": "2001:DB8:0:0::7"}), true),
        (json!({"ip": "::/64"}), true),
        (json!({"ip": "2001:db8:1::/48"}), false),
        (json!({"issuer": {"subject": {"O": "Acme", "cn": "Issuing CA *"}}}), true),
        (json!({"issuer": {"subject": {"OU": ["b", "a"]}}}), true),
        (json!({"issuer": {"subject": {"OU": ["b", "c"]}}}), false),
        (json!({"issuer": {"subject": {"CN": "x"}}}), false),
        (json!({"subject": {"CN": "Issuing CA *"}}), false),
        (json!({"issuer": {"keyId": "00:AA:bb"}}), true),
        (json!({"issuer": {"keyId": "00aabb00"}}), false),
        (json!({"issuer": {"keyId": "aabb"}}), false),
        (json!({"issuer": {"key": key}}), true),
        (json!({"issuer": {"key": other_key}}), false),
        (json!({"issuer": {"key": key, "keyId": "00aabb", "subject": {"O": "*"}}}), true),
        (json!({"issuer": {"key": key, "keyId": "00aabc"}}), false),
        (json!({"ca": "partners"}), true),
        (json!({"ca": "internal"}), false),
        (json!({"extendedKeyUsage": "clientAuth"}), true),
        (json!({"extendedKeyUsage": ["1.3.6.1.4.1.311.20.2.2", "clientAuth"]}), true),
        (json!({"extendedKeyUsage": ["clientAuth", "serverAuth"]}), false),
        (json!({"extendedKeyUsage": "anyExtendedKeyUsage"}), false),
        (
            json!({"ca": "partners", "ip": "192.0.2.0/24", "dns": "*.example", "sha256": "aa".repeat(32)}),
            true,
        ),
        (json!({"ca": "internal", "ip": "192.0.2.0/24", "dns": "*.example"}), false),
    ] {
        let policy = policy_with_cas(json!({"clients": [{"name": "a", "match": one}]}));
        assert_eq!(name(&policy, &identity).is_some(), holds, "{one}");
        assert_eq!(!matched(&policy, &identity).is_empty(), holds, "{one}");
        // A certificate with nothing, and one of which only texts are known, match none of these.
        assert_eq!(name(&policy, &Identity::default()), None, "{one}");
        // As a trusted hop, the same matches.
        let hop = policy_with_cas(json!({"trustedHops": [one]}));
        assert_eq!(hop.hop(&identity).is_some(), holds, "{one}");
    }
}

#[test]
fn only_the_cas_that_the_policy_names_issue_the_certificate_of_verify() {
    let uri = ("uri", VERIFY_URI);
    let of = |ca| certificate(&[uri, ("ca", ca)]);
    for (cas, own) in [
        (json!([{"name": "partners"}, {"name": "internal", "verify": true}]), Some("internal")),
        (json!([{"name": "partners"}, {"verify": true}]), Some("")),
        (json!([{"name": "partners"}, {"name": "internal"}]), None),
        (json!([]), None),
    ] {
        let policy = policy(json!({"verify": true, "clientCAs": cas}));
        for ca in ["internal", "partners", ""] {
            let is_own = own.is_none_or(|own| own == ca);
            assert_eq!(name(&policy, &of(ca)).as_deref(), is_own.then_some(VERIFY_NAME), "{cas}: {ca}");
        }
        // The CA is unknown.
        let unknown = certificate(&[uri]);
        assert_eq!(name(&policy, &unknown).is_some(), own.is_none(), "{cas}");
        assert_eq!(name(&policy, &certificate(&[("ca", own.unwrap_or_default())])), None);
    }
}

#[test]
fn the_explanation_names_the_value_that_matched() {
    let policy = policy(json!({
        "clients": [{"name": "a", "match": {
            "spiffe": "spiffe://**", "email": "{user}@acme.example", "ip": "10.0.0.0/8",
            "issuer": {"subject": {"O": "Acme"}, "keyId": "0a:0b"}, "ca": "partners",
            "extendedKeyUsage": ["clientAuth", "1.2.3"],
        }}],
        "clientCAs": [{"name": "partners"}],
    }));
    let identity = certificate(&[
        ("uri", "https://a"),
        ("uri", "spiffe://b"),
        ("email", "ann@evil.example"),
        ("email", "ann@acme.example"),
        ("ip", "192.0.2.1"),
        ("ip", "10.1.2.3"),
        ("issuer", "CN=x,O=Acme"),
        ("keyId", "0a0b"),
        ("ca", "partners"),
        ("usage", "1.2.3"),
        ("usage", CLIENT_AUTH),
    ]);
    let expected = [
        ("spiffe", "spiffe://b"),
        ("email", "ann@acme.example"),
        ("issuer.subject.O", "Acme"),
        ("ca", "partners"),
        ("ip", "10.1.2.3"),
        ("issuer.keyId", "0a0b"),
        ("extendedKeyUsage", "1.2.3, clientAuth"),
    ];
    let matched = matched(&policy, &identity);
    let matched: Vec<_> = matched.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(matched, expected);
}

#[test]
fn names_that_say_different_things_match_nothing() {
    let policy = policy(json!({"clients": [
        {"name": "acme-{host}", "match": {"dns": "{host}.acme.example"}},
        {"name": "user-{user}", "match": {"email": "{user}@acme.example"}},
        {"name": "wide", "match": {"dns": "*.acme.example"}},
    ]}));
    for (parts, expected) in [
        (vec![("dns", "a.acme.example")], Some("acme-a")),
        (vec![("dns", "a"), ("dns", "a.acme.example"), ("dns", "a.internal")], Some("acme-a")),
        (vec![("dns", "a.acme.example"), ("dns", "a.acme.example")], Some("acme-a")),
        (vec![("dns", "a.acme.example"), ("dns", "b.acme.example")], Some("wide")),
        (vec![("dns", "b.acme.example"), ("dns", "a.acme.example")], Some("wide")),
        (vec![("email", "ann@acme.example"), ("email", "bob@evil.example")], Some("user-ann")),
        (vec![("email", "ann@acme.example"), ("email", "bob@acme.example")], None),
        // A value that no capture may hold is not a candidate.
        (vec![("email", "ann@acme.example"), ("email", "b+c@acme.example")], Some("user-ann")),
    ] {
        assert_eq!(name(&policy, &certificate(&parts)).as_deref(), expected, "{parts:?}");
    }
}

#[test]
fn placeholders_stand_for_what_the_pattern_matched() {
    let policy = policy(json!({
        "clients": [
            {"name": "a", "match": {"dns": "*.acme.example", "ip": "10.0.0.0/8", "email": "*@acme.example"}},
            {"name": "b", "match": {"ca": "partners"}, "quotaPer": "{ca}/{serial}"},
            {"name": "c", "match": {"spiffe": "**"}},
        ],
        "attributes": {
            "uri": "{spiffe}", "host": "{dns}", "mail": "{email}", "address": "{ip}", "issuer": "{issuer}",
            "ca": "{ca}", "serial": "{serial}",
        },
        "headers": {"x-from": "{email} {ip}"},
        "clientCAs": [{"name": "partners"}],
    }));
    let parts = [
        ("uri", "https://x"),
        ("uri", "spiffe://y"),
        ("dns", "other.example"),
        ("dns", "b.acme.example"),
        ("dns", "a.acme.example"),
        ("email", "x@evil.example"),
        ("email", "x@acme.example"),
        ("ip", "192.0.2.1"),
        ("ip", "10.0.0.1"),
        ("issuer", "CN=CA,O=Acme"),
        ("serial", "0a01"),
        ("ca", "partners"),
    ];
    let attributes = |identity: &Identity| {
        let client = client(&policy, identity).unwrap();
        client.attributes().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
    };
    let expected = [
        "address=10.0.0.1",
        "ca=partners",
        "host=b.acme.example",
        "issuer=CN=CA,O=Acme",
        "mail=x@acme.example",
        "serial=0a01",
        "uri=https://x",
    ];
    assert_eq!(attributes(&certificate(&parts)), expected);
    assert_eq!(
        client(&policy, &certificate(&parts)).unwrap().headers,
        [("x-from".to_owned(), "x@acme.example 10.0.0.1".to_owned())]
    );
    // Without a pattern, the first of the certificate.
    let b = certificate(&parts[..5].iter().chain(&parts[10..]).copied().collect::<Vec<_>>());
    assert_eq!(name(&policy, &b).as_deref(), Some("b"));
    assert_eq!(attributes(&b), ["ca=partners", "host=other.example", "serial=0a01", "uri=https://x"]);
    // What the certificate lacks is left out; the serial number 0 has two digits.
    assert_eq!(attributes(&certificate(&[("uri", "a:b")])), ["serial=00", "uri=a:b"]);
    let bucket = |serial: &str| {
        client(&policy, &certificate(&[("ca", "partners"), ("serial", serial)])).unwrap().bucket
    };
    assert_ne!(bucket("01"), bucket("02"));
    assert_eq!(bucket("01"), bucket("01"));
}

#[test]
fn a_rule_matches_only_if_every_name_that_a_header_could_have_fits() {
    let policy = policy(json!({
        "clients": [
            {"name": "narrow", "match": {"spiffe": "a:**"}, "attributes": {"tenant.id": "{spiffe}"}},
            {"name": "wide", "match": {"dns": "x"}},
        ],
        "headers": {"x-tenant": "{tenant.id}"},
    }));
    let long = format!("a:{}", "x".repeat(4095));
    for bad in ["a:trailing ", &long] {
        for order in [[bad, "a:good"], ["a:good", bad]] {
            let uris = [("uri", order[0]), ("uri", order[1]), ("dns", "x")];
            assert_eq!(name(&policy, &certificate(&uris)).as_deref(), Some("wide"), "{order:?}");
        }
    }
    // A name that the pattern does not match is none that the header could have.
    let other = certificate(&[("uri", "b:trailing "), ("uri", "a:good"), ("dns", "x")]);
    assert_eq!(name(&policy, &other).as_deref(), Some("narrow"));
}

#[test]
fn a_certificate_with_too_many_names_costs_a_bounded_number_of_comparisons() {
    // Rules of all kinds, and a certificate each of whose names finds one of them.
    let mut rules = Vec::new();
    for at in 0..2000 {
        rules.push(json!({"name": format!("exact-{at}"), "match": {"dns": format!("h{at}.acme.example"), "subject": {"O": "none"}}}));
        rules.push(json!({"name": format!("start-{at}"), "match": {"spiffe": format!("spiffe://t{at}.example/*"), "ca": "partners"}}));
        rules.push(json!({"name": format!("net-{at}"), "match": {"ip": format!("10.{}.{}.0/24", at / 256, at % 256), "dns": "none"}}));
    }
    let policy = policy(json!({"clients": rules, "clientCAs": [{"name": "partners"}]}));
    let third = MAX_NAMES / 3;
    let hostile = Identity {
        uris: (0..third).map(|at| format!("spiffe://t{at}.example/x")).collect(),
        dns: (0..third).map(|at| format!("h{at}.acme.example")).collect(),
        ips: (0..third).map(|at| format!("10.0.{at}.1").parse().unwrap()).collect(),
        ..certificate(&[("subject", "CN=x")])
    };
    let (lookups, comparisons) = super::work::counted(|| assert_eq!(name(&policy, &hostile), None));
    // One look-up for each value, and one for each length of starts (those of `spiffe://t7.example/` to
    // `spiffe://t1999.example/`, and none), ends (none) and networks (24).
    let lengths = 4 + 1 + 1;
    assert!(lookups <= MAX_NAMES * (1 + lengths) + 8, "{lookups}");
    // Each match that is found is compared with each value of its keys.
    assert!(comparisons <= MAX_NAMES * MAX_NAMES, "{comparisons}");
    assert!(comparisons >= third, "nothing is counted: {comparisons}");
    // With few names it costs little.
    let usual =
        certificate(&[("uri", "spiffe://t7.example/x"), ("dns", "h7.acme.example"), ("subject", "CN=x")]);
    let (lookups, comparisons) = super::work::counted(|| assert_eq!(name(&policy, &usual), None));
    assert!(lookups <= 24 && comparisons <= 8, "{lookups} {comparisons}");
}

/// Few letters, so that values and patterns meet often.
fn label() -> impl Strategy<Value = String> {
    "[ab]{1,2}"
}

fn matching() -> impl Strategy<Value = Value> {
    let pattern = |wild: &'static str| {
        prop_oneof![label(), Just(wild.to_owned()), Just("*".to_owned()), "[ab]\\*".prop_map(|it| it)]
    };
    let dns = (pattern("{w}"), pattern("{v}")).prop_map(|(a, b)| json!({"dns": format!("{a}.{b}")}));
    let uri = (pattern("{w}"), pattern("{v}")).prop_map(|(a, b)| json!({"spiffe": format!("u:{a}/{b}")}));
    let email = (pattern("{w}"), pattern("{v}")).prop_map(|(a, b)| json!({"email": format!("{a}@{b}")}));
    let subject = prop_oneof![
        pattern("{w}").prop_map(|it| json!({"subject": {"OU": it}})),
        (label(), pattern("{w}")).prop_map(|(a, b)| json!({"subject": {"OU": [format!("{a}!"), b]}})),
    ];
    let issuer = pattern("{w}").prop_map(|it| json!({"issuer": {"subject": {"O": it}}}));
    let fact = proptest::sample::select(vec![
        json!({"ip": "10.0.0.0/8"}),
        json!({"ip": "10.0.0.0/15"}),
        json!({"ip": "10.1.0.1"}),
        json!({"ip": "::/0"}),
        json!({"ca": "a"}),
        json!({"ca": "b"}),
        json!({"extendedKeyUsage": "1.2.1"}),
        json!({"extendedKeyUsage": ["1.2.1", "1.2.2"]}),
        json!({"issuer": {"keyId": "01"}}),
    ]);
    let one = prop_oneof![3 => dns, 3 => uri, 2 => email, 3 => subject, 1 => issuer, 2 => fact];
    proptest::collection::vec(one, 1..3).prop_map(|parts| {
        let mut all = serde_json::Map::new();
        for part in parts {
            all.extend(part.as_object().unwrap().clone());
        }
        Value::Object(all)
    })
}

fn parts() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let part = prop_oneof![
        (label(), label()).prop_map(|(a, b)| ("dns", format!("{a}.{b}"))),
        (label(), label()).prop_map(|(a, b)| ("uri", format!("u:{a}/{b}"))),
        (label(), label()).prop_map(|(a, b)| ("email", format!("{a}@{b}"))),
        label().prop_map(|it| ("ou", it)),
        label().prop_map(|it| ("ou", format!("{it}!"))),
        label().prop_map(|it| ("issuer", format!("O={it}"))),
        proptest::sample::select(vec!["10.0.0.1", "10.1.0.1", "11.0.0.1", "::1"])
            .prop_map(|it| ("ip", it.to_owned())),
        proptest::sample::select(vec!["a", "b"]).prop_map(|it| ("ca", it.to_owned())),
        proptest::sample::select(vec!["1.2.1", "1.2.2"]).prop_map(|it| ("usage", it.to_owned())),
        proptest::sample::select(vec!["01", "02"]).prop_map(|it| ("keyId", it.to_owned())),
    ];
    proptest::collection::vec(part, 1..8)
}

/// A certificate of parts; its subject has the `ou`s in this order.
fn of_parts(parts: &[(&'static str, String)]) -> Identity {
    let units: Vec<String> =
        parts.iter().filter(|(key, _)| *key == "ou").map(|(_, value)| format!("OU={value}")).collect();
    let mut all: Vec<(&str, &str)> = parts.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let subject = units.join(",");
    if !units.is_empty() {
        all.push(("subject", &subject));
    }
    certificate(&all)
}

/// A policy of those of these matches that compile together.
fn policy_of(matches: Vec<Value>) -> Policy {
    let mut config: PolicyConfig = serde_json::from_value(json!({
        "clients": [],
        "headers": {"x-names": "{dns} {spiffe} {email}"},
        "clientCAs": [{"name": "a"}, {"name": "b"}],
    }))
    .unwrap();
    for one in matches {
        let at = config.clients.len();
        let captures: Vec<String> = ["w", "v"]
            .iter()
            .filter(|name| one.to_string().contains(&format!("{{{name}}}")))
            .map(|name| format!("-{{{name}}}"))
            .collect();
        let name = format!("c{at}x{}", captures.concat());
        let rule = json!({"name": name, "match": one});
        config.clients.push(serde_json::from_value(rule).unwrap());
        // Random rules may have errors, which do not matter here.
        if Policy::compile(&config).is_err() {
            config.clients.pop();
        }
    }
    Policy::compile(&config).unwrap()
}

proptest! {
    #[test]
    fn the_order_of_names_and_values_never_selects_the_client(
        matches in proptest::collection::vec(matching(), 1..12),
        (parts, other) in parts().prop_flat_map(|parts| (Just(parts.clone()), Just(parts).prop_shuffle())),
    ) {
        // The issuer, the CA and the key of one certificate are the first; the order of those is no choice.
        let single = |key: &str| ["issuer", "ca", "keyId"].contains(&key);
        let fixed = parts.iter().filter(|(key, _)| single(key)).cloned();
        let other: Vec<_> = fixed.chain(other.into_iter().filter(|(key, _)| !single(key))).collect();
        let policy = policy_of(matches);
        let (one, other) = (of_parts(&parts), of_parts(&other));
        let (a, b) = (client(&policy, &one), client(&policy, &other));
        let of = |client: &Option<Client>| client.as_ref().map(|it| (it.rule, it.name.clone(), it.bucket));
        prop_assert_eq!(of(&a), of(&b));
        prop_assert_eq!(policy.explain(&one).captures, policy.explain(&other).captures);
    }

    #[test]
    fn the_index_finds_what_a_scan_finds(
        matches in proptest::collection::vec(matching(), 1..12),
        parts in parts(),
    ) {
        let policy = policy_of(matches);
        let identity = of_parts(&parts);
        let scanned = policy.alternatives.iter().find(|it| it.condition.holds(&identity).is_some());
        let found = policy.matches(&identity).next();
        prop_assert_eq!(scanned.map(|it| it.rule), found.map(|it| it.alternative.rule));
        prop_assert_eq!(policy.explain(&identity).identification, policy.identify(&identity));
    }

    #[test]
    fn a_match_that_covers_another_holds_where_that_holds(
        wide in matching(), narrow in matching(), parts in parts(),
    ) {
        let policy = policy_of(vec![wide, narrow]);
        let [wide, narrow] = policy.alternatives.as_slice() else { return Ok(()) };
        let identity = of_parts(&parts);
        let sample = narrow.condition.sample();
        let always = wide.condition.covers(&sample, super::condition::Values::Any);
        let usually = wide.condition.covers(&sample, super::condition::Values::One);
        let units = identity.subject.iter().flat_map(|it| it.values("OU")).count();
        let single = [identity.uris.len(), identity.dns.len(), identity.emails.len(), units].iter().all(|it| *it < 2);
        prop_assert!(usually || !always);
        if (always || (usually && single)) && narrow.condition.holds(&identity).is_some() {
            prop_assert!(wide.condition.holds(&identity).is_some());
        }
    }

    #[test]
    fn another_name_can_only_add_rules_or_make_a_capture_ambiguous(
        one in matching(), parts in parts(), more in parts(),
    ) {
        // With more names, a match that held still holds with the same captures, or holds no longer because two names
        // give different captures. It never gives other captures.
        let policy = policy_of(vec![one]);
        let Some(alternative) = policy.alternatives.first() else { return Ok(()) };
        let fewer = of_parts(&parts);
        let more: Vec<_> = parts.iter().cloned().chain(more).collect();
        let more = of_parts(&more);
        if let (Some(before), Some(after)) = (alternative.condition.holds(&fewer), alternative.condition.holds(&more)) {
            prop_assert_eq!(before, after);
        }
    }
}
