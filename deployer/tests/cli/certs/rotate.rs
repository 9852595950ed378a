//! `certs rotate`.

use std::fs;

use insta::assert_snapshot;
use serde_json::json;

use super::{copy_certificate, is_accepted, list_all, listed, verify_client, with_cas, with_clients};
use crate::Sandbox;
use crate::openssl::{openssl, read};

#[test]
fn the_clients_ca_is_replaced_without_rejecting_valid_clients() {
    let sandbox = with_clients();
    let good = |file: &str| verify_client(&sandbox, file);
    sandbox.write("old.crt", sandbox.read("certs/clients/edge.crt"));
    assert_snapshot!("rotate_not_begun", sandbox.run("certs rotate client --finish").failure());
    assert_snapshot!(
        "rotate",
        sandbox.run("certs rotate client").stderr.replace(suffix_of_new_ca(&sandbox).as_str(), "01234567")
    );

    // Both CAs are trusted, and both revoke.
    sandbox.run("certs client either --spiffe spiffe://either/one --dns either.example.org").ok();
    for file in ["certs/clients/legacy.crt", "certs/clients/either.crt", "certs/verify/client.crt", "old.crt"]
    {
        assert!(good(file).0, "{file}: {:?}", good(file));
    }
    assert_eq!(listed(&sandbox, "clients/legacy.crt")["status"], json!("outgoing"));
    assert_eq!(listed(&sandbox, "clients/either.crt")["status"], json!("valid"));
    sandbox.run("certs revoke legacy").ok();
    sandbox.run("certs revoke either").ok();
    for file in ["certs/clients/legacy.crt", "certs/clients/either.crt", "certs/verify/revoked.crt"] {
        assert!(good(file).1.contains("certificate revoked"), "{file}: {:?}", good(file));
    }
    assert!(good("old.crt").0, "other certificates of both CAs stay valid");
    assert!(sandbox.run("certs rotate client").failure().contains("a rotation is in progress"));

    // The old CA is removed when no certificate of it is in use.
    assert_snapshot!("rotate_in_use", sandbox.run("certs rotate client --finish").failure());
    sandbox.run("certs renew --all").ok();
    sandbox.run("certs rotate client --finish").ok();
    assert!(good("certs/clients/edge.crt").0 && !good("old.crt").0);
    assert!(good("certs/clients/either.crt").1.contains("certificate revoked"));
    assert_eq!(read(&sandbox, "crl -in certs/client.crl -noout -text").matches("Serial Number:").count(), 2);
    assert!(!sandbox.path("certs/client-ca.old.key").exists());
    assert!(sandbox.run("certs rotate client --finish").failure().contains("no rotation is in progress"));
}

/// The last word of the new CA's name, which is random.
fn suffix_of_new_ca(sandbox: &Sandbox) -> String {
    let subject = read(sandbox, "x509 -in certs/client-ca.crt -noout -subject");
    subject.trim().rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn the_servers_ca_is_replaced_after_clients_trust_the_new_one() {
    let sandbox = with_cas();
    let serves =
        |ca: &str| openssl(&sandbox, &format!("verify -purpose sslserver -CAfile {ca} certs/server.crt")).0;
    sandbox.write("old-ca.crt", sandbox.read("certs/server-ca.crt"));
    sandbox.run("certs rotate server").ok();
    assert!(serves("old-ca.crt") && serves("certs/server-ca.crt"), "clients with either file accept it");
    assert!(
        sandbox
            .run("certs rotate server --finish")
            .failure()
            .contains("certificates of the old CA are in use: server")
    );
    sandbox.run("certs renew server").ok();
    assert!(!serves("old-ca.crt") && serves("certs/server-ca.crt"));
    sandbox.run("certs rotate server --finish").ok();
    assert!(serves("certs/server-ca.crt"));
    assert_eq!(String::from_utf8(sandbox.read("certs/server-ca.crt")).unwrap().matches("BEGIN").count(), 1);
}

#[test]
fn during_a_rotation_a_client_is_revoked_on_both_lists() {
    let sandbox = with_cas();
    sandbox.run("certs client legacy").ok();
    copy_certificate(&sandbox, "legacy", "of-old.crt");
    sandbox.run("certs rotate client").ok();
    sandbox.run("certs renew legacy").ok();
    sandbox.run("certs client edge --spiffe spiffe://acme.example/edge/zurich").ok();
    assert!(is_accepted(&sandbox, "of-old.crt") && is_accepted(&sandbox, "certs/clients/legacy.crt"));
    sandbox.run("certs revoke legacy").ok();
    assert!(!is_accepted(&sandbox, "of-old.crt") && !is_accepted(&sandbox, "certs/clients/legacy.crt"));
    assert!(is_accepted(&sandbox, "certs/clients/edge.crt"));
    sandbox.run("certs rotate client --finish").ok();
    assert!(
        !is_accepted(&sandbox, "certs/clients/legacy.crt") && is_accepted(&sandbox, "certs/clients/edge.crt")
    );
    let rows = list_all(&sandbox, "legacy");
    assert_eq!(rows.len(), 2, "certificates of a removed CA are still listed: {rows:?}");
    assert!(rows.iter().all(|row| row["status"] == "revoked"), "{rows:?}");
}

#[test]
fn a_rotation_does_not_end_while_a_client_needs_the_old_ca() {
    let sandbox = with_clients();
    fs::remove_file(sandbox.path("certs/clients/edge.crt")).unwrap();
    sandbox.run("certs rotate client").ok();
    sandbox.run("certs renew --all").ok();
    let message = sandbox.run("certs rotate client --finish").failure();
    assert!(
        message.contains("certificates of the old CA are in use: edge (no files in this folder)"),
        "{message}"
    );
    sandbox.run("certs revoke edge").ok();
    sandbox.run("certs rotate client --finish").ok();
}
