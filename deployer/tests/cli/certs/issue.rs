//! `certs server` and `certs client`: issued certificates, read back by OpenSSL.

use std::fs;

use insta::assert_snapshot;
use serde_json::json;

use super::{CONFIG, with_cas};
use crate::Sandbox;
use crate::openssl::{openssl, read};

#[test]
fn server_and_client_certificates_verify_with_their_own_ca_only() {
    let sandbox = with_cas();
    sandbox.run("certs client legacy").ok();
    for (authority, certificate, purpose, good) in [
        ("server-ca", "server", "sslserver", true),
        ("client-ca", "clients/legacy", "sslclient", true),
        ("client-ca", "server", "sslserver", false),
        ("server-ca", "clients/legacy", "sslclient", false),
        ("client-ca", "clients/legacy", "sslserver", false),
        ("server-ca", "server", "sslclient", false),
    ] {
        let args = format!(
            "verify -x509_strict -purpose {purpose} -CAfile certs/{authority}.crt certs/{certificate}.crt"
        );
        let (ok, text) = openssl(&sandbox, &args);
        assert_eq!(ok, good, "{args}: {text}");
    }
}

#[test]
fn the_server_certificate_has_the_hostname_and_added_names() {
    let sandbox = with_cas();
    let verify = |name: &str| {
        openssl(&sandbox, &format!("verify -CAfile certs/server-ca.crt {name} certs/server.crt")).0
    };
    assert!(verify("-verify_hostname otel.example.com"));
    assert!(!verify("-verify_hostname localhost"));
    sandbox.run("certs server --force --local --hostname otel.example.com --hostname 203.0.113.7").ok();
    for name in [
        "-verify_hostname otel.example.com",
        "-verify_hostname localhost",
        "-verify_ip 127.0.0.1",
        "-verify_ip ::1",
        "-verify_ip 203.0.113.7",
    ] {
        assert!(verify(name), "{name}");
    }
    assert!(!verify("-verify_ip 203.0.113.8"));
}

#[test]
fn addresses_come_from_the_options_or_from_the_rule() {
    let sandbox = with_cas();
    sandbox.write(
        "otlp-gate.yaml",
        "apiVersion: otlp-gate/v1\nclients:\n  - name: mail\n    match: {email: ops@acme.example, ip: 192.0.2.7}\n  \
         - name: wide\n    match: {email: \"*@acme.example\", ip: 10.0.0.0/8}\n",
    );
    let names = |client: &str| {
        read(&sandbox, &format!("x509 -in certs/clients/{client}.crt -noout -ext subjectAltName"))
    };
    sandbox.run("certs client mail").ok();
    assert!(names("mail").contains("email:ops@acme.example, IP Address:192.0.2.7"), "{}", names("mail"));
    let ended = sandbox.run("certs client wide");
    assert_eq!(ended.code, 1);
    let hint = "give --email a value that matches *@acme.example; give --ip an address in 10.0.0.0/8";
    assert!(ended.stderr.contains(hint), "{}", ended.stderr);
    sandbox.run("certs client wide --email ann@acme.example --ip 10.1.2.3").ok();
    sandbox.run("certs renew wide").ok();
    assert!(names("wide").contains("email:ann@acme.example, IP Address:10.1.2.3"), "{}", names("wide"));
}

#[test]
fn extensions_are_those_of_rfc_5280() {
    let sandbox = with_cas();
    sandbox.run("certs client edge --spiffe spiffe://acme.example/edge/zurich").ok();
    let text = |file: &str| read(&sandbox, &format!("x509 -in certs/{file}.crt -noout -text"));
    for authority in ["server-ca", "client-ca"] {
        let text = text(authority);
        for part in [
            "ecdsa-with-SHA256",
            "ASN1 OID: prime256v1",
            "Basic Constraints: critical\n                CA:TRUE, pathlen:0",
            "Key Usage: critical\n                Certificate Sign, CRL Sign",
            "Subject Key Identifier",
        ] {
            assert!(text.contains(part), "{authority} lacks {part}: {text}");
        }
    }
    let (server, client) = (text("server"), text("clients/edge"));
    for leaf in [&server, &client] {
        for part in [
            "Basic Constraints: critical\n                CA:FALSE",
            "Key Usage: critical\n                Digital Signature\n",
            "Authority Key Identifier",
        ] {
            assert!(leaf.contains(part), "a leaf lacks {part}: {leaf}");
        }
    }
    assert!(
        server.contains("TLS Web Server Authentication") && !server.contains("TLS Web Client"),
        "{server}"
    );
    assert!(
        client.contains("TLS Web Client Authentication") && !client.contains("TLS Web Server"),
        "{client}"
    );
    assert!(client.contains("URI:spiffe://acme.example/edge/zurich"), "{client}");
}

