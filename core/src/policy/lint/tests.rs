use serde_json::{Value, json};

use super::*;

fn check(table: impl IntoIterator<Item = (Value, Value)>) {
    for (config, expected) in table {
        let shown = config.to_string();
        let config: PolicyConfig = serde_json::from_value(config).unwrap();
        let policy = Policy::compile(&config).ok();
        let warnings = lint(&config, policy.as_ref());
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        let expected: Vec<String> = match expected {
            Value::String(one) => vec![one],
            several => serde_json::from_value(several).unwrap(),
        };
        assert_eq!(warnings, expected, "{shown}");
    }
}

#[test]
fn bursts_that_common_batches_exceed() {
    let tier = |tier: Value| json!({"quotas": {"tiers": {"default": tier}}});
    check([
        (tier(json!({"requests": "1/s", "bytes": "1MiB/s", "items": "2048/s"})), json!([])),
        (
            tier(json!({"bytes": "1048575/s"})),
            json!(
                "quotas.tiers.default.bytes: 1048575/s with a burst of 4s holds 4194300, but messages of up to 4 \
                 MiB are common: larger ones are always throttled (hint: raise the rate, or the burst to 5s)"
            ),
        ),
        (
            tier(json!({"spans": "10k/s", "logRecords": "1k/s", "burst": "500ms"})),
            json!([
                "quotas.tiers.default.spans: 10k/s with a burst of 500ms holds 5000, but batches of up to 8192 are common: larger ones are always throttled (hint: raise the rate, or the burst to 1s)",
                "quotas.tiers.default.logRecords: 1k/s with a burst of 500ms holds 500, but batches of up to 8192 are common: larger ones are always throttled (hint: raise the rate, or the burst to 9s)",
            ]),
        ),
    ]);
}

#[test]
fn unused_tiers() {
    let config = |unknown: &str| {
        json!({
            "clients": [{"name": "a", "match": {"dns": "a"}, "quota": "used"}],
            "unknown": unknown,
            "quotas": {"tiers": {
                "default": {"items": "10k/s"}, "used": {"items": "10k/s"}, "slow": {"items": "10k/s"},
            }},
        })
    };
    check([
        (config("reject"), json!("quotas.tiers.slow: no client uses this tier")),
        (config("slow"), json!([])),
    ]);
}

