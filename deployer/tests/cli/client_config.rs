//! `client-config`.

use insta::assert_snapshot;
use serde_json::Value;

use crate::Sandbox;

const CONFIG: &str = "apiVersion: otlp-gate/v1
gateway: {hostname: otel.example.com}
clients: [{name: acme, match: {spiffe: \"spiffe://acme.example/1\"}}]
";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with(CONFIG);
    sandbox.run("certs init").ok();
    sandbox.run("certs client acme").ok();
    sandbox
}

#[test]
fn a_collector_gets_its_configuration() {
    assert_snapshot!(
        "client_config_collector",
        sandbox().run("client-config acme --dir /etc/otelcol").stdout
    );
}

#[test]
fn the_servers_name_is_told_where_the_address_is_another() {
    let sandbox = sandbox();
    let config = sandbox.run("client-config acme --address 203.0.113.7:4317 -o json").stdout;
    let config: Value = serde_json::from_str(&config).unwrap();
    let exporter = &config["exporters"]["otlp_grpc"];
    assert_eq!(exporter["endpoint"], "203.0.113.7:4317");
    assert_eq!(exporter["tls"]["server_name_override"], "otel.example.com");
    for address in ["203.0.113.7", ":4317", "host:port"] {
        let refused = sandbox.run(&format!("client-config acme --address {address}"));
        assert_eq!(refused.code, 2, "{refused:?}");
    }
}

#[test]
fn sdks_get_variables_that_a_shell_understands() {
    assert_snapshot!(
        "client_config_sdk",
        sandbox().run("client-config acme --for sdk --dir /etc/it's").stdout
    );
    let object = sandbox().run("client-config acme --for sdk -o json").json();
    assert_eq!(object["OTEL_EXPORTER_OTLP_PROTOCOL"], "grpc");
}

#[test]
fn a_secret_holds_the_clients_key_and_no_others() {
    let sandbox = sandbox();
    let secret = sandbox.run("client-config acme --for secret -o json").stdout;
    let secret: Value = serde_json::from_str(&secret).unwrap();
    assert_eq!(secret["metadata"]["name"], "otlp-gate-client-acme");
    let keys: Vec<&String> = secret["data"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["ca.crt", "tls.crt", "tls.key"]);
}

#[test]
fn a_client_without_a_certificate_is_told_how_to_get_one() {
    assert_snapshot!("client_config_missing", Sandbox::with(CONFIG).run("client-config acme").failure());
}

#[test]
fn a_client_of_cert_managers_is_told_what_comes_from_where() {
    let sandbox = Sandbox::with(&format!("{CONFIG}certificates: {{certManager: {{}}}}\n"));
    let given = sandbox.run("client-config acme -o json");
    let config: Value = serde_json::from_str(&given.stdout).unwrap();
    let tls = &config["exporters"]["otlp_grpc"]["tls"];
    let files = ["cert_file", "key_file", "ca_file"].map(|key| tls[key].as_str().unwrap());
    assert_eq!(files, ["/etc/otlp-gate/tls.crt", "/etc/otlp-gate/tls.key", "/etc/otlp-gate/ca.crt"]);
    assert_snapshot!("client_config_managed", given.stderr);
    assert!(sandbox.run("client-config acme --for sdk").ok().contains("=/etc/otlp-gate/tls.key\n"));
    assert_snapshot!(
        "client_config_managed_secret",
        sandbox.run("client-config acme --for secret").failure()
    );
}

#[test]
fn a_public_ca_is_not_named() {
    let issuer = "certManager: {server: {name: le, kind: ClusterIssuer}}";
    let public =
        format!("{CONFIG}clientCAs: [{{name: own}}]\ncertificates: {{serverCA: public, {issuer}}}\n");
    let sandbox = Sandbox::with(&public);
    sandbox.run("certs init").ok();
    sandbox.run("certs client acme").ok();
    let config = sandbox.run("client-config acme -o json").json();
    let tls = &config["exporters"]["otlp_grpc"]["tls"];
    assert!(
        tls.get("ca_file").is_none() && tls["cert_file"].as_str().unwrap().ends_with("acme.crt"),
        "{tls}"
    );
    let variables = sandbox.run("client-config acme --for sdk").ok();
    assert!(!variables.contains("export OTEL_EXPORTER_OTLP_CERTIFICATE="), "{variables}");
    // Python's gRPC exporter would present no certificate.
    assert!(variables.contains("# OTEL_EXPORTER_OTLP_CERTIFICATE is set too"), "{variables}");
    let http = sandbox.run("client-config acme --for sdk --protocol http/protobuf").ok();
    assert!(!http.contains("OTEL_EXPORTER_OTLP_CERTIFICATE"), "{http}");
    let secret = sandbox.run("client-config acme --for secret -o json").json();
    let keys: Vec<&String> = secret["data"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["tls.crt", "tls.key"]);

    // With a private CA, the user is told where it is.
    sandbox.write("otlp-gate.yaml", public.replace("serverCA: public, ", ""));
    let told = sandbox.run("client-config acme");
    assert!(told.stderr.contains("kubectl get secret otel-gateway-server -n otel-collector"), "{told:#?}");
    assert!(told.ok().contains("server-ca.crt"));
    let managed = format!("{CONFIG}certificates: {{serverCA: public, {issuer}}}\n");
    let told = Sandbox::with(&managed).run("client-config acme");
    assert!(!told.stderr.contains("ca.crt"), "{told:#?}");
    assert!(!told.ok().contains("ca_file"));
}

#[test]
fn who_would_not_get_in_is_told_so() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run("client-config acme").stderr, "");
    sandbox.run("certs revoke acme").ok();
    let ended = sandbox.run("client-config acme");
    assert!(ended.stderr.starts_with("warning: the certificate of acme is revoked"), "{ended:#?}");
    ended.ok();
}

