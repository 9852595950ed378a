//! What is said of a certificate that is not the client that somebody meant it to be.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::Policy;
use super::*;
use crate::config::PolicyConfig;

/// A match, the parts of a certificate, and what is said.
type Case = (Value, Vec<(&'static str, &'static str)>, Vec<&'static str>);

/// A certificate by the text of its parts: `spiffe=..`, `dns=..`, `subject=..`.
fn identity(parts: &[(&str, &str)]) -> Identity {
    let part = |key: &str| parts.iter().find(|(own, _)| *own == key).map(|(_, value)| value.as_bytes());
    Identity::from_parts(part("spiffe"), part("dns"), part("subject"), Some(&[b'a'; 64]))
}

fn told(config: &Value, identity: &Identity) -> Vec<String> {
    let config: PolicyConfig = serde_json::from_value(config.clone()).unwrap();
    let policy = Policy::compile(&config).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let explanation = policy.explain(identity);
    assert_eq!(explanation.identification, policy.identify(identity));
    let told = explanation.passed_over.iter().map(|miss| {
        let hint = miss.hint.as_ref().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
        format!("{}: {}{hint}", miss.path, miss.reason)
    });
    told.collect()
}

/// A rule with this match, or list of them, and what is said of this certificate.
#[test]
fn each_near_miss_is_told_with_its_cause_and_what_to_change() {
    let cases: Vec<Case> = vec![
        (
            json!({"subject":{"CN":"{host}"}}),
            vec![("subject", "CN=edge.acme.example")],
            vec![
                "clients[0].match.subject.CN: {host} would be `edge.acme.example`, and a word ends at `.` (hint: allow it in the rule: words: {host: {allow: \".\"}})",
            ],
        ),
        (
            json!({"subject":{"CN":"{host}"}}),
            vec![("subject", "CN=a/b")],
            vec![
                "clients[0].match.subject.CN: {host} would be `a/b`, and a word ends at `/` (hint: write one word for each part, such as {host}/{host_2}, or `**` where none is needed)",
            ],
        ),
        (
            json!({"subject":{"CN":"{host}"}}),
            vec![("subject", "CN=two words")],
            vec![
                "clients[0].match.subject.CN: {host} would be `two words`, and a word does not hold ` ` (hint: write `*` or `**` in its place, and name the client by something else)",
            ],
        ),
        (
            json!({"subject":{"CN":"*"}}),
            vec![("subject", "CN=a.b")],
            vec![
                "clients[0].match.subject.CN: its CN is `a.b`, and a `*` of `*` is one part between `.` and `/` only (hint: write `**` where there may be several)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://a.example/{id}"}),
            vec![("spiffe", "spiffe://a.example/x/y")],
            vec![
                "clients[0].match.spiffe: {id} would be `x/y`, and a word ends at `/` (hint: write one word for each part, such as {id}/{id_2}, or `**` where none is needed)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://a.example/{id}"}),
            vec![("spiffe", "spiffe://a.example/user:alice@corp")],
            vec![
                "clients[0].match.spiffe: {id} would be `user:alice@corp`, and a word does not hold `:` (hint: allow it in the rule: words: {id: {allow: \":@\"}})",
            ],
        ),
        (
            json!({"spiffe":"spiffe://a.example/{id}"}),
            vec![(
                "spiffe",
                "spiffe://a.example/0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
            )],
            vec![
                "clients[0].match.spiffe: {id} would be `0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f`, which has 64 characters, and 63 is the most (hint: allow it in the rule: words: {id: {max: 64}})",
            ],
        ),
        (
            json!({"spiffe":"spiffe://a.example/*"}),
            vec![("spiffe", "spiffe://a.example/x/y")],
            vec![
                "clients[0].match.spiffe: its URI name is `spiffe://a.example/x/y`, and a `*` of `spiffe://a.example/*` is one part between `/` only (hint: write `**` where there may be several)",
            ],
        ),
        (
            json!({"dns":"{site}.{org}.example"}),
            vec![("dns", "x.a.b.example")],
            vec![
                "clients[0].match.dns: {org} would be `a.b`, and a word ends at `.` (hint: allow it in the rule: words: {org: {allow: \".\"}})",
            ],
        ),
        (
            json!({"dns":"{org}.example"}),
            vec![("dns", "*.example")],
            vec![
                "clients[0].match.dns: {org} would be `*`, and a word does not hold `*` (hint: write `*` or `**` in its place, and name the client by something else)",
            ],
        ),
        (
            json!({"subject":{"O":"Example SE","OU":"{sub}"}}),
            vec![("subject", "OU=1111-2222,OU=Canary,OU=Example Cloud Clients,O=Example SE")],
            vec![
                "clients[0].match.subject.OU: several values of its OU match, `Canary` and `1111-2222` among them, and the rule does not say which is meant (hint: name the other one in a list: subject: {OU: [\"Canary\", \"{sub}\"]} takes `1111-2222`)",
            ],
        ),
        (
            json!({"subject":{"OU":["{sub}","*x"]}}),
            vec![("subject", "OU=ax,OU=bx,OU=cx")],
            vec![
                "clients[0].match.subject.OU[0]: several values of its OU match, `ax` and `bx` among them, and the rule does not say which is meant (hint: name the others in a list: subject: {OU: [\"ax\", .., \"{sub}\"]})",
            ],
        ),
        (
            json!({"subject":{"OU":["Canary","{sub}"]}}),
            vec![("subject", "OU=Canary")],
            vec![
                "clients[0].match.subject.OU[1]: it has no OU beside what the rule's list names word for word (hint: take the other out of the list, or issue the certificate with both)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://acme.example/Edge/*"}),
            vec![("spiffe", "spiffe://acme.example/edge/7")],
            vec![
                "clients[0].match.spiffe: its URI name is `spiffe://acme.example/edge/7`, which differs from `spiffe://acme.example/Edge/*` in upper and lower case (hint: write it in the rule as the certificate has it)",
            ],
        ),
        (
            json!({"subject":{"O":"ACME"}}),
            vec![("subject", "O=Acme")],
            vec![
                "clients[0].match.subject.O: its O is `Acme`, which differs from `ACME` in upper and lower case (hint: write it in the rule as the certificate has it)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://acme.example/edge/*"}),
            vec![("spiffe", "spiffe://acme.test/edge/7")],
            vec![
                "clients[0].match.spiffe: its URI name is `spiffe://acme.test/edge/7`, and the trust domain `acme.test` is not the rule's `acme.example` (hint: if both are yours, give the rule a list of matches, one for each)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://acme.example/edge/*"}),
            vec![("spiffe", "spiffe://acme.example/edge")],
            vec![
                "clients[0].match.spiffe: its URI name is `spiffe://acme.example/edge`, and it lacks the rule's part `*` (hint: take it out of the rule, or issue the certificate with it)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://acme.example/edge/*"}),
            vec![("spiffe", "spiffe://acme.example/edge/eu/7/")],
            vec![
                "clients[0].match.spiffe: its URI name is `spiffe://acme.example/edge/eu/7/`, and a `*` of `spiffe://acme.example/edge/*` is one part between `/` only (hint: write `**` where there may be several)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://acme.example/edge"}),
            vec![("spiffe", "spiffe://acme.example/edge/")],
            vec![
                "clients[0].match.spiffe: its URI name is `spiffe://acme.example/edge/`, and it has an empty part that the rule has not (hint: issue the certificate without the `/` that nothing follows, or write it in the rule)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://acme.example/edge"}),
            vec![("spiffe", "spiffe://acme.example/edge/7")],
            vec![
                "clients[0].match.spiffe: its URI name is `spiffe://acme.example/edge/7`, and it has the part `7` more than the rule (hint: add `*` and a `/` there for one part more, or write `**` for any number of parts)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://acme.example/edge/*/x"}),
            vec![("spiffe", "spiffe://acme.example/edge/x")],
            vec![
                "clients[0].match.spiffe: its URI name is `spiffe://acme.example/edge/x`, and it lacks the rule's part `*` (hint: take it out of the rule, or issue the certificate with it)",
            ],
        ),
        (
            json!({"spiffe":"spiffe://acme.example/edge/*"}),
            vec![("spiffe", "spiffe://acme.example/egde/7")],
            vec![
                "clients[0].match.spiffe: its URI name is `spiffe://acme.example/egde/7`, and the rule has `edge` where it has `egde` (hint: write `*` there if it may be anything, or issue the certificate as the rule has it)",
            ],
        ),
        (
            json!({"dns":"edge.acme.example"}),
            vec![("dns", "edge.acme.test")],
            vec![
                "clients[0].match.dns: its DNS name is `edge.acme.test`, and the rule has `example` where it has `test` (hint: write `*` there if it may be anything, or issue the certificate as the rule has it)",
            ],
        ),
        (
            json!({"subject":{"CN":"legacy"}}),
            vec![("subject", "CN=legcay")],
            vec![
                "clients[0].match.subject.CN: its CN is `legcay`, and the rule has `legacy` where it has `legcay` (hint: write `*` there if it may be anything, or issue the certificate as the rule has it)",
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
                "clients[0].match.subject.CN: it has no CN (hint: issue the certificate with it, or take it out of the rule)",
            ],
        ),
        (
            json!({"subject":{"O":"Acme","CN":"edge"}}),
            vec![("subject", "O=Acme,CN=other")],
            vec![
                "clients[0].match.subject.CN: its CN is `other`, and the rule has `edge` where it has `other` (hint: write `*` there if it may be anything, or issue the certificate as the rule has it)",
            ],
        ),
        (
            json!({"dns":"{o}.example","subject":{"O":"{o}"}}),
            vec![("dns", "acme.example"), ("subject", "O=evil")],
            vec![
                "clients[0].match: {o} would be both `acme` and `evil`, and a word has one value (hint: give the two different names, or write `*` for one of them)",
            ],
        ),
        (
            json!({"dns":"a.example","sha256":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}),
            vec![("dns", "a.example")],
            vec![
                "clients[0].match.sha256: its fingerprint is another one, as after a renewal (hint: write the new one, or leave it out and match by name)",
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
                "clients[0].match[1].spiffe: its URI name is `spiffe://a/b/c`, and a `*` of `spiffe://a/*` is one part between `/` only (hint: write `**` where there may be several)",
            ],
        ),
    ];
    for (one, parts, expected) in cases {
        let config = json!({"clients": [{"name": "a", "match": one}]});
        assert_eq!(told(&config, &identity(&parts)), expected, "{config} {parts:?}");
    }
}
#[test]
fn a_rule_that_writes_what_the_certificate_lacks_is_told() {
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
             capture the value that is meant under `match`, as in subject: {OU: [.., \"{word}\"]})",
        ),
        (
            "O=a",
            "clients[0].attributes.unit: the rule uses {subject.OU}, which the certificate does not have (hint: use \
             something that it has, or issue the certificate with it)",
        ),
        (
            "O=b",
            "clients[1].quotaPer: the rule uses {dns}, which the certificate does not have (hint: use something that it \
             has, or issue the certificate with it)",
        ),
        (
            r"O=c,CN=\C3\BC",
            "headers.x-cn: the header `x-cn` would get a value that is not 1 to 4096 characters of visible ASCII, with \
             spaces only inside (hint: fill the header with something that is always plain text)",
        ),
    ] {
        assert_eq!(told(&config, &identity(&[("subject", subject)])), [expected], "{subject}");
    }
}

