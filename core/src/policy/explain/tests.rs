//! Near misses of certificates that do not match the rule that they should match.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::Policy;
use super::super::certificate_tests::certificate;
use super::super::work::counted;
use super::*;
use crate::config::PolicyConfig;
use crate::identity::MAX_NAMES;

/// A match, the parts of a certificate, and the near misses.
type Case = (Value, Vec<(&'static str, &'static str)>, Vec<&'static str>);

/// The same with texts that are put together.
type LongCase = (Value, Vec<(&'static str, &'static str)>, Vec<String>);

/// A certificate by the text of its parts: `spiffe=..`, `dns=..`, `subject=..`.
fn identity(parts: &[(&str, &str)]) -> Identity {
    let part = |key: &str| parts.iter().find(|(own, _)| *own == key).map(|(_, value)| *value);
    let texts = |key: &str| part(key).into_iter().collect::<Vec<_>>();
    Identity::from_texts(&texts("spiffe"), &texts("dns"), part("subject"), Some([0xaa; 32]))
}

fn near_misses(config: &Value, identity: &Identity) -> Vec<String> {
    let config: PolicyConfig = serde_json::from_value(config.clone()).unwrap();
    let policy = Policy::compile(&config).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let explanation = policy.explain(identity);
    assert_eq!(explanation.identification, policy.identify(identity));
    let near_misses = explanation.passed_over.iter().map(|miss| {
        let hint = miss.hint.as_ref().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
        format!("{}: {}{hint}", miss.path, miss.reason)
    });
    near_misses.collect()
}

/// A rule with this match, or list of them, and what is said of this certificate.
#[test]
fn each_near_miss_has_a_reason_and_a_hint() {
    let cases: Vec<Case> = vec![
        (
            json!({"subject":{"CN":"{host}"}}),
            vec![("subject", "CN=edge.acme.example")],
            vec![
                "clients[0].match.subject.CN: {host} would be `edge.acme.example`, but a capture ends at `.` (hint: allow it in the rule: `words: {host: {allow: \".\"}}`)",
            ],
        ),
        (
            json!({"subject":{"CN":"{host}"}}),
            vec![("subject", "CN=a/b")],
            vec![
                "clients[0].match.subject.CN: {host} would be `a/b`, but a capture ends at `/` (hint: write one capture for each part, such as {host}/{host_2}, or `**` if none is needed)",
            ],
        ),
        (
            json!({"subject":{"CN":"{host}"}}),
            vec![("subject", "CN=two words")],
            vec![
                "clients[0].match.subject.CN: {host} would be `two words`, but a capture cannot contain ` ` (hint: write `*` or `**` in its place, and make the client's name of something else)",
            ],
        ),
        (
            json!({"subject":{"CN":"*"}}),
            vec![("subject", "CN=a.b")],
            vec![
                "clients[0].match.subject.CN: its CN is `a.b`, but `*` in `*` matches only one part between `.` and `/` (hint: write `**` where there may be several)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://a.example/{id}"}),
            vec![("spiffe", "spiffe://a.example/x/y")],
            vec![
                "clients[0].match.spiffe: {id} would be `x/y`, but a capture ends at `/` (hint: write one capture for each part, such as {id}/{id_2}, or `**` if none is needed)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://a.example/{id}"}),
            vec![("spiffe", "spiffe://a.example/user:alice@corp")],
            vec![
                "clients[0].match.spiffe: {id} would be `user:alice@corp`, but a capture cannot contain `:` (hint: allow it in the rule: `words: {id: {allow: \":@\"}}`)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://a.example/{id}"}),
            vec![(
                "spiffe",
                "spiffe://a.example/0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
            )],
            vec![
                "clients[0].match.spiffe: {id} would be `0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f`, which has 64 characters, more than 63 (hint: allow it in the rule: `words: {id: {max: 64}}`)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://a.example/*"}),
            vec![("spiffe", "spiffe://a.example/x/y")],
            vec![
                "clients[0].match.spiffe: its URI name is `spiffe://a.example/x/y`, but `*` in `spiffe://a.example/*` matches only one part between `/` (hint: write `**` where there may be several)",
            ],
        ),
        (
            json!({"dns":"{site}.{org}.example"}),
            vec![("dns", "x.a.b.example")],
            vec![
                "clients[0].match.dns: {org} would be `a.b`, but a capture ends at `.` (hint: allow it in the rule: `words: {org: {allow: \".\"}}`)",
            ],
        ),
        (
            json!({"dns":"{org}.example"}),
            vec![("dns", "*.example")],
            vec![
                "clients[0].match.dns: {org} would be `*`, but a capture cannot contain `*` (hint: write `*` or `**` in its place, and make the client's name of something else)",
            ],
        ),
        (
            json!({"subject":{"O":"Example SE","OU":"{sub}"}}),
            vec![("subject", "OU=1111-2222,OU=Canary,OU=Example Cloud Clients,O=Example SE")],
            vec![
                "clients[0].match.subject.OU: several values of its OU match, such as `Canary` and `1111-2222`, and the rule does not say which one to use (hint: list the other value: `subject: {OU: [\"Canary\", \"{sub}\"]}` captures `1111-2222`)",
            ],
        ),
        (
            json!({"subject":{"OU":["{sub}","*x"]}}),
            vec![("subject", "OU=ax,OU=bx,OU=cx")],
            vec![
                "clients[0].match.subject.OU[0]: several values of its OU match, such as `ax` and `bx`, and the rule does not say which one to use (hint: list the other values: `subject: {OU: [\"ax\", .., \"{sub}\"]}`)",
            ],
        ),
        (
            json!({"subject":{"OU":["Canary","{sub}"]}}),
            vec![("subject", "OU=Canary")],
            vec![
                "clients[0].match.subject.OU[1]: it has no OU except those that the rule's list has literally (hint: remove the other from the list, or issue the certificate with both)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://acme.example/Edge/*"}),
            vec![("spiffe", "spiffe://acme.example/edge/7")],
            vec![
                "clients[0].match.spiffe: its URI name is `spiffe://acme.example/edge/7`, which differs from `spiffe://acme.example/Edge/*` in case (hint: write it in the rule as in the certificate)",
            ],
        ),
        (
            json!({"subject":{"O":"ACME"}}),
            vec![("subject", "O=Acme")],
            vec![
                "clients[0].match.subject.O: its O is `Acme`, which differs from `ACME` in case (hint: write it in the rule as in the certificate)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://acme.example/edge/*"}),
            vec![("spiffe", "spiffe://acme.test/edge/7")],
            vec![
                "clients[0].match.spiffe: its URI name is `spiffe://acme.test/edge/7`, and its trust domain is `acme.test`, not `acme.example` (hint: if both trust domains are yours, give the rule a list of two matches)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://acme.example/edge/*"}),
            vec![("spiffe", "spiffe://acme.example/edge")],
            vec![
                "clients[0].match.spiffe: its URI name is `spiffe://acme.example/edge`, and it lacks the rule's part `*` (hint: remove it from the rule, or issue the certificate with it)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://acme.example/edge/*"}),
            vec![("spiffe", "spiffe://acme.example/edge/eu/7/")],
            vec![
                "clients[0].match.spiffe: its URI name is `spiffe://acme.example/edge/eu/7/`, but `*` in `spiffe://acme.example/edge/*` matches only one part between `/` (hint: write `**` where there may be several)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://acme.example/edge"}),
            vec![("spiffe", "spiffe://acme.example/edge/")],
            vec![
                "clients[0].match.spiffe: its URI name is `spiffe://acme.example/edge/`, and it has an additional empty part (hint: issue the certificate without the additional `/`, or add it to the rule)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://acme.example/edge"}),
            vec![("spiffe", "spiffe://acme.example/edge/7")],
            vec![
                "clients[0].match.spiffe: its URI name is `spiffe://acme.example/edge/7`, and it has the additional part `7` (hint: add `*` and a `/` to the rule for one more part, or write `**` for any number of parts)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://acme.example/edge/*/x"}),
            vec![("spiffe", "spiffe://acme.example/edge/x")],
            vec![
                "clients[0].match.spiffe: its URI name is `spiffe://acme.example/edge/x`, and it lacks the rule's part `*` (hint: remove it from the rule, or issue the certificate with it)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://acme.example/edge/*"}),
            vec![("spiffe", "spiffe://acme.example/egde/7")],
            vec![
                "clients[0].match.spiffe: its URI name is `spiffe://acme.example/egde/7`, and the rule has `edge` instead of `egde` (hint: write `*` in the rule if any value may match, or issue the certificate as in the rule)",
            ],
        ),
        (
            json!({"dns":"edge.acme.example"}),
            vec![("dns", "edge.acme.test")],
            vec![
                "clients[0].match.dns: its DNS name is `edge.acme.test`, and the rule has `example` instead of `test` (hint: write `*` in the rule if any value may match, or issue the certificate as in the rule)",
            ],
        ),
        (
            json!({"subject":{"CN":"legacy"}}),
            vec![("subject", "CN=legcay")],
            vec![
                "clients[0].match.subject.CN: its CN is `legcay`, and the rule has `legacy` instead of `legcay` (hint: write `*` in the rule if any value may match, or issue the certificate as in the rule)",
            ],
        ),
        (
            json!({"dns":"*.acme.example"}),
            vec![("subject", "CN=edge.acme.example")],
            vec![
                "clients[0].match.dns: it has no DNS name, but `edge.acme.example` as its CN (hint: match it under `subject: {CN: ..}`, or issue the certificate with it as its DNS name)",
            ],
        ),
        (json!({"spiffe":"spiffe://acme.example/edge/*"}), vec![("dns", "edge.acme.example")], vec![]),
        (
            json!({"subject":{"O":"Acme","CN":"{host}"}}),
            vec![("subject", "O=Acme")],
            vec![
                "clients[0].match.subject.CN: it has no CN (hint: remove it from the rule, or issue the certificate with it)",
            ],
        ),
        (
            json!({"subject":{"O":"Acme","CN":"edge"}}),
            vec![("subject", "O=Acme,CN=other")],
            vec![
                "clients[0].match.subject.CN: its CN is `other`, and the rule has `edge` instead of `other` (hint: write `*` in the rule if any value may match, or issue the certificate as in the rule)",
            ],
        ),
        (
            json!({"dns":"{o}.example","subject":{"O":"{o}"}}),
            vec![("dns", "acme.example"), ("subject", "O=evil")],
            vec![
                "clients[0].match: {o} would have two values, `acme` and `evil` (hint: use two different names, or write `*` for one of them)",
            ],
        ),
        (
            json!({"dns":"a.example","sha256":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}),
            vec![("dns", "a.example")],
            vec![
                "clients[0].match.sha256: its fingerprint is different, as after a renewal (hint: update it, or match by name instead)",
            ],
        ),
        (
            json!({"sha256":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}),
            vec![("dns", "a.example")],
            vec![],
        ),
        (
            json!([{"dns":"x.example"},{"spiffe":"spiffe://a/*"}]),
            vec![("spiffe", "spiffe://a/b/c")],
            vec![
                "clients[0].match[1].spiffe: its URI name is `spiffe://a/b/c`, but `*` in `spiffe://a/*` matches only one part between `/` (hint: write `**` where there may be several)",
            ],
        ),
    ];
    for (one, parts, expected) in cases {
        let config = json!({"clients": [{"name": "a", "match": one}]});
        assert_eq!(near_misses(&config, &identity(&parts)), expected, "{config} {parts:?}");
    }
}

