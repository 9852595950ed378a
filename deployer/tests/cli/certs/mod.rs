//! `certs`: its output, read back by OpenSSL.

mod clock;
mod init;
mod internal;
mod issue;
mod record;
mod renew;
mod revoke;
mod rotate;
mod sign;

use serde_json::Value;

use crate::Sandbox;
use crate::openssl::openssl;

const CONFIG: &str = r#"apiVersion: otlp-gate/v1
gateway: {hostname: otel.example.com}
clients:
  - name: edge
    match: {spiffe: "spiffe://acme.example/edge/*"}
  - name: "{site}.{org}"
    match: {dns: "{site}.{org}.partners.example"}
  - name: legacy
    match: {subject: {O: "Acme, Inc.", CN: external-otel-client, C: CH}}
  - name: either
    match: [{dns: "*.example"}, {dns: either.example.org, spiffe: "spiffe://either/one"}]
"#;

/// A folder with CAs.
fn with_cas() -> Sandbox {
    let sandbox = Sandbox::with(CONFIG);
    sandbox.run("certs init").ok();
    sandbox
}

/// A folder with CAs and the certificates of the clients `legacy` and `edge`.
fn with_clients() -> Sandbox {
    let sandbox = with_cas();
    sandbox.run("certs client legacy").ok();
    sandbox.run("certs client edge --spiffe spiffe://acme.example/edge/zurich").ok();
    sandbox
}

/// The entry of a file in `certs list`.
fn listed(sandbox: &Sandbox, file: &str) -> Value {
    let rows = sandbox.run("certs list -o json").json();
    rows.as_array()
        .unwrap()
        .iter()
        .find(|row| row["file"] == file)
        .unwrap_or_else(|| panic!("{file}: {rows}"))
        .clone()
}

/// Whether OpenSSL accepts this client certificate, with the revocation list, and its output.
fn verify_client(sandbox: &Sandbox, file: &str) -> (bool, String) {
    let files = "-CAfile certs/client-ca.crt -CRLfile certs/client.crl";
    openssl(sandbox, &format!("verify -crl_check -x509_strict -purpose sslclient {files} {file}"))
}

/// Whether OpenSSL accepts this client certificate, with the revocation list.
fn is_accepted(sandbox: &Sandbox, file: &str) -> bool {
    verify_client(sandbox, file).0
}

/// Keeps a copy of a client's certificate.
fn copy_certificate(sandbox: &Sandbox, name: &str, copy: &str) {
    sandbox.write(copy, sandbox.read(&format!("certs/clients/{name}.crt")));
}

/// The rows of `certs list --all` of this client.
fn list_all(sandbox: &Sandbox, name: &str) -> Vec<Value> {
    let rows = sandbox.run("certs list --all -o json").json();
    rows.as_array().unwrap().iter().filter(|row| row["name"] == name).cloned().collect()
}

/// A CA, `site-ca`, and a server certificate of it, `site`, that otlp-gate did not create. The keys are RSA.
fn create_site_ca(sandbox: &Sandbox) {
    for (name, subject, more) in [
        (
            "site-ca",
            "/O=Acme, Inc./CN=Acme Root",
            "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign",
        ),
        (
            "site",
            "/CN=otel.example.com",
            "-CA site-ca.crt -CAkey site-ca.key -addext subjectAltName=DNS:otel.example.com -addext \
            basicConstraints=CA:FALSE",
        ),
    ] {
        let mut args: Vec<&str> = "req -x509 -newkey rsa:2048 -nodes -days 30".split(' ').collect();
        let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
        args.extend(["-keyout", &key, "-out", &certificate, "-subj", subject]);
        args.extend(more.split(' '));
        let made = std::process::Command::new("openssl")
            .args(&args)
            .current_dir(sandbox.folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}

fn unix_time() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}
