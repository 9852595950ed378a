//! `clientCAs`: several CAs of clients.

use std::fs;

use serde_json::Value;

use crate::Sandbox;
use crate::openssl::read;

fn config(cas: &str, more: &str) -> String {
    format!(
        "apiVersion: otlp-gate/v1\ngateway: {{hostname: otel.example.com}}\nclientCAs: {cas}\n\
         clients:\n  - {{name: a, match: {{dns: a.example, ca: own}}}}\n{more}"
    )
}

const PARTNERS: &str = "[{name: own}, {name: partners, certificates: partners/client-ca.crt}]";
const WITH_LIST: &str = "[{name: own}, {name: partners, certificates: partners/client-ca.crt, revocationList: partners/client.crl}]";

/// A folder with this config and two folders of certificates, `certs` and `partners`.
fn sandbox(config: &str) -> Sandbox {
    let sandbox =
        Sandbox::with("{apiVersion: otlp-gate/v1, gateway: {hostname: otel.example.com}, clients: []}");
    sandbox.run("certs init").ok();
    sandbox.run("certs init --dir partners").ok();
    sandbox.write("otlp-gate.yaml", config);
    sandbox
}

fn object<'a>(list: &'a Value, kind: &str, name: &str) -> &'a Value {
    let items = list.get("items").and_then(Value::as_array).unwrap();
    let is = |it: &Value| {
        it.get("kind").is_some_and(|it| it == kind)
            && it.pointer("/metadata/name").is_some_and(|it| it == name)
    };
    let found = items.iter().find(|it| is(it));
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn the_policy_has_the_keys_and_the_gateway_the_certificates_of_all_cas() {
    let sandbox = sandbox(&config(WITH_LIST, ""));
    // A rule with `ca` is for the client of the folder's CA, and not for one of another CA.
    sandbox.run("certs client a --dns a.example").ok();
    let own = sandbox.run("whoami certs/clients/a.crt -o json").json();
    assert_eq!(own["client"], "a", "{own}");
    sandbox.run("certs client a --dns a.example --dir partners --unchecked").ok();
    let other = sandbox.run("whoami partners/clients/a.crt");
    assert!(other.code == 1 && other.stdout.contains("partners"), "{other:#?}");
    sandbox.run("certs revoke a").ok();
    assert!(sandbox.run("whoami certs/clients/a.crt").stdout.contains("its CA has revoked it"));
    let list = sandbox.run("render --client-ca certs -o json").json();
    let cas = &object(&list, "WasmPlugin", "otel-gateway")["spec"]["pluginConfig"]["clientCAs"];
    assert_eq!((&cas[0]["name"], &cas[1]["name"]), (&"own".into(), &"partners".into()));
    for ca in cas.as_array().unwrap() {
        let key = &ca["keys"][0];
        // Only the folder's CA issues the certificate of `verify`.
        assert_eq!(ca.get("verify").is_some(), ca["name"] == "own", "{ca}");
        // The first entry of a list is the certificate of the revoked test client.
        assert!(key["key"].as_str().unwrap().starts_with("MFkw"), "{key}");
        assert_eq!(
            (key["id"].as_str().unwrap().len(), key["revoked"].as_array().unwrap().len()),
            (40, 1 + usize::from(ca["name"] == "own"))
        );
    }
    let filter = object(&list, "EnvoyFilter", "otel-gateway").to_string();
    assert!(filter.contains(r#""set_current_client_cert_details":{"chain":true}"#), "{filter}");

    let list = sandbox
        .run("render --client-ca certs --provider envoy-gateway --module oci://registry.example/gate:1 -o json")
        .json();
    let policy = object(&list, "ClientTrafficPolicy", "otel-gateway");
    let details = &policy["spec"]["headers"]["xForwardedClientCert"]["certDetailsToAdd"];
    assert_eq!(details, &serde_json::json!(["Cert", "Chain"]));
    assert!(policy["spec"]["tls"]["clientValidation"]["crl"].is_object());
    let trust = object(&list, "ConfigMap", "otel-gateway-client-ca");
    let count = |key: &str, text: &str| trust["data"][key].as_str().unwrap_or_default().matches(text).count();
    assert_eq!((count("ca.crt", "BEGIN CERT"), count("ca.crl", "BEGIN X509 CRL")), (2, 2));
}

const NEW: &str = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9";

/// PEM as `x-forwarded-client-cert` has it.
fn encoded(pem: &[u8]) -> String {
    String::from_utf8_lossy(pem).replace('\n', "%0A").replace('+', "%2B").replace('=', "%3D")
}

#[test]
fn intermediate_cas_lead_to_the_ca_in_a_file_and_in_a_header() {
    let sandbox = sandbox(&config(WITH_LIST, "trustedHops:\n  - {dns: hop.example, ca: own}\n"));
    let by = |issuer: &str, name: &str, extensions: &str| {
        let files = format!("-keyout {name}.key -out {name}.crt -subj /CN={name}");
        read(&sandbox, &format!("{NEW} -CA {issuer}.crt -CAkey {issuer}.key {files} {extensions}"));
        sandbox.read(&format!("{name}.crt"))
    };
    let is_ca = "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign";
    let is_leaf = "-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:";
    let middle = by("certs/client-ca", "middle", is_ca);
    let leaf = by("middle", "leaf", &format!("{is_leaf}a.example"));
    let hop = by("certs/client-ca", "hop", &format!("{is_leaf}hop.example"));
    let alone = sandbox.run("whoami leaf.crt -o json");
    assert!(alone.code == 1 && alone.stdout.contains(r#""ca":null"#), "{alone:#?}");
    sandbox.write("chain.pem", [&*leaf, &*middle].concat());
    let found = sandbox.run("whoami chain.pem -o json").json();
    assert_eq!((&found["client"], &found["shown"]["ca"]), (&"a".into(), &"own".into()));

    let hash = found["shown"]["sha256"].as_str().unwrap();
    let own = format!(r#"Hash={hash};Cert="{}""#, encoded(&leaf));
    let chain = format!(r#"{own};Chain="{}""#, encoded(&[&*leaf, &*middle].concat()));
    let behind = format!(r#"{chain},Cert="{}""#, encoded(&hop));
    for (header, client) in [(&own, None), (&chain, Some("a")), (&behind, Some("a"))] {
        let told = sandbox.run_with("whoami --xfcc - -o json", header.as_bytes());
        let answer: Value = serde_json::from_str(&told.stdout).unwrap_or_else(|e| panic!("{e}: {told:#?}"));
        assert_eq!(answer["client"].as_str(), client, "{header}: {answer}");
    }
    let hop = sandbox.run("whoami hop.crt -o json");
    assert!(hop.stdout.contains(r#""trustedHop":"x-forwarded-client-cert""#), "{hop:#?}");
}

#[test]
fn only_the_folders_ca_issues_the_certificate_of_verify() {
    let sandbox = sandbox(&config(WITH_LIST, ""));
    let own = sandbox.run("whoami certs/verify/client.crt -o json").json();
    assert_eq!(own["client"], "otlp-gate/verify");
    let other = sandbox.run("whoami partners/verify/client.crt");
    assert!(other.code == 1 && other.stdout.contains("it matches no rule"), "{other:#?}");
    // Where there is one trust domain, there is nothing to tell apart.
    sandbox.write("otlp-gate.yaml", config("[{name: own}]", ""));
    let list = sandbox.run("render --client-ca certs -o json").json();
    let policy = &object(&list, "WasmPlugin", "otel-gateway")["spec"]["pluginConfig"];
    assert!(policy["clientCAs"][0].get("verify").is_none(), "{policy}");
}

#[test]
fn a_ca_whose_signatures_the_filter_does_not_verify_is_warned_of() {
    let sandbox = sandbox(&config("[{name: own, certificates: own.pem}]", ""));
    let is_ca = "-addext basicConstraints=critical,CA:TRUE";
    read(
        &sandbox,
        &format!("req -x509 -newkey ed25519 -nodes -days 9 -subj /CN=x -keyout x.key -out own.pem {is_ca}"),
    );
    let warned = sandbox.run("check").stderr;
    let message = "own.pem: the filter cannot verify signatures of a CA of own: rules with `ca` match none of its clients";
    assert!(warned.contains(message), "{warned}");
}

#[test]
fn without_the_list_of_one_ca_the_gateway_gets_none() {
    let sandbox = sandbox(&config(PARTNERS, ""));
    let warned = sandbox.run("check").stderr;
    assert!(
        warned.contains("partners/client-ca.crt: no revocation list of CN=otlp-gate client CA"),
        "{warned}"
    );
    let module = "--module oci://registry.example/gate:1";
    let list =
        sandbox.run(&format!("render --client-ca certs --provider envoy-gateway {module} -o json")).json();
    assert!(object(&list, "ConfigMap", "otel-gateway-client-ca")["data"].get("ca.crl").is_none());
    let policy = object(&list, "ClientTrafficPolicy", "otel-gateway");
    assert!(policy["spec"]["tls"]["clientValidation"].get("crl").is_none());
}

#[test]
fn mistakes_are_named_with_their_file() {
    for (cas, more, command, words) in [
        ("[{name: own}, {name: Own}]", "", "check", "`Own` is not a valid name"),
        ("[{name: own}, {name: own, certificates: a}]", "", "check", "`own` is the name of clientCAs[0]"),
        ("[{name: own}, {name: b}]", "", "check", "clientCAs[0] already names the CAs in the folder"),
        ("[{name: own, revocationList: a}]", "", "check", "is `client.crl` there"),
        (
            "[{name: own}]",
            "certificates: {certManager: {clients: {name: ca}}}\n",
            "check",
            "it has no effect beside `clientCAs`, whose CAs are the only ones that are trusted",
        ),
        (
            "[{name: own}]",
            "certificates: {serverCA: public, certManager: {}}\n",
            "check",
            "the CA that otlp-gate lets cert-manager create is not public",
        ),
        ("[{name: own, configMap: a_b}]", "", "check", "`a_b` is not a valid name in Kubernetes"),
        (
            "[{name: own, configMap: a, certificates: certs/client-ca.crt}]",
            "",
            "check",
            "the certificates are in the ConfigMap",
        ),
        ("[{name: own, configMap: a, revocationList: b}]", "", "check", "it has no effect: the list must be"),
        (
            "[{name: own, configMap: a}, {name: b}]",
            "",
            "check",
            "Istio takes client CAs from one object only",
        ),
        ("[{name: own, configMap: a}]", "", "check", "the clients of `own` cannot be revoked by a list"),
        ("[{name: own, configMap: a}]", "", "render", "the CA `own` is unknown"),
        (
            "[{name: own, configMap: a}]",
            "",
            "local --backend localhost:1",
            "`local` cannot read the ConfigMap `a`",
        ),
        ("[{name: own}]", "", "render", "name the folder with client-ca.crt"),
        (PARTNERS, "  - {name: b, match: {dns: b}}\n", "check", "any client CA of the gate can issue"),
        (
            "[{name: own}, {name: b, certificates: certs/client-ca.crt}]",
            "",
            "render --client-ca certs",
            "is in certs/client-ca.crt too",
        ),
        (
            "[{name: own}, {name: b, certificates: partners/client-ca.crt, revocationList: certs/client.crl}]",
            "",
            "render --client-ca certs",
            "certs/client.crl: no revocation list of CN=otlp-gate client CA",
        ),
        ("[{name: own}, {name: b, certificates: no.pem}]", "", "render --client-ca certs", "no.pem"),
    ] {
        let sandbox = sandbox(&config(cas, more));
        let ended = sandbox.run(command);
        assert!(ended.stderr.contains(words), "{words}: {ended:#?}");
    }
}

#[test]
fn with_cert_manager_the_folder_has_client_cas_only() {
    let by_cert_manager = "certificates: {certManager: {server: {name: le, kind: ClusterIssuer}}}\n";
    let sandbox = Sandbox::with(&config("[{name: own}]", by_cert_manager));
    let listed = sandbox.run("certs init").ok();
    assert!(listed.contains("client-ca.crt") && !listed.contains("server"), "{listed}");
    assert!(!sandbox.path("certs/server-ca.crt").exists() && !sandbox.path("certs/server.crt").exists());
    assert!(sandbox.run("certs init").failure().contains("client-ca.key already exists"));
    let listed = sandbox.run("certs list");
    assert!(listed.stderr.starts_with("note: cert-manager issues the server's certificate"), "{listed:#?}");
    sandbox.run("certs client a --dns a.example").ok();
    let checked = sandbox.run("check");
    assert_eq!((checked.code, checked.stderr.as_str()), (0, ""), "{checked:#?}");
    assert_eq!(sandbox.run("whoami certs/clients/a.crt -o json").json()["client"], "a");
    // A revocation takes effect: the list is beside the CA.
    let revoked = sandbox.run("certs revoke a");
    assert!(!revoked.stderr.contains("cert-manager"), "{revoked:#?}");

    let rendered = sandbox.run("render --client-ca certs -o json");
    assert!(!rendered.stderr.contains("to create"), "{rendered:#?}");
    let list = rendered.json();
    let trust = &object(&list, "ConfigMap", "otel-gateway-client-ca")["data"];
    assert_eq!(trust["ca.crt"].as_str().unwrap().as_bytes(), sandbox.read("certs/client-ca.crt"));
    assert_eq!(trust["ca.crl"].as_str().unwrap().as_bytes(), sandbox.read("certs/client.crl"));
}

#[test]
fn only_the_cas_that_the_config_names_are_trusted_beside_cert_manager() {
    let sandbox = sandbox(&config(
        "[{name: own, certificates: partners/client-ca.crt}]",
        "certificates: {certManager: {server: {name: le}}}\n",
    ));
    let list = sandbox.run("render --client-ca certs -o json").json();
    let trust = &object(&list, "ConfigMap", "otel-gateway-client-ca")["data"];
    assert_eq!(trust["ca.crt"].as_str().unwrap().as_bytes(), sandbox.read("partners/client-ca.crt"));
    let cas = &object(&list, "WasmPlugin", "otel-gateway")["spec"]["pluginConfig"]["clientCAs"];
    assert_eq!(cas.as_array().unwrap().len(), 1, "{cas}");
}

#[test]
fn cas_in_a_config_map_are_in_the_policy_by_name_only() {
    let rule = "clients: [{name: a, match: {dns: a.example}}]";
    let text = config("[{name: spire, configMap: spire-bundle}]", "");
    let text = format!("{}{rule}\n", text.split("clients:").next().unwrap());
    let rendered = Sandbox::with(&text).run("render -o json");
    assert!(!rendered.stderr.contains("unknown"), "no rule needs the CA: {rendered:#?}");
    assert!(rendered.stderr.contains("secret/otel-gateway-server"), "{rendered:#?}");
    assert!(!rendered.stderr.contains("client-ca"), "{rendered:#?}");
    let list = rendered.json();
    let cas = &object(&list, "WasmPlugin", "otel-gateway")["spec"]["pluginConfig"]["clientCAs"];
    assert_eq!(*cas, serde_json::json!([{"name": "spire"}]));
}

#[test]
fn a_list_of_an_unknown_ca_is_not_dropped_silently() {
    let sandbox =
        sandbox(&config("[{name: own}, {name: partners, certificates: partners/client-ca.crt}]", ""));
    sandbox.run("certs init --dir third").ok();
    let both = [sandbox.read("certs/client.crl"), sandbox.read("third/client.crl")].concat();
    fs::write(sandbox.path("certs/client.crl"), both).unwrap();
    let told = sandbox.run("render --client-ca certs").failure();
    assert!(told.contains("a CA that is not in the certificates, has no effect"), "{told}");
}
