//! What metrics show.

use serde::{Deserialize, Serialize};

/// What metrics show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MetricsConfig {
    /// How many clients may have metrics of their own besides the first 200 with literal names, 0 to 500: the busiest
    /// of those whose names come from patterns. All others are `other`. A proxy never deletes a metric, so this is a
    /// bound for as long as it runs.
    #[serde(skip_serializing_if = "is_default_busiest")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = 200)))]
    pub busiest_clients: u32,
}

impl MetricsConfig {
    /// Whether all keys have their defaults.
    pub fn is_default(&self) -> bool {
        *self == MetricsConfig::default()
    }
}

impl Default for MetricsConfig {
    fn default() -> Self {
        MetricsConfig { busiest_clients: 200 }
    }
}

fn is_default_busiest(number: &u32) -> bool {
    *number == MetricsConfig::default().busiest_clients
}
