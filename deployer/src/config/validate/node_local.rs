//! Checks of the node-local gateway's config.

use std::collections::BTreeMap;

use otlp_gate_core::policy::{ConfigPath, Problem};

use super::{not_a_label, problem};
use crate::config::{Acknowledge, CompiledPodRule, Config, Export, Queue};

pub(super) fn errors(config: &Config) -> Vec<Problem> {
    let node = &config.node_local;
    let mut problems = Vec::new();
    if !config.gateway.enabled {
        let message =
            "without a gateway, telemetry needs a node-local gateway and `nodeLocal.export`".to_owned();
        if !node.enabled {
            let hint = "set `nodeLocal.enabled: true`, or remove this key";
            problems.push(problem(&["gateway", "enabled"], message, hint));
        } else if node.export.is_none() {
            let hint = "set `nodeLocal.export`";
            problems.push(problem(&["gateway", "enabled"], message, hint));
        }
    }
    if let Some(namespace) = &node.namespace {
        problems.extend(not_a_label(&["nodeLocal", "namespace"], namespace));
    }
    match &node.export {
        Some(Export::Gate(remote)) => {
            let keys = ["nodeLocal", "export", "gate", "clientSecret"];
            problems.extend(not_a_label(&keys, &remote.client_secret));
            let port = remote.endpoint.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            if remote.endpoint.contains('/') || port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
                let message = format!("`{}` is not HOST:PORT", remote.endpoint.escape_debug());
                let hint = "write it as in `otel-gateway.example.com:4317`";
                problems.push(problem(&["nodeLocal", "export", "gate", "endpoint"], message, hint));
            }
        }
        Some(Export::Exporters(exporters)) if exporters.is_empty() => {
            let hint = "add one, or remove `export` to send to this gate's backend";
            problems.push(problem(
                &["nodeLocal", "export", "exporters"],
                "there is no exporter".to_owned(),
                hint,
            ));
        }
        _ => {}
    }
    if node.namespace.as_ref() == Some(&config.gateway.namespace) {
        let message =
            "it is the gateway's namespace: pods there must not have the privileges that node-local pods may need".to_owned();
        problems.push(problem(&["nodeLocal", "namespace"], message, "use another namespace"));
    }
    if node.queue == Queue::Durable && node.acknowledge == Acknowledge::Delivered {
        let message = "a durable queue always answers when it has written to disk".to_owned();
        problems.push(problem(
            &["nodeLocal", "acknowledge"],
            message,
            "leave it out, or set `queue: memory`",
        ));
    }
    let clients = ConfigPath::of("nodeLocal").key("clients");
    for (index, rule) in node.clients.iter().enumerate() {
        CompiledPodRule::compile(rule, &clients.index(index), &mut problems);
    }
    problems
}

pub(super) fn warnings(config: &Config) -> Vec<Problem> {
    let node = &config.node_local;
    let owned = config.clients.iter().map(|client| &client.attributes).chain([&config.attributes]);
    let missing = node.enabled && node.clients.is_empty() && owned.flat_map(BTreeMap::keys).next().is_some();
    let message = "no rule matches any pod: their telemetry is unattributed";
    let hint = "add rules such as `{name: acme, match: {namespace: acme}, attributes: {tenant.id: acme}}`";
    missing.then(|| problem(&["nodeLocal", "clients"], message.to_owned(), hint)).into_iter().collect()
}

#[cfg(test)]
mod tests;