#[test]
fn matches_that_are_never_reached() {
    let never = |at: &str, first: &str| {
        json!(format!(
            "{at}: never reached: {first} (`first`) matches the same certificates (hint: put the narrower rule first)"
        ))
    };
    let two = |a: Value, b: Value| {
        // With a second CA there are warnings about rules without `ca`.
        let cas = if b["ca"] == "b" { json!([{"name": "a"}, {"name": "b"}]) } else { json!([{"name": "a"}]) };
        json!({"clients": [{"name": "first", "match": a}, {"name": "b", "match": b}], "clientCAs": cas})
    };
    let (at, first) = ("clients[1].match", "clients[0].match");
    let usually = "clients[1].match: never reached: clients[0].match (`first`) matches the same certificates, unless a \
                   certificate has several values of one key (hint: put the narrower rule first)";
    check([
        (two(json!({"dns": "**"}), json!({"dns": "a.example"})), never(at, first)),
        (two(json!({"dns": "*.example"}), json!({"dns": "{x}.example"})), never(at, first)),
        (two(json!({"dns": "*.example"}), json!({"dns": "a.example", "spiffe": "a:b"})), never(at, first)),
        (
            two(json!({"dns": "**"}), json!([{"spiffe": "a:b"}, {"dns": "x"}])),
            never("clients[1].match[1]", first),
        ),
        (two(json!({"dns": "*.example"}), json!({"dns": "**.example"})), json!([])),
        (two(json!({"dns": "{x}.example"}), json!({"dns": "*.example"})), json!([])),
        (two(json!({"dns": "a.example"}), json!({"dns": "*.example"})), json!([])),
        (two(json!({"dns": "**", "spiffe": "**"}), json!({"dns": "x"})), json!([])),
        (
            // The first does not match a certificate without an O.
            json!({"clients": [
                {"name": "first", "match": {"dns": "**"}, "attributes": {"o": "{subject.O}"}},
                {"name": "b", "match": {"dns": "x"}},
            ]}),
            json!([]),
        ),
        (
            json!({"clients": [
                {"name": "first", "match": {"dns": "**"}, "attributes": {"o": "{dns}"}},
                {"name": "b", "match": {"dns": "x"}},
            ]}),
            never(at, first),
        ),
        // The first does not match a certificate with a second O: its capture would have two values.
        (
            two(json!({"subject": {"O": "{o}"}}), json!({"subject": {"O": "a"}})),
            json!(
                "clients[1].match: never reached: clients[0].match (`first`) matches the same certificates, unless a \
                 certificate has several values of one key (hint: put the narrower rule first)"
            ),
        ),
        (two(json!({"subject": {"O": "{o}"}}), json!({"subject": {"O": "{p}"}})), never(at, first)),
        (two(json!({"subject": {"O": "*"}}), json!({"subject": {"O": ["a", "{p}"]}})), never(at, first)),
        (two(json!({"subject": {"O": ["a", "*"]}}), json!({"subject": {"O": "a"}})), json!([])),
        (two(json!({"subject": {"O": "{o}"}}), json!({"subject": {"O": ["a", "{p}"]}})), json!([])),
        (two(json!({"dns": "{o}.example"}), json!({"dns": "a.example"})), json!(usually)),
        (two(json!({"dns": "{o}.example"}), json!({"dns": "{p}.example"})), never(at, first)),
        (two(json!({"email": "**@acme.example"}), json!({"email": "{u}@ACME.example"})), never(at, first)),
        (two(json!({"email": "*@acme.example"}), json!({"email": "**@acme.example"})), json!([])),
        (two(json!({"ip": "10.0.0.0/8"}), json!({"ip": "10.1.0.0/16", "dns": "x"})), never(at, first)),
        (two(json!({"ip": "10.0.0.0/8"}), json!({"ip": "10.1.2.3"})), never(at, first)),
        (two(json!({"ip": "10.1.0.0/16"}), json!({"ip": "10.0.0.0/8"})), json!([])),
        (two(json!({"ip": "10.0.0.0/16"}), json!({"ip": "10.0.0.0/8"})), json!([])),
        (two(json!({"ip": "::/0"}), json!({"ip": "10.0.0.0/8"})), json!([])),
        (two(json!({"ca": "a"}), json!({"ca": "a", "dns": "x"})), never(at, first)),
        (two(json!({"ca": "a"}), json!({"ca": "b", "dns": "x"})), json!([])),
        (two(json!({"ca": "a", "dns": "**"}), json!({"dns": "x"})), json!([])),
        (
            two(
                json!({"extendedKeyUsage": "clientAuth"}),
                json!({"extendedKeyUsage": ["1.2.3", "clientAuth"]}),
            ),
            never(at, first),
        ),
        (
            two(
                json!({"extendedKeyUsage": ["1.2.3", "clientAuth"]}),
                json!({"extendedKeyUsage": "clientAuth"}),
            ),
            json!([]),
        ),
        (
            two(json!({"issuer": {"keyId": "0a"}}), json!({"issuer": {"keyId": "0A"}, "dns": "x"})),
            never(at, first),
        ),
        (two(json!({"issuer": {"keyId": "0a"}}), json!({"issuer": {"keyId": "0b"}, "dns": "x"})), json!([])),
        (
            two(json!({"issuer": {"subject": {"O": "*"}}}), json!({"issuer": {"subject": {"O": "a"}}})),
            never(at, first),
        ),
        // The subject and the issuer are two things.
        (two(json!({"subject": {"O": "*"}}), json!({"issuer": {"subject": {"O": "a"}}})), json!([])),
        (
            // The first needs the same text in both names.
            two(
                json!({"dns": "{o}.example", "subject": {"O": "{o}"}}),
                json!({"dns": "{o}.example", "subject": {"O": "{p}"}}),
            ),
            json!([]),
        ),
    ]);
}