#[test]
fn keys_are_private_and_match_their_certificates() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = with_cas();
    sandbox.run("certs client legacy").ok();
    for pair in ["server-ca", "client-ca", "server", "clients/legacy"] {
        let mode = fs::metadata(sandbox.path(&format!("certs/{pair}.key"))).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{pair}");
        let of_key = read(&sandbox, &format!("pkey -in certs/{pair}.key -pubout"));
        assert_eq!(of_key, read(&sandbox, &format!("x509 -in certs/{pair}.crt -noout -pubkey")), "{pair}");
    }
}

#[test]
fn nothing_is_overwritten_without_force() {
    let sandbox = with_cas();
    sandbox.run("certs client legacy").ok();
    let before = ["server-ca.key", "client-ca.key", "server.key", "clients/legacy.key", "client.crl"]
        .map(|file| (file, sandbox.read(&format!("certs/{file}"))));
    assert_snapshot!("init_exists", sandbox.run("certs init").failure());
    assert_snapshot!("server_exists", sandbox.run("certs server").failure());
    assert_snapshot!("client_exists", sandbox.run("certs client legacy").failure());
    for (file, contents) in &before {
        assert!(sandbox.read(&format!("certs/{file}")) == *contents, "{file} was changed");
    }
    for args in ["certs init --force", "certs client legacy --force"] {
        sandbox.run(args).ok();
    }
    for (file, contents) in &before {
        assert!(sandbox.read(&format!("certs/{file}")) != *contents, "{file} is the old one");
    }
}

#[test]
fn names_that_a_rule_states_literally_need_no_options() {
    let sandbox = with_cas();
    sandbox.run("certs client legacy").ok();
    let subject = "x509 -in certs/clients/legacy.crt -noout -subject -nameopt RFC2253";
    assert_eq!(read(&sandbox, subject), "subject=CN=external-otel-client,O=Acme\\, Inc.,C=CH\n");
    // The first match without patterns is used.
    sandbox.run("certs client either").ok();
    let names = read(&sandbox, "x509 -in certs/clients/either.crt -noout -ext subjectAltName");
    assert!(names.contains("URI:spiffe://either/one, DNS:either.example.org"), "{names}");
    assert_eq!(sandbox.run("whoami certs/clients/either.crt -o json").json()["client"], json!("either"));
}

#[test]
fn a_certificate_must_match_the_rule_of_its_client() {
    let sandbox = with_cas();
    assert_snapshot!("client_unclear", sandbox.run("certs client edge").failure());
    assert_snapshot!("client_unknown", sandbox.run("certs client nobody").failure());
    let other = sandbox.run("certs client zurich.globex --dns basel.globex.partners.example");
    assert_snapshot!("client_other", other.failure());
    assert_snapshot!(
        "client_none",
        sandbox.run("certs client zurich.globex --dns zurich.example.net").failure()
    );
    assert!(!sandbox.path("certs/clients").exists(), "nothing is written");
    sandbox.run("certs client zurich.globex --dns basel.globex.partners.example --unchecked").ok();
    let ended = sandbox.run("certs client basel.globex --dns basel.globex.partners.example");
    assert_eq!(
        ended.stderr,
        "the certificate identifies the client `basel.globex`, from clients[1] (`{site}.{org}`)\n\n"
    );
}

#[test]
fn missing_files_are_reported_with_a_hint() {
    assert_snapshot!("no_config", Sandbox::new().run("certs init").failure());
    assert_snapshot!("no_authority", Sandbox::with(CONFIG).run("certs client legacy").failure());
    assert_snapshot!("none", Sandbox::with(CONFIG).run("certs list").failure());
    assert_snapshot!("client_no_config", {
        let sandbox = Sandbox::new();
        sandbox.run("certs init --hostname otel.example.com").ok();
        sandbox.run("certs client legacy").failure()
    });
}

#[test]
fn a_ca_with_the_wrong_key_signs_nothing() {
    let sandbox = with_cas();
    sandbox.write("certs/client-ca.key", sandbox.read("certs/server-ca.key"));
    assert_snapshot!("wrong_key", sandbox.run("certs client legacy").failure());
    sandbox.write("certs/client-ca.key", "no key");
    assert_snapshot!("no_key", sandbox.run("certs client legacy").failure());
}
