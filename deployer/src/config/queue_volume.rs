//! The volumes of a durable queue.

use otlp_gate_core::config::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The volumes of a durable queue: one for each replica of the Collector. They cannot be changed after the first
/// `apply`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct QueueVolume {
    /// The size of each volume, at least `1GiB`. A quarter of it is for queued telemetry, in equal parts for each signal
    /// of each exporter; the queue's files need the rest.
    #[schemars(extend("default" = "10GiB"))]
    pub(crate) size: Size,
    /// The StorageClass. Default: the cluster's default class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) storage_class_name: Option<String>,
    /// Whether every write waits until the disk has it. `false`: exports are answered sooner, and when the node crashes,
    /// acknowledged telemetry may be lost. Nothing is lost when only the pod is killed.
    pub(crate) fsync: bool,
}

impl QueueVolume {
    /// The smallest size, in bytes.
    pub(crate) const SMALLEST: u64 = 1 << 30;

    /// Whether all settings have their defaults.
    pub(crate) fn is_default(&self) -> bool {
        *self == QueueVolume::default()
    }
}

impl Default for QueueVolume {
    fn default() -> Self {
        QueueVolume { size: Size::gib(10), storage_class_name: None, fsync: true }
    }
}
