//! `certs init` and `certs verify`.

use std::fs;

use insta::assert_snapshot;
use serde_json::json;

use super::{CONFIG, create_site_ca, is_accepted, listed, with_cas};
use crate::Sandbox;
use crate::openssl::{openssl, read};

#[test]
fn init_writes_nothing_if_a_file_exists() {
    let sandbox = Sandbox::with(CONFIG);
    fs::create_dir(sandbox.path("certs")).unwrap();
    sandbox.write("certs/server.key", "mine");
    sandbox.run("certs init").failure();
    assert_eq!(fs::read_dir(sandbox.path("certs")).unwrap().count(), 1);
}

#[test]
fn the_users_own_certificates_are_used_unchanged() {
    let sandbox = Sandbox::with(CONFIG);
    create_site_ca(&sandbox);
    let server = "--server-cert site.crt --server-key site.key --server-ca site-ca.crt";
    // With neither a revocation list nor the CA's key, clients are shut out by `deny`.
    let ended = sandbox.run(&format!("certs init --dir listless --client-ca site-ca.crt {server}"));
    assert!(ended.code == 0 && ended.stderr.contains("reject a client with `deny`"), "{ended:#?}");
    assert!(!sandbox.path("listless/client.crl").exists());
    // With the key, the folder issues and revokes.
    sandbox.run(&format!("certs init --client-ca site-ca.crt --client-ca-key site-ca.key {server}")).ok();
    assert_eq!(sandbox.read("certs/server.crt"), sandbox.read("site.crt"));
    sandbox.run("certs client legacy").ok();
    let args = "verify -crl_check -purpose sslclient -CAfile site-ca.crt -CRLfile certs/client.crl";
    assert!(openssl(&sandbox, &format!("{args} certs/clients/legacy.crt")).0);
    assert!(openssl(&sandbox, &format!("{args} certs/verify/revoked.crt")).1.contains("certificate revoked"));

    // With a list only, the folder cannot issue.
    sandbox.write("site.crl", sandbox.read("certs/client.crl"));
    sandbox.run(&format!("certs init --force --client-ca site-ca.crt --client-crl site.crl {server}")).ok();
    assert!(!sandbox.path("certs/client-ca.key").exists());
    assert_snapshot!("not_our_ca", sandbox.run("certs client legacy --force").failure());
    // The list of another CA is rejected.
    sandbox.run("certs init --dir other").ok();
    let args =
        format!("certs init --dir third --client-ca site-ca.crt --client-crl other/client.crl {server}");
    assert_snapshot!("init_wrong_list", sandbox.run(&args).failure());
    assert!(!sandbox.path("third/server.key").exists(), "no file is left");
    // Existing files are kept if the given ones are rejected.
    let before =
        ["server-ca.key", "client-ca.key", "client.crl"].map(|file| sandbox.read(&format!("other/{file}")));
    let args = format!(
        "certs init --force --dir other --client-ca site-ca.crt --client-crl other/client.crl {server}"
    );
    sandbox.run(&args).failure();
    sandbox
        .run("certs init --force --dir other --client-ca nowhere.crt --client-crl other/client.crl")
        .failure();
    let after =
        ["server-ca.key", "client-ca.key", "client.crl"].map(|file| sandbox.read(&format!("other/{file}")));
    assert_eq!(before, after);
    let args =
        "certs init --dir third --server-cert site.crt --server-key site-ca.key --server-ca site-ca.crt";
    assert_snapshot!("init_wrong_server_key", sandbox.run(args).failure());
}

#[test]
fn init_removes_its_files_if_one_cannot_be_written() {
    let sandbox = Sandbox::with(CONFIG);
    fs::create_dir(sandbox.path("certs")).unwrap();
    sandbox.write("certs/verify", "in the way");
    assert!(sandbox.run("certs init").failure().contains("certs/verify is not a folder"));
    assert_eq!(fs::read_dir(sandbox.path("certs")).unwrap().count(), 1);
    fs::remove_file(sandbox.path("certs/verify")).unwrap();
    sandbox.run("certs init").ok();
}

#[test]
fn wrong_files_are_reported_by_name_before_anything_is_written() {
    let sandbox = with_cas();
    sandbox.run("certs client legacy").ok();
    for (args, words) in [
        (
            "--client-ca certs/server.crt --client-crl certs/client.crl",
            "certs/server.crt: CN=otel.example.com is not a CA",
        ),
        (
            "--client-ca certs/client-ca.crt --client-crl certs/server.crt",
            "certs/server.crt: no revocation list of CN=otlp-gate client CA",
        ),
        (
            "--server-cert certs/server.crt --server-key certs/client-ca.key --server-ca certs/server-ca.crt",
            "certs/client-ca.key is not the key of certs/server.crt",
        ),
        (
            "--server-cert certs/server.crt --server-key certs/server.key --server-ca certs/client-ca.crt",
            "certs/server.crt was not issued by a CA in certs/client-ca.crt",
        ),
        (
            "--server-cert certs/server.crt --server-key certs/server.key --server-ca otlp-gate.yaml",
            "otlp-gate.yaml: neither PEM text nor the DER of a certificate",
        ),
    ] {
        let message = sandbox.run(&format!("certs init --dir other {args}")).failure();
        assert!(message.contains(&format!("error: {words}")), "{message}");
        assert_eq!(fs::read_dir(sandbox.path("other")).unwrap().count(), 0, "{args}");
    }
}

