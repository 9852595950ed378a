//! `whoami`: which client a certificate is.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::Sandbox;
use crate::openssl::read;

const CONFIG: &str = r#"apiVersion: otlp-gate/v1
clients:
  - name: "{site}.{org}"
    match: {dns: "{site}.{org}.partners.example"}
    attributes: {tenant.id: "{org}", site.id: "{site}"}
    quotaPer: "{org}"
  - name: needs-dns
    match: {spiffe: "spiffe://acme.example/edge/*"}
    attributes: {host.name: "{dns}"}
  - name: edge
    match: {spiffe: "spiffe://acme.example/**"}
    quota: gold
headers: {X-Scope-OrgID: "{tenant.id}"}
attributes: {otlp_gate.client: "{name}"}
quotas:
  mode: shadow
  tiers:
    default: {requests: 200/s, bytes: 8MiB/s, burst: 4s}
    gold: {items: 200k/s}
"#;

/// A certificate that OpenSSL made, with these SANs and extensions, as `cert.pem`.
fn made(sandbox: &Sandbox, sans: &str, more: &str) {
    let sans = if sans.is_empty() { String::new() } else { format!("-addext subjectAltName={sans}") };
    read(
        sandbox,
        &format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem \
             -subj /O=Acme/CN=test -addext basicConstraints=critical,CA:FALSE {sans} {more}"
        ),
    );
}