/// The same for the keys that only the certificate itself has.
#[test]
fn each_near_miss_of_addresses_and_issuers_has_a_reason_and_a_hint() {
    let key = "cd".repeat(32);
    let dns = ("dns", "x.example");
    let with = |mut one: Value| {
        one["dns"] = json!("x.example");
        one
    };
    let no_network =
        "(hint: write a network that contains it, or issue the certificate with an address in it)";
    let no_ca = "(hint: issue the certificate under that CA, or change `ca`)";
    let renewed =
        "(hint: update it, as after a renewal of the CA, or name the CA in `clientCAs` and match `ca`)";
    let no_usage = "(hint: issue the certificate with it, or remove it from the rule)";
    let own = "(hint: write `*` in the rule if any value may match, or issue the certificate as in the rule)";
    let cases: Vec<LongCase> = vec![
        (
            json!({"dns": "{h}.acme.example"}),
            vec![("dns", "b.acme.example"), ("dns", "a"), ("dns", "aa.acme.example")],
            vec!["clients[0].match.dns: several of its DNS names match, such as `b.acme.example` and `aa.acme.example`, and the rule does not say which one to use (hint: make the pattern more specific, or issue the certificate with one of them)".to_owned()],
        ),
        (
            json!({"email": "{u}@acme.example"}),
            vec![("email", "a@acme.example"), ("email", "b@acme.example")],
            vec!["clients[0].match.email: several of its e-mail addresses match, such as `a@acme.example` and `b@acme.example`, and the rule does not say which one to use (hint: make the pattern more specific, or issue the certificate with one of them)".to_owned()],
        ),
        (
            // The nearest of several names is reported.
            json!({"dns": "edge.acme.example"}),
            vec![("dns", "a.b.c.d"), ("dns", "egde.acme.example"), ("dns", "localhost")],
            vec![format!("clients[0].match.dns: its DNS name is `egde.acme.example`, and the rule has `edge` instead of `egde` {own}")],
        ),
        (
            json!({"email": "{user}@acme.example"}),
            vec![("email", "ann.lee@acme.example")],
            vec!["clients[0].match.email: {user} would be `ann.lee`, but a capture ends at `.` (hint: allow it in the rule: `words: {user: {allow: \".\"}}`)".to_owned()],
        ),
        (
            json!({"email": "*@acme.example"}),
            vec![("email", "ann.lee@acme.example")],
            vec!["clients[0].match.email: its e-mail address is `ann.lee@acme.example`, but `*` in `*@acme.example` matches only one part between `.` and `@` (hint: write `**` where there may be several)".to_owned()],
        ),
        (
            json!({"email": "ann@acme.example"}),
            vec![("email", "Ann@acme.example")],
            vec!["clients[0].match.email: its e-mail address is `Ann@acme.example`, which differs from `ann@acme.example` in case (hint: write it in the rule as in the certificate)".to_owned()],
        ),
        (
            json!({"email": "ann@acme.example"}),
            vec![("email", "ann@acme.test")],
            vec![format!("clients[0].match.email: its e-mail address is `ann@acme.test`, and the rule has `example` instead of `test` {own}")],
        ),
        (
            json!({"email": "ann@acme.example"}),
            vec![("subject", "emailAddress=ann@acme.example")],
            vec!["clients[0].match.email: it has no e-mail address, but `ann@acme.example` as its emailAddress (hint: match it under `subject: {emailAddress: ..}`, or issue the certificate with it as its e-mail address)".to_owned()],
        ),
        (
            json!({"subject": {"CN": "*@acme.example"}}),
            vec![("email", "ann@acme.example")],
            vec!["clients[0].match.subject.CN: it has no CN, but `ann@acme.example` as its e-mail address (hint: match it under `email`, or issue the certificate with it as its CN)".to_owned()],
        ),
        (
            with(json!({"ip": "10.0.0.0/8"})),
            vec![dns, ("ip", "192.0.2.1")],
            vec![format!("clients[0].match.ip: its IP address is `192.0.2.1`, which `10.0.0.0/8` does not contain {no_network}")],
        ),
        (
            with(json!({"ip": "10.0.0.0/8"})),
            vec![dns, ("ip", "192.0.2.1"), ("ip", "::ffff:10.0.0.1")],
            vec![format!("clients[0].match.ip: none of its IP addresses, such as `192.0.2.1`, is in `10.0.0.0/8` {no_network}")],
        ),
        (
            with(json!({"ip": "10.0.0.7"})),
            vec![dns],
            vec![format!("clients[0].match.ip: it has no IP address {no_network}")],
        ),
        (
            with(json!({"ca": "partners"})),
            vec![dns, ("ca", "internal")],
            vec![format!("clients[0].match.ca: the CA `internal` signed it, not `partners` {no_ca}")],
        ),
        (
            with(json!({"ca": "partners"})),
            vec![dns],
            vec![format!("clients[0].match.ca: the CA `partners` has not signed it, nor any other in `clientCAs` {no_ca}")],
        ),
        (json!({"ca": "partners"}), vec![dns], vec![]),
        (
            with(json!({"issuer": {"keyId": "0a0b"}})),
            vec![dns, ("keyId", "0a0c")],
            vec![format!("clients[0].match.issuer.keyId: the identifier of its issuer's key is `0a0c` {renewed}")],
        ),
        (
            with(json!({"issuer": {"keyId": "0a0b"}})),
            vec![dns],
            vec![format!("clients[0].match.issuer.keyId: it has no identifier of its issuer's key {renewed}")],
        ),
        (
            with(json!({"issuer": {"key": key}})),
            vec![dns, ("ca", "partners")],
            vec![format!("clients[0].match.issuer.key: the key that signed it has the SHA-256 `{}` {renewed}", "cc".repeat(32))],
        ),
        (
            with(json!({"issuer": {"key": key}})),
            vec![dns],
            vec![format!("clients[0].match.issuer.key: no CA in `clientCAs` has signed it {renewed}")],
        ),
        (
            with(json!({"issuer": {"subject": {"CN": "Issuing CA *"}}})),
            vec![dns, ("issuer", "CN=Issuing CA 1.2")],
            vec!["clients[0].match.issuer.subject.CN: its issuer's CN is `Issuing CA 1.2`, but `*` in `Issuing CA *` matches only one part between `.` and `/` (hint: write `**` where there may be several)".to_owned()],
        ),
        (
            with(json!({"issuer": {"subject": {"OU": "{ou}"}}})),
            vec![dns, ("issuer", "OU=a,OU=b")],
            vec!["clients[0].match.issuer.subject.OU: several values of its issuer's OU match, such as `a` and `b`, and the rule does not say which one to use (hint: list the other value: `issuer: {subject: {OU: [\"a\", \"{ou}\"]}}` captures `b`)".to_owned()],
        ),
        (
            with(json!({"extendedKeyUsage": ["clientAuth", "1.2.3"]})),
            vec![dns, ("usage", "1.3.6.1.5.5.7.3.1")],
            vec![format!("clients[0].match.extendedKeyUsage: it does not list the extended key usage `1.2.3`; it does not list the extended key usage `clientAuth` {no_usage}")],
        ),
        (
            // All of these have one cause.
            with(json!({"ca": "partners", "issuer": {"subject": {"O": "P"}, "keyId": "0a"}})),
            vec![dns, ("ca", "internal"), ("issuer", "CN=x"), ("keyId", "0b")],
            vec!["clients[0].match.issuer.subject.O: its issuer has no O; the CA `internal` signed it, not `partners`; the identifier of its issuer's key is `0b` (hint: issue the certificate under that CA, or change `ca`; remove it from the rule, or issue the certificate with it; update it, as after a renewal of the CA, or name the CA in `clientCAs` and match `ca`)".to_owned()],
        ),
        // Another CA and another name: nothing alike.
        (with(json!({"ca": "partners"})), vec![("dns", "something.else.test"), ("ca", "internal")], vec![]),
    ];
    for (one, parts, expected) in cases {
        let config = json!({
            "clients": [{"name": "a", "match": one}], "clientCAs": [{"name": "partners"}, {"name": "internal"}],
        });
        assert_eq!(near_misses(&config, &certificate(&parts)), expected, "{config} {parts:?}");
    }
}

