//! What a policy means, sentence by sentence.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::condition::Values;
use super::*;
use crate::quota::{BucketId, Dimension};

fn policy(config: Value) -> Policy {
    let config: PolicyConfig = serde_json::from_value(config).unwrap();
    Policy::compile(&config).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn clients(clients: Value) -> Policy {
    policy(json!({"clients": clients}))
}

fn spiffe(uri: &str) -> Identity {
    Identity::from_texts(&[uri], &[], None, Some([0xaa; 32]))
}

fn dns(name: &str) -> Identity {
    Identity::from_texts(&[], &[name], None, Some([0xbb; 32]))
}

fn subject(text: &str) -> Identity {
    Identity::from_texts(&[], &[], Some(text), Some([0xcc; 32]))
}

fn client(policy: &Policy, identity: &Identity) -> Client {
    match policy.identify(identity) {
        Identification::Client(client) => client,
        verdict => panic!("{verdict:?} for {identity:?}"),
    }
}

fn name(policy: &Policy, identity: &Identity) -> Option<String> {
    match policy.identify(identity) {
        Identification::Client(client) => Some(client.name),
        Identification::Denied | Identification::Revoked | Identification::Unknown => None,
    }
}

fn attribute(client: &Client, key: &str) -> Option<String> {
    client.attributes().find(|(own, _)| *own == key).map(|(_, value)| value.to_owned())
}

#[test]
fn the_first_rule_that_matches_wins() {
    let policy = clients(json!([
        {"name": "narrow", "match": {"spiffe": "spiffe://acme/edge/7"}},
        {"name": "wide", "match": {"spiffe": "spiffe://acme/edge/*"}},
        {"name": "late", "match": {"spiffe": "spiffe://acme/edge/8"}},
        {"name": "widest", "match": {"spiffe": "spiffe://acme/**"}},
    ]));
    for (uri, expected) in [
        ("spiffe://acme/edge/7", Some("narrow")),
        ("spiffe://acme/edge/8", Some("wide")),
        ("spiffe://acme/core/8", Some("widest")),
        ("spiffe://other/edge/7", None),
    ] {
        assert_eq!(name(&policy, &spiffe(uri)).as_deref(), expected, "{uri}");
    }
}

#[test]
fn all_keys_of_a_match_must_hold_and_any_match_of_a_list() {
    let policy = clients(json!([
        {"name": "both", "match": {"spiffe": "spiffe://acme/*", "dns": "*.acme.example"}},
        {"name": "either", "match": [{"spiffe": "spiffe://acme/x"}, {"dns": "x.acme.example"}]},
    ]));
    let both = Identity::from_texts(&["spiffe://acme/x"], &["x.acme.example"], None, None);
    assert_eq!(name(&policy, &both).as_deref(), Some("both"));
    assert_eq!(name(&policy, &spiffe("spiffe://acme/x")).as_deref(), Some("either"));
    assert_eq!(name(&policy, &dns("X.acme.EXAMPLE")).as_deref(), Some("either"));
    assert_eq!(name(&policy, &spiffe("spiffe://acme/y")), None);
}

#[test]
fn a_subject_matches_by_one_of_a_keys_values_unless_several_say_different_things() {
    let policy = clients(json!([
        {"name": "legacy", "match": {"subject": {"O": "Acme, Inc.", "cn": "external-otel-client"}}},
        {"name": "listed-{ou}", "match": {"subject": {"OU": ["Canary", "{ou}"], "L": "*"}}},
        {"name": "both", "match": {"subject": {"OU": ["a", "b"]}}},
        {"name": "ou-{ou}", "match": {"subject": {"OU": "{ou}"}}},
        {"name": "org-{o}", "match": {"subject": {"O": "{o}.example"}}},
    ]));
    for (text, expected) in [
        (r"CN=external-otel-client,O=Acme\, Inc.", Some("legacy")),
        (r"O=Acme\, Inc.+CN=external-otel-client,C=DE", Some("legacy")),
        (r"CN=external-otel-client,O=Acme", None),
        (r"CN=other,CN=external-otel-client,O=Evil,O=Acme\, Inc.", Some("legacy")),
        ("OU=x", Some("ou-x")),
        ("OU=x,OU=y", None),
        ("OU=x,OU=two words", Some("ou-x")),
        ("OU=x,OU=x", Some("ou-x")),
        ("OU=x+OU=#0500", Some("ou-x")),
        ("OU=b,CN=x,OU=a", Some("both")),
        ("OU=b+OU=a,OU=c", Some("both")),
        // Of a list, every pattern must hold, and the one that is plain keeps its value.
        ("L=l,OU=Canary,OU=x", Some("listed-x")),
        ("L=l,OU=x,OU=Canary,OU=two words,OU=Canary", Some("listed-x")),
        ("L=l,OU=Canary", Some("ou-Canary")),
        ("L=l,OU=Canary,OU=x,OU=y", None),
        // What differs where nothing is captured makes no difference.
        ("L=l,L=m,OU=Canary,OU=x", Some("listed-x")),
        ("O=a.example,O=b.test", Some("org-a")),
        ("O=a.example,O=b.example", None),
    ] {
        assert_eq!(name(&policy, &subject(text)).as_deref(), expected, "{text}");
    }
}

#[test]
fn a_part_of_the_subject_that_is_there_twice_fills_in_nothing() {
    let policy = policy(json!({
        "clients": [
            {"name": "own-{o}", "match": {"subject": {"OU": "a", "O": "{o}"}}, "attributes": {"ou": "{subject.OU}"}},
            {"name": "rest", "match": {"subject": {"OU": "a"}}},
        ],
        "attributes": {"unit": "{subject.OU}"},
        "headers": {"x-unit": "{subject.OU}"},
    }));
    let one = client(&policy, &subject("OU=a,O=o"));
    assert_eq!((one.name.as_str(), attribute(&one, "unit").as_deref()), ("own-o", Some("a")));
    let two = client(&policy, &subject("OU=a,O=o,OU=b"));
    assert_eq!((two.name.as_str(), attribute(&two, "unit"), two.headers.len()), ("rest", None, 0));
}

#[test]
fn a_capture_may_be_longer_and_hold_more_if_its_rule_allows_it() {
    let policy = policy(json!({
        "clients": [
            {
                "name": "agent-{id}", "match": {"spiffe": "spiffe://a.example/tpm/{id}"}, "words": {"id": {"max": 64}},
                "attributes": {"host.id": "{id}"}, "quotaPer": "{id}",
            },
            {
                "name": "user-{u}", "match": [{"subject": {"CN": "{u}"}}, {"spiffe": "spiffe://a.example/u/{u}"}],
                "words": {"u": {"allow": ":@.", "max": 255}},
            },
            {"name": "host-{h}", "match": {"dns": "{h}.hosts.example"}, "words": {"h": {"allow": ".", "max": 8}}},
        ],
        "headers": {"x-client": "{name}"},
    }));
    let hex = "0f".repeat(32);
    for (identity, expected) in [
        (spiffe(&format!("spiffe://a.example/tpm/{hex}")), Some(format!("agent-{hex}"))),
        (spiffe(&format!("spiffe://a.example/tpm/{hex}0")), None),
        (spiffe("spiffe://a.example/tpm/a:b"), None),
        (subject("CN=i:alice@corp.example"), Some("user-i:alice@corp.example".to_owned())),
        (spiffe("spiffe://a.example/u/a:b@c.d"), Some("user-a:b@c.d".to_owned())),
        (spiffe("spiffe://a.example/u/a/b"), None),
        (subject("CN=a/b"), None),
        (subject("CN=a b"), None),
        (subject(&format!("CN={}", "x".repeat(255))), Some(format!("user-{}", "x".repeat(255)))),
        (subject(&format!("CN={}", "x".repeat(256))), None),
        (dns("a.b.c.hosts.example"), Some("host-a.b.c".to_owned())),
        (dns("a.b.cdefgh.hosts.example"), None),
    ] {
        assert_eq!(name(&policy, &identity), expected, "{identity:?}");
        if let Some(name) = expected {
            assert_eq!(client(&policy, &identity).headers, [("x-client".to_owned(), name)]);
        }
    }
    let agent = client(&policy, &spiffe(&format!("spiffe://a.example/tpm/{hex}")));
    assert_eq!(attribute(&agent, "host.id").as_deref(), Some(hex.as_str()));
    assert_eq!(agent.bucket, BucketId::of(&[b"client", b"agent-{id}", b"id", hex.as_bytes()]));
}

#[test]
fn a_fingerprint_matches_in_any_spelling() {
    let upper = format!("sha256:{}", ["AA"; 32].join(":"));
    let policy = clients(json!([{"name": "one", "match": {"sha256": upper}}]));
    assert_eq!(name(&policy, &spiffe("spiffe://whatever/x")).as_deref(), Some("one"));
    assert_eq!(name(&policy, &dns("whatever.example")), None);
}

#[test]
fn the_deny_list_comes_before_every_rule() {
    let config = json!({
        "clients": [{"name": "all", "match": [{"spiffe": "**"}, {"dns": "**"}]}],
        "unknown": "t",
        "deny": [format!("sha256:{}", ["AA"; 32].join(":"))],
        "quotas": {"tiers": {"t": {"requests": "1/s"}}},
    });
    let policy = policy(config);
    assert_eq!(policy.identify(&spiffe("spiffe://acme/x")), Identification::Denied);
    assert_eq!(policy.explain(&spiffe("spiffe://acme/x")).identification, Identification::Denied);
    assert_eq!(name(&policy, &dns("acme.example")).as_deref(), Some("all"));
}

#[test]
fn a_capture_that_is_not_allowed_does_not_match() {
    let policy = clients(json!([
        {"name": "site-{site}", "match": {"spiffe": "spiffe://acme/{site}"}},
        {"name": "rest", "match": {"spiffe": "spiffe://acme/**"}},
    ]));
    let long = "x".repeat(64);
    for (site, expected) in [
        ("a.B_c-9", "site-a.B_c-9"),
        (&long[1..], &format!("site-{}", &long[1..])),
        (&long, "rest"),
        ("a b", "rest"),
        ("a%2f", "rest"),
        ("a/b", "rest"),
    ] {
        assert_eq!(
            name(&policy, &spiffe(&format!("spiffe://acme/{site}"))).as_deref(),
            Some(expected),
            "{site}"
        );
    }
}

#[test]
fn a_capture_of_two_keys_must_have_the_same_value_in_both() {
    let policy = clients(json!([
        {"name": "org-{org}", "match": {"dns": "{org}.example", "subject": {"O": "{org}"}}}
    ]));
    let identity = |o: &str| Identity::from_texts(&[], &["acme.example"], Some(o), None);
    assert_eq!(name(&policy, &identity("O=acme")).as_deref(), Some("org-acme"));
    assert_eq!(name(&policy, &identity("O=evil")), None);
    assert_eq!(
        client(&policy, &identity("O=acme")).bucket,
        BucketId::of(&[b"client", b"org-{org}", b"org", b"acme"])
    );
}

#[test]
fn templates_are_filled_from_the_certificate() {
    let policy = policy(json!({
        "clients": [{
            "name": "{site}.{org}",
            "match": {"dns": "{site}.{org}.example"},
            "attributes": {"tenant.id": "{org}", "site.id": "{site}", "braces": "{{{site}}}", "override": "own"},
        }],
        "attributes": {
            "otlp_gate.client": "{name}", "uri": "{spiffe}", "host": "{dns}", "dn": "{subject}",
            "cn": "{subject.CN}", "fingerprint": "{sha256}", "override": "general", "fixed": "x",
        },
        "headers": {"X-Scope-OrgID": "{tenant.id}", "x-client": "{name}/{fixed}", "X-DN": "{subject.CN}"},
    }));
    let identity = Identity::from_texts(
        &["spiffe://acme/x"],
        &["a.acme.example"],
        Some(r"CN=J\C3\BCrgen,O=Acme"),
        Some([0xaa; 32]),
    );
    // ü does not fit into X-DN.
    assert_eq!(policy.identify(&identity), Identification::Unknown);
    let identity = Identity::from_texts(
        &["spiffe://acme/x"],
        &["A.acme.example"],
        Some("CN=J,O=Acme"),
        Some([0xaa; 32]),
    );
    let client = client(&policy, &identity);
    let fingerprint = "a".repeat(64);
    let expected = [
        ("braces", "{a}"),
        ("cn", "J"),
        ("dn", "CN=J,O=Acme"),
        ("fingerprint", &fingerprint),
        ("fixed", "x"),
        ("host", "a.acme.example"),
        ("otlp_gate.client", "a.acme"),
        ("override", "own"),
        ("site.id", "a"),
        ("tenant.id", "acme"),
        ("uri", "spiffe://acme/x"),
    ];
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(client.attributes().collect::<Vec<_>>(), expected);
    assert_eq!(client.headers, owned(&[("x-client", "a.acme/x"), ("x-dn", "J"), ("x-scope-orgid", "acme")]));
}

#[test]
fn what_is_owned_is_owned_for_every_client() {
    let policy = policy(json!({
        "clients": [
            {"name": "a", "match": {"dns": "a"}, "attributes": {"tenant.id": "a"}},
            {"name": "b", "match": {"dns": "b"}, "attributes": {"site.id": "b"}},
        ],
        "attributes": {"client": "{name}"},
        // Set by another gateway, and not by this client.
        "owned": ["team", "tenant.id"],
        "headers": {"X-Tenant": "{tenant.id}", "B": "1"},
    }));
    assert_eq!(policy.owned_attributes(), ["client", "site.id", "team", "tenant.id"]);
    assert_eq!(policy.owned_headers(), ["b", "x-tenant"]);
    let b = client(&policy, &dns("b"));
    assert_eq!(attribute(&b, "tenant.id"), None);
    assert_eq!(b.headers, [("b".to_owned(), "1".to_owned())], "no tenant.id, so no X-Tenant");
}

#[test]
fn what_every_client_has_is_left_out_where_a_certificate_lacks_it() {
    let policy = policy(json!({
        "clients": [{"name": "any", "match": [{"dns": "**"}, {"spiffe": "**"}, {"subject": {"O": "x"}}]}],
        "attributes": {"host": "{dns}", "cn": "cn={subject.CN}", "client": "{name}"},
        "headers": {"x-host": "{dns}", "x-h": "{host}"},
    }));
    let with_uri = client(&policy, &spiffe("spiffe://acme/x"));
    assert_eq!(with_uri.attributes().collect::<Vec<_>>(), [("client", "any")]);
    assert_eq!(with_uri.headers, []);
    let empty = client(&policy, &subject("O=x,CN="));
    assert_eq!(attribute(&empty, "cn"), None, "an empty value is none");
    assert_eq!(attribute(&client(&policy, &dns("h")), "host").as_deref(), Some("h"));
}

#[test]
fn a_rule_is_not_for_a_certificate_that_lacks_what_its_own_attributes_use() {
    let policy = policy(json!({
        "clients": [
            {"name": "strict", "match": {"spiffe": "spiffe://acme/*"}, "attributes": {"tenant.id": "{subject.O}"}},
            {"name": "loose", "match": {"spiffe": "spiffe://acme/x"}},
        ],
    }));
    let with_o = Identity::from_texts(&["spiffe://acme/x"], &[], Some("O=o"), None);
    assert_eq!(name(&policy, &with_o).as_deref(), Some("strict"));
    let without = spiffe("spiffe://acme/x");
    assert_eq!(name(&policy, &without).as_deref(), Some("loose"));
    let passed_over = policy.explain(&without).passed_over;
    assert_eq!(passed_over.len(), 1);
    assert_eq!(passed_over[0].rule, 0);
    assert_eq!(passed_over[0].reason, "the rule uses {subject.O}, which the certificate does not have");
}

#[test]
fn buckets_belong_to_the_rule_and_what_it_captured() {
    let rule = |extra: Value| {
        let mut rule = json!({"name": "{site}.{org}", "match": {"dns": "{site}.{org}.example"}});
        rule.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        clients(json!([rule]))
    };
    let bucket = |policy: &Policy, name: &str| client(policy, &dns(name)).bucket;
    let (a, b, c) = ("a.acme.example", "b.acme.example", "a.other.example");
    let by_client = rule(json!({}));
    assert_ne!(bucket(&by_client, a), bucket(&by_client, b));
    let by_org = rule(json!({"quotaPer": "{org}"}));
    assert_eq!(bucket(&by_org, a), bucket(&by_org, b));
    assert_ne!(bucket(&by_org, a), bucket(&by_org, c));
    let by_rule = rule(json!({"quotaPer": "all"}));
    assert_eq!(bucket(&by_rule, a), bucket(&by_rule, c));
    let spelled_out = rule(json!({"quotaPer": "{site}/{org}"}));
    assert_eq!(bucket(&by_client, a), bucket(&spelled_out, a));
    let by_dns = rule(json!({"quotaPer": "{dns}"}));
    assert_ne!(bucket(&by_dns, a), bucket(&by_dns, b));
    // A new tier keeps what is spent.
    let other = policy(json!({
        "clients": [{"name": "{site}.{org}", "match": {"dns": "{site}.{org}.example"}, "quota": "t"}],
        "quotas": {"tiers": {"t": {"requests": "1/s"}}},
    }));
    assert_eq!(bucket(&by_client, a), bucket(&other, a));
}

#[test]
fn two_rules_never_share_a_bucket() {
    let policy = clients(json!([
        {"name": "x.{a}", "match": {"dns": "{a}.x.example"}},
        {"name": "y.{a}", "match": {"dns": "{a}.y.example"}},
    ]));
    assert_ne!(client(&policy, &dns("a.x.example")).bucket, client(&policy, &dns("a.y.example")).bucket);
}

#[test]
fn unknown_certificates_are_clients_of_their_own_where_a_tier_is_named() {
    let config = |unknown: &str| {
        json!({
            "clients": [{"name": "a", "match": {"dns": "a"}}],
            "unknown": unknown,
            "attributes": {"client": "{name}", "host": "{dns}"},
            "headers": {"x-client": "{client}"},
            "quotas": {"tiers": {"slow": {"requests": "1/s"}}},
        })
    };
    let rejecting = policy(config("reject"));
    assert_eq!(rejecting.identify(&dns("b")), Identification::Unknown);
    let admitting = policy(config("slow"));
    let unknown = client(&admitting, &dns("b"));
    assert_eq!((unknown.name.as_str(), unknown.rule, unknown.listed), ("unknown-bbbbbbbbbbbb", None, false));
    assert_eq!(unknown.tier.name, "slow");
    assert_eq!(attribute(&unknown, "client").as_deref(), Some("unknown-bbbbbbbbbbbb"));
    assert_eq!(attribute(&unknown, "host").as_deref(), Some("b"));
    assert_eq!(unknown.headers, [("x-client".to_owned(), "unknown-bbbbbbbbbbbb".to_owned())]);
    // Same 12 digits, another certificate: another bucket.
    let mut digest = [0; 32];
    digest[..6].fill(0xbb);
    let twin = Identity::from_texts(&[], &[], None, Some(digest));
    assert_eq!(client(&admitting, &twin).name, unknown.name);
    assert_ne!(client(&admitting, &twin).bucket, unknown.bucket);
    assert_eq!(
        admitting.identify(&Identity::default()),
        Identification::Unknown,
        "no fingerprint, no client"
    );
}

#[test]
fn a_reserved_client_with_a_tiny_quota_comes_before_all_rules() {
    let config = |verify: bool| {
        json!({
            "verify": verify,
            "clients": [{"name": "all.{x}", "match": {"spiffe": "spiffe://{x}/**"}, "quota": "gold"}],
            "attributes": {"client": "{name}"},
            "headers": {"x-client": "{name}"},
            "deny": [format!("sha256:{}", "d".repeat(64))],
            "quotas": {"tiers": {"gold": {"requests": "1k/s"}}},
        })
    };
    let (with, without) = (policy(config(true)), policy(config(false)));
    let it = client(&with, &spiffe(VERIFY_URI));
    assert_eq!((it.name.as_str(), it.rule, it.listed), (VERIFY_NAME, None, true));
    assert_eq!(attribute(&it, VERIFY_ATTRIBUTE).as_deref(), Some("true"));
    assert_eq!(attribute(&it, "client").as_deref(), Some(VERIFY_NAME));
    assert_eq!(it.headers, [("x-client".to_owned(), VERIFY_NAME.to_owned())]);
    assert_eq!(it.tier.limit(Dimension::Items).map(|limit| limit.capacity), Some(100));
    assert!(with.owned_attributes().iter().any(|key| key == VERIFY_ATTRIBUTE));
    assert_eq!(with.explain(&spiffe(VERIFY_URI)).identification, Identification::Client(it));

    assert_eq!(name(&with, &spiffe("spiffe://otlp-gate/verify/x")).as_deref(), Some("all.otlp-gate"));
    assert_eq!(name(&without, &spiffe(VERIFY_URI)).as_deref(), Some("all.otlp-gate"));
    assert!(!without.owned_attributes().iter().any(|key| key == VERIFY_ATTRIBUTE));
    let denied = Identity::from_texts(&[VERIFY_URI], &[], None, Some([0xdd; 32]));
    assert_eq!(with.identify(&denied), Identification::Denied);
}

#[test]
fn tiers_limit_what_they_name_and_default_is_for_the_rest() {
    let config = json!({
        "clients": [
            {"name": "gold", "match": {"dns": "gold"}, "quota": "gold"},
            {"name": "none", "match": {"dns": "none"}},
        ],
        "quotas": {"mode": "shadow", "tiers": {
            "default": {"requests": "200/s", "bytes": "8MiB/s", "items": "50k/s"},
            "gold": {"spans": "100k/s", "burst": "500ms"},
        }},
    });
    let limits = |policy: &Policy, name: &str| {
        let tier = client(policy, &dns(name)).tier;
        Dimension::ALL.map(|dimension| tier.limit(dimension).map(|limit| (limit.rate, limit.capacity)))
    };
    let tiered = policy(config.clone());
    assert!(tiered.shadow());
    let none = None;
    assert_eq!(limits(&tiered, "gold"), [none, none, none, Some((100_000, 50_000)), none, none, none]);
    let default =
        [Some((200, 800)), Some((8 << 20, 32 << 20)), Some((50_000, 200_000)), none, none, none, none];
    assert_eq!(limits(&tiered, "none"), default);
    let free = clients(json!([{"name": "none", "match": {"dns": "none"}}]));
    assert_eq!(limits(&free, "none"), [None; 7]);
    assert!(!free.shadow());
}

#[test]
fn the_first_200_literal_names_are_listed() {
    let mut rules: Vec<Value> =
        (0..250).map(|at| json!({"name": format!("c{at}"), "match": {"dns": format!("c{at}")}})).collect();
    rules.insert(0, json!({"name": "t.{x}", "match": {"dns": "{x}.t"}}));
    let policy = clients(Value::Array(rules));
    for (name, listed) in [("a.t", false), ("c0", true), ("c199", true), ("c200", false), ("c249", false)] {
        assert_eq!(client(&policy, &dns(name)).listed, listed, "{name}");
    }
}

#[test]
fn an_explanation_names_the_rule_the_keys_and_the_captures() {
    let policy = clients(json!([
        {"name": "word-{w}", "match": {"dns": "{w}.example"}},
        {"name": "twin-{w}", "match": {"dns": "{w}.twin", "subject": {"O": "{w}"}}},
        {"name": "site-{site}", "match": [
            {"spiffe": "spiffe://x/{site}"},
            {"dns": "*.{site}", "subject": {"CN": "x"}},
        ]},
    ]));
    let identity = Identity::from_texts(&[], &["*.example"], Some("CN=x,O=y"), None);
    let explanation = policy.explain(&identity);
    assert_eq!(explanation.identification, policy.identify(&identity));
    assert_eq!((explanation.rule, explanation.alternative), (Some(2), 1));
    let matched: Vec<_> = explanation.matched.iter().map(|it| (it.key.as_str(), it.value.as_str())).collect();
    assert_eq!(matched, [("dns", "*.example"), ("subject.CN", "x")]);
    assert_eq!(explanation.captures, [("site".to_owned(), "example".to_owned())]);
    let [passed_over] = explanation.passed_over.as_slice() else { panic!("{explanation:?}") };
    assert_eq!((passed_over.rule, passed_over.path.to_string().as_str()), (0, "clients[0].match.dns"));
    assert_eq!(passed_over.reason, "{w} would be `*`, but a capture cannot contain `*`");

    let twin = Identity::from_texts(&[], &["a.twin"], Some("O=b"), None);
    assert_eq!(policy.explain(&twin).passed_over[0].reason, "{w} would have two values, `a` and `b`");
    assert_eq!(policy.explain(&twin).identification, Identification::Unknown);
}

/// A value of a pattern or certificate, made of few letters so that they meet often.
fn value() -> impl Strategy<Value = String> {
    "[ab]{1,2}([./][ab]{1,2}){0,2}"
}

fn pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => value(),
        1 => r"([ab]|\*|\{w\})([./]([ab]|\*\*|\*|\{v\})){0,2}",
    ]
}

