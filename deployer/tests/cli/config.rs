//! `init`, `check` and `schema`.

use insta::assert_snapshot;
use serde_json::json;

use crate::Place;

/// A config with one client, and more at its end.
fn config(more: &str) -> String {
    format!(
        "apiVersion: otlp-gate/v1\nclients:\n  - name: acme\n    match: {{spiffe: spiffe://acme/edge}}\n{more}"
    )
}

#[test]
fn what_init_writes_is_checked_and_not_overwritten() {
    let place = Place::new();
    place.run("init").ok();
    assert_snapshot!("check", place.run("check").ok());
    assert_eq!(place.run("check").stderr, "", "no warnings");
    place.write("otlp-gate.yaml", "mine");
    assert_snapshot!("init_exists", place.run("init").failure());
    assert_eq!(place.read("otlp-gate.yaml"), b"mine");
    place.run("init --force").ok();
    assert_eq!(place.read("otlp-gate.yaml"), place.run("init --stdout").ok().as_bytes());
    assert_eq!(place.run("-f - init").ok(), place.run("init --stdout").ok());
}

#[test]
fn a_tiny_config_is_enough() {
    let ended = Place::with(&config("")).run("check");
    assert_eq!(ended.stderr, "");
    assert_snapshot!("check_tiny", ended.ok());
}

#[test]
fn a_cluster_without_a_gateway_is_said_to_have_none() {
    let text = "apiVersion: otlp-gate/v1\nclients: []\ngateway: {enabled: false}\nnodeLocal: {enabled: true, \
                export: {gate: {endpoint: 'gate.example.com:4317', clientSecret: edge}}}\n";
    let said = Place::with(text).run("check").ok();
    assert!(
        said.ends_with("is valid: no gateway but one on every node, whose pods' telemetry is nobody's\n"),
        "{said}"
    );
}

#[test]
fn standard_input_is_checked_like_a_file() {
    let place = Place::new();
    let ended = place.run_with("-f - check -o json", config("").as_bytes());
    assert_eq!(ended.json(), json!({"ok": true, "problems": []}));
    assert_snapshot!("check_stdin", place.run_with("-f - check", b"clients: 5").failure());
}

#[test]
fn files_that_cannot_be_read_are_named() {
    assert_snapshot!("no_file", Place::new().run("check").failure());
    assert_snapshot!("a_folder", Place::new().run("-f . check").failure());
    assert_snapshot!("not_utf8", Place::new().run_with("-f - check", b"a: b\nc: \xff").failure());
    assert_snapshot!("empty_file", Place::with("# nothing yet\n").run("check").failure());
}

/// Each is a mistake that people make, shown as they see it.
#[test]
fn mistakes_in_the_files_shape_are_shown_in_their_place() {
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
        assert_snapshot!(name, Place::with(&text).run("check").failure());
    }
}

/// What can only be seen when the whole file is understood: everything at once.
const MEANINGLESS: &str = r#"apiVersion: otlp-gate/v1
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
fn rules_that_can_give_one_name_to_two_clients_are_refused() {
    let text = config("  - {name: \"{org}-{site}\", match: {dns: \"{site}.{org}.partners.example\"}}\n")
        + "  - {name: globex-zurich, match: {dns: zurich.example}}\n";
    assert_snapshot!("collision", Place::with(&text).run("check").failure());
}

#[test]
fn a_gateway_that_no_cluster_would_take_is_refused_before_one_is_asked() {
    let long = "gate".repeat(14);
    let text = config(&format!("gateway: {{name: {long}, module: {{url: registry.example/gate:1}}}}\n"));
    assert_snapshot!("gateway", Place::with(&text).run("check").failure());
}

#[test]
fn all_mistakes_of_meaning_are_shown_at_once() {
    assert_snapshot!("meaningless", Place::with(MEANINGLESS).run("check").failure());
}

