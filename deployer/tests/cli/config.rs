//! `init`, `check` and `schema`.

use insta::assert_snapshot;
use serde_json::json;

use crate::Sandbox;

/// A config with one client, and more at its end.
fn config(more: &str) -> String {
    format!(
        "apiVersion: otlp-gate/v1\nclients:\n  - name: acme\n    match: {{spiffe: spiffe://acme/edge}}\n{more}"
    )
}

#[test]
fn what_init_writes_is_checked_and_not_overwritten() {
    let sandbox = Sandbox::new();
    sandbox.run("init").ok();
    assert_snapshot!("check", sandbox.run("check").ok());
    assert_eq!(sandbox.run("check").stderr, "", "no warnings");
    sandbox.write("otlp-gate.yaml", "mine");
    assert_snapshot!("init_exists", sandbox.run("init").failure());
    assert_eq!(sandbox.read("otlp-gate.yaml"), b"mine");
    sandbox.run("init --force").ok();
    assert_eq!(sandbox.read("otlp-gate.yaml"), sandbox.run("init --stdout").ok().as_bytes());
    assert_eq!(sandbox.run("-f - init").ok(), sandbox.run("init --stdout").ok());
}

#[test]
fn a_tiny_config_is_enough() {
    let ended = Sandbox::with(&config("")).run("check");
    assert_eq!(ended.stderr, "");
    assert_snapshot!("check_tiny", ended.ok());
}

#[test]
fn a_config_without_a_gateway_is_summarised_as_such() {
    let text = "apiVersion: otlp-gate/v1\nclients: []\ngateway: {enabled: false}\nnodeLocal: {enabled: true, \
                export: {gate: {endpoint: 'gate.example.com:4317', clientSecret: edge}}}\n";
    let summary = Sandbox::with(text).run("check").ok();
    assert!(
        summary.ends_with("is valid: node-local gateway only, no pod rules: telemetry is unattributed\n"),
        "{summary}"
    );
}

#[test]
fn standard_input_is_checked_like_a_file() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run_with("-f - check -o json", config("").as_bytes());
    assert_eq!(ended.json(), json!({"ok": true, "problems": []}));
    assert_snapshot!("check_stdin", sandbox.run_with("-f - check", b"clients: 5").failure());
}

#[test]
fn files_that_cannot_be_read_are_named() {
    assert_snapshot!("no_file", Sandbox::new().run("check").failure());
    assert_snapshot!("a_folder", Sandbox::new().run("-f . check").failure());
    assert_snapshot!("not_utf8", Sandbox::new().run_with("-f - check", b"a: b\nc: \xff").failure());
    assert_snapshot!("empty_file", Sandbox::with("# nothing yet\n").run("check").failure());
}

/// Common errors, as they are shown.
#[test]
fn errors_in_the_structure_are_shown_at_their_positions() {
    for (name, text) in [
        ("unclosed", "apiVersion: otlp-gate/v1\nclients: [\n  {name: acme,\n".to_owned()),
        ("tab", "apiVersion: otlp-gate/v1\nclients:\n\t- name: acme\n".to_owned()),
        ("no_clients", "apiVersion: otlp-gate/v1\n".to_owned()),
        ("no_match", "apiVersion: otlp-gate/v1\nclients:\n  - name: acme\n".to_owned()),
        ("version", "apiVersion: otlp-gate/v2\nclients: []\n".to_owned()),
        ("near_miss", config("quota: {tiers: {}}\n")),
        ("near_miss_inside", config("gateway:\n  hostnme: otel.example.com\n")),
        ("misplaced", config("hostname: otel.example.com\n")),
        ("number", config("gateway: {replicas: two}\n")),
        ("zero", config("gateway: {replicas: 0}\n")),
        ("port", config("gateway: {listeners: {grpc: 70000}}\n")),
        ("nothing", config("gateway:\n")),
        ("list_for_map", config("gateway: [istio]\n")),
        ("map_for_list", config("deny: {sha256: 00}\n")),
        ("list_for_text", config("attributes: {tenant.id: [acme]}\n")),
        ("provider", config("gateway: {provider: isto}\n")),
        ("both_backends", config("backend: {collector: {}, service: {name: otel}}\n")),
        ("no_service_name", config("backend:\n  service: {namespace: otel}\n")),
        ("no_backend", config("backend: {}\n")),
        ("number_for_text", config("attributes: {tenant.id: 42}\n")),
        ("number_for_size", config("limits: {wire: 16}\n")),
        ("yes", config("nodeLocal: {enabled: yes}\n")),
        ("boolean", config("nodeLocal: {enabled: maybe}\n")),
        ("rate_without_unit", config("quotas: {tiers: {default: {items: 5000}}}\n")),
        ("rate_per_minute", config("quotas: {tiers: {default: {items: 5k/m}}}\n")),
        ("number_too_large", config("gateway: {replicas: 99999999999}\n")),
        ("key_twice", config("deny: []\ndeny: []\n")),
        ("two_documents", config("---\na: b\n")),
    ] {
        assert_snapshot!(name, Sandbox::with(&text).run("check").failure());
    }
}

/// Several errors that are found after the file has been parsed.
const INVALID: &str = r#"apiVersion: otlp-gate/v1
gateway: {hostname: "Not a host", listeners: {grpc: 4318}}
clients:
  - name: acme
    match: {spiffe: "spiffe://acme/edge"}
    quota: gould
  - name: "{org}-{site}"
    match: {dns: "{site}.{org}.partners.example"}
    attributes: {tenant.id: "{orgg}"}
  - name: globex
    match:
      - {}
      - dns: upper case
deny: ["sha256:00"]
quotas:
  tiers:
    gold: {items: 100/s}
"#;

