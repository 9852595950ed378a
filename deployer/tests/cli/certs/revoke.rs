//! `certs revoke` and `certs crl`.

use std::fs;

use insta::assert_snapshot;
use serde_json::json;

use super::{CONFIG, copy_certificate, is_accepted, list_all, listed, verify_client, with_cas, with_clients};
use crate::Sandbox;
use crate::openssl::{openssl, read};

#[test]
fn only_the_revoked_certificate_is_rejected() {
    let sandbox = with_clients();
    let verify = |client: &str| verify_client(&sandbox, &format!("certs/clients/{client}.crt"));
    assert!(verify("legacy").0 && verify("edge").0, "the first list revokes neither: {:?}", verify("edge"));
    sandbox.run("certs revoke legacy").ok();
    assert!(verify("legacy").1.contains("certificate revoked"), "{:?}", verify("legacy"));
    assert!(verify("edge").0);
    assert_eq!(listed(&sandbox, "clients/legacy.crt")["status"], json!("revoked"));

    // Revocations are kept when others are added, and each list has a higher number.
    sandbox.run("certs revoke legacy").ok();
    sandbox.run("certs revoke edge").ok();
    assert!(!verify("legacy").0 && !verify("edge").0);
    let list = read(&sandbox, "crl -in certs/client.crl -noout -text");
    assert_eq!(list.matches("Serial Number:").count(), 3, "with the test client that is revoked: {list}");
    assert!(list.contains("CRL Number: \n                4\n"), "{list}");

    assert_snapshot!("renew_revoked", sandbox.run("certs renew legacy").failure());
    sandbox.run("certs renew --all").ok();
    assert_eq!(listed(&sandbox, "clients/legacy.crt")["status"], json!("revoked"), "--all skips it");
    sandbox.run("certs client legacy --force").ok();
    assert!(verify("legacy").0, "a new one is accepted");
}

#[test]
fn a_replaced_certificate_can_still_be_revoked() {
    let sandbox = with_cas();
    sandbox.run("certs client legacy").ok();
    sandbox.write("old.crt", sandbox.read("certs/clients/legacy.crt"));
    sandbox.run("certs renew legacy").ok();
    sandbox.run("certs revoke --cert old.crt").ok();
    assert_eq!(listed(&sandbox, "clients/legacy.crt")["status"], json!("valid"));
    let list = "-CAfile certs/client-ca.crt -CRLfile certs/client.crl";
    assert!(
        openssl(&sandbox, &format!("verify -crl_check {list} old.crt")).1.contains("certificate revoked")
    );
    assert_snapshot!("revoke_foreign", sandbox.run("certs revoke --cert certs/server.crt").failure());
}

#[test]
fn a_revocation_list_is_valid_as_long_as_its_ca() {
    let sandbox = with_cas();
    let date = |text: String| text.trim().split_once('=').unwrap().1.to_owned();
    let next = date(read(&sandbox, "crl -in certs/client.crl -noout -nextupdate"));
    assert_eq!(next, date(read(&sandbox, "x509 -in certs/client-ca.crt -noout -enddate")));
}

#[test]
fn revoking_a_client_revokes_all_its_certificates() {
    let sandbox = with_cas();
    sandbox.run("certs client legacy").ok();
    copy_certificate(&sandbox, "legacy", "first.crt");
    sandbox.run("certs renew legacy").ok();
    copy_certificate(&sandbox, "legacy", "renewed.crt");
    let message = sandbox.run("certs client legacy --force").stderr;
    assert!(message.contains("`otlp-gate certs revoke legacy --earlier` revokes it"), "{message}");
    copy_certificate(&sandbox, "legacy", "anew.crt");
    // Including certificates whose files were removed and issued again.
    fs::remove_file(sandbox.path("certs/clients/legacy.crt")).unwrap();
    fs::remove_file(sandbox.path("certs/clients/legacy.key")).unwrap();
    sandbox.run("certs client legacy").ok();
    sandbox.run("certs client edge --spiffe spiffe://acme.example/edge/zurich").ok();
    let all = ["first.crt", "renewed.crt", "anew.crt", "certs/clients/legacy.crt"];
    assert!(all.iter().all(|file| is_accepted(&sandbox, file)));
    assert_eq!(list_all(&sandbox, "legacy").len(), 4);

    let message = sandbox.run("certs revoke legacy").stderr;
    assert!(message.starts_with("revoked 4 certificates in certs/client.crl: legacy\n"), "{message}");
    assert!(all.iter().all(|file| !is_accepted(&sandbox, file)));
    assert!(is_accepted(&sandbox, "certs/clients/edge.crt"), "another client is not affected");
    let rows = list_all(&sandbox, "legacy");
    assert!(rows.iter().all(|row| row["status"] == "revoked" && row["revokedAt"].is_string()), "{rows:?}");
    assert_eq!(sandbox.run("certs revoke legacy").stderr, "legacy is already revoked\n");
    sandbox.run("certs client legacy --force").ok();
    assert!(is_accepted(&sandbox, "certs/clients/legacy.crt"), "a certificate issued afterwards is accepted");
}

