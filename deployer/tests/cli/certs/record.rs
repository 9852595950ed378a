//! `certs list` and the record of what was issued.

use std::fs;

use serde_json::json;

use super::{copy_certificate, is_accepted, list_all, listed, with_cas, with_clients};
use crate::Sandbox;
use crate::openssl::read;

#[test]
fn the_list_shows_names_expiry_and_issuer() {
    let sandbox = with_cas();
    sandbox.run("certs client edge --spiffe spiffe://acme.example/edge/zurich --days 30").ok();
    let row = listed(&sandbox, "clients/edge.crt");
    assert_eq!(row["sans"], json!(["URI:spiffe://acme.example/edge/zurich"]));
    assert_eq!(
        (&row["daysLeft"], &row["status"], &row["issuedBy"]),
        (&json!(29), &json!("valid"), &json!("client-ca"))
    );
    let digest = read(&sandbox, "x509 -in certs/clients/edge.crt -noout -fingerprint -sha256");
    let digest = digest.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase();
    assert_eq!(row["sha256"], json!(digest));
    let serial = read(&sandbox, "x509 -in certs/clients/edge.crt -noout -serial");
    assert_eq!(row["serial"], json!(serial.trim().rsplit('=').next().unwrap().to_lowercase()));
    assert_eq!(listed(&sandbox, "server.crt")["issuedBy"], json!("server-ca"));

    sandbox.run("certs init --force").ok();
    assert_eq!(listed(&sandbox, "clients/edge.crt")["status"], json!("foreign"), "its CA is gone");
}

/// Makes the folder one that an earlier version created.
fn remove_record(sandbox: &Sandbox) {
    fs::remove_file(sandbox.path("certs/issued.jsonl")).unwrap();
}

#[test]
fn a_folder_without_a_record_gets_one_from_its_files() {
    let sandbox = with_clients();
    copy_certificate(&sandbox, "edge", "lost.crt");
    sandbox.run("certs renew edge").ok();
    copy_certificate(&sandbox, "legacy", "first.crt");
    remove_record(&sandbox);
    let rows = list_all(&sandbox, "legacy");
    assert_eq!(
        (rows.len(), &rows[0]["status"]),
        (1, &json!("valid")),
        "the list shows it before the record is written"
    );
    assert!(!sandbox.path("certs/issued.jsonl").exists(), "the list writes nothing");

    sandbox.run("certs renew legacy").ok();
    sandbox.run("certs revoke legacy").ok();
    assert!(!is_accepted(&sandbox, "first.crt") && !is_accepted(&sandbox, "certs/clients/legacy.crt"));
    // A certificate that was replaced before is not in the record, which is reported.
    let message = sandbox.run("certs revoke edge").stderr;
    assert!(
        message.contains(
            "note: certs/issued.jsonl has the certificates that CN=otlp-gate client CA issued since 20"
        ),
        "{message}"
    );
    assert!(is_accepted(&sandbox, "lost.crt"));
    sandbox.run("certs revoke --cert lost.crt").ok();
    assert!(!is_accepted(&sandbox, "lost.crt"));
    assert_eq!(list_all(&sandbox, "otlp-gate/verify").len(), 3);
}

#[test]
fn concurrent_commands_lose_no_entry() {
    let sandbox = with_cas();
    let run = |number: usize| {
        let args = format!("certs client n{number} --spiffe spiffe://many/{number} --unchecked");
        let mut command = sandbox.command(&args);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
    };
    let children: Vec<_> = (0..12).map(run).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    // An entry without a time is one that was found in the folder later, not one that the command wrote.
    let text = String::from_utf8(sandbox.read("certs/issued.jsonl")).unwrap();
    for number in 0..12 {
        let name = format!("\"name\":\"n{number}\"");
        let own: Vec<&str> = text.lines().filter(|line| line.contains(&name)).collect();
        assert!(own.len() == 1 && own[0].contains("\"time\":"), "{own:?}");
    }
    // The record is only appended to.
    let before = sandbox.read("certs/issued.jsonl");
    sandbox.run("certs renew --all").ok();
    assert!(sandbox.read("certs/issued.jsonl").starts_with(&before));
}

#[test]
fn two_copies_of_the_record_can_be_merged() {
    let sandbox = with_clients();
    let base = sandbox.read("certs/issued.jsonl");
    let list = sandbox.read("certs/client.crl");
    sandbox.run("certs revoke legacy").ok();
    let theirs = sandbox.read("certs/issued.jsonl");
    sandbox.write("certs/issued.jsonl", &base);
    sandbox.write("certs/client.crl", &list);
    sandbox.run("certs revoke edge").ok();
    // As git's merge=union does.
    let ours = sandbox.read("certs/issued.jsonl");
    sandbox.write("certs/issued.jsonl", [&base, &theirs[base.len()..], &ours[base.len()..]].concat());
    assert!(is_accepted(&sandbox, "certs/clients/legacy.crt"), "the list has only this copy's revocation");
    sandbox.run("certs crl").ok();
    assert!(
        !is_accepted(&sandbox, "certs/clients/legacy.crt")
            && !is_accepted(&sandbox, "certs/clients/edge.crt")
    );

    let mut text = String::from_utf8(sandbox.read("certs/issued.jsonl")).unwrap();
    text.push_str("<<<<<<< HEAD\n");
    let lines = text.lines().count();
    sandbox.write("certs/issued.jsonl", text);
    let message = sandbox.run("certs revoke legacy").failure();
    assert!(message.contains(&format!("certs/issued.jsonl:{lines}: not an entry")), "{message}");
    assert!(message.contains("keep the lines of both sides"), "{message}");
}