#[test]
fn http_gets_its_own_port_and_names() {
    let sandbox = sandbox();
    assert_snapshot!(
        "client_config_collector_http",
        sandbox.run("client-config acme --dir /etc/otelcol --protocol http/protobuf").stdout
    );
    assert_snapshot!(
        "client_config_sdk_http",
        sandbox.run("client-config acme --for sdk --dir /etc/otel --protocol http/protobuf").stdout
    );
    let object = sandbox.run("client-config acme --for sdk --protocol http/protobuf -o json").json();
    assert_eq!(object["OTEL_EXPORTER_OTLP_PROTOCOL"], "http/protobuf");
    assert_eq!(object["OTEL_EXPORTER_OTLP_ENDPOINT"], "https://otel.example.com:4318");
}

#[test]
fn a_secret_says_what_its_pod_sets() {
    let sandbox = sandbox();
    let text = sandbox.run("client-config acme --for secret --protocol http/protobuf --dir /certs").ok();
    let comments: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
    assert_snapshot!("client_config_secret_comments", comments.join("\n"));
    assert!(text.contains("\nkind: Secret\n"), "{text}");
    assert!(
        sandbox.run("client-config acme --for secret").ok().contains("value: \"/etc/otlp-gate/tls.key\"}")
    );
}

#[test]
fn what_is_exported_is_what_a_shell_reads() {
    let sandbox = sandbox();
    let script =
        r#"eval "$("$0" client-config acme --for sdk --protocol http/protobuf --address "$1")" && env"#;
    let output = std::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_otlp-gate"), "[::1]:4318"])
        .current_dir(sandbox.folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().any(|it| it == "OTEL_EXPORTER_OTLP_ENDPOINT=https://[::1]:4318"), "{text}");
    assert_eq!(text.matches("OTEL_EXPORTER_OTLP_").count(), 6, "{text}");
}

#[test]
fn sdks_are_only_warned_of_addresses_that_the_servers_certificate_lacks() {
    let sandbox = sandbox();
    let message = |sandbox: &Sandbox, address: &str| {
        sandbox.run(&format!("client-config acme --for sdk --address {address}")).stderr
    };
    let note = message(&sandbox, "203.0.113.7:4317");
    let command = "otlp-gate certs server --force --hostname otel.example.com --hostname 203.0.113.7";
    assert!(note.contains(command), "{note}");
    sandbox.run(command.strip_prefix("otlp-gate ").unwrap()).ok();
    assert_eq!(message(&sandbox, "203.0.113.7:4317"), "");
    assert_eq!(message(&sandbox, "otel.example.com:443"), "");

    let managed = Sandbox::with(&format!("{CONFIG}certificates: {{certManager: {{}}}}\n"));
    let note = message(&managed, "203.0.113.7:4317");
    assert!(
        note.contains("which cannot be an IP address: make otel.example.com resolve on the client"),
        "{note}"
    );
    let note = message(&managed, "other.example.com:4317");
    assert!(note.contains("change that to other.example.com"), "{note}");
}

#[test]
fn of_a_pattern_one_name_is_taken_and_any_is_good() {
    let sandbox = Sandbox::with(&CONFIG.replace("otel.example.com", "\"*.example.com\""));
    sandbox.run("certs init").ok();
    sandbox.run("certs client acme").ok();
    let ended = sandbox.run("client-config acme --for sdk");
    assert!(ended.stdout.contains("https://otlp.example.com:4317\n"), "{ended:#?}");
    assert!(ended.stderr.contains("using otlp.example.com"), "{ended:#?}");
    let ended = sandbox.run("client-config acme --address berlin.example.com:4317 -o json");
    assert_eq!((ended.stderr.as_str(), ended.stdout.contains("server_name_override")), ("", false));
}

#[test]
fn a_configuration_without_a_gateway_has_none_to_send_to() {
    let text = "apiVersion: otlp-gate/v1
gateway: {enabled: false}
clients: []
nodeLocal: {enabled: true, export: {gate: {endpoint: \"otel.example.com:4317\", clientSecret: edge}}}
";
    let message = Sandbox::with(text).run("client-config acme").failure();
    assert!(message.contains("the configuration has no gateway"), "{message}");
}
