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
fn only_mistake(node: &str, more: &str, path: &str, message: &str) {
    let expected = (Severity::Error, path.to_owned(), message.to_owned());
    assert_eq!(found(node, more), [expected], "{node} {more}");
}

fn rule(text: &str) -> String {
    format!("clients: [{{{text}}}]")
}

#[test]
fn what_makes_sense_passes() {
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
fn a_config_that_has_neither_way_in_or_no_way_out_is_refused() {
    let message = "without a gateway there is nothing that telemetry could go to or through";
    only_mistake("", "gateway: {enabled: false}", "gateway.enabled", message);
    let text = "apiVersion: otlp-gate/v1\nclients: []\ngateway: {enabled: false}\n".to_owned();
    let report = Source { name: "test".to_owned(), text }.load().unwrap_err();
    assert_eq!(report.findings.iter().map(|it| it.message.as_str()).collect::<Vec<_>>(), [message]);
}

#[test]
fn the_gateways_own_namespace_is_refused_since_its_pods_must_not_have_these_rights() {
    let message = "it is the gateway's, whose pods must not have the rights that these may need";
    only_mistake("namespace: otel-collector", "", "nodeLocal.namespace", message);
}

#[test]
fn what_cannot_be_a_name_or_an_address_is_refused() {
    let name = "`A_b` cannot be a name in Kubernetes";
    only_mistake("namespace: A_b", "", "nodeLocal.namespace", name);
    let secret = "export: {gate: {endpoint: 'x:1', clientSecret: A_b}}";
    only_mistake(secret, "", "nodeLocal.export.gate.clientSecret", name);
    for endpoint in ["x", ":4317", "https://x:4317", "x:port", "x:70000"] {
        let gate = format!("export: {{gate: {{endpoint: '{endpoint}', clientSecret: edge}}}}");
        let message = format!("`{endpoint}` is not a host and a port");
        only_mistake(&gate, "", "nodeLocal.export.gate.endpoint", &message);
    }
    only_mistake("export: {exporters: {}}", "", "nodeLocal.export.exporters", "there is none");
}

#[test]
fn a_durable_queue_does_not_wait_for_the_backend() {
    let message = "a durable queue answers when it has written, and loses nothing that was answered";
    only_mistake("queue: durable, acknowledge: delivered", "", "nodeLocal.acknowledge", message);
}

#[test]
fn a_rule_says_which_pods_it_is_for() {
    only_mistake(&rule("name: a, match: {}"), "", "nodeLocal.clients[0].match", "an empty match");
    let side_by_side = rule("name: a, match: {namespace: 'a**{b}'}");
    let [(_, path, _)] = found(&side_by_side, "").try_into().unwrap();
    assert_eq!(path, "nodeLocal.clients[0].match.namespace");
}

#[test]
fn a_word_means_one_thing() {
    for (matches, path, word) in [
        ("{namespace: '{name}'}", "namespace", "name"),
        ("{namespace: 'x-{namespace}'}", "namespace", "namespace"),
        ("{namespace: 'x-{spiffe}'}", "namespace", "spiffe"),
        ("{namespace: 'x-{a}', labels: {app: '{a}'}}", "labels.app", "a"),
    ] {
        let message = format!("{{{word}}} already means something else here");
        let path = format!("nodeLocal.clients[0].match.{path}");
        only_mistake(&rule(&format!("name: x, match: {matches}")), "", &path, &message);
    }
}

#[test]
fn a_template_has_only_words_that_pods_have() {
    let attributes = rule("name: a, match: {namespace: a}, attributes: {tenant.id: '{spiffe}'}");
    let path = "nodeLocal.clients[0].attributes[\"tenant.id\"]";
    only_mistake(&attributes, "", path, "nothing is called {spiffe} here");
    let name = rule("name: '{team}', match: {namespace: a}");
    only_mistake(&name, "", "nodeLocal.clients[0].name", "nothing is called {team} here");
    let itself = rule("name: '{name}', match: {namespace: a}");
    only_mistake(&itself, "", "nodeLocal.clients[0].name", "nothing is called {name} here");
}

#[test]
fn the_gates_own_attribute_is_no_rules() {
    let own = rule("name: a, match: {namespace: a}, attributes: {otlp_gate.verify: x}");
    only_mistake(&own, "", "nodeLocal.clients[0].attributes[\"otlp_gate.verify\"]", "this cannot be a key");
}

#[test]
fn owned_attributes_that_no_pod_gets_are_warned_of() {
    let [(severity, path, _)] = found("", "attributes: {tenant.id: a}").try_into().unwrap();
    assert_eq!((severity, path.as_str()), (Severity::Warning, "nodeLocal.clients"));
}
