//! Components of pipelines for profiles that do not support profiles. The Collector would not start.

use otlp_gate_core::policy::{ConfigPath, Problem};

use super::at;
use crate::config::{Collector, RoutedSignal, kind};

/// Exporters and processors that support other signals only, in version 0.155.
const UNSUPPORTED: [&str; 11] = [
    "loadbalancing",
    "prometheus",
    "prometheusremotewrite",
    "prometheus_remote_write",
    "zipkin",
    "attributes",
    "batch",
    "groupbytrace",
    "probabilistic_sampler",
    "redaction",
    "tail_sampling",
];

pub(super) fn errors(collector: &Collector) -> Vec<Problem> {
    const PROFILES: RoutedSignal = RoutedSignal::Profiles;
    if !collector.profiles {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let mut check = |names: &[String], path: &ConfigPath, hint: &str| {
        for name in names.iter().filter(|name| UNSUPPORTED.contains(&kind(name))) {
            problems
                .push(Problem::new(path.clone(), format!("`{name}` does not support profiles")).hint(hint));
        }
    };
    let of_rest = collector.exporters_of_rest(PROFILES);
    let hint = "name the exporters of profiles: `pipelines: {profiles: {exporters: [...]}}`";
    match collector.pipelines.get(PROFILES.name()) {
        Some(own) if !own.exporters.is_empty() => {}
        _ => check(&of_rest, &at("profiles"), hint),
    }
    for (index, route) in collector.routes.iter().enumerate().filter(|(_, it)| it.applies_to(PROFILES)) {
        let hint = "give the route `signals: [logs, metrics, traces]`, and add one for profiles";
        check(&route.exporters, &at("routes").index(index).key("exporters"), hint);
    }
    let own = collector.pipelines.iter();
    for (name, pipeline) in own.filter(|(name, _)| RoutedSignal::of_pipeline(name) == Some(PROFILES)) {
        let path = at("pipelines").key(name);
        for (key, names) in [("processors", &pipeline.processors), ("exporters", &pipeline.exporters)] {
            check(names, &path.key(key), "leave it out of this pipeline");
        }
    }
    problems
}
