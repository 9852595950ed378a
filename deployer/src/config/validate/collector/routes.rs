//! Routes: they match owned attributes only, and the telemetry of one does not reach the exporters of another.

use std::collections::{BTreeMap, BTreeSet};

use otlp_gate_core::policy::{ConfigPath, Problem, Template, VERIFY_ATTRIBUTE, nearest, owned_attributes};

use super::{at, instead, pipelines};
use crate::config::{Collector, Config, Route, RoutedSignal};

pub(super) fn errors(collector: &Collector, config: &Config) -> Vec<Problem> {
    let owned = owned_attributes(&config.policy());
    let owned: Vec<&str> = owned.iter().map(String::as_str).filter(|key| *key != VERIFY_ATTRIBUTE).collect();
    let mut problems = Vec::new();
    for (index, route) in collector.routes.iter().enumerate() {
        let path = at("routes").index(index);
        if route.matches.is_empty() {
            let hint = "remove the route: what no route matches goes to the exporters that no route names";
            problems.push(Problem::new(path.key("match"), "the route matches everything").hint(hint));
        }
        for (key, values) in &route.matches {
            let path = path.key("match").key(key);
            if values.all().is_empty() {
                problems.push(Problem::new(path.clone(), "the list has no value").hint("add a value"));
            }
            if !owned.contains(&key.as_str()) {
                let message = format!("`{key}` is not an owned attribute: clients could send any value");
                let hint = instead(key, &owned, "set it for clients, under `attributes`");
                problems.push(Problem::new(path, message).hint(hint));
            }
        }
        for (index, signal) in route.signals.iter().enumerate() {
            if !collector.signals().any(|it| it == *signal) {
                problems.push(pipelines::no_profiles(&path.key("signals").index(index)));
            }
        }
        if route.exporters.is_empty() {
            let hint = "name one; `nop: {}` under `exporters` is one that drops everything";
            problems.push(Problem::new(path.key("exporters"), "there is no exporter").hint(hint));
        }
        problems.extend(pipelines::exporters(collector, &route.exporters, &path));
    }
    let without: Vec<&str> = collector
        .signals()
        .filter(|it| collector.exporters_of_rest(*it).is_empty())
        .map(RoutedSignal::name)
        .collect();
    if !without.is_empty() {
        let message = format!("no exporter is left for {} that no route matches", without.join(", "));
        let hint = "add an exporter that no route names, such as `debug: {}`, or `nop: {}` to drop the rest";
        problems.push(Problem::new(at("routes"), message).hint(hint));
    }
    problems
}

pub(super) fn warnings(collector: &Collector, config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let known = known_values(config);
    for (index, route) in collector.routes.iter().enumerate() {
        let path = at("routes").index(index);
        let earlier = collector.routes.iter().take(index);
        if earlier.clone().any(|earlier| covers(earlier, route)) {
            let hint = "remove it, or put it first";
            problems.push(Problem::new(path.key("match"), "an earlier route matches all of it").hint(hint));
        }
        for (key, values) in &route.matches {
            let Some(Some(known)) = known.get(key.as_str()) else { continue };
            for value in values.all().iter().filter(|value| !known.contains(value.as_str())) {
                let message = format!("no client has the value `{value}`");
                let problem = Problem::new(path.key("match").key(key), message);
                problems.push(match nearest(value, known.iter().copied()) {
                    Some(nearest) => problem.hint(format!("did you mean `{nearest}`?")),
                    None => problem,
                });
            }
        }
        problems.extend(crossings(collector, &route.exporters, &path.key("exporters"), index));
    }
    for signal in collector.signals() {
        let Some(pipeline) = collector.pipelines.get(signal.name()) else { continue };
        let path = at("pipelines").key(signal.name()).key("exporters");
        problems.extend(crossings(collector, &pipeline.exporters, &path, usize::MAX));
    }
    problems
}

/// The values that each attribute may have; `None` where they depend on certificates.
fn known_values(config: &Config) -> BTreeMap<&str, Option<BTreeSet<&str>>> {
    let mut known: BTreeMap<&str, Option<BTreeSet<&str>>> = BTreeMap::new();
    let of_clients = config.clients.iter().flat_map(|client| &client.attributes);
    let of_pods = config.node_local.clients.iter().flat_map(|rule| &rule.attributes);
    for (key, text) in of_clients.chain(of_pods).chain(&config.attributes) {
        let values = known.entry(key).or_insert_with(|| Some(BTreeSet::new()));
        let constant = Template::parse(text).is_ok_and(|it| it.placeholders().next().is_none());
        match values {
            Some(values) if constant => drop(values.insert(text)),
            values => *values = None,
        }
    }
    known
}

/// Whether a route matches all that another one matches, for all of its signals.
fn covers(route: &Route, other: &Route) -> bool {
    let signals = RoutedSignal::ALL.into_iter().all(|it| route.applies_to(it) || !other.applies_to(it));
    signals
        && route.matches.iter().all(|(key, values)| {
            other.matches.get(key).is_some_and(|other| {
                !other.all().is_empty() && other.all().iter().all(|value| values.all().contains(value))
            })
        })
}

/// The exporters of other routes that telemetry reaches by these exporters and connectors, without being named in the
/// same route.
fn crossings(collector: &Collector, from: &[String], path: &ConfigPath, route: usize) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (other, theirs) in collector.routes.iter().enumerate().filter(|(index, _)| *index != route) {
        let reached = reached(collector, from);
        let foreign = theirs.exporters.iter().filter(|name| reached.contains(name));
        // Two routes may name the same exporter.
        for name in foreign.filter(|name| route == usize::MAX || !from.contains(name)) {
            if collector.connectors.contains_key(name) {
                continue;
            }
            let message =
                format!("other telemetry than that of `routes[{other}]` reaches its exporter `{name}`");
            let hint = "use an exporter of its own for each, or leave it as it is if this is intended";
            problems.push(Problem::new(path.clone(), message).hint(hint));
        }
    }
    problems
}

/// Everything that these exporters and connectors lead to. The pipelines that receive from the gateway route anew.
fn reached<'a>(collector: &'a Collector, from: &'a [String]) -> BTreeSet<&'a String> {
    let mut reached: BTreeSet<&String> = BTreeSet::new();
    let mut next: Vec<&String> = from.iter().collect();
    while let Some(name) = next.pop() {
        if reached.insert(name) && collector.connectors.contains_key(name) {
            let pipelines = collector
                .pipelines
                .iter()
                .filter(|(pipeline, it)| !Collector::is_of_gateway(pipeline) && it.receivers.contains(name));
            next.extend(pipelines.flat_map(|(_, it)| &it.exporters));
        }
    }
    reached
}
