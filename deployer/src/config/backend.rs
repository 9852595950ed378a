//! What is behind the gate.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};

use otlp_gate_core::config::unique_keys;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Collector's image.
pub(super) const IMAGE: &str = "docker.io/otel/opentelemetry-collector-contrib:0.155.0";

/// IANA's port for OTLP/gRPC.
pub(super) const OTLP_GRPC: NonZeroU16 = NonZeroU16::new(4317).unwrap();
/// The port that OTLP's specification gives OTLP/HTTP.
pub(super) const OTLP_HTTP: NonZeroU16 = NonZeroU16::new(4318).unwrap();

/// Where accepted telemetry goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Backend {
    /// A Collector that otlp-gate deploys.
    Collector(Collector),
    /// A service that takes OTLP and is there already.
    Service(Service),
}

/// A Collector that otlp-gate deploys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Collector {
    /// How many replicas it has.
    pub replicas: NonZeroU32,
    /// How many replicas an autoscaler may make of it when they are busy: more than 70 % of the CPU that they ask for. By
    /// default there is no autoscaler. It needs the cluster's metrics server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_replicas: Option<NonZeroU32>,
    /// Its image: any distribution of the Collector of version 0.148 or later that has the exporters and the routing
    /// connector, such as opentelemetry-collector-contrib and opentelemetry-collector-k8s.
    pub image: String,
    /// Its exporters by name, each as in the Collector's own configuration. All signals go to all of them. With none,
    /// telemetry is written to the Collector's log only.
    #[serde(deserialize_with = "unique_keys")]
    pub exporters: BTreeMap<String, serde_json::Value>,
}

/// A service that takes OTLP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// The name of the Kubernetes Service.
    pub name: String,
    /// Its namespace; by default the gateway's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its port for OTLP/gRPC.
    #[serde(default = "grpc")]
    pub grpc: NonZeroU16,
    /// Its port for OTLP/HTTP.
    #[serde(default = "http")]
    pub http: NonZeroU16,
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