#[test]
fn a_certificate_with_many_names_is_explained_in_bounded_time() {
    let rules: Vec<Value> = (0..2000)
        .map(|at| json!({"name": format!("c{at}"), "match": {"dns": format!("edge-{at}.acme.example")}}))
        .collect();
    let config: PolicyConfig = serde_json::from_value(json!({"clients": rules})).unwrap();
    let policy = Policy::compile(&config).unwrap();
    let names: Vec<String> = (0..MAX_NAMES).map(|at| format!("egde-x{at}.acme.example")).collect();
    let names: Vec<(&str, &str)> = names.iter().map(|name| ("dns", name.as_str())).collect();
    let (_, comparisons) = counted(|| assert!(policy.explain(&certificate(&names)).rule.is_none()));
    assert!(comparisons < 2000 * MAX_NAMES * 6, "{comparisons}");
}

#[test]
fn a_rule_that_uses_what_the_certificate_lacks_is_a_near_miss() {
    let config = json!({
        "clients": [
            {"name": "a", "match": {"subject": {"O": "a"}}, "attributes": {"unit": "{subject.OU}"}},
            {"name": "b", "match": {"subject": {"O": "b"}}, "quotaPer": "{dns}"},
            {"name": "c", "match": {"subject": {"O": "c"}}},
        ],
        "headers": {"x-cn": "{subject.CN}"},
    });
    for (subject, expected) in [
        (
            "O=a,OU=x,OU=y",
            "clients[0].attributes.unit: the rule uses {subject.OU}, of which the certificate has several values (hint: \
             capture the value to use under `match`: `subject: {OU: [.., \"{value}\"]}`)",
        ),
        (
            "O=a",
            "clients[0].attributes.unit: the rule uses {subject.OU}, which the certificate does not have (hint: use a part that it has, or issue the certificate with it)",
        ),
        (
            "O=b",
            "clients[1].quotaPer: the rule uses {dns}, which the certificate does not have (hint: use a part that it has, or issue the certificate with it)",
        ),
        (
            r"O=c,CN=\C3\BC",
            "headers.x-cn: the value of the header `x-cn` would not be 1 to 4096 characters of visible ASCII, with \
             spaces only inside (hint: use placeholders whose values are always visible ASCII)",
        ),
    ] {
        assert_eq!(near_misses(&config, &identity(&[("subject", subject)])), [expected], "{subject}");
    }
}

