//! Checks of the Collector's config: what breaks the Collector is an error, what may change owned attributes, be lost or
//! be read by others is a warning.

mod components;
mod durable;
mod pipelines;
mod processors;
mod profiles;
mod queues;
mod routes;
mod secrets;
#[cfg(test)]
mod tests;

use otlp_gate_core::policy::{ConfigPath, Policy, Problem, nearest};

use crate::config::{Backend, Collector, Config, Export};

/// The Collector that otlp-gate deploys, if it deploys one.
fn collector(config: &Config) -> Option<&Collector> {
    match &config.backend {
        Backend::Collector(collector) if config.gateway.enabled => Some(collector),
        _ => None,
    }
}

pub(super) fn errors(config: &Config) -> Vec<Problem> {
    let Some(collector) = collector(config) else { return Vec::new() };
    let mut problems = components::errors(collector);
    problems.extend(pipelines::errors(collector));
    problems.extend(profiles::errors(collector));
    problems.extend(durable::errors(collector, config));
    problems.extend(routes::errors(collector, config));
    problems
}

/// The warnings. Without a policy (the config has errors), processors are not compared with it.
pub(super) fn warnings(config: &Config, policy: Option<&Policy>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(collector) = collector(config) {
        problems.extend(components::unused(collector));
        problems.extend(routes::warnings(collector, config));
        problems.extend(policy.iter().flat_map(|policy| processors::warnings(collector, policy)));
        problems.extend(queues::warnings(collector));
        problems.extend(durable::warnings(collector));
        problems.extend(secrets::warnings(collector));
    }
    if let Some(Export::Exporters(exporters)) = &config.node_local.export {
        problems.extend(secrets::of_components(&of("nodeLocal").key("export").key("exporters"), exporters));
    }
    problems
}

fn of(key: &str) -> ConfigPath {
    ConfigPath::of(key)
}

/// A place in the Collector's config.
fn at(key: &str) -> ConfigPath {
    of("backend").key("collector").key(key)
}

/// The hint for an unknown name: the nearest known one, else all of them.
fn instead(name: &str, known: &[&str], none: &str) -> String {
    match (nearest(name, known.iter().copied()), known) {
        (Some(nearest), _) => format!("did you mean `{nearest}`?"),
        (None, []) => none.to_owned(),
        (None, known) => format!("use one of `{}`", known.join("`, `")),
    }
}
