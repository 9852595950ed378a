//! Clocks that are wrong: dating back, and warnings of `check`.

use serde_json::json;

use super::{is_accepted, unix_time, with_cas};
use crate::Sandbox;
use crate::openssl::{openssl, read};

#[test]
fn certificates_and_lists_are_dated_back_an_hour() {
    let sandbox = with_cas();
    sandbox.run("certs client legacy").ok();
    // A verifier whose clock is 59 minutes behind.
    let then = unix_time() - 59 * 60;
    let args = format!(
        "-attime {then} -crl_check -x509_strict -CAfile certs/client-ca.crt -CRLfile certs/client.crl"
    );
    assert!(openssl(&sandbox, &format!("verify {args} certs/clients/legacy.crt")).0);
    sandbox.run("certs revoke legacy").ok();
    let (_, message) = openssl(&sandbox, &format!("verify {args} certs/clients/legacy.crt"));
    assert!(message.contains("certificate revoked"), "{message}");
    assert!(
        openssl(&sandbox, &format!("verify -attime {then} -CAfile certs/server-ca.crt certs/server.crt")).0
    );
    sandbox.run("certs rotate client").ok();
    assert!(
        openssl(&sandbox, &format!("verify {args} certs/verify/client.crt")).0,
        "the list of a new CA too"
    );
}

/// Replaces the revocation list of the clients' CA by one that OpenSSL signs, issued `seconds` from now.
fn sign_foreign_list(sandbox: &Sandbox, seconds: i64) {
    let date = |seconds: i64| {
        let output = std::process::Command::new("date")
            .args([
                "-u",
                "-d",
                &format!("@{}", i64::try_from(unix_time()).unwrap() + seconds),
                "+%Y%m%d%H%M%SZ",
            ])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    sandbox.write("index", "");
    sandbox.write("number", "1000\n");
    sandbox.write("ca.cnf", "[ca]\ndefault_ca=a\n[a]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\n");
    let args = format!(
        "ca -gencrl -config ca.cnf -cert certs/client-ca.crt -keyfile certs/client-ca.key -crl_lastupdate {} \
        -crl_nextupdate {} -out certs/client.crl",
        date(seconds),
        date(864_000)
    );
    read(sandbox, &args);
}

#[test]
fn a_list_from_the_future_is_reported_and_signed_again() {
    let sandbox = with_cas();
    assert_eq!(sandbox.run("check").stderr, "", "the files of `certs init` have no problems");
    sandbox.run("certs client legacy").ok();
    sandbox.run("certs revoke legacy").ok();
    sign_foreign_list(&sandbox, 40);
    let ended = sandbox.run("check");
    assert!(ended.stderr.contains("the list of CN=otlp-gate client CA is dated in the future"), "{ended:#?}");
    assert!(ended.stderr.contains("correct this machine's clock if it is behind"), "{ended:#?}");
    // It lacks the revocations of the record.
    assert!(ended.stderr.contains("the list lacks 2 of the revocations in certs/issued.jsonl"), "{ended:#?}");
    let problems = sandbox.run("check -o json").json();
    assert_eq!(
        (&problems["ok"], problems["problems"].as_array().unwrap().len()),
        (&json!(true), 2),
        "{problems}"
    );
    let init = "certs init --dir other --client-ca certs/client-ca.crt --client-crl certs/client.crl";
    let refused = sandbox.run(init).failure();
    assert!(refused.contains("is dated in the future"), "{refused}");

    sandbox.run("certs crl").ok();
    assert_eq!(sandbox.run("check").stderr, "");
    assert!(!is_accepted(&sandbox, "certs/clients/legacy.crt"));
    let number = read(&sandbox, "crl -in certs/client.crl -noout -crlnumber");
    assert!(number.trim().ends_with("1001"), "{number}");
}

#[test]
fn a_list_that_is_not_dated_back_is_reported_while_it_is_new() {
    let sandbox = with_cas();
    sign_foreign_list(&sandbox, -10);
    let message = sandbox.run("check").stderr;
    assert!(
        message.contains("certs/client.crl: the list of CN=otlp-gate client CA was issued 1"),
        "{message}"
    );
    sign_foreign_list(&sandbox, -900);
    sandbox.run("certs crl").ok();
    assert_eq!(sandbox.run("check").stderr, "");
}

#[test]
fn a_record_entry_from_the_future_is_reported() {
    let sandbox = with_cas();
    let text = String::from_utf8(sandbox.read("certs/issued.jsonl")).unwrap();
    let year = text.split("\"time\":\"").nth(1).unwrap()[..4].to_owned();
    let later = text.lines().last().unwrap().replacen(&format!("\"time\":\"{year}"), "\"time\":\"2126", 1);
    sandbox.write("certs/issued.jsonl", format!("{text}{later}\n"));
    let message = sandbox.run("check").stderr;
    assert!(message.contains("certs/issued.jsonl: the last entry is dated 2126-"), "{message}");
    assert!(
        message.contains(
            "this machine's clock is behind, or the clock of the machine that wrote the entry was ahead"
        ),
        "{message}"
    );
}
