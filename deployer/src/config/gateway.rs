//! The gateway that clients connect to.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};

use otlp_gate_core::config::unique_keys;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pod::Pod;

/// The gateway that clients connect to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Gateway {
    /// Whether to deploy a gateway. A cluster that only sends to the gate of another cluster needs none
    /// (`nodeLocal.export`).
    pub(crate) enabled: bool,
    /// The implementation of the Gateway API in the cluster.
    pub(crate) provider: Provider,
    /// The name of the Gateway; names of other objects begin with it. At most 53 characters.
    pub(crate) name: String,
    /// The namespace of the Gateway and of all other namespaced objects.
    pub(crate) namespace: String,
    /// The DNS name that clients connect to, in lower case: `otel.example.com`, or `*.example.com`; not an IP address.
    /// The server's certificate is issued for it.
    pub(crate) hostname: String,
    /// The ports that clients connect to.
    pub(crate) listeners: Listeners,
    /// The IP families of the ports: `IPv4`, `IPv6` or `DualStack`. Default: IPv4. Envoy Gateway only; with Istio the
    /// ports have the families of the mesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ip_family: Option<IpFamily>,
    /// The number of replicas of the gateway. Without `quotas.engine`, quotas hold per replica: with N replicas a client
    /// can send up to N times its quota.
    pub(crate) replicas: NonZeroU32,
    /// The GatewayClass. Default: `istio`, or `eg` for Envoy Gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) class: Option<String>,
    /// Labels of the objects that the provider creates for the Gateway: its Service, Deployment and pods. At most 8. A
    /// change may restart the proxies.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub(crate) labels: BTreeMap<String, String>,
    /// Annotations of the objects that the provider creates for the Gateway, such as those for external-dns and a
    /// cloud's load balancers. At most 16.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// The kind of Istio's object with the filter. With `auto`, `apply` uses TrafficExtension where the cluster serves it
    /// and every istiod is known to be 1.30 or later, else WasmPlugin; `render` writes a WasmPlugin. Istio only.
    #[serde(skip_serializing_if = "ExtensionMode::is_auto")]
    pub(crate) extension: ExtensionMode,
    /// What runs the filter: `wasm`, a VM in the gateway's Envoy, or `native`, Envoy itself, which costs less CPU.
    /// `native` needs Envoy Gateway 1.8 or later and, as `module`, an image of Envoy that contains the module. The
    /// Gateway's name must end in `-native` if, and only if, this is `native`.
    #[serde(skip_serializing_if = "FilterHost::is_wasm")]
    pub(crate) host: FilterHost,
    /// Where the gateway loads the filter's module from. Required with Envoy Gateway. Default with Istio: a ConfigMap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) module: Option<Module>,
    /// The gateway's access log, in JSON on the proxies' standard output: `off`, `rejected` for requests that were not
    /// accepted, or `all`. It has the client, the result and the reason of each request. What the provider logs itself
    /// is not changed by `off`.
    #[serde(skip_serializing_if = "AccessLog::is_off")]
    pub(crate) access_log: AccessLog,
    /// Settings of the gateway's proxies' pods.
    #[serde(skip_serializing_if = "Pod::is_default")]
    pub(crate) pod: Pod,
}

/// Where the gateway loads the filter's module from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Module {
    /// Its URL: `oci://registry/image:tag`, `https://..` or `http://..`.
    pub(crate) url: String,
    /// The SHA-256 of the module in hex, or with `oci://` of the image's manifest. Default: for a web server, that of
    /// the module that is built into this command; for `oci://`, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
}

/// The implementation of the Gateway API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Provider {
    /// Istio.
    #[default]
    Istio,
    /// Envoy Gateway.
    EnvoyGateway,
}

/// What runs the filter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FilterHost {
    /// A Wasm VM in Envoy.
    #[default]
    Wasm,
    /// Envoy itself.
    Native,
}

impl FilterHost {
    /// Whether it is the default.
    fn is_wasm(&self) -> bool {
        *self == FilterHost::Wasm
    }
}

/// The IP families of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum IpFamily {
    /// IPv4.
    IPv4,
    /// IPv6.
    IPv6,
    /// Both.
    DualStack,
}

/// Which requests the gate's own access log has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AccessLog {
    /// None.
    #[default]
    Off,
    /// Those that were not accepted.
    Rejected,
    /// All.
    All,
}

impl AccessLog {
    /// Whether it is the default.
    fn is_off(&self) -> bool {
        *self == AccessLog::Off
    }
}

/// The kind of Istio's object with the filter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum ExtensionMode {
    /// TrafficExtension where the cluster's Istio has it, else WasmPlugin.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// WasmPlugin.
    WasmPlugin,
    /// TrafficExtension, which needs Istio 1.30 or later.
    TrafficExtension,
}

impl ExtensionMode {
    /// Whether it is the default.
    fn is_auto(&self) -> bool {
        *self == ExtensionMode::Auto
    }
}

/// The ports that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Listeners {
    /// The port for OTLP/gRPC.
    pub(crate) grpc: NonZeroU16,
    /// The port for OTLP/HTTP.
    pub(crate) http: NonZeroU16,
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
            ip_family: None,
            replicas: const { NonZeroU32::new(2).unwrap() },
            class: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            extension: ExtensionMode::Auto,
            host: FilterHost::Wasm,
            module: None,
            access_log: AccessLog::Off,
            pod: Pod::default(),
        }
    }
}

impl Default for Listeners {
    fn default() -> Self {
        Listeners { grpc: super::backend::OTLP_GRPC, http: super::backend::OTLP_HTTP }
    }
}
