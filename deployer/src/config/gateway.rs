//! The gateway's part of the config.

use std::num::{NonZeroU16, NonZeroU32};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The gateway that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Gateway {
    /// What implements the Gateway API in the cluster.
    pub provider: Provider,
    /// The name of the Gateway, and of what belongs to it.
    pub name: String,
    /// The namespace of the Gateway and of everything that otlp-gate makes.
    pub namespace: String,
    /// The DNS name by which clients reach the gateway. The server's certificate is made for it.
    pub hostname: String,
    /// The ports that clients connect to.
    pub listeners: Listeners,
    /// How many replicas the gateway has. A quota holds for one replica: with N, a client can get up to N times of it.
    pub replicas: NonZeroU32,
}

/// What implements the Gateway API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// Istio's gateway.
    #[default]
    Istio,
    /// Envoy Gateway.
    EnvoyGateway,
}

/// The ports that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Listeners {
    /// OTLP/gRPC.
    pub grpc: NonZeroU16,
    /// OTLP/HTTP.
    pub http: NonZeroU16,
}

/// A gateway on every node, for plain-text OTLP from the node's own pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeLocal {
    /// Whether there is one.
    pub enabled: bool,
}

impl Default for Gateway {
    fn default() -> Self {
        Gateway {
            provider: Provider::default(),
            name: "otel-gateway".to_owned(),
            namespace: "otel-collector".to_owned(),
            hostname: "localhost".to_owned(),
            listeners: Listeners::default(),
            replicas: const { NonZeroU32::new(2).unwrap() },
        }
    }
}

impl Default for Listeners {
    fn default() -> Self {
        Listeners { grpc: super::backend::OTLP_GRPC, http: super::backend::OTLP_HTTP }
    }
}
