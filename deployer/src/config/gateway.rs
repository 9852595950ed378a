//! The gateway's part of the config.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};

use otlp_gate_core::config::unique_keys;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The gateway that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Gateway {
    /// Whether there is one. Without it nobody gets in from outside: a cluster that only sends to another one's gate needs none.
    pub enabled: bool,
    /// What implements the Gateway API in the cluster.
    pub provider: Provider,
    /// The name of the Gateway, and of what belongs to it.
    pub name: String,
    /// The namespace of the Gateway and of everything that otlp-gate makes.
    pub namespace: String,
    /// The DNS name by which clients reach the gateway, in lower case, perhaps with `*` as its first label; not an address. The
    /// server's certificate is made for it.
    pub hostname: String,
    /// The ports that clients connect to.
    pub listeners: Listeners,
    /// How many replicas the gateway has. A quota holds for one replica: with N, a client can get up to N times of it.
    pub replicas: NonZeroU32,
    /// The GatewayClass. By default `istio`, or `eg` for Envoy Gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Annotations for what the provider makes for the Gateway, such as those that a cloud's load balancers read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub annotations: BTreeMap<String, String>,
    /// Where the gateway gets the filter's module. By default, and with Istio only, from a ConfigMap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<Module>,
}

/// Where the gateway gets the filter's module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Module {
    /// Its URL: `oci://registry/image:tag`, or `https://` or `http://`.
    pub url: String,
    /// The SHA-256 in hex digits of the module, or for `oci://` of the image's manifest. By default, from a web server it
    /// must be the module that the command carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// What implements the Gateway API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
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

impl Default for Gateway {
    fn default() -> Self {
        Gateway {
            enabled: true,
            provider: Provider::default(),
            name: "otel-gateway".to_owned(),
            namespace: "otel-collector".to_owned(),
            hostname: "localhost".to_owned(),
            listeners: Listeners::default(),
            replicas: const { NonZeroU32::new(2).unwrap() },
            class: None,
            annotations: BTreeMap::new(),
            module: None,
        }
    }
}

impl Default for Listeners {
    fn default() -> Self {
        Listeners { grpc: super::backend::OTLP_GRPC, http: super::backend::OTLP_HTTP }
    }
}