#[test]
fn a_client_without_files_is_revoked_by_name() {
    let sandbox = with_cas();
    sandbox.run("certs client legacy").ok();
    copy_certificate(&sandbox, "legacy", "gone.crt");
    fs::remove_dir_all(sandbox.path("certs/clients")).unwrap();
    sandbox.run("certs revoke legacy").ok();
    assert!(!is_accepted(&sandbox, "gone.crt"));
}

#[test]
fn earlier_revokes_all_but_the_present_certificate() {
    let sandbox = with_cas();
    sandbox.run("certs client legacy").ok();
    copy_certificate(&sandbox, "legacy", "first.crt");
    sandbox.run("certs client legacy --force").ok();
    sandbox.run("certs revoke legacy --earlier").ok();
    assert!(!is_accepted(&sandbox, "first.crt") && is_accepted(&sandbox, "certs/clients/legacy.crt"));
    let message = sandbox.run("certs revoke legacy --earlier").stderr;
    assert_eq!(message, "legacy is already revoked\n");
    assert!(sandbox.run("certs revoke edge --earlier").failure().contains("edge has no current certificate"));
}

#[test]
fn the_client_of_verify_is_revoked_by_its_reserved_name() {
    let sandbox = with_cas();
    sandbox.write("first.crt", sandbox.read("certs/verify/client.crt"));
    sandbox.run("certs verify --force").ok();
    sandbox.run("certs revoke otlp-gate/verify").ok();
    assert!(!is_accepted(&sandbox, "first.crt") && !is_accepted(&sandbox, "certs/verify/client.crt"));
    assert!(is_accepted(&sandbox, "certs/verify/stranger.crt"), "it is another client");
}

#[test]
fn a_certificate_is_revoked_by_its_serial_number() {
    let sandbox = with_cas();
    sandbox.run("certs client legacy").ok();
    let row = listed(&sandbox, "clients/legacy.crt");
    let serial = row["serial"].as_str().unwrap().to_uppercase();
    let serial: Vec<&str> = (0..16).map(|at| &serial[at * 2..at * 2 + 2]).collect();
    sandbox.run(&format!("certs revoke --serial {}", serial.join(":"))).ok();
    assert!(!is_accepted(&sandbox, "certs/clients/legacy.crt"));
    let server = listed(&sandbox, "server.crt");
    let message =
        sandbox.run(&format!("certs revoke --serial {}", server["serial"].as_str().unwrap())).failure();
    assert!(message.contains("is the serial number of a server certificate"), "{message}");
    let message = sandbox.run("certs revoke --serial 0123").stderr;
    assert!(message.contains("note: the record has no certificate with the serial number 0123"), "{message}");
    sandbox.run("certs rotate client").ok();
    let message = sandbox.run("certs revoke --serial 0124").failure();
    assert!(message.contains("the folder has more than one CA for clients"), "{message}");
    assert_eq!(sandbox.run("certs revoke --serial xyz").code, 2);
}

#[test]
fn a_lost_revocation_list_is_rebuilt_from_the_record() {
    let sandbox = with_cas();
    sandbox.run("certs client legacy").ok();
    sandbox.run("certs revoke legacy").ok();
    let number = |sandbox: &Sandbox| {
        let text = read(sandbox, "crl -in certs/client.crl -noout -crlnumber");
        i64::from_str_radix(text.trim().rsplit(['=', 'x']).next().unwrap(), 16).unwrap()
    };
    let before = number(&sandbox);
    fs::remove_file(sandbox.path("certs/client.crl")).unwrap();
    sandbox.run("certs crl").ok();
    assert!(!is_accepted(&sandbox, "certs/clients/legacy.crt"));
    assert!(number(&sandbox) > before, "the number is higher than before");
    fs::remove_file(sandbox.path("certs/client.crl")).unwrap();
    sandbox.run("certs client edge --spiffe spiffe://acme.example/edge/zurich").ok();
    sandbox.run("certs revoke edge").ok();
    assert!(
        !is_accepted(&sandbox, "certs/clients/legacy.crt")
            && !is_accepted(&sandbox, "certs/clients/edge.crt")
    );
}

#[test]
fn revoking_with_cert_manager_warns_that_the_gate_reads_no_list() {
    let sandbox = with_cas();
    sandbox.run("certs client legacy").ok();
    sandbox.write("otlp-gate.yaml", format!("{CONFIG}certificates: {{certManager: {{}}}}\n"));
    let ended = sandbox.run("certs revoke legacy");
    assert!(ended.stderr.contains("warning: cert-manager issues this gate's certificates"), "{ended:#?}");
    assert_eq!(ended.code, 0);
    fs::remove_dir_all(sandbox.path("certs")).unwrap();
    assert_snapshot!("revoke_managed", sandbox.run("certs revoke legacy").failure());
}