fn asked(sandbox: &Sandbox) -> Value {
    let ended = sandbox.run("whoami cert.pem -o json");
    serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {ended:#?}"))
}

#[test]
fn a_client_is_told_with_its_rule_and_what_follows() {
    let sandbox = Sandbox::with(CONFIG);
    made(&sandbox, "DNS:Zurich.Globex.partners.example", "");
    let answer = sandbox.run("whoami cert.pem -o json").json();
    assert_eq!((&answer["client"], &answer["rule"]), (&json!("zurich.globex"), &json!(0)));
    assert_eq!(answer["captured"], json!({"org": "globex", "site": "zurich"}));
    assert_eq!(
        answer["attributes"],
        json!({"otlp_gate.client": "zurich.globex", "site.id": "zurich", "tenant.id": "globex"})
    );
    assert_eq!(answer["headers"], json!({"x-scope-orgid": "globex"}));
    assert_eq!(answer["quota"]["limits"]["bytes"], json!({"perSecond": 8 << 20, "atOnce": 32 << 20}));
    assert_eq!(answer["quota"]["shadow"], json!(true));
    assert_eq!(answer["shown"]["subject"], json!("CN=test,O=Acme"));
    // As OpenSSL gives them, and as `deny` takes them.
    let serial = read(&sandbox, "x509 -in cert.pem -noout -serial").trim().to_lowercase();
    assert_eq!(format!("serial={}", answer["shown"]["serial"].as_str().unwrap()), serial);
    for what in ["serial", "key", "sha256"] {
        let entry = format!("deny: [\"{what}:{}\"]\n", answer["shown"][what].as_str().unwrap());
        sandbox.write("otlp-gate.yaml", format!("{CONFIG}{entry}"));
        assert_eq!(asked(&sandbox)["verdict"], json!("denied"), "{entry}");
    }
    sandbox.write("otlp-gate.yaml", CONFIG);

    let table = sandbox.run("whoami cert.pem").ok();
    let random = ["sha256: ", "serial: ", "key: ", "signed part: ", "valid ", "keyId: "];
    let stable: Vec<&str> =
        table.lines().filter(|line| !random.iter().any(|text| line.contains(text))).collect();
    assert_snapshot!("whoami", stable.join("\n"));
}

#[test]
fn der_and_standard_input_are_read_too() {
    let sandbox = Sandbox::with(CONFIG);
    made(&sandbox, "URI:spiffe://acme.example/x", "");
    let expected = asked(&sandbox);
    read(&sandbox, "x509 -in cert.pem -outform DER -out cert.der");
    assert_eq!(sandbox.run("whoami cert.der -o json").json(), expected);
    assert_eq!(sandbox.run_with("whoami - -o json", &sandbox.read("cert.pem")).json(), expected);
    // as in a bundle or an output of `openssl x509 -text`: the first certificate counts
    let text = read(&sandbox, "x509 -in cert.pem -text");
    assert_eq!(sandbox.run_with("whoami - -o json", text.as_bytes()).json(), expected);
    let pair = [sandbox.read("key.pem"), sandbox.read("cert.pem")].concat();
    assert_eq!(sandbox.run_with("whoami - -o json", &pair).json(), expected);
}

#[test]
fn unknown_and_denied_certificates_exit_with_1() {
    let sandbox = Sandbox::with(CONFIG);
    made(&sandbox, "URI:spiffe://other.example/x", "");
    let ended = sandbox.run("whoami cert.pem -o json");
    assert_eq!(ended.code, 1);
    assert_eq!(asked(&sandbox)["verdict"], json!("unknown"));
    let digest = asked(&sandbox)["shown"]["sha256"].as_str().unwrap().to_owned();
    sandbox.write("otlp-gate.yaml", format!("{CONFIG}deny: [\"sha256:{digest}\"]\n"));
    assert_eq!((&asked(&sandbox)["verdict"], &asked(&sandbox)["client"]), (&json!("denied"), &Value::Null));
    assert_eq!(sandbox.run("whoami cert.pem").code, 1);
}

#[test]
fn a_rule_that_nearly_matches_is_reported() {
    let sandbox = Sandbox::with(CONFIG);
    made(&sandbox, "URI:spiffe://acme.example/edge/zurich", "");
    let answer = asked(&sandbox);
    assert_eq!(answer["client"], json!("edge"));
    assert_eq!(
        answer["nearMisses"],
        json!([{
            "rule": 1,
            "name": "needs-dns",
            "path": "clients[1].attributes[\"host.name\"]",
            "line": 9,
            "reason": "the rule uses {dns}, which the certificate does not have",
            "hint": "use a part that it has, or issue the certificate with it",
        }])
    );
    let table = sandbox.run("whoami cert.pem").ok();
    assert!(
        table.contains(
            "NEAR MISSES   clients[1].attributes[\"host.name\"] (`needs-dns`, line 9): the rule uses {dns}"
        ),
        "{table}"
    );
    assert!(table.contains("hint: use a part that it has"), "{table}");
}

#[test]
fn any_name_of_a_kind_matches_and_two_that_differ_are_a_near_miss() {
    let sandbox = Sandbox::with(CONFIG);
    made(&sandbox, "DNS:other,DNS:Zurich.Globex.partners.example,URI:https://x", "");
    let answer = asked(&sandbox);
    assert_eq!((&answer["client"], &answer["warnings"]), (&json!("zurich.globex"), &json!([])));
    assert_eq!(answer["matched"], json!({"dns": "zurich.globex.partners.example"}));
    made(&sandbox, "DNS:Zurich.Globex.partners.example,DNS:bern.globex.partners.example", "");
    let answer = asked(&sandbox);
    assert_eq!(answer["verdict"], json!("unknown"));
    assert_eq!(
        answer["nearMisses"],
        json!([{
            "rule": 0,
            "name": "{site}.{org}",
            "path": "clients[0].match.dns",
            "line": 4,
            "reason": "several of its DNS names match, such as `bern.globex.partners.example` and \
                       `zurich.globex.partners.example`, and the rule does not say which one to use",
            "hint": "make the pattern more specific, or issue the certificate with one of them",
        }])
    );
}

#[test]
fn addresses_the_issuer_and_usages_are_matched_and_shown() {
    let config = |rule: &str| {
        format!(
            "apiVersion: otlp-gate/v1\nclients:\n  - name: \"user-{{user}}\"\n    match: {rule}\n    \
             attributes: {{mail: \"{{email}}\", address: \"{{ip}}\", issuer: \"{{issuer}}\", serial: \"{{serial}}\"}}\n"
        )
    };
    let sandbox = Sandbox::with(&config(
        r#"{email: "{user}@acme.example", ip: 10.0.0.0/8, issuer: {subject: {O: Acme}}, extendedKeyUsage: [clientAuth, emailProtection]}"#,
    ));
    let sans = "email:ops@globex.example,email:ann@ACME.example,IP:192.0.2.1,IP:10.0.0.7,IP:2001:db8::1";
    let usages = "-addext extendedKeyUsage=clientAuth,emailProtection,1.2.3 -addext authorityKeyIdentifier=keyid:always";
    made(&sandbox, sans, usages);
    let answer = sandbox.run("whoami cert.pem -o json").json();
    assert_eq!(
        answer["matched"],
        json!({
            "email": "ann@acme.example", "ip": "10.0.0.7", "issuer.subject.O": "Acme",
            "extendedKeyUsage": "clientAuth, emailProtection",
        })
    );
    let shown = &answer["shown"];
    assert_eq!(shown["email"], json!(["ops@globex.example", "ann@acme.example"]));
    assert_eq!(shown["ip"], json!(["192.0.2.1", "10.0.0.7", "2001:db8::1"]));
    assert_eq!(shown["issuer"], json!("CN=test,O=Acme"));
    assert_eq!(shown["extendedKeyUsage"], json!(["clientAuth", "emailProtection", "1.2.3"]));
    assert_eq!((&shown["ca"], &shown["issuerKey"]), (&Value::Null, &Value::Null));
    assert_eq!(
        answer["attributes"],
        json!({
            "address": "10.0.0.7", "issuer": "CN=test,O=Acme", "mail": "ann@acme.example",
            "serial": shown["serial"],
        })
    );
    // OpenSSL prints the identifier as the config takes it.
    let printed = read(&sandbox, "x509 -in cert.pem -noout -ext authorityKeyIdentifier");
    let id = printed.lines().nth(1).unwrap().trim().trim_start_matches("keyid:");
    assert_eq!(shown["issuerKeyId"], json!(id.replace(':', "").to_lowercase()));
    sandbox.write(
        "otlp-gate.yaml",
        config(&format!("{{email: \"{{user}}@acme.example\", issuer: {{keyId: \"{id}\"}}}}")),
    );
    assert_eq!(asked(&sandbox)["client"], json!("user-ann"));
    let table = sandbox.run("whoami cert.pem").ok();
    for line in
        ["email: ann@acme.example", "ip: 2001:db8::1", "issuer: CN=test,O=Acme", "extendedKeyUsage: 1.2.3"]
    {
        assert!(table.contains(line), "{table}");
    }

    // A near miss of each of the new keys, with its line.
    sandbox.write("otlp-gate.yaml", config(r#"{email: "{user}@acme.example", ip: 172.16.0.0/12}"#));
    let miss = &asked(&sandbox)["nearMisses"][0];
    assert_eq!((&miss["path"], &miss["line"]), (&json!("clients[0].match.ip"), &json!(4)));
    assert_eq!(miss["reason"], json!("none of its IP addresses, such as `192.0.2.1`, is in `172.16.0.0/12`"));
}

#[test]
fn later_rules_and_the_deny_list_are_reported() {
    let sandbox = Sandbox::with(&CONFIG.replace(
        "  - name: needs-dns",
        "  - name: first\n    match: {spiffe: \"spiffe://acme.example/x\"}\n  - name: needs-dns",
    ));
    made(&sandbox, "URI:spiffe://acme.example/x", "");
    let answer = asked(&sandbox);
    assert_eq!((&answer["client"], &answer["later"]), (&json!("first"), &json!([3])));
    let table = sandbox.run("whoami cert.pem").ok();
    assert!(
        table.contains("ALSO MATCHES   clients[3] (`edge`), not used: an earlier rule matches"),
        "{table}"
    );
    let digest = answer["shown"]["sha256"].as_str().unwrap();
    sandbox.write(
        "otlp-gate.yaml",
        format!("{CONFIG}deny: [\"sha256:{}\", \"sha256:{digest}\"]\n", "00".repeat(32)),
    );
    assert_eq!(asked(&sandbox)["deniedBy"], json!(1));
    assert!(sandbox.run("whoami cert.pem").stdout.contains("DENIED BY     deny[1]"));
}

/// A certificate with this subject, a line for each part, as `cert.pem`.
fn with_subject(sandbox: &Sandbox, key: &str, subject: &str) {
    sandbox.write("req.cnf", format!("[req]\nprompt=no\ndistinguished_name=dn\n[dn]\n{subject}"));
    read(
        sandbox,
        &format!(
            "req -x509 -config req.cnf -newkey {key} -nodes -keyout key.pem -out cert.pem -addext \
            basicConstraints=critical,CA:FALSE"
        ),
    );
}

const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";

#[test]
fn one_of_three_units_can_be_matched_and_where_it_is_not_clear_which_the_cure_is_told() {
    let config = |unit: &str| {
        format!(
            "apiVersion: otlp-gate/v1\nclients:\n  - name: \"sub-{{sub}}\"\n    match: {{subject: {{O: Example SE, \
            OU: {unit}}}}}\n    \
             attributes: {{tenant.id: \"{{sub}}\"}}\n"
        )
    };
    let sandbox = Sandbox::with(&config("\"{sub}\""));
    let units = "0.OU=Example Cloud Clients\n1.OU=Canary\n2.OU=11111111-2222-4333-8444-555555555555\n";
    with_subject(&sandbox, P256, &format!("C=DE\nO=Example SE\n{units}CN=x\n"));
    let answer = asked(&sandbox);
    assert_eq!(answer["verdict"], json!("unknown"));
    assert_eq!(
        answer["nearMisses"][0]["reason"],
        json!(
            "several values of its OU match, such as `Canary` and `11111111-2222-4333-8444-555555555555`, and the rule does not say which one to use"
        )
    );
    let hint = answer["nearMisses"][0]["hint"].as_str().unwrap();
    assert!(hint.contains("subject: {OU: [\"Canary\", \"{sub}\"]}"), "{hint}");
    sandbox.write("otlp-gate.yaml", config("[\"Canary\", \"{sub}\"]"));
    let answer = sandbox.run("whoami cert.pem -o json").json();
    assert_eq!(answer["attributes"], json!({"tenant.id": "11111111-2222-4333-8444-555555555555"}));
    assert_eq!(answer["matched"]["subject.O"], json!("Example SE"));
}

#[test]
fn hashes_and_principals_are_captured_if_the_rule_allows_them() {
    let config = |words: &str| {
        format!(
            "apiVersion: otlp-gate/v1\nclients:\n  - name: \"agent-{{id}}\"\n    match: {{spiffe: \
            \"spiffe://example.org/tpm/{{id}}\"}}\n{words}"
        )
    };
    let hash = "0f".repeat(32);
    for (id, words) in [(hash.as_str(), "{max: 64}"), ("user:alice@corp.example", "{allow: \":@\"}")] {
        let sandbox = Sandbox::with(&config(""));
        made(&sandbox, &format!("URI:spiffe://example.org/tpm/{id}"), "");
        let hint = asked(&sandbox)["nearMisses"][0]["hint"].clone();
        assert_eq!(hint, json!(format!("allow it in the rule: `words: {{id: {words}}}`")));
        sandbox.write("otlp-gate.yaml", config(&format!("    words: {{id: {words}}}\n")));
        assert_eq!(sandbox.run("whoami cert.pem -o json").json()["client"], json!(format!("agent-{id}")));
    }
}

#[test]
fn keys_that_envoy_does_not_verify_are_warned_of() {
    let sandbox = Sandbox::with(CONFIG);
    let instead = "use ECDSA P-256 or P-384, or RSA of 2048 bits or more";
    let refused = |key: &str| {
        json!([format!(
            "its key is {key}, which Envoy does not accept from clients: the handshake fails; {instead}"
        )])
    };
    for (key, warnings) in [
        (P256, json!([])),
        ("ec -pkeyopt ec_paramgen_curve:P-384", json!([])),
        ("rsa:2048", json!([])),
        (
            "rsa:1024",
            json!([format!(
                "its key is RSA of 1024 bits: Envoy accepts it, but it is too short to be secure; {instead}"
            )]),
        ),
        ("ec -pkeyopt ec_paramgen_curve:P-521", refused("ECDSA P-521")),
        ("ec -pkeyopt ec_paramgen_curve:P-224", refused("ECDSA P-224")),
        ("ec -pkeyopt ec_paramgen_curve:secp256k1", refused("ECDSA secp256k1")),
        ("ed25519 -sha256", refused("Ed25519")),
        (
            "ed448 -sha256",
            json!([
                refused("Ed448")[0],
                "it is signed by Ed448, which Envoy does not verify: it rejects the certificate; have it signed with SHA-256",
            ]),
        ),
        (
            "rsa-pss -pkeyopt rsa_keygen_bits:2048 -sigopt rsa_pss_saltlen:32 -sha256",
            refused("RSA for PSS only"),
        ),
        ("rsa:2048 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -sha256", json!([])),
        (
            "rsa:2048 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20 -sha256",
            json!([
                "it is signed with RSA-PSS and a salt that is not as long as its hash, which Envoy does not verify: \
                it rejects the certificate; have it signed with SHA-256"
            ]),
        ),
        (
            "rsa:2048 -sha1",
            json!(["it is signed with SHA-1: Envoy accepts it, but such signatures can be forged"]),
        ),
        (
            "rsa:2048 -md5",
            json!([
                "it is signed with MD5, which Envoy does not verify: it rejects the certificate; have it signed with SHA-256"
            ]),
        ),
    ] {
        with_subject(&sandbox, key, "CN=x\n");
        assert_eq!(asked(&sandbox)["warnings"], warnings, "{key}");
    }
}

#[test]
fn certificates_with_wrong_usages_get_warnings() {
    let sandbox = Sandbox::with(CONFIG);
    let expired = "-set_serial 1 -days 1";
    let warning =
        "the certificate is not for clients (no extended key usage clientAuth): the gateway rejects it";
    made(&sandbox, "DNS:a.b.partners.example,DNS:other", "-addext extendedKeyUsage=serverAuth");
    assert_eq!(asked(&sandbox)["warnings"], json!([warning]));
    assert!(sandbox.run("whoami cert.pem").stderr.contains(&format!("warning: {warning}\n")));
    made(&sandbox, "DNS:a.b.partners.example", &format!("-addext extendedKeyUsage=clientAuth {expired}"));
    assert_eq!(asked(&sandbox)["warnings"], json!([]));
}

#[test]
fn time_is_checked() {
    let sandbox = Sandbox::with(CONFIG);
    for (from, until, warning) in [
        ("20200101000000Z", "20210101000000Z", "the certificate has expired: the gateway rejects it"),
        ("20990101000000Z", "20991231000000Z", "the certificate is not valid yet: the gateway rejects it"),
    ] {
        made(&sandbox, "", "");
        sandbox.write(
            "ca.cnf",
            "[ca]\ndefault_ca=x\n[x]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\npolicy=p\n[p]\n",
        );
        sandbox.write("index.txt", "");
        sandbox.write("serial", "01");
        read(&sandbox, "req -new -key key.pem -subj /CN=test -out cert.csr");
        read(
            &sandbox,
            &format!(
                "ca -batch -config ca.cnf -cert cert.pem -keyfile key.pem -md sha256 -in cert.csr -out made.pem \
                -notext -preserveDN -startdate {from} -enddate {until}"
            ),
        );
        sandbox.write("cert.pem", sandbox.read("made.pem"));
        assert_eq!(asked(&sandbox)["warnings"], json!([warning]));
    }
}

#[test]
fn what_is_no_certificate_is_named() {
    let sandbox = Sandbox::with(CONFIG);
    made(&sandbox, "", "");
    sandbox.write("empty.pem", "");
    sandbox.write("text.pem", "hello");
    sandbox.write("cut.pem", &sandbox.read("cert.pem")[..200]);
    sandbox.write("key.crt", sandbox.read("key.pem"));
    for (snapshot, file) in [
        ("whoami_no_file", "none.pem"),
        ("whoami_empty", "empty.pem"),
        ("whoami_text", "text.pem"),
        ("whoami_cut", "cut.pem"),
        ("whoami_key", "key.crt"),
    ] {
        assert_snapshot!(snapshot, sandbox.run(&format!("whoami {file}")).failure());
    }
}

#[test]
fn all_parts_of_a_certificate_are_shown() {
    let sandbox = Sandbox::with(CONFIG);
    let sans =
        "URI:spiffe://acme.example/x,URI:spiffe://b,DNS:A.example,email:ops@ACME.example,IP:10.1.2.3,IP:::1";
    made(&sandbox, sans, "-addext extendedKeyUsage=clientAuth,1.2.3.4");
    let shown = asked(&sandbox)["shown"].clone();
    assert_eq!(shown["spiffe"], json!(["spiffe://acme.example/x", "spiffe://b"]));
    assert_eq!(shown["dns"], json!(["a.example"]));
    assert_eq!(shown["email"], json!(["ops@acme.example"]));
    assert_eq!(shown["ip"], json!(["10.1.2.3", "::1"]));
    assert_eq!(shown["extendedKeyUsage"], json!(["clientAuth", "1.2.3.4"]));
    assert_eq!(shown["issuer"], json!("CN=test,O=Acme"));
    // A root names its own key as that of its issuer.
    let id =
        read(&sandbox, "x509 -in cert.pem -noout -ext subjectKeyIdentifier").replace(':', "").to_lowercase();
    assert!(id.contains(shown["issuerKeyId"].as_str().unwrap()), "{id} {shown}");
    assert_eq!(shown["signed"].as_str().unwrap().len(), 64);
    assert_eq!(asked(&sandbox)["startLeewaySeconds"], json!(300));
    let table = sandbox.run("whoami cert.pem").ok();
    for line in ["email: ops@acme.example", "ip: 10.1.2.3", "dns: a.example", "extendedKeyUsage: clientAuth"]
    {
        assert!(table.contains(line), "{line} is missing:\n{table}");
    }
}

/// The certificate as Envoy writes it in an element.
fn element(sandbox: &Sandbox) -> String {
    let hash = asked(sandbox).pointer("/shown/sha256").and_then(Value::as_str).unwrap().to_owned();
    let pem = String::from_utf8(sandbox.read("cert.pem")).unwrap();
    let encoded = pem
        .replace('\n', "%0A")
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D")
        .replace(' ', "%20");
    format!("By=spiffe://gate;Hash={hash};Cert=\"{encoded}\";Subject=\"O=Acme,CN=test\";URI=spiffe://forged")
}

fn header(sandbox: &Sandbox, value: &str) -> Value {
    let ended = sandbox.run_with("whoami --xfcc - -o json", value.as_bytes());
    serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {ended:#?}"))
}

#[test]
fn a_header_is_explained_element_by_element() {
    let sandbox = Sandbox::with(&format!("{CONFIG}trustedHops: [{{spiffe: \"spiffe://hop/*\"}}]\n"));
    made(&sandbox, "URI:spiffe://acme.example/x", "");
    let own = element(&sandbox);
    let hash = "ab".repeat(32);
    let forged = format!("Hash={hash};URI=spiffe://victim;DNS=berlin.globex.partners.example");
    // The certificate's names count, not those in the text. A log may have the header's name too.
    for value in
        [own.clone(), format!("{forged},{own}"), format!("X-Forwarded-Client-Cert: {forged}, {own}\n")]
    {
        let answer = header(&sandbox, &value);
        assert_eq!(answer["client"], json!("edge"), "{value}");
        assert_eq!(answer["shown"]["spiffe"], json!(["spiffe://acme.example/x"]));
        let roles: Vec<&Value> =
            answer["elements"].as_array().unwrap().iter().map(|it| &it["role"]).collect();
        assert_eq!(roles, if value == own { vec!["client"] } else { vec!["ignored", "client"] });
    }
    // Behind a hop, the element before the hop's own counts, also without a certificate.
    let hop = format!("Hash={hash};URI=spiffe://hop/1");
    let answer = header(&sandbox, &format!("{own},{forged},{hop}"));
    assert_eq!((&answer["client"], &answer["elements"][2]["role"]), (&json!("berlin.globex"), &json!("hop")));
    assert_eq!((&answer["shown"]["serial"], &answer["notAfter"]), (&Value::Null, &Value::Null));
    let table = sandbox.run_with("whoami --xfcc -", format!("x,{forged},{hop}").as_bytes()).ok();
    assert_snapshot!("whoami_xfcc", table);
    // Base64 of DER, PEM and so on, as `trustedHops[].header` has them.
    let base64: String = String::from_utf8(sandbox.read("cert.pem")).unwrap();
    let base64: String = base64.lines().filter(|line| !line.starts_with('-')).collect();
    let answer = header(&sandbox, &base64);
    assert_eq!((&answer["client"], &answer["elements"]), (&json!("edge"), &json!([])));
    assert!(answer["notAfter"].is_string());
}

#[test]
fn a_header_without_a_client_is_an_error() {
    let hops = "trustedHops: [{spiffe: \"spiffe://hop/*\"}, {spiffe: \"spiffe://nginx\", header: ssl-client-cert}]\n";
    let sandbox = Sandbox::with(&format!("{CONFIG}{hops}"));
    let hash = "ab".repeat(32);
    for (value, why) in [
        (String::new(), "x-forwarded-client-cert is missing"),
        ("hello".to_owned(), "has a part that is not Key=value"),
        ("URI=spiffe://a".to_owned(), "has an element without Hash"),
        (format!("Hash={hash};Subject=\""), "has a quote that does not end"),
        (format!("Hash={hash};URI=spiffe://hop/1"), "has only the element about a trusted hop"),
        (format!("Hash={hash};URI=spiffe://nginx"), "whose clients are in `ssl-client-cert`"),
    ] {
        let ended = sandbox.run_with("whoami --xfcc -", value.as_bytes());
        assert_eq!(ended.code, 1, "{value}");
        assert!(ended.stderr.contains(why), "{value}: {}", ended.stderr);
    }
    assert_eq!(sandbox.run(&format!("whoami --xfcc Hash={hash};URI=spiffe://other")).code, 1);
}

#[test]
fn asking_a_gate_needs_the_clients_files_and_a_gate() {
    let sandbox = Sandbox::with(CONFIG);
    made(&sandbox, "URI:spiffe://acme.example/x", "");
    for arguments in [
        "--address localhost:1",
        "--address localhost --cert cert.pem --key key.pem --ca cert.pem",
        "cert.pem --address localhost:1 --cert cert.pem --key key.pem --ca cert.pem",
        "cert.pem --cert cert.pem",
        "--xfcc x cert.pem",
    ] {
        assert_eq!(sandbox.run(&format!("whoami {arguments}")).code, 2, "{arguments}");
    }
    let files = "--cert cert.pem --key key.pem --ca cert.pem";
    // Port 1 of the loopback interface is closed.
    let ended = sandbox.run(&format!("whoami --address 127.0.0.1:1 {files} -o json"));
    assert_eq!(ended.code, 1);
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&answer["client"], &answer["live"]["answer"]), (&json!("edge"), &json!("no connection")));
    assert_eq!((&answer["live"]["accepted"], &answer["live"]["agrees"]), (&json!(false), &Value::Null));
    assert!(answer["live"]["message"].as_str().unwrap().contains("refused"), "{answer}");
    assert!(
        sandbox
            .run(&format!("whoami --address 127.0.0.1:1 {files}"))
            .stdout
            .contains("no connection to 127.0.0.1:1")
    );
}
