//! The Collector's names: those that otlp-gate uses for its own components, and what pipelines have by default.

use std::collections::BTreeSet;

use super::{Collector, Route, RoutedSignal};

/// The exporter that logs what `otlp-gate verify` sends. `verify` reads it from the Collector's log.
pub(crate) const CANARY: &str = "debug/otlp-gate-verify";
/// The processor that rejects telemetry while the Collector has too little memory.
pub(crate) const MEMORY_LIMITER: &str = "memory_limiter";
/// The extension that the kubelet probes.
pub(crate) const HEALTH_CHECK: &str = "health_check";
/// The extension with the files of durable queues.
pub(crate) const FILE_STORAGE: &str = "file_storage";

/// The kind of a component by its name: `otlp_http` of `otlp_http/tempo`.
pub(crate) fn kind(name: &str) -> &str {
    name.split('/').next().unwrap_or_default()
}

impl Collector {
    /// The signals that it takes.
    pub(crate) fn signals(&self) -> impl Iterator<Item = RoutedSignal> + use<> {
        let profiles = self.profiles;
        RoutedSignal::ALL.into_iter().filter(move |signal| profiles || *signal != RoutedSignal::Profiles)
    }

    /// Whether a component's name is one that otlp-gate uses. Those of connectors and processors for the signals have
    /// the form `routing/traces`.
    pub(crate) fn is_reserved(name: &str) -> bool {
        let for_signal = |prefix: &str| {
            let signal = name.strip_prefix(prefix).and_then(|rest| rest.split('/').next());
            signal.is_some_and(|signal| RoutedSignal::of_pipeline(signal).is_some())
        };
        [CANARY, MEMORY_LIMITER, HEALTH_CHECK, FILE_STORAGE].contains(&name)
            || for_signal("routing/")
            || name == "filter/profiles"
            || name.starts_with("filter/profiles/")
    }

    /// Whether a pipeline is the one that receives a signal from the gateway: `traces`.
    pub(crate) fn is_of_gateway(pipeline: &str) -> bool {
        RoutedSignal::of_pipeline(pipeline).is_some() && !pipeline.contains('/')
    }

    /// Whether a pipeline's name is one that otlp-gate uses for a part of a signal's way: `traces/in`.
    pub(crate) fn is_reserved_pipeline(pipeline: &str) -> bool {
        let Some((signal, name)) = pipeline.split_once('/') else { return false };
        RoutedSignal::of_pipeline(signal).is_some()
            && (matches!(name, "in" | "verify") || name.starts_with("route-"))
    }

    /// The exporters of what no route matches: those that the signal's pipeline names, else those that no route names.
    pub(crate) fn exporters_of_rest(&self, signal: RoutedSignal) -> Vec<String> {
        match self.pipelines.get(signal.name()) {
            Some(pipeline) if !pipeline.exporters.is_empty() => pipeline.exporters.clone(),
            _ if self.exporters.is_empty() => vec!["debug".to_owned()],
            _ => {
                let routed: BTreeSet<&String> = self.routes.iter().flat_map(|it| &it.exporters).collect();
                self.exporters.keys().filter(|name| !routed.contains(name)).cloned().collect()
            }
        }
    }
}

impl Route {
    /// Whether the route applies to a signal.
    pub(crate) fn applies_to(&self, signal: RoutedSignal) -> bool {
        self.signals.is_empty() || self.signals.contains(&signal)
    }
}

impl RoutedSignal {
    /// The signal of a pipeline by its name, such as `traces` or `traces/errors`.
    pub(crate) fn of_pipeline(name: &str) -> Option<Self> {
        RoutedSignal::ALL.into_iter().find(|signal| signal.name() == kind(name))
    }
}
