//! The backend, which accepted telemetry is forwarded to.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};

use otlp_gate_core::config::unique_keys;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The default image of Collectors.
pub(super) const IMAGE: &str = "docker.io/otel/opentelemetry-collector-contrib:0.155.0";

/// IANA's port for OTLP/gRPC.
pub(super) const OTLP_GRPC: NonZeroU16 = NonZeroU16::new(4317).unwrap();
/// The port that OTLP's specification gives OTLP/HTTP.
pub(super) const OTLP_HTTP: NonZeroU16 = NonZeroU16::new(4318).unwrap();

/// Where accepted telemetry is forwarded to. One of the two keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Backend {
    /// A Collector that otlp-gate deploys.
    Collector(Collector),
    /// Your own Service that receives OTLP.
    Service(Service),
}

/// A Collector that otlp-gate deploys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Collector {
    /// The number of its replicas.
    pub(crate) replicas: NonZeroU32,
    /// The most replicas that an autoscaler may set, at least `replicas`. It scales at 70 % of the requested CPU, and
    /// needs the cluster's metrics server. Default: no autoscaler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_replicas: Option<NonZeroU32>,
    /// Its image: a Collector distribution of version 0.148 or later with the configured exporters and the routing
    /// connector, such as opentelemetry-collector-contrib or opentelemetry-collector-k8s.
    pub(crate) image: String,
    /// Its exporters by name, as in the Collector's configuration: `{otlphttp: {endpoint:
    /// "https://otlp.example.com"}}`. All signals are sent to all of them. Default: none; telemetry is only written to
    /// the Collector's log.
    #[serde(deserialize_with = "unique_keys")]
    pub(crate) exporters: BTreeMap<String, serde_json::Value>,
}

/// A Service that receives OTLP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Service {
    /// The name of the Service.
    pub(crate) name: String,
    /// Its namespace. Default: `gateway.namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    /// Its port for OTLP/gRPC.
    #[serde(default = "grpc")]
    pub(crate) grpc: NonZeroU16,
    /// Its port for OTLP/HTTP.
    #[serde(default = "http")]
    pub(crate) http: NonZeroU16,
}

impl Default for Backend {
    fn default() -> Self {
        Backend::Collector(Collector::default())
    }
}

impl Default for Collector {
    fn default() -> Self {
        Collector {
            replicas: NonZeroU32::MIN,
            max_replicas: None,
            image: IMAGE.to_owned(),
            exporters: BTreeMap::new(),
        }
    }
}

fn grpc() -> NonZeroU16 {
    OTLP_GRPC
}

fn http() -> NonZeroU16 {
    OTLP_HTTP
}
