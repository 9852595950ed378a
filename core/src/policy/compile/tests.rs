//! Every error that a config can have, with its place and its hint.

use serde_json::{Value, json};

use super::*;

fn problems(config: Value) -> Vec<String> {
    let config: PolicyConfig = serde_json::from_value(config).unwrap();
    match Policy::compile(&config) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn check(table: impl IntoIterator<Item = (Value, Value)>) {
    for (config, expected) in table {
        let shown = config.to_string();
        let expected: Vec<String> = match expected {
            Value::String(one) => vec![one],
            several => serde_json::from_value(several).unwrap(),
        };
        assert_eq!(problems(config), expected, "{shown}");
    }
}

fn rule(rule: Value) -> Value {
    let mut whole = json!({"name": "a", "match": {"dns": "a.example"}});
    whole.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
    json!({"clients": [whole]})
}

#[test]
fn matches() {
    let one = |one: Value| rule(json!({"match": one}));
    check([
        (
            one(json!({})),
            json!(
                "clients[0].match: the match is empty (hint: set at least one of `spiffe`, `dns`, `email`, `ip`, `subject`, `issuer`, `ca`, `extendedKeyUsage`, `sha256`; `unknown` is for certificates that no rule matches)"
            ),
        ),
        (one(json!([])), json!("clients[0].match: the list of matches is empty: the rule never matches")),
        (one(json!({"spiffe": ""})), json!("clients[0].match.spiffe: the pattern is empty")),
        (
            one(json!([{"dns": "a"}, {"spiffe": "spiffe://{a"}])),
            json!("clients[0].match[1].spiffe: a brace has no counterpart: write a capture as `{name}`"),
        ),
        (
            one(json!({"spiffe": "acme.example/edge"})),
            json!(
                "clients[0].match.spiffe: the URI has no scheme \
                 (hint: write `spiffe://acme.example/edge`)"
            ),
        ),
        (
            one(json!({"spiffe": "spiffe://acme example/x"})),
            json!("clients[0].match.spiffe: a URI cannot contain spaces"),
        ),
        (
            one(json!({"dns": "spiffe://acme.example"})),
            json!("clients[0].match.dns: a DNS name cannot contain `:` (hint: match URIs under `spiffe`)"),
        ),
        (
            one(json!({"dns": "bücher.example"})),
            json!(
                "clients[0].match.dns: a DNS name cannot contain `ü` (hint: write its `xn--` form, which certificates have)"
            ),
        ),
        (
            one(json!({"dns": "{name}.example"})),
            json!(
                "clients[0].match.dns: {name} is a built-in placeholder (hint: rename the capture, for example to {my_name})"
            ),
        ),
        (
            one(json!({"subject": {"common name": "x", "CN": "", "2.5..4": "x"}})),
            json!([
                "clients[0].match.subject[\"2.5..4\"]: not a key of a subject \
                 (hint: use `CN`, `O`, `OU` or another short name, or a dotted OID)",
                "clients[0].match.subject.CN: the pattern is empty",
                "clients[0].match.subject[\"common name\"]: not a key of a subject \
                 (hint: use `CN`, `O`, `OU` or another short name, or a dotted OID)",
            ]),
        ),
        (
            one(json!({"subject": {"CN": "x", "cn": "x"}})),
            json!(
                "clients[0].match.subject.cn: duplicate key: case is ignored (hint: write several patterns of one key as a list: `OU: [a, b]`)"
            ),
        ),
        (
            one(
                json!({"subject": {"CN": [], "O": ["a", "a", "{"], "OU": ["a*", "b*", "c*", "d*", "e*", "f*", "g*", "h*", "i*"]}}),
            ),
            json!([
                "clients[0].match.subject.CN: the list of patterns is empty",
                "clients[0].match.subject.O[1]: duplicate pattern",
                "clients[0].match.subject.O[2]: a brace has no counterpart: write a capture as `{name}`",
                "clients[0].match.subject.OU: the list has more than 8 patterns",
            ]),
        ),
        (
            one(json!({"sha256": "9f86d0"})),
            json!("clients[0].match.sha256: a SHA-256 fingerprint has 64 hex digits, this one has 6"),
        ),
        (
            one(json!([{"dns": "{site}.x"}, {"dns": "{org}.y"}])),
            json!([
                "clients[0].match[1]: it lacks the capture {site} of the first match \
                 (hint: all matches of a rule need the same captures; make this one a rule of its own)",
                "clients[0].match[1]: the first match lacks its capture {org} \
                 (hint: all matches of a rule need the same captures; write `*` for a capture that is not used)",
            ]),
        ),
    ]);
}

#[test]
fn matches_of_addresses_and_issuers() {
    let one = |one: Value| rule(json!({"match": one}));
    let usages = |count: u32| (1..=count).map(|arc| format!("1.2.{arc}")).collect::<Vec<_>>();
    check([
        (one(json!({"email": "{user}@acme.example", "subject": {"CN": "{user}"}})), json!([])),
        (one(json!({"email": "**"})), json!([])),
        (
            one(json!({"email": "acme.example"})),
            json!(
                "clients[0].match.email: the address has no `@` (hint: write `*@acme.example` for all addresses of a domain, or `**` for any)"
            ),
        ),
        (
            one(json!({"email": "ann lee@acme.example"})),
            json!("clients[0].match.email: an e-mail address cannot contain ` `"),
        ),
        (
            one(json!({"email": "*@bücher.example"})),
            json!(
                "clients[0].match.email: an e-mail address cannot contain `ü` (hint: write a domain in its `xn--` form, which certificates have)"
            ),
        ),
        (
            one(json!({"email": "{email}@acme.example"})),
            json!(
                "clients[0].match.email: {email} is a built-in placeholder (hint: rename the capture, for example to {my_email})"
            ),
        ),
        (
            one(json!({"ip": "10.0.0.1/8"})),
            json!(
                "clients[0].match.ip: the address has bits after those of the network (hint: write `10.0.0.0/8`)"
            ),
        ),
        (
            one(json!({"ip": "10.*"})),
            json!(
                "clients[0].match.ip: it is not an IP address or network (hint: write `192.0.2.7`, `10.0.0.0/8` or `2001:db8::/32`)"
            ),
        ),
        (
            one(json!([{"dns": "x"}, {"ip": "::ffff:10.0.0.0/104"}])),
            json!(
                "clients[0].match[1].ip: it is an IPv4 address in IPv6 form, which certificates do not have (hint: write `10.0.0.0/8`)"
            ),
        ),
        (
            one(json!({"issuer": {}})),
            json!(
                "clients[0].match.issuer: the issuer is empty (hint: set at least one of `subject`, `keyId`, `key`)"
            ),
        ),
        (
            one(json!({"issuer": {"subject": {"C N": "x", "CN": "{ca}"}, "keyId": "abc", "key": "ab"}})),
            json!([
                "clients[0].match.issuer.keyId: `abc` is not the identifier of a key in hex (hint: write it as `otlp-gate whoami` prints it, or as `openssl x509 -ext authorityKeyIdentifier` does)",
                "clients[0].match.issuer.key: a SHA-256 fingerprint has 64 hex digits, this one has 2",
                "clients[0].match.issuer.subject[\"C N\"]: not a key of a subject (hint: use `CN`, `O`, `OU` or another short name, or a dotted OID)",
                "clients[0].match.issuer.subject.CN: {ca} is a built-in placeholder (hint: rename the capture, for example to {my_ca})",
            ]),
        ),
        (
            one(json!({"ca": "partners"})),
            json!("clients[0].match.ca: unknown client CA `partners` (hint: name the CA under `clientCAs`)"),
        ),
        (
            json!({"trustedHops": [{"ca": "partnres"}], "clientCAs": [{"name": "partners"}, {}]}),
            json!("trustedHops[0].ca: unknown client CA `partnres` (hint: did you mean `partners`?)"),
        ),
        (
            json!({"trustedHops": [{"ca": ""}], "clientCAs": [{}]}),
            json!("trustedHops[0].ca: unknown client CA `` (hint: name the CA under `clientCAs`)"),
        ),
        (
            one(json!({"extendedKeyUsage": "clientauth"})),
            json!(
                "clients[0].match.extendedKeyUsage: `clientauth` is not an extended key usage (hint: did you mean `clientAuth`?)"
            ),
        ),
        (
            one(json!({"extendedKeyUsage": ["1.3.6.1.5.5.7.3.2", "clientAuth", "1.02.3", "x"]})),
            json!([
                "clients[0].match.extendedKeyUsage[1]: duplicate extended key usage",
                "clients[0].match.extendedKeyUsage[2]: `1.02.3` is not an extended key usage (hint: use a name such as `clientAuth`, or a dotted OID)",
                "clients[0].match.extendedKeyUsage[3]: `x` is not an extended key usage (hint: use a name such as `clientAuth`, or a dotted OID)",
            ]),
        ),
        (one(json!({"extendedKeyUsage": usages(8)})), json!([])),
        (
            one(json!({"extendedKeyUsage": usages(9)})),
            json!("clients[0].match.extendedKeyUsage: the list has more than 8 extended key usages"),
        ),
        (
            one(json!({"extendedKeyUsage": []})),
            json!("clients[0].match.extendedKeyUsage: the list of extended key usages is empty"),
        ),
    ]);
}

#[test]
fn the_placeholder_of_the_ca_needs_a_ca() {
    let config = |cas: Value| {
        json!({
            "clients": [{"name": "a", "match": {"dns": "x"}, "attributes": {"ca": "{ca}"}, "quotaPer": "{ca}"}],
            "attributes": {"from": "{name} {ca}"},
            "headers": {"x-ca": "{ca}"},
            "clientCAs": cas,
        })
    };
    let none = |place: &str| format!("{place}: {{ca}} has no value (hint: name a CA under `clientCAs`)");
    check([
        (config(json!([{"name": "a"}])), json!([])),
        (
            config(json!([{}])),
            json!([
                none("clients[0].attributes.ca"),
                none("clients[0].quotaPer"),
                none("attributes.from"),
                none("headers.x-ca"),
            ]),
        ),
    ]);
}

#[test]
fn repeated_matches_and_names() {
    let upper = "AA".repeat(32);
    let colons = ["aa"; 32].join(":");
    let two = |a: Value, b: Value| json!({"clients": [{"name": "a", "match": a}, {"name": "b", "match": b}]});
    let same = "clients[1].match: duplicate of clients[0].match, never reached";
    check([
        (two(json!({"dns": "a.Example"}), json!({"dns": "A.example"})), json!(same)),
        (two(json!({"sha256": upper}), json!({"sha256": format!("sha256:{colons}")})), json!(same)),
        // A match with an error is not compared.
        (
            two(json!({"dns": "x", "spiffe": "a:{"}), json!({"dns": "x"})),
            json!("clients[0].match.spiffe: a brace has no counterpart: write a capture as `{name}`"),
        ),
        (
            rule(json!({"match": [{"dns": "x"}, {"dns": "x"}]})),
            json!("clients[0].match[1]: duplicate of clients[0].match[0], never reached"),
        ),
        (two(json!({"dns": "x"}), json!({"dns": "x", "spiffe": "a:x"})), json!([])),
        (two(json!({"dns": "x"}), json!({"dns": "x", "ip": "::1"})), json!([])),
        (two(json!({"email": "a@B.example"}), json!({"email": "a@b.example"})), json!(same)),
        (two(json!({"email": "A@b.example"}), json!({"email": "a@b.example"})), json!([])),
        (two(json!({"ip": "10.1.2.3/32"}), json!({"ip": "10.1.2.3"})), json!(same)),
        (
            two(
                json!({"extendedKeyUsage": ["1.3.6.1.5.5.7.3.2", "serverAuth"]}),
                json!({"extendedKeyUsage": ["serverAuth", "clientAuth"]}),
            ),
            json!(same),
        ),
        (two(json!({"issuer": {"keyId": "0A:0B"}}), json!({"issuer": {"keyId": "0a0b"}})), json!(same)),
        (
            json!({"clients": [{"name": "a", "match": {"dns": "x"}}, {"name": "a", "match": {"dns": "y"}}]}),
            json!(
                "clients[1].name: duplicate name: clients[0] has it, too (hint: use another name, or one rule with a list of matches)"
            ),
        ),
    ]);
}

#[test]
fn names() {
    let named = |name: &str| rule(json!({"name": name, "match": {"dns": "{site}.{org}.x"}}));
    check([
        (named(""), json!("clients[0].name: the name is empty")),
        (named("a b"), json!("clients[0].name: a name cannot contain ` `: use A-Z a-z 0-9 . _ -")),
        (named("ü"), json!("clients[0].name: a name cannot contain `ü`: use A-Z a-z 0-9 . _ -")),
        (named("a{{b"), json!("clients[0].name: a name cannot contain `{`: use A-Z a-z 0-9 . _ -")),
        (
            named("other"),
            json!(
                "clients[0].name: `other` is reserved: metrics use it for all clients that have no series of their own"
            ),
        ),
        (named(&"x".repeat(129)), json!("clients[0].name: the name is longer than 128 characters")),
        (
            named("{sitte}"),
            json!("clients[0].name: unknown placeholder {sitte} (hint: did you mean {site}?)"),
        ),
        (
            named("{tenant}"),
            json!(
                "clients[0].name: unknown placeholder {tenant} (hint: available placeholders: {org} {site})"
            ),
        ),
        (
            named("{subject.CN}"),
            json!(
                "clients[0].name: {subject.CN} cannot be used in a name, which is made of captures \
                 (hint: capture it, as in `match: {subject: {CN: \"{cn}\"}}`, and write {cn})"
            ),
        ),
        (
            named("{site"),
            json!(
                "clients[0].name: a brace has no counterpart, or nothing inside: write `{name}`, or `{{` and `}}` for braces"
            ),
        ),
    ]);
}

#[test]
fn names_that_two_rules_could_give() {
    let hint = "(hint: start one of them with a different text, or put a character between its captures that the other cannot have there)";
    let two = |a: &str, b: &str| {
        json!({"clients": [
            {"name": a, "match": {"dns": "{x}.{y}.a"}},
            {"name": b, "match": {"dns": "{x}.{y}.b"}},
        ]})
    };
    let collide = |a: &str, b: &str| {
        json!(format!(
            "clients[1].name: `{b}` and `{a}` (clients[0]) can give the same name to different clients {hint}"
        ))
    };
    check([
        (two("acme-edge", "{x}-{y}"), collide("acme-edge", "{x}-{y}")),
        (two("{x}-{y}", "acme-edge"), collide("{x}-{y}", "acme-edge")),
        (two("{x}.{y}", "{y}.{x}"), collide("{x}.{y}", "{y}.{x}")),
        (two("a-{x}", "{x}-a"), collide("a-{x}", "{x}-a")),
        (two("acme-edge", "{x}.{y}"), json!([])),
        (two("a.{x}", "b.{x}"), json!([])),
        (two("Acme", "{x}"), json!([])),
        (
            json!({
                "clients": [{"name": "unknown-{x}", "match": {"dns": "{x}"}}],
                "unknown": "t",
                "quotas": {"tiers": {"t": {"items": "1k/s"}}},
            }),
            json!(format!(
                "clients[0].name: `unknown-{{x}}` can give the name of an unknown client: `unknown-` and 12 hex digits {hint}"
            )),
        ),
        (rule(json!({"name": "unknown-{x}", "match": {"dns": "{x}"}})), json!([])),
        (
            // In the one match a label, in the other a path segment, which may hold dots.
            json!({"clients": [
                {"name": "{x}", "match": [{"dns": "{x}"}, {"spiffe": "a:{x}"}]},
                {"name": "a.b", "match": {"dns": "ab"}},
            ]}),
            collide("{x}", "a.b"),
        ),
    ]);
}

#[test]
fn what_captures_may_hold_counts_where_names_are_compared() {
    let hint = "(hint: start one of them with a different text, or put a character between its captures that the other cannot have there)";
    let with = |words: Value| {
        json!({"clients": [
            {"name": "a.edge", "match": {"dns": "x"}},
            {"name": "{w}", "match": {"dns": "{w}"}, "words": words},
        ]})
    };
    check([
        (with(json!({})), json!([])),
        (
            with(json!({"w": {"allow": "."}})),
            json!(format!(
                "clients[1].name: `{{w}}` and `a.edge` (clients[0]) can give the same name to different clients {hint}"
            )),
        ),
    ]);
}

#[test]
fn words() {
    let words = |words: Value| rule(json!({"match": {"dns": "{site}.x"}, "words": words}));
    check([
        (words(json!({"site": {"max": 255, "allow": ".:@"}})), json!([])),
        (words(json!({"site": {"max": 1}})), json!([])),
        (
            words(json!({"site": {"max": 0}})),
            json!("clients[0].words.site.max: a capture may have 1 to 255 characters, not 0"),
        ),
        (
            words(json!({"site": {"max": 256, "allow": ":/ "}})),
            json!([
                "clients[0].words.site.max: a capture may have 1 to 255 characters, not 256",
                "clients[0].words.site.allow: `/` cannot be allowed in a capture (hint: use `.`, `:` and `@`; A-Z a-z 0-9 _ - are always allowed)",
            ]),
        ),
        (
            words(json!({"sites": {}})),
            json!("clients[0].words.sites: `match` has no capture `sites` (hint: did you mean `site`?)"),
        ),
        (
            words(json!({"org": {}})),
            json!(
                "clients[0].words.org: `match` has no capture `org` (hint: write it in a pattern of `match` as {org})"
            ),
        ),
    ]);
}

#[test]
fn attributes() {
    let own =
        |key: &str, value: &str| rule(json!({"match": {"dns": "{site}.x"}, "attributes": {key: value}}));
    let general = |key: &str, value: &str| {
        let clients = json!([{"name": "a", "match": {"dns": "{site}.x"}}]);
        json!({"clients": clients, "attributes": {key: value}})
    };
    check([
        (own("", "x"), json!("clients[0].attributes[\"\"]: the key is empty")),
        (
            own("otlp_gate.verify", "x"),
            json!("clients[0].attributes[\"otlp_gate.verify\"]: this key is reserved for `otlp-gate verify`"),
        ),
        (
            general("a\nb", "x"),
            json!("attributes[\"a\\nb\"]: a key is at most 256 bytes, without control characters"),
        ),
        (
            own("{site}.id", "x"),
            json!(
                "clients[0].attributes[\"{site}.id\"]: a key cannot contain `{` or `}` (hint: use placeholders in the value)"
            ),
        ),
        (
            own("site.id", "{sit}"),
            json!(
                "clients[0].attributes[\"site.id\"]: unknown placeholder {sit} (hint: did you mean {site}?)"
            ),
        ),
        (
            own("k", "{tenant.id}"),
            json!(
                "clients[0].attributes.k: unknown placeholder {tenant.id} \
                 (hint: available placeholders: {site} {name} {spiffe} {dns} {email} {ip} {subject} {subject.CN} {issuer} {ca} {serial} {sha256})"
            ),
        ),
        (
            own("k", "{spife}"),
            json!("clients[0].attributes.k: unknown placeholder {spife} (hint: did you mean {spiffe}?)"),
        ),
        (
            general("k", "{subject.}"),
            json!(
                "attributes.k: `` is not a key of a subject (hint: write a key such as {subject.CN}, or a dotted OID)"
            ),
        ),
        (general("k", "{site}"), json!([])),
        (general("k", "{subject.1.2.3} {subject.emailAddress}"), json!([])),
    ]);
}

#[test]
fn headers() {
    let header = |name: &str, value: &str| {
        json!({
            "clients": [
                {"name": "a", "match": {"dns": "{site}.x"}, "attributes": {"tenant.id": "ü", "t": "a"}},
                {"name": "b", "match": {"dns": "{t}.y"}, "attributes": {"site": "b"}},
            ],
            "attributes": {"name": "x", "dns": "{dns}"},
            "headers": {name: value},
        })
    };
    let value = "a header's value must be 1 to 4096 characters of visible ASCII, with spaces only inside";
    check([
        (
            header("Content-Type", "x"),
            json!(
                "headers.Content-Type: this header cannot be set: it describes the body, which the filter rewrites"
            ),
        ),
        (header("x", ""), json!(format!("headers.x: {value}"))),
        (header("x", " a"), json!(format!("headers.x: {value}"))),
        (header("x", "ü{t}"), json!(format!("headers.x: {value}"))),
        (header("x", "a\r\nb: c"), json!(format!("headers.x: {value}"))),
        (
            header("x", "{tenant.id}"),
            json!(
                "headers.x: {tenant.id} of clients[0] cannot be used in a header, whose value must be 1 to 4096 characters of \
                 visible ASCII, with spaces only inside"
            ),
        ),
        (
            header("x", "{tenant.ids}"),
            json!("headers.x: unknown placeholder {tenant.ids} (hint: did you mean {tenant.id}?)"),
        ),
        (
            header("x", "{subject.}"),
            json!(
                "headers.x: `` is not a key of a subject (hint: write a key such as {subject.CN}, or a dotted OID)"
            ),
        ),
        (
            header("x", "{name}"),
            json!(
                "headers.x: {name} is ambiguous: a part of the certificate, and an attribute of clients[0] with another value \
                 (hint: rename one of them)"
            ),
        ),
        (header("x", "{dns} {t} {site}"), json!([])),
        (
            json!({"headers": {"X-A": "1", "x-a": "2"}}),
            json!("headers.x-a: duplicate header: case is ignored"),
        ),
        (
            json!({
                "clients": [{"name": "a", "match": {"dns": "{t}"}, "attributes": {"t": "x"}}], "headers": {"x": "{t}"},
            }),
            json!(
                "headers.x: {t} is ambiguous: a capture, and an attribute of clients[0] with another value \
                 (hint: rename one of them)"
            ),
        ),
        (
            json!({
                "clients": [{"name": "a", "match": {"dns": "{t}"}, "attributes": {"t": "{t}"}}],
                "headers": {"x": "{t}"},
            }),
            json!([]),
        ),
    ]);
}

#[test]
fn quotas() {
    let tier = |tier: Value| json!({"quotas": {"tiers": {"gold": tier}}});
    check([
        (
            tier(json!({})),
            json!(
                "quotas.tiers.gold: the tier has no limits (hint: set at least one of requests, bytes, items, spans, \
                 dataPoints, logRecords, samples)"
            ),
        ),
        (
            tier(json!({"items": "8MiB/s"})),
            json!(
                "quotas.tiers.gold.items: `8MiB/s` is a rate of bytes, but this is a limit of items (hint: use k, M or G, or limit \
                 `bytes`)"
            ),
        ),
        (
            tier(json!({"dataPoints": "0/s"})),
            json!(
                "quotas.tiers.gold.dataPoints: a rate of 0 throttles every request (hint: leave it out for no limit; to reject a client, remove its rule or deny its certificate)"
            ),
        ),
        (
            tier(json!({"requests": "1/s", "burst": "500ms"})),
            json!(
                "quotas.tiers.gold.requests: 1/s with a burst of 500ms throttles every request (hint: raise the rate \
                 or the burst)"
            ),
        ),
        (
            tier(json!({"bytes": "128GiB/s", "burst": "5s"})),
            json!(
                "quotas.tiers.gold.bytes: 128GiB/s with a burst of 5s is more than a bucket can hold, 512 Gi (hint: lower the rate or \
                 the burst, or leave it out for no limit)"
            ),
        ),
        (tier(json!({"bytes": "128GiB/s", "burst": "4s"})), json!([])),
        (
            json!({"quotas": {"tiers": {"reject": {"items": "1/s"}, "a b": {"items": "1/s"}}}}),
            json!([
                "quotas.tiers[\"a b\"]: the name of a tier can only contain A-Z a-z 0-9 . _ -",
                "quotas.tiers.reject: a tier cannot be named `reject` (hint: `unknown: reject` rejects unknown certificates)",
            ]),
        ),
        (
            rule(json!({"quota": "gold"})),
            json!("clients[0].quota: unknown tier `gold` (hint: define it under `quotas.tiers`)"),
        ),
        (
            json!({"unknown": "glod", "quotas": {"tiers": {"gold": {"items": "1/s"}}}}),
            json!("unknown: unknown tier `glod` (hint: did you mean `gold`?)"),
        ),
        (
            rule(json!({"match": {"dns": "{org}.x"}, "quotaPer": "org"})),
            json!(
                "clients[0].quotaPer: `org` is not a placeholder: all clients of the rule share one bucket (hint: write \"{org}\")"
            ),
        ),
        (
            rule(json!({"match": {"dns": "{org}.x"}, "quotaPer": "{og}{name}"})),
            json!([
                "clients[0].quotaPer: unknown placeholder {og} (hint: did you mean {org}?)",
                "clients[0].quotaPer: unknown placeholder {name} (hint: available placeholders: {org} {spiffe} {dns} {email} {ip} \
                 {subject} {subject.CN} {issuer} {ca} {serial} {sha256})",
            ]),
        ),
    ]);
}

#[test]
fn deny_and_limits() {
    const PREFIXES: &str = "does not start with `sha256:`, `signed:`, `serial:`, `key:` or `name:` (hint: write `sha256:` and the certificate's fingerprint, `signed:` and the SHA-256 of its signed part, `serial:` and its serial number in hex, `key:` and the SHA-256 of its public key, or `name:` and the client's name; `otlp-gate whoami CERT` shows all of them)";
    const SERIAL: &str = "is not a serial number in hex (hint: write it as `openssl x509 -serial` or `otlp-gate whoami` prints it)";
    let digest = "a".repeat(64);
    check([
        (
            json!({"deny": [format!("sha256:{digest}"), digest, "sha256:12", "sha1:12"]}),
            json!([
                format!("deny[1]: `{digest}` {PREFIXES}"),
                "deny[2]: a SHA-256 fingerprint has 64 hex digits, this one has 2",
                format!("deny[3]: `sha1:12` {PREFIXES}"),
            ]),
        ),
        (
            json!({"deny": ["serial:", "serial:0g", format!("serial:{}", "00".repeat(33)), "key:12", "name:"]}),
            json!([
                format!("deny[0]: `` {SERIAL}"),
                format!("deny[1]: `0g` {SERIAL}"),
                format!("deny[2]: `{}` {SERIAL}", "00".repeat(33)),
                "deny[3]: a SHA-256 fingerprint has 64 hex digits, this one has 2",
                format!("deny[4]: `name:` {PREFIXES}"),
            ]),
        ),
        (
            json!({"clientCAs": [{"name": "partners"}], "deny": ["serial:0a@partners", "serial:0a@partner", "serial:x@a"]}),
            json!([
                format!("deny[2]: `x` {SERIAL}"),
                "deny[1]: `partner` is not a name in `clientCAs` (hint: did you mean `partners`?)",
                "deny[2]: `a` is not a name in `clientCAs`",
            ]),
        ),
        (
            json!({"clientCAs": [{"keys": [{"key": "AA=="}, {"key": "", "id": "0a"}, {"key": "AA==", "revoked": ["x"]}]}]}),
            json!([
                "clientCAs[0].keys[1]: it is not a key in base64 with identifiers in hex",
                "clientCAs[0].keys[2]: it is not a key in base64 with identifiers in hex",
            ]),
        ),
        (
            json!({"limits": {"wire": "0", "inflated": "2GiB", "ratio": 0}}),
            json!([
                "limits.wire: 0 is out of range: use 1 byte to 1GiB",
                "limits.inflated: 2GiB is out of range: use 1 byte to 1GiB",
                "limits.ratio: a ratio of 0 rejects every compressed message",
            ]),
        ),
        (
            json!({"limits": {"wire": "65MiB"}}),
            json!(
                "limits.wire: a body of 65MiB does not fit into `limits.held`, 64MiB (hint: raise `limits.held`, or lower this)"
            ),
        ),
    ]);
}

#[test]
fn origins() {
    let one = |origin: &str| json!({"corsOrigins": ["https://a.example", origin]});
    for right in [
        "https://b.example",
        "http://localhost:*",
        "https://*.b.example:8443",
        "http://[::1]:3000",
        "app-x://b",
    ] {
        assert_eq!(problems(one(right)), [""; 0], "{right}");
    }
    for wrong in [
        "b.example",
        "*",
        "null",
        "https://",
        "https://b.example/",
        "https://B.example",
        "https://b.example:443",
        "http://b.example:80",
        "https://{site}.example",
        "https://b.example, https://c.example",
        "://b.example",
    ] {
        let expected = format!(
            "corsOrigins[1]: `{wrong}` is not an origin that browsers send (hint: write `scheme://host` in lower case, with the port unless it is the default of the scheme, and `*` for parts that vary)"
        );
        assert_eq!(problems(one(wrong)), [expected]);
    }
    assert!(problems(one("https://***"))[0].starts_with("corsOrigins[1]: two wildcards are adjacent"));
}

#[test]
fn all_errors_are_reported_in_the_order_of_the_config() {
    let config = json!({
        "clients": [
            {"name": "a b", "match": {"dns": "x"}, "quota": "none"},
            {"name": "b", "match": {"dns": "x"}},
            {"name": "b", "match": {"sha256": "1"}},
        ],
        "unknown": "none",
        "attributes": {"k": "{x}"},
        "headers": {"host": "x"},
        "deny": ["x"],
        "quotas": {"tiers": {"t": {}}},
        "limits": {"ratio": 0},
    });
    let paths: Vec<String> =
        problems(config).iter().filter_map(|problem| Some(problem.split_once(": ")?.0.to_owned())).collect();
    let expected = [
        "clients[0].name",
        "clients[0].quota",
        "clients[1].match",
        "clients[2].match.sha256",
        "clients[2].name",
        "unknown",
        "attributes.k",
        "headers.host",
        "deny[0]",
        "quotas.tiers.t",
        "limits.ratio",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn an_error_in_a_pattern_is_reported_once() {
    let config = json!({
        "clients": [
            {"name": "{a}.{b}", "match": {"dns": "{a}{b}.x"}, "attributes": {"a": "{a}"}, "quotaPer": "{b}"},
            {"name": "x.y", "match": {"dns": "y"}},
        ],
    });
    let problems = problems(config);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("clients[0].match.dns: two wildcards are adjacent"), "{problems:?}");
}

#[test]
fn names_that_are_too_similar_are_rejected_in_bounded_time() {
    let clients: Vec<Value> = (0..2000)
        .map(
            |at| json!({"name": format!("{{x}}.{at}.{{y}}"), "match": {"dns": format!("{{x}}.{{y}}.c{at}")}}),
        )
        .collect();
    let problems = problems(json!({"clients": clients}));
    assert_eq!(
        problems,
        [
            "clients: too many names with captures are too similar to be checked for duplicates (hint: start each name with a different text, or use one rule with captures for many clients)"
        ]
    );
}

#[test]
fn a_hops_header_must_be_one_that_can_have_a_certificate() {
    let hop = |name: &str| {
        json!({
            "clients": [{"name": "a", "match": {"dns": "a"}}],
            "headers": {"X-Tenant": "t"},
            "trustedHops": [{"dns": "hop"}, {"dns": "hop.example", "header": name}],
        })
    };
    for (name, reason) in [
        ("", "this header cannot have a certificate: the name is empty"),
        (
            "ssl client",
            "this header cannot have a certificate: it is not a header name: use letters, digits and `-`",
        ),
        (":path", "this header cannot have a certificate: it is a pseudo header"),
        ("Host", "this header cannot have a certificate: it selects the destination of the request"),
        ("x-envoy-peer", "this header cannot have a certificate: it is reserved for the proxy"),
        ("x.tenant", "the filter sets this header for the backend (`headers`) (hint: rename one of them)"),
        (
            "ssl_client_cert",
            "proxies drop or reject headers with `_` in their names (hint: use `-`, also in the proxy's configuration)",
        ),
    ] {
        assert_eq!(problems(hop(name)), [format!("trustedHops[1].header: {reason}")]);
    }
    for name in ["ssl-client-cert", "X-Forwarded-Client-Cert", "X-Amzn-Mtls-Clientcert-Leaf", "Client-Cert"] {
        assert!(problems(hop(name)).is_empty(), "{name}");
    }
    let empty = json!({"trustedHops": [{"header": "x-cert"}]});
    assert!(problems(empty)[0].starts_with("trustedHops[0]: the match is empty"));
}

#[test]
fn quotas_over_several_replicas() {
    let quotas = |quotas: Value| json!({"quotas": quotas});
    let engine = json!({});
    check([
        (
            quotas(json!({"scope": "gateway"})),
            json!(
                "quotas.scope: quotas over several replicas need an engine (hint: name a Valkey or Redis with `quotas.engine`)"
            ),
        ),
        (
            quotas(json!({"scope": "shared", "engine": engine})),
            json!(
                "quotas.engine: `scope: shared` needs a name that all gates have in common (hint: set `quotas.engine.name`)"
            ),
        ),
        (
            quotas(json!({"engine": {"name": "a/b"}})),
            json!("quotas.engine.name: the name of an engine can only contain A-Z a-z 0-9 . _ -"),
        ),
        (
            quotas(json!({"away": "divide"})),
            json!(
                "quotas.away: `away` is for quotas over several replicas, which need an engine (hint: set `quotas.engine`, or remove `away`)"
            ),
        ),
        (quotas(json!({"away": "divide", "engine": engine})), json!([])),
        (quotas(json!({"scope": "replica"})), json!([])),
        (quotas(json!({"scope": "replica", "engine": engine})), json!([])),
        (quotas(json!({"engine": engine})), json!([])),
        (quotas(json!({"scope": "shared", "engine": {"name": "eu"}})), json!([])),
    ]);
    let group = |config: Value| -> Option<Vec<String>> {
        let config: PolicyConfig = serde_json::from_value(config).unwrap();
        Policy::compile(&config).unwrap().quota_group().map(<[String]>::to_vec)
    };
    let gate = |name: &str, scope: &str, engine: &str| {
        group(json!({"gate": name, "quotas": {"scope": scope, "engine": {"name": engine}}}))
    };
    assert_eq!(gate("a/b", "replica", "eu"), None);
    assert_eq!(gate("a/b", "shared", "eu"), gate("c/d", "shared", "eu"));
    assert_ne!(gate("a/b", "shared", "eu"), gate("a/b", "shared", "us"));
    assert_ne!(gate("a/b", "gateway", "eu"), gate("c/d", "gateway", "eu"));
    assert_ne!(gate("a/b", "gateway", "eu"), gate("a/b", "gateway", "us"));
    let limits = |quotas: Value| {
        let config: PolicyConfig = serde_json::from_value(json!({"quotas": quotas})).unwrap();
        Policy::compile(&config).unwrap().quota_limits()
    };
    let gold = |spans: &str| limits(json!({"tiers": {"gold": {"spans": spans}}}));
    assert_eq!(gold("1k/s"), gold("1000/s"));
    assert_ne!(gold("1k/s"), gold("1001/s"));
    assert_ne!(gold("1k/s"), limits(json!({"tiers": {"silver": {"spans": "1k/s"}}})));
    assert_ne!(
        gold("1k/s"),
        limits(json!({"tiers": {"gold": {"spans": "1k/s"}}, "total": {"spans": "9k/s"}}))
    );
}