fn matching() -> impl Strategy<Value = Value> {
    let parts = (
        proptest::option::of(pattern().prop_map(|it| format!("u:{it}"))),
        proptest::option::of(pattern().prop_map(|it| it.replace('/', "."))),
        proptest::option::weighted(0.3, proptest::collection::vec(pattern(), 1..3)),
        proptest::option::weighted(0.3, proptest::collection::vec(pattern(), 1..3)),
        proptest::option::weighted(0.2, proptest::sample::select(vec!["aa", "bb"])),
    );
    parts.prop_map(|(spiffe, dns, cn, o, sha256)| {
        let mut one = json!({});
        for (key, value) in [("spiffe", spiffe), ("dns", dns), ("sha256", sha256.map(|byte| byte.repeat(32)))]
        {
            if let Some(value) = value {
                one[key] = json!(value);
            }
        }
        for (key, value) in [("CN", cn), ("O", o)] {
            match value.as_deref() {
                None => {}
                Some([one_value]) => one["subject"][key] = json!(one_value),
                Some(values) => one["subject"][key] = json!(values),
            }
        }
        one
    })
}

fn identity() -> impl Strategy<Value = Identity> {
    let parts = (
        proptest::option::of(value().prop_map(|it| format!("u:{it}"))),
        proptest::option::of(value().prop_map(|it| it.replace('/', "."))),
        proptest::collection::vec((proptest::sample::select(vec!["CN", "O"]), value()), 0..4),
        proptest::sample::select(vec![0xaa, 0xbb]),
    );
    parts.prop_map(|(uri, dns, subject, byte)| {
        let subject: Vec<String> = subject.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let subject = (!subject.is_empty()).then(|| subject.join(","));
        let (uris, dns): (Vec<&str>, Vec<&str>) =
            (uri.as_deref().into_iter().collect(), dns.as_deref().into_iter().collect());
        Identity::from_texts(&uris, &dns, subject.as_deref(), Some([byte; 32]))
    })
}

