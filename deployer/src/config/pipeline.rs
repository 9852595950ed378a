//! Pipelines, routes and the queue of the Collector.

use std::collections::BTreeMap;

use otlp_gate_core::config::unique_keys;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A pipeline, as in the Collector's `service.pipelines`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Pipeline {
    /// The connectors that it receives from. The pipelines `logs`, `metrics`, `traces` and `profiles` also receive what
    /// the gateway sends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) receivers: Vec<String>,
    /// Its processors, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) processors: Vec<String>,
    /// The exporters and connectors that it sends to. Default for the pipelines `logs`, `metrics`, `traces` and
    /// `profiles`: all exporters that no entry of `routes` names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) exporters: Vec<String>,
}

/// Where the telemetry of some clients is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Route {
    /// Values of owned attributes, all of which a client must have: `{tenant.id: acme}`. To match a client by its name,
    /// set an attribute such as `otlp_gate.client: "{name}"`.
    #[serde(rename = "match", deserialize_with = "unique_keys")]
    pub(crate) matches: BTreeMap<String, Values>,
    /// The signals that the route applies to. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) signals: Vec<RoutedSignal>,
    /// The exporters and connectors that matching telemetry is sent to, and no others.
    pub(crate) exporters: Vec<String>,
}

/// One value, or several of which any matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a string or a list of strings")]
pub(crate) enum Values {
    /// One.
    One(String),
    /// Any of these.
    Any(Vec<String>),
}

/// A signal of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RoutedSignal {
    /// Logs.
    Logs,
    /// Metrics.
    Metrics,
    /// Traces.
    Traces,
    /// Profiles.
    Profiles,
}

impl Values {
    /// The values.
    pub(crate) fn all(&self) -> &[String] {
        match self {
            Values::One(value) => std::slice::from_ref(value),
            Values::Any(values) => values,
        }
    }
}

impl RoutedSignal {
    /// All signals, by name.
    pub(crate) const ALL: [RoutedSignal; 4] =
        [RoutedSignal::Logs, RoutedSignal::Metrics, RoutedSignal::Profiles, RoutedSignal::Traces];

    /// The signal as pipelines are named by it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            RoutedSignal::Logs => "logs",
            RoutedSignal::Metrics => "metrics",
            RoutedSignal::Traces => "traces",
            RoutedSignal::Profiles => "profiles",
        }
    }
}
