use crate::config::{Severity, Source};

/// What is found in a config with these keys under `nodeLocal`, each as its place and what is said.
fn found(node: &str, more: &str) -> Vec<(Severity, String, String)> {
    let text =
        format!("apiVersion: otlp-gate/v1\nclients: []\nnodeLocal: {{enabled: true, {node}}}\n{more}\n");
    let source = Source { name: "test".to_owned(), text };
    let report = match source.load() {
        Ok(loaded) => loaded.warnings,
        Err(report) => report,
    };
    report.findings.into_iter().map(|it| (it.severity, it.path, it.message)).collect()
}

#[track_caller]
fn only_error(node: &str, more: &str, path: &str, message: &str) {
    let expected = (Severity::Error, path.to_owned(), message.to_owned());
    assert_eq!(found(node, more), [expected], "{node} {more}");
}

fn rule(text: &str) -> String {
    format!("clients: [{{{text}}}]")
}

#[test]
fn valid_configs_have_no_problems() {
    let gate = "export: {gate: {endpoint: 'x:4317', clientSecret: edge}}";
    for (node, more) in [
        ("", ""),
        ("queue: durable, mesh: off", ""),
        ("acknowledge: delivered", ""),
        (gate, "gateway: {enabled: false}"),
        ("export: {exporters: {debug: null}}", ""),
        (
            "clients: [{name: '{team}-{namespace}', match: {namespace: 'team-{team}', labels: {app: 'a*'}}, \
             attributes: {a: '{name} {team} {namespace}'}}]",
            "",
        ),
    ] {
        assert_eq!(found(node, more), [], "{node} {more}");
    }
}

#[test]
fn a_config_without_a_gateway_and_an_export_is_rejected() {
    let message = "without a gateway, telemetry needs a node-local gateway and `nodeLocal.export`";
    only_error("", "gateway: {enabled: false}", "gateway.enabled", message);
    let text = "apiVersion: otlp-gate/v1\nclients: []\ngateway: {enabled: false}\n".to_owned();
    let report = Source { name: "test".to_owned(), text }.load().unwrap_err();
    assert_eq!(report.findings.iter().map(|it| it.message.as_str()).collect::<Vec<_>>(), [message]);
}

#[test]
fn the_namespace_of_the_gateway_is_rejected() {
    let message = "it is the gateway's namespace: pods there must not have the privileges that node-local pods may need";
    only_error("namespace: otel-collector", "", "nodeLocal.namespace", message);
}

#[test]
fn invalid_names_and_addresses_are_rejected() {
    let name = "`A_b` is not a valid name in Kubernetes";
    only_error("namespace: A_b", "", "nodeLocal.namespace", name);
    let secret = "export: {gate: {endpoint: 'x:1', clientSecret: A_b}}";
    only_error(secret, "", "nodeLocal.export.gate.clientSecret", name);
    for endpoint in ["x", ":4317", "https://x:4317", "x:port", "x:70000"] {
        let gate = format!("export: {{gate: {{endpoint: '{endpoint}', clientSecret: edge}}}}");
        let message = format!("`{endpoint}` is not HOST:PORT");
        only_error(&gate, "", "nodeLocal.export.gate.endpoint", &message);
    }
    only_error("export: {exporters: {}}", "", "nodeLocal.export.exporters", "there is no exporter");
}

#[test]
fn a_durable_queue_does_not_wait_for_the_backend() {
    let message = "a durable queue always answers when it has written to disk";
    only_error("queue: durable, acknowledge: delivered", "", "nodeLocal.acknowledge", message);
}

#[test]
fn a_rule_needs_a_valid_match() {
    only_error(&rule("name: a, match: {}"), "", "nodeLocal.clients[0].match", "the match is empty");
    let side_by_side = rule("name: a, match: {namespace: 'a**{b}'}");
    let [(_, path, _)] = found(&side_by_side, "").try_into().unwrap();
    assert_eq!(path, "nodeLocal.clients[0].match.namespace");
}

#[test]
fn a_capture_has_a_name_of_its_own() {
    for (matches, path, word) in [
        ("{namespace: '{name}'}", "namespace", "name"),
        ("{namespace: 'x-{namespace}'}", "namespace", "namespace"),
        ("{namespace: 'x-{spiffe}'}", "namespace", "spiffe"),
        ("{namespace: 'x-{a}', labels: {app: '{a}'}}", "labels.app", "a"),
    ] {
        let message = format!("{{{word}}} is already defined");
        let path = format!("nodeLocal.clients[0].match.{path}");
        only_error(&rule(&format!("name: x, match: {matches}")), "", &path, &message);
    }
}

#[test]
fn templates_use_only_placeholders_that_pods_have() {
    let attributes = rule("name: a, match: {namespace: a}, attributes: {tenant.id: '{spiffe}'}");
    let path = "nodeLocal.clients[0].attributes[\"tenant.id\"]";
    only_error(&attributes, "", path, "unknown placeholder {spiffe}");
    let name = rule("name: '{team}', match: {namespace: a}");
    only_error(&name, "", "nodeLocal.clients[0].name", "unknown placeholder {team}");
    let itself = rule("name: '{name}', match: {namespace: a}");
    only_error(&itself, "", "nodeLocal.clients[0].name", "unknown placeholder {name}");
}

#[test]
fn rules_cannot_set_the_reserved_attribute() {
    let own = rule("name: a, match: {namespace: a}, attributes: {otlp_gate.verify: x}");
    only_error(&own, "", "nodeLocal.clients[0].attributes[\"otlp_gate.verify\"]", "invalid key");
}

#[test]
fn owned_attributes_that_no_pod_gets_are_warned_of() {
    let [(severity, path, _)] = found("", "attributes: {tenant.id: a}").try_into().unwrap();
    assert_eq!((severity, path.as_str()), (Severity::Warning, "nodeLocal.clients"));
}
