//! Pipelines: their names, and the components that they name.

use otlp_gate_core::policy::{ConfigPath, Problem};

use super::{at, instead};
use crate::config::{Collector, Pipeline, RoutedSignal};

pub(super) fn errors(collector: &Collector) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, pipeline) in &collector.pipelines {
        let path = at("pipelines").key(name);
        if let Some(problem) = name_error(name, &path) {
            problems.push(problem);
            continue;
        }
        if RoutedSignal::of_pipeline(name) == Some(RoutedSignal::Profiles) && !collector.profiles {
            problems.push(no_profiles(&path));
        }
        problems.extend(references(collector, pipeline, &path));
        if Collector::is_of_gateway(name) {
            continue;
        }
        for (key, list, hint) in [
            ("receivers", &pipeline.receivers, "name a connector that another pipeline exports to"),
            ("exporters", &pipeline.exporters, "name an exporter or a connector"),
        ] {
            if list.is_empty() {
                problems.push(Problem::new(path.clone(), format!("the pipeline has no {key}")).hint(hint));
            }
        }
    }
    for name in collector.connectors.keys() {
        let exports = |it: &Pipeline| it.exporters.contains(name);
        let from = collector.pipelines.values().any(exports)
            || collector.routes.iter().any(|it| it.exporters.contains(name));
        let to = collector.pipelines.values().any(|it| it.receivers.contains(name));
        // A connector that no pipeline uses at all is ignored.
        let (message, hint) = match (from, to) {
            (true, false) => ("no pipeline receives from it", "name it under `receivers` of a pipeline"),
            (false, true) => ("no pipeline exports to it", "name it under `exporters` of a pipeline"),
            _ => continue,
        };
        problems.push(Problem::new(at("connectors").key(name), message).hint(hint));
    }
    problems
}

fn name_error(name: &str, path: &ConfigPath) -> Option<Problem> {
    if RoutedSignal::of_pipeline(name).is_none() || name.ends_with('/') {
        let message = format!("`{}` is not the name of a pipeline", name.escape_debug());
        let hint = "write a signal (`logs`, `metrics`, `traces` or `profiles`), or a signal and a name: `traces/errors`";
        return Some(Problem::new(path.clone(), message).hint(hint));
    }
    Collector::is_reserved_pipeline(name).then(|| {
        let message = format!("`{name}` is a pipeline that otlp-gate adds");
        Problem::new(path.clone(), message).hint("choose another name after the `/`")
    })
}

/// The problem with a key that concerns profiles, where the Collector takes none.
pub(super) fn no_profiles(path: &ConfigPath) -> Problem {
    Problem::new(path.clone(), "the Collector takes no profiles")
        .hint("set `backend.collector.profiles: true`")
}

/// The components that a pipeline names and that do not exist.
fn references(collector: &Collector, pipeline: &Pipeline, path: &ConfigPath) -> Vec<Problem> {
    let connectors: Vec<&str> = collector.connectors.keys().map(String::as_str).collect();
    let processors: Vec<&str> = collector.processors.keys().map(String::as_str).collect();
    let mut problems = Vec::new();
    for (index, name) in pipeline.receivers.iter().enumerate() {
        if connectors.contains(&name.as_str()) {
            continue;
        }
        let path = path.key("receivers").index(index);
        problems.push(if name == "otlp" {
            let hint = "connect another pipeline with this one by a connector, such as `forward`";
            let message =
                "only `logs`, `metrics`, `traces` and `profiles` receive from the gateway, and do so always";
            Problem::new(path, message).hint(hint)
        } else {
            let hint = instead(name, &connectors, "the gateway is the only receiver: name a connector");
            Problem::new(path, format!("there is no connector `{name}`")).hint(hint)
        });
    }
    for (index, name) in pipeline.processors.iter().enumerate() {
        if !processors.contains(&name.as_str()) {
            let hint = instead(name, &processors, "add it under `backend.collector.processors`");
            let path = path.key("processors").index(index);
            problems.push(Problem::new(path, format!("there is no processor `{name}`")).hint(hint));
        }
    }
    problems.extend(exporters(collector, &pipeline.exporters, path));
    problems
}

/// The exporters and connectors in a list that do not exist.
pub(super) fn exporters(collector: &Collector, names: &[String], path: &ConfigPath) -> Vec<Problem> {
    let mut known: Vec<&str> =
        collector.exporters.keys().chain(collector.connectors.keys()).map(String::as_str).collect();
    if collector.exporters.is_empty() {
        // The one that is there by default.
        known.push("debug");
    }
    let missing = names.iter().enumerate().filter(|(_, name)| !known.contains(&name.as_str()));
    let problem = |(index, name): (usize, &String)| {
        let hint = instead(name, &known, "add it under `backend.collector.exporters`");
        let message = format!("there is no exporter or connector `{name}`");
        Problem::new(path.key("exporters").index(index), message).hint(hint)
    };
    missing.map(problem).collect()
}