#[test]
fn a_rule_for_longer_words_is_reached() {
    let two = |first: Value, second: Value| {
        let rule =
            |name: &str, words: Value| json!({"name": name, "match": {"dns": "{w}.example"}, "words": words});
        json!({"clients": [rule("first", first), rule("b", second)]})
    };
    // With two names that both captures may hold, and one of which the other may hold, only one of the rules matches.
    let never = json!(
        "clients[1].match: never reached: clients[0].match (`first`) matches the same certificates, unless a certificate \
         has several values of one key (hint: put the narrower rule first)"
    );
    check([
        (two(json!({}), json!({"w": {"max": 64}})), json!([])),
        (two(json!({}), json!({"w": {"allow": "@"}})), json!([])),
        (two(json!({}), json!({"w": {"allow": "."}})), json!([])),
        (two(json!({"w": {"max": 62}}), json!({})), json!([])),
        (two(json!({"w": {"max": 64}}), json!({})), never.clone()),
        (two(json!({"w": {"allow": "."}}), json!({})), never.clone()),
        (two(json!({"w": {"max": 255}}), json!({"w": {"max": 64}})), never),
    ]);
}

#[test]
fn a_rule_that_needs_what_a_match_does_not_is_reached() {
    let two = |placeholder: &str, first: Value, second: Value| {
        json!({
            "clients": [
                {"name": "first", "match": first, "attributes": {"a": placeholder}},
                {"name": "b", "match": second},
            ],
            "clientCAs": [{"name": "a"}],
        })
    };
    let never = json!(
        "clients[1].match: never reached: clients[0].match (`first`) matches the same certificates (hint: put the \
         narrower rule first)"
    );
    let with = |mut one: Value, key: &str, value: Value| {
        one[key] = value;
        one
    };
    let dns = json!({"dns": "**"});
    for (placeholder, key, value) in [
        ("{email}", "email", json!("**")),
        ("{ip}", "ip", json!("::/0")),
        ("{ca}", "ca", json!("a")),
        ("{issuer}", "issuer", json!({"subject": {"O": "*"}})),
        ("{serial}", "extendedKeyUsage", json!("clientAuth")),
    ] {
        let narrow = with(json!({"dns": "x"}), key, value.clone());
        let wide = with(dns.clone(), key, value);
        check([
            (two(placeholder, wide, narrow.clone()), never.clone()),
            (two(placeholder, dns.clone(), narrow), json!([])),
        ]);
    }
}

#[test]
fn ambiguous_patterns() {
    check([(
        json!({"clients": [{"name": "{a}.{b}", "match": {"dns": "{a}-{b}.example"}}]}),
        json!(
            "clients[0].match.dns: the pattern is ambiguous: each wildcard matches as little as possible, from the left (hint: use at most one wildcard in a segment that has a capture)"
        ),
    )]);
}

#[test]
fn unusual_keys_of_a_subject() {
    check([
        (
            json!({"clients": [{"name": "a", "match": {"subject": {"CommonName": "x", "OUU": "x", "1.2.3": "x"}}}]}),
            json!([
                "clients[0].match.subject.CommonName: `CommonName` is not a common key of a subject",
                "clients[0].match.subject.OUU: `OUU` is not a common key of a subject (hint: did you mean `OU`?)",
            ]),
        ),
        (
            json!({"clients": [{"name": "a", "match": {"issuer": {"subject": {"CNN": "x"}}}}]}),
            json!(
                "clients[0].match.issuer.subject.CNN: `CNN` is not a common key of a subject (hint: did you mean `CN`?)"
            ),
        ),
        (
            json!({"clients": [{"name": "a", "match": {"subject": {"cn": "x", "emailAddress": "x"}}}]}),
            json!([]),
        ),
    ]);
}

#[test]
fn headers_that_some_clients_lack() {
    let config = |unknown: &str, general: Value| {
        json!({
            "clients": [
                {"name": "a", "match": {"dns": "a"}, "attributes": {"tenant.id": "a"}},
                {"name": "b", "match": {"dns": "b"}},
                {"name": "c.{site}", "match": {"dns": "{site}.c"}},
            ],
            "unknown": unknown,
            "attributes": general,
            "headers": {"X-Tenant": "{tenant.id}", "X-Name": "{name} {dns}"},
            "quotas": {"tiers": {"slow": {"items": "10k/s"}}},
        })
    };
    let left_out =
        |who: &str| json!(format!("headers.X-Tenant: not set for {who}: a placeholder has no value"));
    let tier = "quotas.tiers.slow: no client uses this tier";
    check([
        (config("slow", json!({})), left_out("clients[1] (`b`) and 1 more")),
        (config("reject", json!({"tenant.id": "{site}"})), json!([left_out("clients[1] (`b`)"), tier])),
        (config("slow", json!({"tenant.id": "x"})), json!([])),
    ]);
}

