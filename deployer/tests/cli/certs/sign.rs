//! `certs sign`: certificates for keys that clients keep, read back by OpenSSL.

use insta::assert_snapshot;
use serde_json::json;

use super::{is_accepted, list_all, listed, verify_client, with_cas};
use crate::Sandbox;
use crate::openssl::read;

/// Options of `openssl req` for a key.
const P256: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// Creates a key and a request for it, as a client does, with these further options.
fn request(sandbox: &Sandbox, key: &str, options: &str) {
    read(sandbox, &format!("req -new {key} -keyout own.key -out own.csr {options}"));
}

/// The public key of a file, as OpenSSL prints it.
fn public_key(sandbox: &Sandbox, command: &str, file: &str) -> String {
    read(sandbox, &format!("{command} -in {file} -noout -pubkey"))
}

#[test]
fn a_client_keeps_its_key_and_gets_confirmed_names_only() {
    let sandbox = with_cas();
    request(
        &sandbox,
        P256,
        "-subj /O=Other/CN=admin -addext subjectAltName=URI:spiffe://acme.example/edge/zurich,DNS:admin.example \
         -addext basicConstraints=CA:TRUE -addext keyUsage=keyCertSign -addext extendedKeyUsage=serverAuth,clientAuth",
    );
    let ended = sandbox.run("certs sign edge --csr own.csr --spiffe spiffe://acme.example/edge/zurich");
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_snapshot!("sign", ended.stderr);
    assert!(!sandbox.path("certs/clients/edge.key").exists());
    assert_eq!(
        public_key(&sandbox, "x509", "certs/clients/edge.crt"),
        public_key(&sandbox, "req", "own.csr")
    );
    let text = read(&sandbox, "x509 -in certs/clients/edge.crt -noout -text");
    for part in [
        "CA:FALSE",
        "Key Usage: critical\n                Digital Signature\n",
        "TLS Web Client",
        "CN=edge\n",
    ] {
        assert!(text.replace("CN = ", "CN=").contains(part), "{part}: {text}");
    }
    for part in ["Web Server", "admin", "Other", "CA:TRUE", "Certificate Sign"] {
        assert!(!text.contains(part), "{part}: {text}");
    }
    assert!(is_accepted(&sandbox, "certs/clients/edge.crt"));
    assert!(sandbox.run("client-config edge --dir /etc/otlp-gate").ok().contains("/etc/otlp-gate/edge.key"));
}

#[test]
fn a_signed_certificate_is_recorded_renewed_and_revoked_by_name() {
    let sandbox = with_cas();
    request(&sandbox, P256, "-subj /CN=x");
    sandbox.run("certs sign legacy --csr own.csr --days 5").ok();
    let key = public_key(&sandbox, "x509", "certs/clients/legacy.crt");
    assert_eq!(list_all(&sandbox, "legacy").len(), 1);
    sandbox.run("certs renew legacy").ok();
    sandbox.run("certs renew --all").ok();
    assert_eq!(public_key(&sandbox, "x509", "certs/clients/legacy.crt"), key);
    assert_eq!(listed(&sandbox, "clients/legacy.crt")["daysLeft"], json!(364));
    assert_eq!(list_all(&sandbox, "legacy").len(), 3);
    let server = sandbox.read("certs/server.crt");
    assert_snapshot!("sign_new_key", sandbox.run("certs renew --all --new-key").failure());
    assert!(!sandbox.path("certs/clients/legacy.key").exists());
    assert!(sandbox.read("certs/server.crt") == server, "nothing is renewed");
    sandbox.run("certs revoke legacy").ok();
    let (ok, message) = verify_client(&sandbox, "certs/clients/legacy.crt");
    assert!(!ok && message.contains("certificate revoked"), "{message}");
}

#[test]
fn a_key_in_the_folder_is_replaced_with_force_only() {
    let sandbox = with_cas();
    sandbox.run("certs client legacy").ok();
    let old = sandbox.read("certs/clients/legacy.crt");
    request(&sandbox, P256, "-subj /CN=x");
    assert_snapshot!("sign_exists", sandbox.run("certs sign legacy --csr own.csr").failure());
    assert!(sandbox.read("certs/clients/legacy.crt") == old);
    sandbox.run("certs sign legacy --csr own.csr --force").ok();
    assert!(!sandbox.path("certs/clients/legacy.key").exists(), "a key that the certificate is not for");
    // A request for the key that the folder has.
    sandbox.run("certs client legacy --force").ok();
    read(&sandbox, "req -new -key certs/clients/legacy.key -subj /CN=x -out own.csr");
    sandbox.run("certs sign legacy --csr own.csr --force").ok();
    assert!(sandbox.path("certs/clients/legacy.key").exists());
    // `certs client` needs `--force` for a client that has its own key, too.
    sandbox.run("certs sign legacy --csr own.csr --force").ok();
    assert_eq!(sandbox.run("certs client legacy").code, 1);
}

