//! `client-config`: what a client needs to send through the gate.

use insta::assert_snapshot;
use serde_json::Value;

use crate::Place;

const CONFIG: &str = "apiVersion: otlp-gate/v1
gateway: {hostname: otel.example.com}
clients: [{name: acme, match: {spiffe: \"spiffe://acme.example/1\"}}]
";

fn place() -> Place {
    let place = Place::with(CONFIG);
    place.run("certs init").ok();
    place.run("certs client acme").ok();
    place
}

#[test]
fn a_collector_gets_its_configuration() {
    assert_snapshot!("client_config_collector", place().run("client-config acme --dir /etc/otelcol").stdout);
}

#[test]
fn the_servers_name_is_told_where_the_address_is_another() {
    let place = place();
    let config = place.run("client-config acme --address 203.0.113.7:4317 -o json").stdout;
    let config: Value = serde_json::from_str(&config).unwrap();
    let exporter = &config["exporters"]["otlp_grpc"];
    assert_eq!(exporter["endpoint"], "203.0.113.7:4317");
    assert_eq!(exporter["tls"]["server_name_override"], "otel.example.com");
    for address in ["203.0.113.7", ":4317", "host:port"] {
        let refused = place.run(&format!("client-config acme --address {address}"));
        assert_eq!(refused.code, 2, "{refused:?}");
    }
}

#[test]
fn sdks_get_variables_that_a_shell_understands() {
    assert_snapshot!("client_config_sdk", place().run("client-config acme --for sdk --dir /etc/it's").stdout);
    let object = place().run("client-config acme --for sdk -o json").json();
    assert_eq!(object["OTEL_EXPORTER_OTLP_PROTOCOL"], "grpc");
}

#[test]
fn a_secret_holds_the_clients_key_and_no_others() {
    let place = place();
    let secret = place.run("client-config acme --for secret -o json").stdout;
    let secret: Value = serde_json::from_str(&secret).unwrap();
    assert_eq!(secret["metadata"]["name"], "otlp-gate-client-acme");
    let keys: Vec<&String> = secret["data"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["ca.crt", "tls.crt", "tls.key"]);
}

#[test]
fn a_client_without_a_certificate_is_told_how_to_get_one() {
    assert_snapshot!("client_config_missing", Place::with(CONFIG).run("client-config acme").failure());
}

#[test]
fn a_client_of_cert_managers_is_told_what_comes_from_where() {
    let place = Place::with(&format!("{CONFIG}certificates: {{certManager: {{}}}}\n"));
    let given = place.run("client-config acme -o json");
    let config: Value = serde_json::from_str(&given.stdout).unwrap();
    let tls = &config["exporters"]["otlp_grpc"]["tls"];
    let files = ["cert_file", "key_file", "ca_file"].map(|key| tls[key].as_str().unwrap());
    assert_eq!(files, ["/etc/otlp-gate/tls.crt", "/etc/otlp-gate/tls.key", "/etc/otlp-gate/ca.crt"]);
    assert_snapshot!("client_config_managed", given.stderr);
    assert!(place.run("client-config acme --for sdk").ok().contains("=/etc/otlp-gate/tls.key\n"));
    assert_snapshot!("client_config_managed_secret", place.run("client-config acme --for secret").failure());
}

#[test]
fn who_would_not_get_in_is_told_so() {
    let place = place();
    assert_eq!(place.run("client-config acme").stderr, "");
    place.run("certs revoke acme").ok();
    let ended = place.run("client-config acme");
    assert!(ended.stderr.starts_with("warning: the certificate of acme is revoked"), "{ended:#?}");
    ended.ok();
}