#[test]
fn origins_of_all_websites() {
    check([(
        json!({"corsOrigins": ["https://**.example.com", "https://**"]}),
        json!(
            "corsOrigins[1]: pages of every website may send, with the client certificate of their visitors (hint: list your own websites)"
        ),
    )]);
}

#[test]
fn a_config_with_errors_gets_warnings_about_its_tiers_only() {
    check([(
        json!({"clients": [{"name": "", "match": {}}], "quotas": {"tiers": {"slow": {"items": "10k/s"}}}}),
        json!("quotas.tiers.slow: no client uses this tier"),
    )]);
}

#[test]
fn a_denied_name_that_no_client_has() {
    let rules = json!([
        {"name": "acme-edge", "match": {"spiffe": "spiffe://acme/edge"}},
        {"name": "p.{org}.{site}", "match": {"dns": "{site}.{org}.example"}},
    ]);
    let deny = |entry: &str| json!({"clients": rules, "deny": [entry]});
    let unused = |name: &str| {
        format!(
            "deny[0]: no client is named `{name}`: this entry has no effect (hint: write the client's name as `otlp-gate whoami CERT` prints it)"
        )
    };
    check([
        (deny("name:acme-edge"), json!([])),
        (deny("name:p.globex.berlin"), json!([])),
        (deny("serial:01"), json!([])),
        (deny("name:otlp-gate/verify"), json!([])),
        (deny("name:acme-egde"), json!([unused("acme-egde")])),
        (deny("name:q.globex.berlin"), json!([unused("q.globex.berlin")])),
        (deny("name:unknown-0123456789ab"), json!([unused("unknown-0123456789ab")])),
        (
            json!({
                "unknown": "t", "quotas": {"tiers": {"t": {"items": "10k/s"}}},
                "deny": ["name:unknown-0123456789ab"],
            }),
            json!([]),
        ),
    ]);
}

#[test]
fn a_hop_behind_a_wider_one() {
    let hops =
        |first: Value, second: Value| json!({"clientCAs": [{"name": "a"}], "trustedHops": [first, second]});
    let never = json!(
        "trustedHops[1]: never reached: trustedHops[0] matches the same certificates (hint: put the narrower entry \
         first, or remove it)"
    );
    check([
        (
            hops(json!({"dns": "*.example"}), json!({"dns": "a.example", "header": "ssl-client-cert"})),
            never.clone(),
        ),
        (hops(json!({"ca": "a"}), json!({"ca": "a", "dns": "a"})), never.clone()),
        (hops(json!({"dns": "a"}), json!({"dns": "a", "header": "x"})), never),
        (hops(json!({"dns": "a.example"}), json!({"dns": "*.example"})), json!([])),
        (hops(json!({"dns": "a", "ca": "a"}), json!({"dns": "a"})), json!([])),
        (hops(json!({"spiffe": "u:a"}), json!({"dns": "a"})), json!([])),
    ]);
}

#[test]
fn rules_that_are_open_to_every_client_ca() {
    let config = |cas: Value| {
        json!({
            "clientCAs": cas,
            "clients": [
                {"name": "a", "match": {"dns": "a", "ca": "own"}},
                {"name": "b", "match": [{"dns": "b"}, {"dns": "c"}]},
                {"name": "d", "match": {"sha256": "aa".repeat(32)}},
                {"name": "e", "match": {"dns": "e", "issuer": {"key": "aa".repeat(32)}}},
            ],
            "trustedHops": [{"dns": "hop", "ca": "own"}, {"dns": "open"}],
            "deny": ["serial:0a@own", "serial:0b"],
        })
    };
    check([
        (config(json!([{"name": "own"}])), json!([])),
        (
            config(json!([{"name": "own"}, {}])),
            json!([
                "clients[1].match[0]: any client CA of the gate can issue a certificate of this client (also 1 more) \
                 (hint: add `ca`, such as `ca: own`)",
                "trustedHops[1]: any client CA of the gate can issue a certificate of this hop (hint: add `ca`, such \
                 as `ca: own`)",
                "deny[1]: each client CA may have issued a certificate with this serial number: all are denied (hint: \
                 write `serial:0b@own` for one CA)",
            ]),
        ),
    ]);
}