#[test]
fn the_nearest_rule_is_told_where_none_would_match_but_for_a_word() {
    let rules: Vec<Value> = ["acme", "globex", "initech"]
        .iter()
        .map(|org| json!({"name": org, "match": {"spiffe": format!("spiffe://{org}.example/edge/*/agent")}}))
        .collect();
    let config = json!({"clients": rules});
    let near = |uri: &str| -> Vec<String> {
        let told = told(&config, &identity(&[("spiffe", uri)]));
        told.iter().map(|it| it.split(':').next().unwrap().to_owned()).collect()
    };
    let spiffe = |rule: usize| format!("clients[{rule}].match.spiffe");
    assert_eq!(near("spiffe://globex.example/edge/7"), [spiffe(1)]);
    assert_eq!(near("spiffe://globx.example/edge/7/agent"), [spiffe(1)]);
    assert_eq!(near("spiffe://initech.example/edge/7/8/agent"), [spiffe(2)]);
    assert_eq!(near("spiffe://other/a/b/c/d/e"), [""; 0]);
}

#[test]
fn rules_before_and_after_the_one_that_decided_are_told_apart() {
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
    fn no_certificate_and_no_rule_is_too_odd_to_be_compared(
        pattern in r"(u:)?([ab./]{0,3}(\*|\*\*|\{x\}|)){1,4}", value in r#"[ab./:@, ü"\\]{0,12}"#, dns in "[ab.*]{0,8}",
    ) {
        let matches = [
            json!({"spiffe": pattern}), json!({"dns": pattern}), json!({"subject": {"CN": pattern, "OU": ["a", pattern]}}),
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