#[test]
fn rules_that_can_give_one_name_to_two_clients_are_rejected() {
    let text = config("  - {name: \"{org}-{site}\", match: {dns: \"{site}.{org}.partners.example\"}}\n")
        + "  - {name: globex-zurich, match: {dns: zurich.example}}\n";
    assert_snapshot!("collision", Sandbox::with(&text).run("check").failure());
}

#[test]
fn names_that_no_cluster_accepts_are_rejected() {
    let long = "gate".repeat(14);
    let text = config(&format!("gateway: {{name: {long}, module: {{url: registry.example/gate:1}}}}\n"));
    assert_snapshot!("gateway", Sandbox::with(&text).run("check").failure());
}

#[test]
fn all_errors_are_shown_at_once() {
    assert_snapshot!("meaningless", Sandbox::with(INVALID).run("check").failure());
}

#[test]
fn json_has_the_position_of_each_problem_and_is_one_line() {
    let ended = Sandbox::with(INVALID).run("check -o json");
    assert_eq!((ended.code, ended.stderr.as_str()), (1, ""));
    assert_eq!(ended.stdout.matches('\n').count(), 1);
    let outcome: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(outcome["ok"], json!(false));
    let problems = outcome["problems"].as_array().unwrap();
    let gold = problems.iter().find(|it| it["path"] == "clients[0].quota").unwrap();
    assert_eq!((&gold["line"], &gold["column"]), (&json!(6), &json!(12)));
    assert_eq!((&gold["severity"], &gold["message"]), (&json!("error"), &json!("unknown tier `gould`")));
    let small = problems.iter().find(|it| it["path"] == "quotas.tiers.gold.items").unwrap();
    assert_eq!((&small["severity"], &small["line"]), (&json!("warning"), &json!(17)));
}

#[test]
fn warnings_are_shown_and_do_not_fail() {
    let sandbox = Sandbox::with(&config("quotas: {tiers: {default: {items: 100/s}}}\n"));
    let ended = sandbox.run("check");
    assert_snapshot!("warning", ended.stderr);
    assert!(ended.ok().starts_with("otlp-gate.yaml is valid"));
    let outcome = sandbox.run("check -o json").json();
    assert_eq!(outcome["ok"], json!(true));
    assert_eq!(outcome["problems"].as_array().unwrap().len(), 1);
}

#[test]
fn verify_needs_a_gateway() {
    let text = "apiVersion: otlp-gate/v1\nclients: []\ngateway: {enabled: false}\n\
                nodeLocal: {enabled: true, export: {exporters: {debug: {}}}}\n";
    assert_snapshot!("no_gateway", Sandbox::with(text).run("verify").failure());
}

#[test]
fn a_hostname_that_is_an_address_is_rejected_with_a_hint() {
    let text = config("gateway: {hostname: 10.0.0.5}\n");
    assert_snapshot!("hostname_address", Sandbox::with(&text).run("check").failure());
    for command in ["render --out out", "certs init"] {
        let shown = Sandbox::with(&text).run(command).failure();
        assert!(shown.contains("it is an IP address, and listeners need a name"), "{shown}");
    }
}

#[test]
fn a_number_in_a_pattern_of_a_subject_must_be_quoted() {
    let text = "apiVersion: otlp-gate/v1\nclients:\n  - {name: a, match: {subject: {OU: 42}}}\n";
    assert_snapshot!("number_for_pattern", Sandbox::with(text).run("check").failure());
}

#[test]
fn an_alias_is_shown_where_it_is_used() {
    let text =
        "apiVersion: otlp-gate/v1\nclients:\n  - &a {name: a, match: {dns: a.b}}\n  - {<<: *a, nam: b}\n";
    assert_snapshot!("alias", Sandbox::with(text).run("check").failure());
}

#[test]
fn byte_order_marks_and_windows_line_ends_are_ignored() {
    let text = config("").replace("v1", "v2").replace('\n', "\r\n");
    let plain = Sandbox::with(&text).run("check -o json").stdout;
    let marked = Sandbox::with(&format!("\u{feff}{text}")).run("check -o json").stdout;
    assert!(plain.contains(r#""line":1,"column":13"#), "{plain}");
    assert_eq!(plain, marked);
}

#[test]
fn the_schema_is_json_and_knows_every_key_that_init_uses() {
    let schema: serde_json::Value = serde_json::from_str(&Sandbox::new().run("schema").ok()).unwrap();
    for key in ["apiVersion", "gateway", "clients", "unknown", "attributes", "headers", "quotas"] {
        assert!(schema["properties"][key]["description"].is_string(), "{key}");
    }
    assert_eq!(schema["additionalProperties"], json!(false));
}

#[test]
fn of_very_many_errors_the_first_are_shown_and_the_others_counted() {
    let denied = "  - wrong\n".repeat(30_000);
    let sandbox = Sandbox::with(&config(&format!("deny:\n{denied}")));
    let shown = sandbox.run("check").failure();
    assert!(
        shown.matches("error: ").count() == 50 && shown.contains("and 29950 more: `otlp-gate check -o json`")
    );
    assert!(
        shown.trim_end().ends_with("30000 errors in otlp-gate.yaml"),
        "{}",
        shown.lines().last().unwrap()
    );
}

#[test]
fn init_writes_the_namespace_that_it_is_told() {
    let sandbox = Sandbox::new();
    sandbox.run("-n otel init").ok();
    let text = String::from_utf8(sandbox.read("otlp-gate.yaml")).unwrap();
    assert!(text.contains("gateway:\n  namespace: \"otel\"\n"), "{text}");
    sandbox.run("check").ok();
    assert!(sandbox.run("-n otel init --stdout").ok().contains("namespace: \"otel\""));
    assert_eq!(sandbox.run("-n Otel! init --force").code, 2);
}