#[test]
fn the_keys_that_envoy_accepts_are_signed() {
    let sandbox = with_cas();
    for (key, kind) in [
        ("-newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -sha384", "ECDSA P-384"),
        ("-newkey rsa:2048 -nodes", "RSA of 2048 bits"),
        ("-newkey rsa:3072 -nodes -sha512", "RSA of 3072 bits"),
    ] {
        request(&sandbox, key, "-subj /CN=x");
        let ended = sandbox.run("certs sign legacy --csr own.csr --force");
        assert!(ended.code == 0 && ended.stderr.contains(kind), "{ended:#?}");
        assert_eq!(
            public_key(&sandbox, "x509", "certs/clients/legacy.crt"),
            public_key(&sandbox, "req", "own.csr")
        );
        assert!(is_accepted(&sandbox, "certs/clients/legacy.crt"), "{kind}");
    }
    // DER, too.
    read(&sandbox, "req -in own.csr -outform DER -out own.der");
    sandbox.run("certs sign legacy --csr own.der --force").ok();
}

#[test]
fn what_cannot_be_signed_is_rejected_with_a_reason() {
    let sandbox = with_cas();
    let sign = |file: &str| sandbox.run(&format!("certs sign legacy --csr {file}")).failure();
    request(&sandbox, "-newkey ed25519 -nodes", "-subj /CN=x");
    assert_snapshot!("sign_ed25519", sign("own.csr"));
    request(&sandbox, "-newkey rsa:1024 -nodes", "-subj /CN=x");
    assert_snapshot!("sign_rsa_1024", sign("own.csr"));
    assert_snapshot!("sign_private_key", sign("own.key"));
    assert_snapshot!("sign_certificate", sign("certs/server.crt"));
    assert_snapshot!("sign_no_file", sign("none.csr"));
    sandbox.write("empty.csr", "");
    assert_snapshot!("sign_empty", sign("empty.csr"));
    sandbox.write("text.csr", "hello");
    assert_snapshot!("sign_text", sign("text.csr"));
    sandbox.write("large.csr", "-".repeat(70_000));
    assert_snapshot!("sign_large", sign("large.csr"));
    // One bit of the signature is wrong.
    request(&sandbox, P256, "-subj /CN=x -outform DER");
    let mut der = sandbox.read("own.csr");
    *der.last_mut().unwrap() ^= 1;
    sandbox.write("forged.csr", der);
    assert_snapshot!("sign_forged", sign("forged.csr"));
    assert!(!sandbox.path("certs/clients").exists(), "nothing is written");
}

#[test]
fn names_must_match_the_rule_of_the_client() {
    let sandbox = with_cas();
    request(&sandbox, P256, "-subj /CN=x -addext subjectAltName=URI:spiffe://acme.example/edge/1");
    // A name in the request is not a confirmed one.
    assert_snapshot!("sign_unclear", sandbox.run("certs sign edge --csr own.csr").failure());
    let ended = sandbox.run("certs sign edge --csr own.csr --spiffe spiffe://acme.example/other");
    assert_snapshot!("sign_other", ended.failure());
    assert_eq!(sandbox.run("certs sign edge --csr own.csr --spiffe acme").code, 2);
    assert_eq!(sandbox.run("certs sign ../edge --csr own.csr").code, 2);
    assert_eq!(sandbox.run("certs sign edge").code, 2);
}

#[test]
fn control_characters_in_a_request_do_not_reach_the_terminal() {
    let sandbox = with_cas();
    sandbox.write(
        "req.cnf",
        "[req]\nprompt=no\ndistinguished_name=dn\nstring_mask=utf8only\nutf8=yes\n[dn]\nCN=a\u{1b}[2Jb\nO=x\n",
    );
    request(&sandbox, P256, "-config req.cnf");
    let ended = sandbox.run("certs sign legacy --csr own.csr");
    assert!(ended.code == 0 && !ended.stderr.contains('\u{1b}'), "{ended:#?}");
}