#[test]
fn the_users_own_ca_keeps_its_revocations_when_given_again() {
    let sandbox = Sandbox::with(CONFIG);
    create_site_ca(&sandbox);
    let init = "certs init --client-ca site-ca.crt --client-ca-key site-ca.key";
    sandbox.run(init).ok();
    sandbox.run("certs client legacy").ok();
    let message = sandbox.run("certs revoke legacy").stderr;
    assert!(message.contains("revokes an earlier one, or one that was issued elsewhere"), "{message}");
    let before = read(&sandbox, "crl -in certs/client.crl -noout -crlnumber");
    sandbox.run(&format!("{init} --force")).ok();
    assert!(!is_accepted(&sandbox, "certs/clients/legacy.crt"));
    assert_ne!(read(&sandbox, "crl -in certs/client.crl -noout -crlnumber"), before);
}

#[test]
fn the_test_clients_of_verify_are_what_their_names_say() {
    let sandbox = with_cas();
    let check = |file: &str, more: &str| {
        let args =
            "verify -x509_strict -purpose sslclient -CAfile certs/client-ca.crt -CRLfile certs/client.crl";
        openssl(&sandbox, &format!("{args} {more} certs/verify/{file}.crt")).1
    };
    assert!(check("client", "-crl_check").contains(": OK"));
    assert!(check("stranger", "-crl_check").contains(": OK"));
    assert!(check("expired", "").contains("certificate has expired"));
    assert!(check("revoked", "-crl_check").contains("certificate revoked"));
    assert_eq!(listed(&sandbox, "server.crt")["status"], json!("valid"));
    assert!(!sandbox.run("certs list").ok().contains("verify/"), "test clients are not listed");
    for (file, name) in [("client", "otlp-gate/verify"), ("expired", "otlp-gate/verify")] {
        let who = sandbox.run(&format!("whoami certs/verify/{file}.crt -o json")).json();
        assert_eq!(who["client"], json!(name), "{file}");
    }
    assert!(sandbox.run("whoami certs/verify/stranger.crt").stdout.contains("no client"));

    // A folder that an earlier version created has no test clients.
    std::fs::remove_dir_all(sandbox.path("certs/verify")).unwrap();
    sandbox.run("certs verify").ok();
    assert!(check("client", "-crl_check").contains(": OK"));
    assert_snapshot!("verify_exists", sandbox.run("certs verify").failure());
    sandbox.run("certs revoke --cert certs/verify/client.crt").ok();
    assert!(check("client", "-crl_check").contains("certificate revoked"));
    sandbox.run("certs verify --force").ok();
    assert!(check("client", "-crl_check").contains(": OK"));
}

/// Creates a self-signed certificate with this kind of key, as `NAME.crt` and `NAME.key`.
fn create_self_signed(sandbox: &Sandbox, name: &str, key: &str, extension: &str) {
    read(
        sandbox,
        &format!(
            "req -x509 -newkey {key} -nodes -keyout {name}.key -out {name}.crt -subj /CN={name} -addext {extension}"
        ),
    );
}

#[test]
fn keys_that_envoy_rejects_are_reported() {
    const CA: &str = "basicConstraints=critical,CA:TRUE";
    let sandbox = Sandbox::with(CONFIG);
    create_self_signed(&sandbox, "ed448", "ed448", CA);
    create_self_signed(&sandbox, "rsa", "rsa:1024", CA);
    create_self_signed(&sandbox, "p521", "ec -pkeyopt ec_paramgen_curve:P-521", CA);
    sandbox.write("all.crt", ["ed448.crt", "rsa.crt", "p521.crt"].map(|file| sandbox.read(file)).concat());
    read(&sandbox, "req -new -key rsa.key -subj /CN=x -out x.csr");
    // Not given to `certs init`, which would need a revocation list of each CA.
    sandbox.run("certs init").ok();
    sandbox.write("certs/client-ca.crt", sandbox.read("all.crt"));
    let message = sandbox.run("certs list").stderr;
    let warnings: Vec<&str> = message.lines().filter(|line| line.contains("client-ca.crt")).collect();
    assert_eq!(
        warnings,
        [
            "warning: client-ca.crt: its key is Ed448, whose signatures Envoy does not verify: it rejects every \
            certificate of this CA; use ECDSA P-256 or P-384, or RSA of 2048 bits or more",
            "warning: client-ca.crt: its key is RSA of 1024 bits: Envoy accepts it, but it is too short to be secure; \
            use ECDSA P-256 or P-384, or RSA of 2048 bits or more",
        ]
    );
    let checked = sandbox.run("check");
    assert!(checked.stderr.contains("warning: certs/client-ca.crt: its key is Ed448"), "{checked:?}");
    let checked = sandbox.run("check -o json").json();
    assert_eq!(checked["certificates"].as_array().unwrap().len(), 2, "{checked}");
    assert_eq!(checked["certificates"][0]["file"], json!("certs/client-ca.crt"));

    for (key, why) in [
        ("rsa:1024", "its key is RSA of 1024 bits: Envoy requires 2048 or more"),
        (
            "ec -pkeyopt ec_paramgen_curve:secp256k1",
            "its key is ECDSA secp256k1, which Envoy cannot serve with",
        ),
    ] {
        create_self_signed(&sandbox, "site", key, "subjectAltName=DNS:otel.example.com");
        let args = "certs init --force --server-cert site.crt --server-key site.key --server-ca site.crt";
        let message = sandbox.run(args).failure();
        assert!(message.contains(&format!("error: site.crt: {why}")), "{message}");
    }
    create_self_signed(&sandbox, "site", "ed25519", "subjectAltName=DNS:otel.example.com");
    let taken =
        sandbox.run("certs init --force --server-cert site.crt --server-key site.key --server-ca site.crt");
    assert!(
        taken.stderr.contains(
            "warning: server.crt: its key is Ed25519: OpenSSL clients accept it, but the gRPC clients of Python, C++, \
            Ruby and PHP do not"
        ),
        "{taken:?}"
    );
}
