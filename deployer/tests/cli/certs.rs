//! `certs`: what it makes, read back by OpenSSL.

use std::fs;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::Place;
use crate::openssl::{openssl, read};

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
fn place() -> Place {
    let place = Place::with(CONFIG);
    place.run("certs init").ok();
    place
}

#[test]
fn server_and_clients_are_verified_by_their_own_ca_only() {
    let place = place();
    place.run("certs client legacy").ok();
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
        let (content, text) = openssl(&place, &args);
        assert_eq!(content, good, "{args}: {text}");
    }
}

#[test]
fn the_server_is_who_the_config_says_and_whom_one_adds() {
    let place = place();
    let verify = |name: &str| {
        openssl(&place, &format!("verify -CAfile certs/server-ca.crt {name} certs/server.crt")).0
    };
    assert!(verify("-verify_hostname otel.example.com"));
    assert!(!verify("-verify_hostname localhost"));
    place.run("certs server --force --local --hostname otel.example.com --hostname 203.0.113.7").ok();
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
fn extensions_are_what_rfc_5280_wants() {
    let place = place();
    place.run("certs client edge --spiffe spiffe://acme.example/edge/zurich").ok();
    let text = |file: &str| read(&place, &format!("x509 -in certs/{file}.crt -noout -text"));
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
fn keys_are_their_owners_and_fit_their_certificates() {
    use std::os::unix::fs::PermissionsExt;
    let place = place();
    place.run("certs client legacy").ok();
    for pair in ["server-ca", "client-ca", "server", "clients/legacy"] {
        let mode = fs::metadata(place.path(&format!("certs/{pair}.key"))).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{pair}");
        let of_key = read(&place, &format!("pkey -in certs/{pair}.key -pubout"));
        assert_eq!(of_key, read(&place, &format!("x509 -in certs/{pair}.crt -noout -pubkey")), "{pair}");
    }
}

#[test]
fn nothing_that_is_there_is_overwritten_without_being_told_to() {
    let place = place();
    place.run("certs client legacy").ok();
    let before = ["server-ca.key", "client-ca.key", "server.key", "clients/legacy.key", "client.crl"]
        .map(|file| (file, place.read(&format!("certs/{file}"))));
    assert_snapshot!("certs_init_exists", place.run("certs init").failure());
    assert_snapshot!("certs_server_exists", place.run("certs server").failure());
    assert_snapshot!("certs_client_exists", place.run("certs client legacy").failure());
    for (file, contents) in &before {
        assert!(place.read(&format!("certs/{file}")) == *contents, "{file} was changed");
    }
    for args in ["certs init --force", "certs client legacy --force"] {
        place.run(args).ok();
    }
    for (file, contents) in &before {
        assert!(place.read(&format!("certs/{file}")) != *contents, "{file} is the old one");
    }
}

#[test]
fn init_makes_all_or_nothing() {
    let place = Place::with(CONFIG);
    fs::create_dir(place.path("certs")).unwrap();
    place.write("certs/server.key", "mine");
    place.run("certs init").failure();
    assert_eq!(fs::read_dir(place.path("certs")).unwrap().count(), 1);
}

/// Where the rule says it outright, nothing needs to be given.
#[test]
fn what_a_rule_says_outright_need_not_be_given() {
    let place = place();
    place.run("certs client legacy").ok();
    let subject = "x509 -in certs/clients/legacy.crt -noout -subject -nameopt RFC2253";
    assert_eq!(read(&place, subject), "subject=CN=external-otel-client,O=Acme\\, Inc.,C=CH\n");
    // the first match that is clear
    place.run("certs client either").ok();
    let names = read(&place, "x509 -in certs/clients/either.crt -noout -ext subjectAltName");
    assert!(names.contains("URI:spiffe://either/one, DNS:either.example.org"), "{names}");
    assert_eq!(place.run("whoami certs/clients/either.crt -o json").json()["client"], json!("either"));
}

#[test]
fn a_certificate_is_only_made_for_the_client_that_it_is() {
    let place = place();
    assert_snapshot!("certs_client_unclear", place.run("certs client edge").failure());
    assert_snapshot!("certs_client_unknown", place.run("certs client nobody").failure());
    let other = place.run("certs client zurich.globex --dns basel.globex.partners.example");
    assert_snapshot!("certs_client_other", other.failure());
    assert_snapshot!(
        "certs_client_none",
        place.run("certs client zurich.globex --dns zurich.example.net").failure()
    );
    assert!(!place.path("certs/clients").exists(), "nothing is written");
    place.run("certs client zurich.globex --dns basel.globex.partners.example --unchecked").ok();
    let ended = place.run("certs client basel.globex --dns basel.globex.partners.example");
    assert_eq!(ended.stderr, "its holder is the client `basel.globex`, from clients[1] (`{site}.{org}`)\n\n");
}

#[test]
fn what_is_missing_is_named() {
    assert_snapshot!("certs_no_config", Place::new().run("certs init").failure());
    assert_snapshot!("certs_no_authority", Place::with(CONFIG).run("certs client legacy").failure());
    assert_snapshot!("certs_none", Place::with(CONFIG).run("certs list").failure());
    assert_snapshot!("certs_client_no_config", {
        let place = Place::new();
        place.run("certs init --hostname otel.example.com").ok();
        place.run("certs client legacy").failure()
    });
}

#[test]
fn an_authority_whose_key_is_anothers_signs_nothing() {
    let place = place();
    place.write("certs/client-ca.key", place.read("certs/server-ca.key"));
    assert_snapshot!("certs_wrong_key", place.run("certs client legacy").failure());
    place.write("certs/client-ca.key", "no key");
    assert_snapshot!("certs_no_key", place.run("certs client legacy").failure());
}

/// The rows by file.
/// A CA or a server's certificate with a key of this kind, as `NAME.crt` and `NAME.key`.
fn own(place: &Place, name: &str, key: &str, extension: &str) {
    read(
        place,
        &format!(
            "req -x509 -newkey {key} -nodes -keyout {name}.key -out {name}.crt -subj /CN={name} -addext {extension}"
        ),
    );
}

#[test]
fn keys_that_envoy_cannot_use_are_told_when_they_are_taken_in() {
    const CA: &str = "basicConstraints=critical,CA:TRUE";
    let place = Place::with(CONFIG);
    own(&place, "ed448", "ed448", CA);
    own(&place, "rsa", "rsa:1024", CA);
    own(&place, "p521", "ec -pkeyopt ec_paramgen_curve:P-521", CA);
    place.write("all.crt", ["ed448.crt", "rsa.crt", "p521.crt"].map(|file| place.read(file)).concat());
    read(&place, "req -new -key rsa.key -subj /CN=x -out x.csr");
    // Without a list: one of each CA would be needed.
    place.run("certs init").ok();
    place.write("certs/client-ca.crt", place.read("all.crt"));
    let told = place.run("certs list").stderr;
    let warnings: Vec<&str> = told.lines().filter(|line| line.contains("client-ca.crt")).collect();
    assert_eq!(
        warnings,
        [
            "warning: client-ca.crt: its key is Ed448, whose signatures Envoy does not verify, so that it refuses what this CA \
             issued: use ECDSA P-256 or P-384, or RSA of 2048 bits or more",
            "warning: client-ca.crt: its key is RSA of 1024 bits: Envoy takes it, and it is too short to be safe: use ECDSA \
             P-256 or P-384, or RSA of 2048 bits or more",
        ]
    );
    let checked = place.run("check");
    assert!(checked.stderr.contains("warning: certs/client-ca.crt: its key is Ed448"), "{checked:?}");
    let checked = place.run("check -o json").json();
    assert_eq!(checked["certificates"].as_array().unwrap().len(), 2, "{checked}");
    assert_eq!(checked["certificates"][0]["file"], json!("certs/client-ca.crt"));

    for (key, why) in [
        ("rsa:1024", "its key is RSA of 1024 bits: Envoy takes 2048 or more"),
        (
            "ec -pkeyopt ec_paramgen_curve:secp256k1",
            "its key is ECDSA secp256k1, with which Envoy does not serve",
        ),
    ] {
        own(&place, "site", key, "subjectAltName=DNS:otel.example.com");
        let args = "certs init --force --server-cert site.crt --server-key site.key --server-ca site.crt";
        let told = place.run(args).failure();
        assert!(told.contains(&format!("error: site.crt: {why}")), "{told}");
    }
    own(&place, "site", "ed25519", "subjectAltName=DNS:otel.example.com");
    let taken =
        place.run("certs init --force --server-cert site.crt --server-key site.key --server-ca site.crt");
    assert!(
        taken.stderr.contains(
            "warning: server.crt: its key is Ed25519, which OpenSSL's clients verify, and gRPC's of Python, C++, Ruby and PHP do \
             not"
        ),
        "{taken:?}"
    );
}

fn listed(place: &Place, file: &str) -> Value {
    let rows = place.run("certs list -o json").json();
    rows.as_array()
        .unwrap()
        .iter()
        .find(|row| row["file"] == file)
        .unwrap_or_else(|| panic!("{file}: {rows}"))
        .clone()
}

#[test]
fn the_list_tells_whose_certificates_are_and_for_how_long() {
    let place = place();
    place.run("certs client edge --spiffe spiffe://acme.example/edge/zurich --days 30").ok();
    let row = listed(&place, "clients/edge.crt");
    assert_eq!(row["sans"], json!(["URI:spiffe://acme.example/edge/zurich"]));
    assert_eq!(
        (&row["daysLeft"], &row["status"], &row["issuedBy"]),
        (&json!(29), &json!("valid"), &json!("client-ca"))
    );
    let digest = read(&place, "x509 -in certs/clients/edge.crt -noout -fingerprint -sha256");
    let digest = digest.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase();
    assert_eq!(row["sha256"], json!(digest));
    let serial = read(&place, "x509 -in certs/clients/edge.crt -noout -serial");
    assert_eq!(row["serial"], json!(serial.trim().rsplit('=').next().unwrap().to_lowercase()));
    assert_eq!(listed(&place, "server.crt")["issuedBy"], json!("server-ca"));

    place.run("certs init --force").ok();
    assert_eq!(listed(&place, "clients/edge.crt")["status"], json!("foreign"), "its CA is gone");
}

#[test]
fn no_certificate_outlives_its_ca() {
    let place = Place::with(CONFIG);
    place.run("certs init --ca-days 10").ok();
    place.run("certs client legacy --days 100").ok();
    assert_eq!(listed(&place, "clients/legacy.crt")["daysLeft"], json!(9));
    assert_eq!(listed(&place, "clients/legacy.crt")["notAfter"], listed(&place, "client-ca.crt")["notAfter"]);
}

#[test]
fn a_renewed_certificate_says_the_same_and_keeps_its_key() {
    let place = place();
    place.run("certs client legacy --days 5").ok();
    let (key, old) = (place.read("certs/clients/legacy.key"), listed(&place, "clients/legacy.crt"));
    place.run("certs renew legacy server").ok();
    let new = listed(&place, "clients/legacy.crt");
    assert_eq!((&new["subject"], &new["sans"]), (&old["subject"], &old["sans"]));
    assert_eq!((&new["daysLeft"], &new["status"]), (&json!(364), &json!("valid")));
    assert_ne!(new["serial"], old["serial"]);
    assert_eq!(place.read("certs/clients/legacy.key"), key);
    read(&place, "verify -purpose sslclient -CAfile certs/client-ca.crt certs/clients/legacy.crt");
    read(&place, "verify -verify_hostname otel.example.com -CAfile certs/server-ca.crt certs/server.crt");
    place.run("certs renew --all --new-key").ok();
    assert_ne!(place.read("certs/clients/legacy.key"), key);
}

#[test]
fn a_revoked_certificate_is_refused_and_the_others_are_not() {
    let place = place();
    place.run("certs client legacy").ok();
    place.run("certs client edge --spiffe spiffe://acme.example/edge/zurich").ok();
    let verify = |client: &str| {
        let args = "verify -crl_check -x509_strict -purpose sslclient -CAfile certs/client-ca.crt -CRLfile certs/client.crl";
        openssl(&place, &format!("{args} certs/clients/{client}.crt"))
    };
    assert!(verify("legacy").0 && verify("edge").0, "the first list refuses neither: {:?}", verify("edge"));
    place.run("certs revoke legacy").ok();
    assert!(verify("legacy").1.contains("certificate revoked"), "{:?}", verify("legacy"));
    assert!(verify("edge").0);
    assert_eq!(listed(&place, "clients/legacy.crt")["status"], json!("revoked"));

    // what is revoked stays so when more comes, and each list has a higher number
    place.run("certs revoke legacy").ok();
    place.run("certs revoke edge").ok();
    assert!(!verify("legacy").0 && !verify("edge").0);
    let list = read(&place, "crl -in certs/client.crl -noout -text");
    assert_eq!(list.matches("Serial Number:").count(), 3, "with the one that `verify` shows: {list}");
    assert!(list.contains("CRL Number: \n                4\n"), "{list}");

    assert_snapshot!("certs_renew_revoked", place.run("certs renew legacy").failure());
    place.run("certs renew --all").ok();
    assert_eq!(listed(&place, "clients/legacy.crt")["status"], json!("revoked"), "--all leaves it alone");
    place.run("certs client legacy --force").ok();
    assert!(verify("legacy").0, "a new one is good");
}

#[test]
fn a_certificate_that_was_replaced_can_still_be_revoked() {
    let place = place();
    place.run("certs client legacy").ok();
    place.write("old.crt", place.read("certs/clients/legacy.crt"));
    place.run("certs renew legacy").ok();
    place.run("certs revoke --cert old.crt").ok();
    assert_eq!(listed(&place, "clients/legacy.crt")["status"], json!("valid"));
    let list = "-CAfile certs/client-ca.crt -CRLfile certs/client.crl";
    assert!(openssl(&place, &format!("verify -crl_check {list} old.crt")).1.contains("certificate revoked"));
    assert_snapshot!("certs_revoke_foreign", place.run("certs revoke --cert certs/server.crt").failure());
}

#[test]
fn a_list_lives_as_long_as_its_ca() {
    let place = place();
    let date = |text: String| text.trim().split_once('=').unwrap().1.to_owned();
    let next = date(read(&place, "crl -in certs/client.crl -noout -nextupdate"));
    assert_eq!(next, date(read(&place, "x509 -in certs/client-ca.crt -noout -enddate")));
}

#[test]
fn what_verify_shows_is_what_it_is_called() {
    let place = place();
    let check = |file: &str, more: &str| {
        let args =
            "verify -x509_strict -purpose sslclient -CAfile certs/client-ca.crt -CRLfile certs/client.crl";
        openssl(&place, &format!("{args} {more} certs/verify/{file}.crt")).1
    };
    assert!(check("client", "-crl_check").contains(": OK"));
    assert!(check("stranger", "-crl_check").contains(": OK"));
    assert!(check("expired", "").contains("certificate has expired"));
    assert!(check("revoked", "-crl_check").contains("certificate revoked"));
    assert_eq!(listed(&place, "server.crt")["status"], json!("valid"));
    assert!(!place.run("certs list").ok().contains("verify/"), "what is meant to be bad is not told as bad");
    for (file, name) in [("client", "otlp-gate/verify"), ("expired", "otlp-gate/verify")] {
        let who = place.run(&format!("whoami certs/verify/{file}.crt -o json")).json();
        assert_eq!(who["client"], json!(name), "{file}");
    }
    assert!(place.run("whoami certs/verify/stranger.crt").stdout.contains("no client"));

    // CAs of an earlier version have none of it
    std::fs::remove_dir_all(place.path("certs/verify")).unwrap();
    place.run("certs verify").ok();
    assert!(check("client", "-crl_check").contains(": OK"));
    assert_snapshot!("certs_verify_exists", place.run("certs verify").failure());
    place.run("certs revoke --cert certs/verify/client.crt").ok();
    assert!(check("client", "-crl_check").contains("certificate revoked"));
    place.run("certs verify --force").ok();
    assert!(check("client", "-crl_check").contains(": OK"));
}

#[test]
fn a_ca_is_changed_without_a_moment_in_which_somebody_is_shut_out() {
    let place = place();
    place.run("certs client legacy").ok();
    place.run("certs client edge --spiffe spiffe://acme.example/edge/zurich").ok();
    let good = |file: &str| {
        let args = "verify -crl_check -x509_strict -purpose sslclient -CAfile certs/client-ca.crt -CRLfile certs/client.crl";
        openssl(&place, &format!("{args} {file}"))
    };
    place.write("old.crt", place.read("certs/clients/edge.crt"));
    assert_snapshot!("certs_rotate_not_begun", place.run("certs rotate client --finish").failure());
    assert_snapshot!(
        "certs_rotate",
        place.run("certs rotate client").stderr.replace(rotated(&place).as_str(), "01234567")
    );

    // both are trusted, and both revoke
    place.run("certs client either --spiffe spiffe://either/one --dns either.example.org").ok();
    for file in ["certs/clients/legacy.crt", "certs/clients/either.crt", "certs/verify/client.crt", "old.crt"]
    {
        assert!(good(file).0, "{file}: {:?}", good(file));
    }
    assert_eq!(listed(&place, "clients/legacy.crt")["status"], json!("outgoing"));
    assert_eq!(listed(&place, "clients/either.crt")["status"], json!("valid"));
    place.run("certs revoke legacy").ok();
    place.run("certs revoke either").ok();
    for file in ["certs/clients/legacy.crt", "certs/clients/either.crt", "certs/verify/revoked.crt"] {
        assert!(good(file).1.contains("certificate revoked"), "{file}: {:?}", good(file));
    }
    assert!(good("old.crt").0, "the others of either CA stay good");
    assert!(place.run("certs rotate client").failure().contains("holds an old CA already"));

    // the old one goes when nobody needs it
    assert_snapshot!("certs_rotate_in_use", place.run("certs rotate client --finish").failure());
    place.run("certs renew --all").ok();
    place.run("certs rotate client --finish").ok();
    assert!(good("certs/clients/edge.crt").0 && !good("old.crt").0);
    assert!(good("certs/clients/either.crt").1.contains("certificate revoked"));
    assert_eq!(read(&place, "crl -in certs/client.crl -noout -text").matches("Serial Number:").count(), 2);
    assert!(!place.path("certs/client-ca.old.key").exists());
    assert!(
        place.run("certs rotate client --finish").failure().contains("does not hold a new and an old CA")
    );
}

/// What the new CA's name ends with.
fn rotated(place: &Place) -> String {
    let subject = read(place, "x509 -in certs/client-ca.crt -noout -subject");
    subject.trim().rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn the_servers_ca_is_changed_after_the_clients_know_the_new_one() {
    let place = place();
    let serves =
        |ca: &str| openssl(&place, &format!("verify -purpose sslserver -CAfile {ca} certs/server.crt")).0;
    place.write("old-ca.crt", place.read("certs/server-ca.crt"));
    place.run("certs rotate server").ok();
    assert!(serves("old-ca.crt") && serves("certs/server-ca.crt"), "clients with either file know it");
    assert!(place.run("certs rotate server --finish").failure().contains("still of the old CA: server"));
    place.run("certs renew server").ok();
    assert!(!serves("old-ca.crt") && serves("certs/server-ca.crt"));
    place.run("certs rotate server --finish").ok();
    assert!(serves("certs/server-ca.crt"));
    assert_eq!(String::from_utf8(place.read("certs/server-ca.crt")).unwrap().matches("BEGIN").count(), 1);
}

/// A CA of somebody else's, with RSA keys and names that are not ours.
fn somebody_elses(place: &Place) {
    for (name, subject, more) in [
        (
            "site-ca",
            "/O=Acme, Inc./CN=Acme Root",
            "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign",
        ),
        (
            "site",
            "/CN=otel.example.com",
            "-CA site-ca.crt -CAkey site-ca.key -addext subjectAltName=DNS:otel.example.com -addext basicConstraints=CA:FALSE",
        ),
    ] {
        let mut args: Vec<&str> = "req -x509 -newkey rsa:2048 -nodes -days 30".split(' ').collect();
        let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
        args.extend(["-keyout", &key, "-out", &certificate, "-subj", subject]);
        args.extend(more.split(' '));
        let made = std::process::Command::new("openssl")
            .args(&args)
            .current_dir(place.folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}

#[test]
fn certificates_of_ones_own_are_taken_as_they_are() {
    let place = Place::with(CONFIG);
    somebody_elses(&place);
    let server = "--server-cert site.crt --server-key site.key --server-ca site-ca.crt";
    // without a key there must be a list
    assert_snapshot!(
        "certs_init_no_list",
        usage(&place, &format!("certs init --client-ca site-ca.crt {server}"))
    );
    // with it, all that is ours to do is done with it
    place.run(&format!("certs init --client-ca site-ca.crt --client-ca-key site-ca.key {server}")).ok();
    assert_eq!(place.read("certs/server.crt"), place.read("site.crt"));
    place.run("certs client legacy").ok();
    let args = "verify -crl_check -purpose sslclient -CAfile site-ca.crt -CRLfile certs/client.crl";
    assert!(openssl(&place, &format!("{args} certs/clients/legacy.crt")).0);
    assert!(openssl(&place, &format!("{args} certs/verify/revoked.crt")).1.contains("certificate revoked"));

    // with its list only, it is theirs
    place.write("site.crl", place.read("certs/client.crl"));
    place.run(&format!("certs init --force --client-ca site-ca.crt --client-crl site.crl {server}")).ok();
    assert!(!place.path("certs/client-ca.key").exists());
    assert_snapshot!("certs_not_our_ca", place.run("certs client legacy --force").failure());
    // another CA's list is no list for this one
    place.run("certs init --dir other").ok();
    let args =
        format!("certs init --dir third --client-ca site-ca.crt --client-crl other/client.crl {server}");
    assert_snapshot!("certs_init_wrong_list", place.run(&args).failure());
    assert!(!place.path("third/server.key").exists(), "nothing is left of what does not fit");
    // what is there is not lost to what does not fit
    let before =
        ["server-ca.key", "client-ca.key", "client.crl"].map(|file| place.read(&format!("other/{file}")));
    let args = format!(
        "certs init --force --dir other --client-ca site-ca.crt --client-crl other/client.crl {server}"
    );
    place.run(&args).failure();
    place
        .run("certs init --force --dir other --client-ca nowhere.crt --client-crl other/client.crl")
        .failure();
    let after =
        ["server-ca.key", "client-ca.key", "client.crl"].map(|file| place.read(&format!("other/{file}")));
    assert_eq!(before, after);
    let args =
        "certs init --dir third --server-cert site.crt --server-key site-ca.key --server-ca site-ca.crt";
    assert_snapshot!("certs_init_wrong_server_key", place.run(args).failure());
}

/// What it told, called wrongly.
fn usage(place: &Place, args: &str) -> String {
    let ended = place.run(args);
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{ended:#?}");
    ended.stderr
}

#[test]
fn a_client_without_a_certificate_is_said_to_have_none() {
    let place = Place::new();
    place.run("init").ok();
    place.run("certs init").ok();
    assert_snapshot!("certs_renew_nobody", place.run("certs renew nobody").failure());
    assert_snapshot!("certs_revoke_nobody", place.run("certs revoke nobody").failure());
    place.run("certs client acme-edge --spiffe spiffe://acme.example/edge/1").ok();
    assert_snapshot!("certs_revoke_near", place.run("certs revoke acme-egde").failure());
    assert_snapshot!("certs_revoke_server", place.run("certs revoke server").failure());
}

#[test]
fn a_certificate_that_its_ca_does_not_outlive_is_said_to_end_with_it() {
    let place = Place::with(CONFIG);
    let told = |args: &str| {
        let ended = place.run(args);
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended.stderr.contains("note: its CA ends in 29 days, and it with it")
    };
    assert!(!told("certs init --ca-days 30 --days 30"));
    assert!(!told("certs client legacy --days 30"));
    assert!(told("certs client legacy --force"));
    assert!(told("certs server --force --days 31"));
    assert!(told("certs renew --all"));
    assert!(!told("certs renew --all --days 30"));
}

#[test]
fn certificates_that_cannot_all_be_written_are_not_there_at_all() {
    let place = Place::with(CONFIG);
    fs::create_dir(place.path("certs")).unwrap();
    place.write("certs/verify", "in the way");
    assert!(place.run("certs init").failure().contains("certs/verify is no folder"));
    assert_eq!(fs::read_dir(place.path("certs")).unwrap().count(), 1);
    fs::remove_file(place.path("certs/verify")).unwrap();
    place.run("certs init").ok();
}

#[test]
fn what_is_given_is_refused_by_its_own_name_and_before_anything_is_written() {
    let place = place();
    place.run("certs client legacy").ok();
    for (args, words) in [
        (
            "--client-ca certs/server.crt --client-crl certs/client.crl",
            "certs/server.crt: CN=otel.example.com is no CA",
        ),
        (
            "--client-ca certs/client-ca.crt --client-crl certs/server.crt",
            "certs/server.crt: no list that is signed by CN=otlp-gate client CA",
        ),
        (
            "--server-cert certs/server.crt --server-key certs/client-ca.key --server-ca certs/server-ca.crt",
            "certs/client-ca.key is not the key of certs/server.crt",
        ),
        (
            "--server-cert certs/server.crt --server-key certs/server.key --server-ca certs/client-ca.crt",
            "certs/server.crt is not from the CA of certs/client-ca.crt",
        ),
        (
            "--server-cert certs/server.crt --server-key certs/server.key --server-ca otlp-gate.yaml",
            "otlp-gate.yaml: neither PEM text nor the DER of a certificate",
        ),
    ] {
        let told = place.run(&format!("certs init --dir other {args}")).failure();
        assert!(told.contains(&format!("error: {words}")), "{told}");
        assert_eq!(fs::read_dir(place.path("other")).unwrap().count(), 0, "{args}");
    }
}

/// Whether OpenSSL takes this certificate for a client's.
fn is_good(place: &Place, file: &str) -> bool {
    let args = "verify -crl_check -x509_strict -purpose sslclient -CAfile certs/client-ca.crt -CRLfile certs/client.crl";
    openssl(place, &format!("{args} {file}")).0
}

/// Keeps a copy of a client's certificate.
fn keep(place: &Place, name: &str, copy: &str) {
    place.write(copy, place.read(&format!("certs/clients/{name}.crt")));
}

/// The rows of `certs list --all` of this client.
fn all_of(place: &Place, name: &str) -> Vec<Value> {
    let rows = place.run("certs list --all -o json").json();
    rows.as_array().unwrap().iter().filter(|row| row["name"] == name).cloned().collect()
}

#[test]
fn revoking_a_client_takes_all_that_was_ever_issued_to_it() {
    let place = place();
    place.run("certs client legacy").ok();
    keep(&place, "legacy", "first.crt");
    place.run("certs renew legacy").ok();
    keep(&place, "legacy", "renewed.crt");
    let told = place.run("certs client legacy --force").stderr;
    assert!(told.contains("`otlp-gate certs revoke legacy --earlier` takes it out"), "{told}");
    keep(&place, "legacy", "anew.crt");
    // also after its files are gone, and after it was given some again
    fs::remove_file(place.path("certs/clients/legacy.crt")).unwrap();
    fs::remove_file(place.path("certs/clients/legacy.key")).unwrap();
    place.run("certs client legacy").ok();
    place.run("certs client edge --spiffe spiffe://acme.example/edge/zurich").ok();
    let all = ["first.crt", "renewed.crt", "anew.crt", "certs/clients/legacy.crt"];
    assert!(all.iter().all(|file| is_good(&place, file)));
    assert_eq!(all_of(&place, "legacy").len(), 4);

    let told = place.run("certs revoke legacy").stderr;
    assert!(told.starts_with("revoked 4 certificates in certs/client.crl: legacy\n"), "{told}");
    assert!(all.iter().all(|file| !is_good(&place, file)));
    assert!(is_good(&place, "certs/clients/edge.crt"), "another client's");
    let rows = all_of(&place, "legacy");
    assert!(rows.iter().all(|row| row["status"] == "revoked" && row["revokedAt"].is_string()), "{rows:?}");
    assert_eq!(place.run("certs revoke legacy").stderr, "legacy is revoked already\n");
    place.run("certs client legacy --force").ok();
    assert!(is_good(&place, "certs/clients/legacy.crt"), "what is issued from then on is good");
}

#[test]
fn a_client_whose_files_are_gone_is_revoked_by_name() {
    let place = place();
    place.run("certs client legacy").ok();
    keep(&place, "legacy", "gone.crt");
    fs::remove_dir_all(place.path("certs/clients")).unwrap();
    place.run("certs revoke legacy").ok();
    assert!(!is_good(&place, "gone.crt"));
}

#[test]
fn earlier_certificates_are_revoked_and_the_present_one_stays() {
    let place = place();
    place.run("certs client legacy").ok();
    keep(&place, "legacy", "first.crt");
    place.run("certs client legacy --force").ok();
    place.run("certs revoke legacy --earlier").ok();
    assert!(!is_good(&place, "first.crt") && is_good(&place, "certs/clients/legacy.crt"));
    let told = place.run("certs revoke legacy --earlier").stderr;
    assert_eq!(told, "legacy is revoked already\n");
    assert!(place.run("certs revoke edge --earlier").failure().contains("edge has no present certificate"));
}

#[test]
fn the_client_that_every_gate_knows_is_revoked_by_its_name() {
    let place = place();
    place.write("first.crt", place.read("certs/verify/client.crt"));
    place.run("certs verify --force").ok();
    place.run("certs revoke otlp-gate/verify").ok();
    assert!(!is_good(&place, "first.crt") && !is_good(&place, "certs/verify/client.crt"));
    assert!(is_good(&place, "certs/verify/stranger.crt"), "it is another's");
}

#[test]
fn a_certificate_is_revoked_by_its_serial_number() {
    let place = place();
    place.run("certs client legacy").ok();
    let row = listed(&place, "clients/legacy.crt");
    let serial = row["serial"].as_str().unwrap().to_uppercase();
    let serial: Vec<&str> = (0..16).map(|at| &serial[at * 2..at * 2 + 2]).collect();
    place.run(&format!("certs revoke --serial {}", serial.join(":"))).ok();
    assert!(!is_good(&place, "certs/clients/legacy.crt"));
    let server = listed(&place, "server.crt");
    let told = place.run(&format!("certs revoke --serial {}", server["serial"].as_str().unwrap())).failure();
    assert!(told.contains("is the serial number of a server's certificate"), "{told}");
    let told = place.run("certs revoke --serial 0123").stderr;
    assert!(told.contains("note: no certificate with the serial number 0123 is in the record"), "{told}");
    place.run("certs rotate client").ok();
    let told = place.run("certs revoke --serial 0124").failure();
    assert!(told.contains("there is more than one CA of clients"), "{told}");
    assert_eq!(place.run("certs revoke --serial xyz").code, 2);
}

#[test]
fn during_a_rotation_a_client_is_revoked_on_both_lists() {
    let place = place();
    place.run("certs client legacy").ok();
    keep(&place, "legacy", "of-old.crt");
    place.run("certs rotate client").ok();
    place.run("certs renew legacy").ok();
    place.run("certs client edge --spiffe spiffe://acme.example/edge/zurich").ok();
    assert!(is_good(&place, "of-old.crt") && is_good(&place, "certs/clients/legacy.crt"));
    place.run("certs revoke legacy").ok();
    assert!(!is_good(&place, "of-old.crt") && !is_good(&place, "certs/clients/legacy.crt"));
    assert!(is_good(&place, "certs/clients/edge.crt"));
    place.run("certs rotate client --finish").ok();
    assert!(!is_good(&place, "certs/clients/legacy.crt") && is_good(&place, "certs/clients/edge.crt"));
    let rows = all_of(&place, "legacy");
    assert_eq!(rows.len(), 2, "what a CA issued that is gone is still known: {rows:?}");
    assert!(rows.iter().all(|row| row["status"] == "revoked"), "{rows:?}");
}

#[test]
fn a_rotation_does_not_end_while_somebody_has_a_certificate_of_the_old_ca_only() {
    let place = place();
    place.run("certs client legacy").ok();
    place.run("certs client edge --spiffe spiffe://acme.example/edge/zurich").ok();
    fs::remove_file(place.path("certs/clients/edge.crt")).unwrap();
    place.run("certs rotate client").ok();
    place.run("certs renew --all").ok();
    let told = place.run("certs rotate client --finish").failure();
    assert!(told.contains("still of the old CA: edge (its files are not here)"), "{told}");
    place.run("certs revoke edge").ok();
    place.run("certs rotate client --finish").ok();
}

/// As an earlier version left it.
fn without_record(place: &Place) {
    fs::remove_file(place.path("certs/issued.jsonl")).unwrap();
}

#[test]
fn a_folder_without_a_record_gets_one_from_what_is_in_it() {
    let place = place();
    place.run("certs client legacy").ok();
    place.run("certs client edge --spiffe spiffe://acme.example/edge/zurich").ok();
    keep(&place, "edge", "lost.crt");
    place.run("certs renew edge").ok();
    keep(&place, "legacy", "first.crt");
    without_record(&place);
    let rows = all_of(&place, "legacy");
    assert_eq!(
        (rows.len(), &rows[0]["status"]),
        (1, &json!("valid")),
        "the list shows it before it is written"
    );
    assert!(!place.path("certs/issued.jsonl").exists(), "and writes nothing");

    place.run("certs renew legacy").ok();
    place.run("certs revoke legacy").ok();
    assert!(!is_good(&place, "first.crt") && !is_good(&place, "certs/clients/legacy.crt"));
    // what was replaced before cannot be known, and that is said
    let told = place.run("certs revoke edge").stderr;
    assert!(
        told.contains("note: certs/issued.jsonl has what CN=otlp-gate client CA issued since 20"),
        "{told}"
    );
    assert!(is_good(&place, "lost.crt"));
    place.run("certs revoke --cert lost.crt").ok();
    assert!(!is_good(&place, "lost.crt"));
    assert_eq!(all_of(&place, "otlp-gate/verify").len(), 3);
}

#[test]
fn two_commands_at_once_lose_no_entry() {
    let place = place();
    let run = |number: usize| {
        let args = format!("certs client n{number} --spiffe spiffe://many/{number} --unchecked");
        let mut command = place.command(&args);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
    };
    let children: Vec<_> = (0..12).map(run).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    // What was found in the folder later has no time: that is not what the commands wrote.
    let text = String::from_utf8(place.read("certs/issued.jsonl")).unwrap();
    for number in 0..12 {
        let name = format!("\"name\":\"n{number}\"");
        let own: Vec<&str> = text.lines().filter(|line| line.contains(&name)).collect();
        assert!(own.len() == 1 && own[0].contains("\"time\":"), "{own:?}");
    }
    // and nothing that was there is changed
    let before = place.read("certs/issued.jsonl");
    place.run("certs renew --all").ok();
    assert!(place.read("certs/issued.jsonl").starts_with(&before));
}

#[test]
fn two_copies_of_the_folder_are_merged() {
    let place = place();
    place.run("certs client legacy").ok();
    place.run("certs client edge --spiffe spiffe://acme.example/edge/zurich").ok();
    let base = place.read("certs/issued.jsonl");
    let list = place.read("certs/client.crl");
    place.run("certs revoke legacy").ok();
    let theirs = place.read("certs/issued.jsonl");
    place.write("certs/issued.jsonl", &base);
    place.write("certs/client.crl", &list);
    place.run("certs revoke edge").ok();
    // git's merge=union
    let ours = place.read("certs/issued.jsonl");
    place.write("certs/issued.jsonl", [&base, &theirs[base.len()..], &ours[base.len()..]].concat());
    assert!(is_good(&place, "certs/clients/legacy.crt"), "the list is the copy's own");
    place.run("certs crl").ok();
    assert!(!is_good(&place, "certs/clients/legacy.crt") && !is_good(&place, "certs/clients/edge.crt"));

    let mut text = String::from_utf8(place.read("certs/issued.jsonl")).unwrap();
    text.push_str("<<<<<<< HEAD\n");
    let lines = text.lines().count();
    place.write("certs/issued.jsonl", text);
    let told = place.run("certs revoke legacy").failure();
    assert!(told.contains(&format!("certs/issued.jsonl:{lines}: not an entry")), "{told}");
    assert!(told.contains("keep the lines of both sides"), "{told}");
}

#[test]
fn a_list_that_was_lost_comes_back_with_all_that_was_revoked() {
    let place = place();
    place.run("certs client legacy").ok();
    place.run("certs revoke legacy").ok();
    let number = |place: &Place| {
        let text = read(place, "crl -in certs/client.crl -noout -crlnumber");
        i64::from_str_radix(text.trim().rsplit(['=', 'x']).next().unwrap(), 16).unwrap()
    };
    let before = number(&place);
    fs::remove_file(place.path("certs/client.crl")).unwrap();
    place.run("certs crl").ok();
    assert!(!is_good(&place, "certs/clients/legacy.crt"));
    assert!(number(&place) > before, "its number is higher than any before it");
    fs::remove_file(place.path("certs/client.crl")).unwrap();
    place.run("certs client edge --spiffe spiffe://acme.example/edge/zurich").ok();
    place.run("certs revoke edge").ok();
    assert!(!is_good(&place, "certs/clients/legacy.crt") && !is_good(&place, "certs/clients/edge.crt"));
}

#[test]
fn a_ca_of_ones_own_keeps_what_it_revoked_when_it_is_given_again() {
    let place = Place::with(CONFIG);
    somebody_elses(&place);
    let init = "certs init --client-ca site-ca.crt --client-ca-key site-ca.key";
    place.run(init).ok();
    place.run("certs client legacy").ok();
    let told = place.run("certs revoke legacy").stderr;
    assert!(told.contains("takes out an earlier certificate or one that was issued elsewhere"), "{told}");
    let before = read(&place, "crl -in certs/client.crl -noout -crlnumber");
    place.run(&format!("{init} --force")).ok();
    assert!(!is_good(&place, "certs/clients/legacy.crt"));
    assert_ne!(read(&place, "crl -in certs/client.crl -noout -crlnumber"), before);
}

#[test]
fn where_cert_manager_issues_the_list_is_said_to_be_of_no_use() {
    let place = place();
    place.run("certs client legacy").ok();
    place.write("otlp-gate.yaml", format!("{CONFIG}certificates: {{certManager: {{}}}}\n"));
    let ended = place.run("certs revoke legacy");
    assert!(ended.stderr.contains("warning: cert-manager makes this gate's certificates"), "{ended:#?}");
    assert_eq!(ended.code, 0);
    fs::remove_dir_all(place.path("certs")).unwrap();
    assert_snapshot!("certs_revoke_managed", place.run("certs revoke legacy").failure());
}

#[test]
fn certificates_and_lists_are_from_an_hour_before_they_are_made() {
    let place = place();
    place.run("certs client legacy").ok();
    // whose clock is 59 minutes behind
    let then = read_clock() - 59 * 60;
    let args = format!(
        "-attime {then} -crl_check -x509_strict -CAfile certs/client-ca.crt -CRLfile certs/client.crl"
    );
    assert!(openssl(&place, &format!("verify {args} certs/clients/legacy.crt")).0);
    place.run("certs revoke legacy").ok();
    let (_, told) = openssl(&place, &format!("verify {args} certs/clients/legacy.crt"));
    assert!(told.contains("certificate revoked"), "{told}");
    assert!(
        openssl(&place, &format!("verify -attime {then} -CAfile certs/server-ca.crt certs/server.crt")).0
    );
    place.run("certs rotate client").ok();
    assert!(openssl(&place, &format!("verify {args} certs/verify/client.crt")).0, "a new CA's list too");
}

fn read_clock() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

#[test]
fn a_server_that_its_ca_does_not_outlive_is_said_to_end_with_it() {
    let place = Place::with(CONFIG);
    let told = place.run("certs init --ca-days 30 --days 90").stderr;
    assert!(told.contains("note: its CA ends in 29 days, and it with it"), "{told}");
}

#[test]
fn a_client_that_is_called_server_is_renewed_by_where_it_is() {
    let place = place();
    let told = place.run("certs client server --unchecked").stderr;
    assert!(told.contains("`clients/server` is this client"), "{told}");
    let serial = |place: &Place, file: &str| listed(place, file)["serial"].clone();
    let (client, server) = (serial(&place, "clients/server.crt"), serial(&place, "server.crt"));
    place.run("certs renew clients/server").ok();
    assert_ne!(serial(&place, "clients/server.crt"), client);
    assert_eq!(serial(&place, "server.crt"), server);
    assert_eq!(place.run("certs renew ../server").code, 2);
    place.run("certs revoke server").ok();
    assert_eq!(listed(&place, "clients/server.crt")["status"], json!("revoked"));
}

#[test]
fn init_writes_the_namespace_that_it_is_told() {
    let place = Place::new();
    place.run("-n otel init").ok();
    let text = String::from_utf8(place.read("otlp-gate.yaml")).unwrap();
    assert!(text.contains("gateway:\n  namespace: \"otel\"\n"), "{text}");
    place.run("check").ok();
    assert!(place.run("-n otel init --stdout").ok().contains("namespace: \"otel\""));
    assert_eq!(place.run("-n Otel! init --force").code, 2);
}

/// A revocation list of the folder's client CA as another CA's software would make it, from so many seconds from now.
fn list_from(place: &Place, seconds: i64) {
    let date = |seconds: i64| {
        let output = std::process::Command::new("date")
            .args([
                "-u",
                "-d",
                &format!("@{}", i64::try_from(read_clock()).unwrap() + seconds),
                "+%Y%m%d%H%M%SZ",
            ])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    place.write("index", "");
    place.write("number", "1000\n");
    place.write("ca.cnf", "[ca]\ndefault_ca=a\n[a]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\n");
    let args = format!(
        "ca -gencrl -config ca.cnf -cert certs/client-ca.crt -keyfile certs/client-ca.key -crl_lastupdate {} -crl_nextupdate {} -out certs/client.crl",
        date(seconds),
        date(864_000)
    );
    read(place, &args);
}

#[test]
fn a_list_from_the_future_is_told_with_its_cure_and_signed_anew() {
    let place = place();
    assert_eq!(place.run("check").stderr, "", "what `certs` made is good");
    place.run("certs client legacy").ok();
    place.run("certs revoke legacy").ok();
    list_from(&place, 40);
    let ended = place.run("check");
    assert!(ended.stderr.contains("the list of CN=otlp-gate client CA is from the future"), "{ended:#?}");
    assert!(ended.stderr.contains("set this machine's clock right if it is behind"), "{ended:#?}");
    // it lacks what the record has
    assert!(ended.stderr.contains("2 that certs/issued.jsonl says is revoked is not on it"), "{ended:#?}");
    let problems = place.run("check -o json").json();
    assert_eq!(
        (&problems["ok"], problems["problems"].as_array().unwrap().len()),
        (&json!(true), 2),
        "{problems}"
    );
    let init = "certs init --dir other --client-ca certs/client-ca.crt --client-crl certs/client.crl";
    let refused = place.run(init).failure();
    assert!(refused.contains("is from the future"), "{refused}");

    place.run("certs crl").ok();
    assert_eq!(place.run("check").stderr, "");
    assert!(!is_good(&place, "certs/clients/legacy.crt"));
    let number = read(&place, "crl -in certs/client.crl -noout -crlnumber");
    assert!(number.trim().ends_with("1001"), "{number}");
}

#[test]
fn a_list_that_is_not_dated_back_is_told_while_it_is_new() {
    let place = place();
    list_from(&place, -10);
    let told = place.run("check").stderr;
    assert!(told.contains("certs/client.crl: the list of CN=otlp-gate client CA is from 1"), "{told}");
    list_from(&place, -900);
    place.run("certs crl").ok();
    assert_eq!(place.run("check").stderr, "");
}

#[test]
fn what_was_made_later_than_now_is_told() {
    let place = place();
    let text = String::from_utf8(place.read("certs/issued.jsonl")).unwrap();
    let year = text.split("\"time\":\"").nth(1).unwrap()[..4].to_owned();
    let later = text.lines().last().unwrap().replacen(&format!("\"time\":\"{year}"), "\"time\":\"2126", 1);
    place.write("certs/issued.jsonl", format!("{text}{later}\n"));
    let told = place.run("check").stderr;
    assert!(told.contains("certs/issued.jsonl: its last entry is from 2126-"), "{told}");
    assert!(told.contains("this machine's clock is behind, or that of whoever made it was ahead"), "{told}");
}
