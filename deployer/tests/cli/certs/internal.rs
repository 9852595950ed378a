//! The internal CA: `certs init`, `certs list`, `certs renew internal` and `certs rotate internal`.

use std::fs;

use super::{listed, with_cas};
use crate::Sandbox;
use crate::openssl::{openssl, read};

const FILES: [&str; 4] = ["internal-ca", "collector", "gateway", "node"];

/// Whether a certificate is valid for its side of the connection to the Collector.
fn is_accepted(sandbox: &Sandbox, file: &str) -> bool {
    let args = match file {
        "collector" => "-purpose sslserver -verify_hostname otel-gateway-collector.otel-collector.svc",
        _ => "-purpose sslclient",
    };
    openssl(sandbox, &format!("verify {args} -CAfile certs/internal-ca.crt certs/{file}.crt")).0
}

fn contents(sandbox: &Sandbox, files: &[&str]) -> Vec<Vec<u8>> {
    files.iter().map(|file| sandbox.read(&format!("certs/{file}.crt"))).collect()
}

#[test]
fn a_folder_of_an_earlier_version_gets_what_it_lacks() {
    let sandbox = with_cas();
    let others = ["server-ca", "client-ca", "server"];
    let before = contents(&sandbox, &others);
    for file in FILES {
        fs::remove_file(sandbox.path(&format!("certs/{file}.crt"))).unwrap();
        fs::remove_file(sandbox.path(&format!("certs/{file}.key"))).unwrap();
    }
    let warned = sandbox.run("check").stderr;
    assert!(warned.contains("there are no certificates for the Collector"), "{warned}");
    assert!(warned.contains("`otlp-gate certs init` creates them"), "{warned}");
    // Files of the user's own are not ignored.
    assert!(sandbox.run("certs init --client-ca certs/client-ca.crt").failure().contains("--force"));
    let written = sandbox.run("certs init");
    assert!(written.code == 0 && written.stderr.contains("the others are unchanged"), "{written:#?}");
    assert_eq!(contents(&sandbox, &others), before);
    assert!(FILES[1..].iter().all(|file| is_accepted(&sandbox, file)));
    assert!(!sandbox.run("check").stderr.contains("Collector"));
    // Nothing is missing now, so an `init` without `--force` is a mistake.
    assert!(sandbox.run("certs init").failure().contains("--force"));
    for file in FILES {
        assert_eq!(listed(&sandbox, &format!("{file}.crt"))["issuedBy"], "internal-ca");
    }
    // A client of the gateway is not a client of the Collector.
    sandbox.run("certs client legacy").ok();
    assert!(!openssl(&sandbox, "verify -CAfile certs/internal-ca.crt certs/clients/legacy.crt").0);
}

#[test]
fn the_internal_ca_is_replaced_in_steps() {
    let sandbox = with_cas();
    let first = contents(&sandbox, &FILES);
    sandbox.run("certs renew internal --new-key").ok();
    assert_eq!(sandbox.read("certs/internal-ca.crt"), first[0]);
    for (file, old) in FILES[1..].iter().zip(&first[1..]) {
        assert!(is_accepted(&sandbox, file) && sandbox.read(&format!("certs/{file}.crt")) != *old, "{file}");
    }
    let next = sandbox.run("certs rotate internal").stderr;
    assert!(next.contains("otlp-gate certs renew internal"), "{next}");
    // The certificates of the old CA stay valid.
    assert!(FILES[1..].iter().all(|file| is_accepted(&sandbox, file)));
    let in_use = sandbox.run("certs rotate internal --finish").failure();
    assert!(in_use.contains("certificates of the old CA are in use: collector, gateway, node"), "{in_use}");
    sandbox.run("certs renew internal").ok();
    sandbox.run("certs rotate internal --finish").ok();
    assert!(FILES[1..].iter().all(|file| is_accepted(&sandbox, file)));
    assert_eq!(
        read(&sandbox, "storeutl -noout -certs certs/internal-ca.crt").matches("Certificate").count(),
        1
    );
    // Internal certificates have no revocation list.
    let refused = sandbox.run("certs revoke internal").failure();
    assert!(refused.contains("`otlp-gate certs rotate internal` replaces the internal CA"), "{refused}");
}