#[test]
fn json_gives_each_problem_its_place_and_is_one_line() {
    let ended = Place::with(MEANINGLESS).run("check -o json");
    assert_eq!((ended.code, ended.stderr.as_str()), (1, ""));
    assert_eq!(ended.stdout.matches('\n').count(), 1);
    let outcome: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(outcome["ok"], json!(false));
    let problems = outcome["problems"].as_array().unwrap();
    let gold = problems.iter().find(|it| it["path"] == "clients[0].quota").unwrap();
    assert_eq!((&gold["line"], &gold["column"]), (&json!(6), &json!(12)));
    assert_eq!((&gold["severity"], &gold["message"]), (&json!("error"), &json!("there is no tier `gould`")));
    let small = problems.iter().find(|it| it["path"] == "quotas.tiers.gold.items").unwrap();
    assert_eq!((&small["severity"], &small["line"]), (&json!("warning"), &json!(17)));
}

#[test]
fn warnings_are_told_and_do_not_fail() {
    let place = Place::with(&config("quotas: {tiers: {default: {items: 100/s}}}\n"));
    let ended = place.run("check");
    assert_snapshot!("warning", ended.stderr);
    assert!(ended.ok().starts_with("otlp-gate.yaml is valid"));
    let outcome = place.run("check -o json").json();
    assert_eq!(outcome["ok"], json!(true));
    assert_eq!(outcome["problems"].as_array().unwrap().len(), 1);
}

#[test]
fn a_gateway_that_is_not_there_is_not_tried() {
    let text = "apiVersion: otlp-gate/v1\nclients: []\ngateway: {enabled: false}\n\
                nodeLocal: {enabled: true, export: {exporters: {debug: {}}}}\n";
    assert_snapshot!("no_gateway", Place::with(text).run("verify").failure());
}

#[test]
fn a_hostname_that_is_an_address_is_refused_with_what_to_do() {
    let text = config("gateway: {hostname: 10.0.0.5}\n");
    assert_snapshot!("hostname_address", Place::with(&text).run("check").failure());
    for command in ["render --out out", "certs init"] {
        let told = Place::with(&text).run(command).failure();
        assert!(told.contains("it is an IP address, and a gateway's listeners go by name"), "{told}");
    }
}

#[test]
fn a_number_among_the_patterns_of_a_subject_is_to_be_quoted() {
    let text = "apiVersion: otlp-gate/v1\nclients:\n  - {name: a, match: {subject: {OU: 42}}}\n";
    assert_snapshot!("number_for_pattern", Place::with(text).run("check").failure());
}

#[test]
fn an_alias_is_shown_where_it_is_used() {
    let text =
        "apiVersion: otlp-gate/v1\nclients:\n  - &a {name: a, match: {dns: a.b}}\n  - {<<: *a, nam: b}\n";
    assert_snapshot!("alias", Place::with(text).run("check").failure());
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_part_of_the_text() {
    let text = config("").replace("v1", "v2").replace('\n', "\r\n");
    let plain = Place::with(&text).run("check -o json").stdout;
    let marked = Place::with(&format!("\u{feff}{text}")).run("check -o json").stdout;
    assert!(plain.contains(r#""line":1,"column":13"#), "{plain}");
    assert_eq!(plain, marked);
}

#[test]
fn the_schema_is_json_and_knows_every_key_that_init_uses() {
    let schema: serde_json::Value = serde_json::from_str(&Place::new().run("schema").ok()).unwrap();
    for key in ["apiVersion", "gateway", "clients", "unknown", "attributes", "headers", "quotas"] {
        assert!(schema["properties"][key]["description"].is_string(), "{key}");
    }
    assert_eq!(schema["additionalProperties"], json!(false));
}

#[test]
fn of_very_many_mistakes_the_first_are_shown_and_the_others_counted() {
    let denied = "  - wrong\n".repeat(30_000);
    let place = Place::with(&config(&format!("deny:\n{denied}")));
    let told = place.run("check").failure();
    assert!(
        told.matches("error: ").count() == 50 && told.contains("and 29950 more: `otlp-gate check -o json`")
    );
    assert!(told.trim_end().ends_with("30000 errors in otlp-gate.yaml"), "{}", told.lines().last().unwrap());
}