#[test]
fn the_nearest_rule_is_reported_if_more_than_wildcards_differ() {
    let rules: Vec<Value> = ["acme", "globex", "initech"]
        .iter()
        .map(|org| json!({"name": org, "match": {"spiffe": format!("spiffe://{org}.example/edge/*/agent")}}))
        .collect();
    let config = json!({"clients": rules});
    let near = |uri: &str| -> Vec<String> {
        let misses = near_misses(&config, &identity(&[("spiffe", uri)]));
        misses.iter().map(|it| it.split(':').next().unwrap().to_owned()).collect()
    };
    let spiffe = |rule: usize| format!("clients[{rule}].match.spiffe");
    assert_eq!(near("spiffe://globex.example/edge/7"), [spiffe(1)]);
    assert_eq!(near("spiffe://globx.example/edge/7/agent"), [spiffe(1)]);
    assert_eq!(near("spiffe://initech.example/edge/7/8/agent"), [spiffe(2)]);
    assert_eq!(near("spiffe://other/a/b/c/d/e"), [""; 0]);
}

#[test]
fn near_misses_come_before_the_rule_that_matches_and_later_rules_after() {
    let config = json!({"clients": [
        {"name": "far", "match": {"dns": "a.exampel"}},
        {"name": "word-{w}", "match": {"dns": "{w}.example"}},
        {"name": "wide", "match": [{"dns": "**.example"}, {"dns": "*.b.example"}]},
        {"name": "narrow", "match": {"dns": "a.b.example"}},
        {"name": "late-{w}", "match": {"dns": "x-{w}.example"}},
    ]});
    let identity = identity(&[("dns", "a.b.example")]);
    let policy = Policy::compile(&serde_json::from_value(config.clone()).unwrap()).unwrap();
    let explanation = policy.explain(&identity);
    assert_eq!((explanation.rule, explanation.later.as_slice()), (Some(2), [3].as_slice()));
    let before: Vec<usize> = explanation.passed_over.iter().map(|miss| miss.rule).collect();
    assert_eq!(before, [1], "what only looks alike is of no interest where a rule matches");
}

proptest! {
    #[test]
    fn any_rule_can_be_compared_with_any_certificate(
        pattern in r"(u:)?([ab./]{0,3}(\*|\*\*|\{x\}|)){1,4}",
        value in r#"[ab./:@, ü"\\]{0,12}"#,
        dns in "[ab.*]{0,8}",
    ) {
        let matches = [
            json!({"spiffe": pattern}),
            json!({"dns": pattern}),
            json!({"subject": {"CN": pattern, "OU": ["a", pattern]}}),
        ];
        for one in matches {
            let config = json!({"clients": [{"name": "a", "match": one}]});
            let config: PolicyConfig = serde_json::from_value(config).unwrap();
            let Ok(policy) = Policy::compile(&config) else { continue };
            let subject = format!("CN=a,OU=a,OU={},OU=b", value.replace(['"', ',', '\\', ' '], ""));
            let identity = identity(&[("spiffe", &value), ("dns", &dns), ("subject", &subject)]);
            let explanation = policy.explain(&identity);
            prop_assert_eq!(&explanation.identification, &policy.identify(&identity));
            prop_assert!(explanation.rule.is_none() || explanation.passed_over.is_empty());
        }
    }
}