proptest! {
    #[test]
    fn the_index_finds_what_a_scan_over_all_rules_finds(
        matches in proptest::collection::vec(matching(), 1..24),
        identities in proptest::collection::vec(identity(), 8),
    ) {
        let mut config = PolicyConfig::default();
        for one in matches {
            let name = format!("c{}", config.clients.len());
            let rule: crate::config::ClientRule = serde_json::from_value(json!({"name": name, "match": one})).unwrap();
            config.clients.push(rule);
            // Random rules may have errors, which do not matter here.
            if Policy::compile(&config).is_err() {
                config.clients.pop();
            }
        }
        let policy = Policy::compile(&config).unwrap();
        for identity in &identities {
            let scanned = policy.alternatives.iter().find(|it| it.condition.holds(identity).is_some());
            let expected = scanned.map(|alternative| format!("c{}", alternative.rule));
            prop_assert_eq!(name(&policy, identity), expected);
            prop_assert_eq!(policy.explain(identity).identification, policy.identify(identity));
        }
    }

    #[test]
    fn a_match_that_covers_another_holds_where_that_holds(
        wide in matching(), narrow in matching(), identity in identity(),
    ) {
        let config = json!({"clients": [{"name": "a", "match": wide}, {"name": "b", "match": narrow}]});
        let Ok(config) = serde_json::from_value::<PolicyConfig>(config) else { return Ok(()) };
        let Ok(policy) = Policy::compile(&config) else { return Ok(()) };
        let mut warnings = lint(&config, Some(&policy)).into_iter().map(|warning| warning.message);
        let warned = warnings.find(|it| it.contains("never reached"));
        let [wide, narrow] = policy.alternatives.as_slice() else { return Ok(()) };
        let sample = narrow.condition.sample();
        let always = wide.condition.covers(&sample, Values::Any);
        let usually = wide.condition.covers(&sample, Values::One);
        prop_assert!(usually || !always);
        prop_assert_eq!(warned.is_some(), usually);
        prop_assert_eq!(warned.is_some_and(|it| !it.ends_with("several values of one key")), always);
        let subject = identity.subject.as_ref();
        let single = subject.is_none_or(|it| ["CN", "O"].iter().all(|key| it.values(key).count() < 2));
        if (always || (usually && single)) && narrow.condition.holds(&identity).is_some() {
            prop_assert!(wide.condition.holds(&identity).is_some());
        }
    }
}
