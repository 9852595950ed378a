//! `certs renew`, and validity periods.

use insta::assert_snapshot;
use serde_json::json;

use super::{CONFIG, listed, with_cas};
use crate::Sandbox;
use crate::openssl::read;

#[test]
fn a_renewed_certificate_keeps_its_names_and_key() {
    let sandbox = with_cas();
    sandbox.run("certs client legacy --days 5").ok();
    let (key, old) = (sandbox.read("certs/clients/legacy.key"), listed(&sandbox, "clients/legacy.crt"));
    sandbox.run("certs renew legacy server").ok();
    let new = listed(&sandbox, "clients/legacy.crt");
    assert_eq!((&new["subject"], &new["sans"]), (&old["subject"], &old["sans"]));
    assert_eq!((&new["daysLeft"], &new["status"]), (&json!(364), &json!("valid")));
    assert_ne!(new["serial"], old["serial"]);
    assert_eq!(sandbox.read("certs/clients/legacy.key"), key);
    read(&sandbox, "verify -purpose sslclient -CAfile certs/client-ca.crt certs/clients/legacy.crt");
    read(&sandbox, "verify -verify_hostname otel.example.com -CAfile certs/server-ca.crt certs/server.crt");
    sandbox.run("certs renew --all --new-key").ok();
    assert_ne!(sandbox.read("certs/clients/legacy.key"), key);
}

#[test]
fn a_client_named_server_is_renewed_by_its_path() {
    let sandbox = with_cas();
    let message = sandbox.run("certs client server --unchecked").stderr;
    assert!(message.contains("to renew this client's, give `clients/server`"), "{message}");
    let serial = |sandbox: &Sandbox, file: &str| listed(sandbox, file)["serial"].clone();
    let (client, server) = (serial(&sandbox, "clients/server.crt"), serial(&sandbox, "server.crt"));
    sandbox.run("certs renew clients/server").ok();
    assert_ne!(serial(&sandbox, "clients/server.crt"), client);
    assert_eq!(serial(&sandbox, "server.crt"), server);
    assert_eq!(sandbox.run("certs renew ../server").code, 2);
    sandbox.run("certs revoke server").ok();
    assert_eq!(listed(&sandbox, "clients/server.crt")["status"], json!("revoked"));
}

#[test]
fn a_client_without_a_certificate_is_reported_with_similar_names() {
    let sandbox = Sandbox::new();
    sandbox.run("init").ok();
    sandbox.run("certs init").ok();
    assert_snapshot!("renew_nobody", sandbox.run("certs renew nobody").failure());
    assert_snapshot!("revoke_nobody", sandbox.run("certs revoke nobody").failure());
    sandbox.run("certs client acme-edge --spiffe spiffe://acme.example/edge/1").ok();
    assert_snapshot!("revoke_near", sandbox.run("certs revoke acme-egde").failure());
    assert_snapshot!("revoke_server", sandbox.run("certs revoke server").failure());
}

#[test]
fn no_certificate_expires_after_its_ca() {
    let sandbox = Sandbox::with(CONFIG);
    sandbox.run("certs init --ca-days 10").ok();
    sandbox.run("certs client legacy --days 100").ok();
    assert_eq!(listed(&sandbox, "clients/legacy.crt")["daysLeft"], json!(9));
    assert_eq!(
        listed(&sandbox, "clients/legacy.crt")["notAfter"],
        listed(&sandbox, "client-ca.crt")["notAfter"]
    );
}

#[test]
fn an_expiry_cut_short_by_the_ca_is_reported() {
    let sandbox = Sandbox::with(CONFIG);
    let message = |args: &str| {
        let ended = sandbox.run(args);
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended.stderr.contains("note: the certificate expires in 29 days, with its CA")
    };
    assert!(!message("certs init --ca-days 30 --days 30"));
    assert!(!message("certs client legacy --days 30"));
    assert!(message("certs client legacy --force"));
    assert!(message("certs server --force --days 31"));
    assert!(message("certs renew --all"));
    assert!(!message("certs renew --all --days 30"));
}

#[test]
fn an_expiry_cut_short_by_the_ca_is_reported_for_the_server() {
    let sandbox = Sandbox::with(CONFIG);
    let message = sandbox.run("certs init --ca-days 30 --days 90").stderr;
    assert!(message.contains("note: the certificate expires in 29 days, with its CA"), "{message}");
}
