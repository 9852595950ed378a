//! The Collector's names: those that otlp-gate uses for its own components, and what pipelines have by default.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Collector, Queue, Route, RoutedSignal};

/// The exporter that logs what `otlp-gate verify` sends. `verify` reads it from the Collector's log.
pub(crate) const CANARY: &str = "debug/otlp-gate-verify";
/// The processor that rejects telemetry while the Collector has too little memory.
pub(crate) const MEMORY_LIMITER: &str = "memory_limiter";
/// The extension that the kubelet probes.
pub(crate) const HEALTH_CHECK: &str = "health_check";
/// The extension with the files of durable queues.
pub(crate) const FILE_STORAGE: &str = "file_storage";

/// The volume with a durable queue's files.
pub(crate) const QUEUE_VOLUME: &str = "queue";

/// Where an exporter's queue and its retries are set, as far as otlp-gate knows the exporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resilience {
    /// An OTLP exporter: both are on by default.
    Otlp,
    /// `loadbalancing`: both are off by default. It has an OTLP exporter for each endpoint.
    LoadBalancing,
    /// Any other exporter: a queue only if the config gives one.
    Unknown,
}

impl Resilience {
    /// That of an exporter with this name.
    pub(crate) fn of(name: &str) -> Self {
        match kind(name) {
            "otlp" | "otlp_grpc" | "otlphttp" | "otlp_http" => Resilience::Otlp,
            "loadbalancing" => Resilience::LoadBalancing,
            _ => Resilience::Unknown,
        }
    }
}

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

    /// Whether the queue of an exporter is a durable one of otlp-gate's: not if the exporter has none, or if the user has
    /// chosen another storage, or to wait for delivery.
    pub(crate) fn queues_durably(&self, name: &str, settings: &Value) -> bool {
        let queue = settings.get("sending_queue").filter(|queue| !queue.is_null());
        let flag = |key: &str| queue.and_then(|it| it.get(key)).and_then(Value::as_bool);
        self.queue == Queue::Durable
            && (queue.is_some() || Resilience::of(name) != Resilience::Unknown)
            && flag("enabled") != Some(false)
            && flag("wait_for_result") != Some(true)
            && queue.is_none_or(|it| it.get("storage").is_none())
    }

    /// The number of durable queues: an exporter has one for each signal that it exports.
    pub(crate) fn durable_queues(&self) -> u64 {
        let durable = |signal: RoutedSignal| {
            let of_routes =
                self.routes.iter().filter(|it| it.applies_to(signal)).flat_map(|it| &it.exporters);
            let own = self.pipelines.iter();
            let own = own.filter(|(name, _)| RoutedSignal::of_pipeline(name) == Some(signal));
            let mut names: BTreeSet<String> = self.exporters_of_rest(signal).into_iter().collect();
            names.extend(of_routes.chain(own.flat_map(|(_, it)| &it.exporters)).cloned());
            let settings = |name: &String| Some((name.clone(), self.exporters.get(name)?));
            let exporters = names.iter().filter_map(settings);
            exporters.filter(|(name, settings)| self.queues_durably(name, settings)).count()
        };
        self.signals().map(|signal| durable(signal) as u64).sum()
    }

    /// The size of each durable queue, in bytes of OTLP: an equal part of a quarter of the volume. The files take up to
    /// 3.3 times of what is in them, and a queue must be full before its disk is: when a Collector starts on a full disk,
    /// it loses what it was sending when it was killed.
    pub(crate) fn queue_size(&self) -> u64 {
        self.queue_volume.size.bytes() / 4 / self.durable_queues().max(1)
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
