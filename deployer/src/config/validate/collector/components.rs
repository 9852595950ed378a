//! The components by their names.

use std::collections::{BTreeMap, BTreeSet};

use otlp_gate_core::policy::Problem;
use serde_json::Value;

use super::at;
use crate::config::{Collector, kind};

/// The components of each kind, with the key that they are under.
fn all(collector: &Collector) -> [(&'static str, &BTreeMap<String, Value>); 4] {
    [
        ("exporters", &collector.exporters),
        ("processors", &collector.processors),
        ("connectors", &collector.connectors),
        ("extensions", &collector.extensions),
    ]
}

pub(super) fn errors(collector: &Collector) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, components) in all(collector) {
        for (name, settings) in components {
            let mut problem = |message: String, hint: &str| {
                problems.push(Problem::new(at(key).key(name), message).hint(hint))
            };
            if !is_name(name) {
                let message = format!("`{}` is not the name of a component", name.escape_debug());
                problem(message, "write its type, or type and name as in `otlp_http/tempo`");
            } else if Collector::is_reserved(name) {
                let hint = format!("choose another name, such as `{}/own`", kind(name));
                problem(format!("`{name}` is a component that otlp-gate adds"), &hint);
            }
            if !settings.is_object() && !settings.is_null() {
                problem("expected a map".to_owned(), "write the component's settings, or `{}`");
            }
            if key == "connectors" && collector.exporters.contains_key(name) {
                problem(format!("there is an exporter `{name}` as well"), "rename one of them");
            }
        }
    }
    problems
}

/// Whether the Collector accepts a component's name: a type, and perhaps a name.
fn is_name(text: &str) -> bool {
    let (kind, name) = text.split_once('/').map_or((text, None), |(kind, name)| (kind, Some(name)));
    kind.len() <= 63
        && kind.starts_with(|first: char| first.is_ascii_alphabetic())
        && kind.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && name.is_none_or(|name| !name.trim().is_empty() && !name.chars().any(char::is_control))
}

/// Components that no pipeline uses. The Collector ignores them.
pub(super) fn unused(collector: &Collector) -> Vec<Problem> {
    let mut used: BTreeSet<String> = BTreeSet::new();
    for pipeline in collector.pipelines.values() {
        let names = pipeline.receivers.iter().chain(&pipeline.processors).chain(&pipeline.exporters);
        used.extend(names.cloned());
    }
    used.extend(collector.routes.iter().flat_map(|route| route.exporters.iter().cloned()));
    used.extend(collector.signals().flat_map(|signal| collector.exporters_of_rest(signal)));
    let mut problems = Vec::new();
    for (key, components) in all(collector).into_iter().filter(|(key, _)| *key != "extensions") {
        for name in components.keys().filter(|name| !used.contains(*name)) {
            let hint = match key {
                "exporters" => "name it in `pipelines` or `routes`, or remove it".to_owned(),
                _ => format!("name it in a pipeline, as in `pipelines: {{traces: {{{key}: [{name}]}}}}`"),
            };
            let hint = hint.replace("connectors:", "exporters:");
            problems.push(Problem::new(at(key).key(name), "no pipeline uses it").hint(hint));
        }
    }
    problems
}
