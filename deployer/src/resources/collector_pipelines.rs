//! The pipelines of the Collector: everything from the gateway passes the memory limiter, then a routing connector. The
//! items of `otlp-gate verify` go to the log, those of routes to their exporters, the rest to the others.
//!
//! The routing connector knows no profiles. Each of their pipelines receives all of them, and a filter processor drops
//! those of the other pipelines.

use std::collections::BTreeMap;

use otlp_gate_core::policy::VERIFY_ATTRIBUTE;
use serde_json::{Value, json};

use super::ottl;
use crate::config::{CANARY, Collector, MEMORY_LIMITER, Pipeline, Route, RoutedSignal, Values};

/// Pipelines, and the processors and connectors that they need besides the user's.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    pub(super) pipelines: BTreeMap<String, Value>,
    pub(super) processors: BTreeMap<String, Value>,
    pub(super) connectors: BTreeMap<String, Value>,
}

/// The pipelines of all signals.
pub(super) fn pipelines(collector: &Collector) -> Pipelines {
    let mut all = Pipelines::default();
    for signal in collector.signals() {
        match signal {
            RoutedSignal::Profiles => all.split(collector, signal),
            RoutedSignal::Logs | RoutedSignal::Metrics | RoutedSignal::Traces => all.route(collector, signal),
        }
    }
    let own = collector.pipelines.iter().filter(|(name, _)| !Collector::is_of_gateway(name));
    all.pipelines.extend(own.map(|(name, pipeline)| (name.clone(), written(pipeline.clone()))));
    all
}

/// Where telemetry of a signal goes: to this pipeline if this condition holds, with these exporters.
struct Destination {
    pipeline: String,
    condition: String,
    exporters: Vec<String>,
}

fn destinations(collector: &Collector, signal: RoutedSignal) -> Vec<Destination> {
    let name = signal.name();
    let verify = Destination {
        pipeline: format!("{name}/verify"),
        condition: format!("attributes[\"{VERIFY_ATTRIBUTE}\"] != nil"),
        exporters: vec![CANARY.to_owned()],
    };
    let routes = collector.routes.iter().enumerate().filter(|(_, route)| route.applies_to(signal));
    let routes = routes.map(|(index, route)| Destination {
        pipeline: format!("{name}/route-{index}"),
        condition: condition(route),
        exporters: route.exporters.clone(),
    });
    [verify].into_iter().chain(routes).collect()
}

/// The attributes are owned: their values are those that the gateway has set.
fn condition(route: &Route) -> String {
    let any = |(key, values): (&String, &Values)| {
        let key = ottl::text(key);
        let all: Vec<String> =
            values.all().iter().map(|value| format!("attributes[{key}] == {}", ottl::text(value))).collect();
        match all.as_slice() {
            [one] => one.clone(),
            all => format!("({})", all.join(" or ")),
        }
    };
    route.matches.iter().map(any).collect::<Vec<_>>().join(" and ")
}

impl Pipelines {
    fn route(&mut self, collector: &Collector, signal: RoutedSignal) {
        let name = signal.name();
        let routing = format!("routing/{name}");
        let of_user = collector.pipelines.get(name).cloned().unwrap_or_default();
        let destinations = destinations(collector, signal);
        let table = destinations
            .iter()
            .map(|to| json!({"context": "resource", "condition": to.condition, "pipelines": [to.pipeline]}));
        // An error rejects the export. With `ignore` it would go to the exporters of the rest.
        self.connectors.insert(
            routing.clone(),
            json!({
                "error_mode": "propagate",
                "default_pipelines": [name],
                "table": table.collect::<Vec<_>>(),
            }),
        );
        // What connectors make of telemetry has its attributes, and is routed as well.
        let receivers = ["otlp".to_owned()].into_iter().chain(of_user.receivers);
        self.add(
            format!("{name}/in"),
            receivers.collect(),
            vec![MEMORY_LIMITER.to_owned()],
            vec![routing.clone()],
        );
        self.add(
            name.to_owned(),
            vec![routing.clone()],
            of_user.processors.clone(),
            collector.exporters_of_rest(signal),
        );
        for to in destinations {
            let processors = if to.exporters == [CANARY] { Vec::new() } else { of_user.processors.clone() };
            self.add(to.pipeline, vec![routing.clone()], processors, to.exporters);
        }
    }

    /// Pipelines that each drop what belongs to another one.
    fn split(&mut self, collector: &Collector, signal: RoutedSignal) {
        let name = signal.name();
        let of_user = collector.pipelines.get(name).cloned().unwrap_or_default();
        let receivers = ["otlp".to_owned()].into_iter().chain(of_user.receivers).collect::<Vec<_>>();
        let mut earlier: Vec<String> = Vec::new();
        let mut add = |pipeline: String, dropped: Vec<String>, own: &[String], exporters: Vec<String>| {
            let filter = format!("filter/{pipeline}");
            let conditions = json!([{"context": "resource", "conditions": dropped}]);
            // An error rejects the export. With `ignore` it would go to the exporters of the rest.
            let settings = json!({"error_mode": "propagate", "profile_conditions": conditions});
            self.processors.insert(filter.clone(), settings);
            let processors = [MEMORY_LIMITER.to_owned(), filter].into_iter().chain(own.iter().cloned());
            self.add(pipeline, receivers.clone(), processors.collect(), exporters);
        };
        for to in destinations(collector, signal) {
            let others = [format!("not ({})", to.condition)].into_iter().chain(earlier.iter().cloned());
            let own = if to.exporters == [CANARY] { &[][..] } else { of_user.processors.as_slice() };
            add(to.pipeline, others.collect(), own, to.exporters);
            earlier.push(to.condition);
        }
        add(name.to_owned(), earlier, &of_user.processors, collector.exporters_of_rest(signal));
    }

    fn add(&mut self, name: String, receivers: Vec<String>, processors: Vec<String>, exporters: Vec<String>) {
        self.pipelines.insert(name, written(Pipeline { receivers, processors, exporters }));
    }
}

/// A pipeline as the Collector reads it. Its lists may be absent, but not null.
fn written(pipeline: Pipeline) -> Value {
    let lists = [
        ("receivers", pipeline.receivers),
        ("processors", pipeline.processors),
        ("exporters", pipeline.exporters),
    ];
    let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
    lists.map(|(key, list)| (key.to_owned(), Value::from(list))).collect()
}
