//! Near misses of certificates that do not match the rule that they should match.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::Policy;
use super::*;
use crate::config::PolicyConfig;

/// A match, the parts of a certificate, and the near misses.
type Case = (Value, Vec<(&'static str, &'static str)>, Vec<&'static str>);

/// A certificate by the text of its parts: `spiffe=..`, `dns=..`, `subject=..`.
fn identity(parts: &[(&str, &str)]) -> Identity {
    let part = |key: &str| parts.iter().find(|(own, _)| *own == key).map(|(_, value)| value.as_bytes());
    Identity::from_parts(part("spiffe"), part("dns"), part("subject"), Some(&[b'a'; 64]))
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
