//! The backend, which accepted telemetry is forwarded to.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, Volume, VolumeMount};
use otlp_gate_core::config::unique_keys;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::kubernetes::Kubernetes;
use super::node_local::Queue;
use super::pipeline::{Pipeline, Route};
use super::pod::Pod;
use super::queue_volume::QueueVolume;

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
    Collector(Box<Collector>),
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
    /// Whether the gateway connects to it with mutual TLS. `on`: the Collector accepts only the gateway and the
    /// node-local gateways, by certificates of the internal CA that `otlp-gate certs init` or cert-manager creates.
    /// `off`: in plain text. Who can read the traffic between nodes then reads all telemetry, and who reaches the
    /// Collector's Service bypasses the gate, unless a NetworkPolicy is enforced.
    pub(crate) tls: TlsMode,
    /// Its exporters by name, as in the Collector's configuration: `{otlp_http: {endpoint:
    /// "https://otlp.example.com"}}`. All signals are sent to all of them, unless `pipelines` or `routes` say otherwise.
    /// Default: none; telemetry is only written to the Collector's log.
    #[serde(deserialize_with = "unique_keys")]
    pub(crate) exporters: BTreeMap<String, Value>,
    /// Its processors by name, as in the Collector's configuration. `pipelines` says which pipelines use them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub(crate) processors: BTreeMap<String, Value>,
    /// Its connectors by name, as in the Collector's configuration. `pipelines` says which pipelines they connect.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub(crate) connectors: BTreeMap<String, Value>,
    /// Its extensions by name, as in the Collector's configuration, such as the authenticators of exporters. All of them
    /// are started.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub(crate) extensions: BTreeMap<String, Value>,
    /// Its pipelines by name, as in the Collector's `service.pipelines`. `logs`, `metrics`, `traces` and `profiles`
    /// receive what the gateway sends; other pipelines, such as `metrics/red`, receive from connectors.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub(crate) pipelines: BTreeMap<String, Pipeline>,
    /// Exporters for the telemetry of some clients, in order: the first route that matches decides. The rest goes to the
    /// exporters that no route names, or to those of `pipelines`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) routes: Vec<Route>,
    /// Where exporters queue telemetry, and when an export is answered with success. `memory`: when the exporters have
    /// delivered it, so the queue loses no acknowledged telemetry. `durable`: when it is on the disk of the replica's
    /// volume. It is delivered when the backend is reachable, also after the pod was killed. The Collector is then a
    /// StatefulSet, and its image needs the extension file_storage.
    #[serde(skip_serializing_if = "Queue::is_memory")]
    pub(crate) queue: Queue,
    /// The volumes of a durable queue.
    #[serde(skip_serializing_if = "QueueVolume::is_default")]
    pub(crate) queue_volume: QueueVolume,
    /// Whether it takes profiles, a signal that is in development. It needs an image of version 0.155 or later with the
    /// filter processor, and exporters that support profiles. `false`: the gateway rejects profiles (12 / 404).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) profiles: bool,
    /// Environment variables, as in a container: `[{name: TOKEN, valueFrom: {secretKeyRef: {name: backend, key:
    /// token}}}]`. `${env:TOKEN}` in the Collector's configuration is replaced by the value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) env: Vec<Kubernetes<EnvVar>>,
    /// Sources of environment variables, as in a container: `[{secretRef: {name: backend}}]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) env_from: Vec<Kubernetes<EnvFromSource>>,
    /// Volumes, as in a pod: `[{name: ca, secret: {secretName: backend-ca}}]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) volumes: Vec<Kubernetes<Volume>>,
    /// Where the volumes are mounted, as in a container: `[{name: ca, mountPath: /etc/backend, readOnly: true}]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) volume_mounts: Vec<Kubernetes<VolumeMount>>,
    /// Settings of its pods.
    #[serde(skip_serializing_if = "Pod::is_default")]
    pub(crate) pod: Pod,
}

/// Whether a connection is encrypted and authenticated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TlsMode {
    /// With mutual TLS.
    #[default]
    On,
    /// In plain text.
    Off,
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
    /// Whether it takes profiles, a signal that is in development. `false`: the gateway rejects profiles (12 / 404).
    /// Default: profiles are forwarded, and the Service answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) profiles: Option<bool>,
    /// TLS from the gateway and the node-local gateway to it. Default: plain text, unless a mesh encrypts the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<ServiceTls>,
}

/// TLS to a Service of your own, with certificates or by Istio's mesh. `caConfigMap` or `mesh: true` is required.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ServiceTls {
    /// The ConfigMap with the CA of the Service's certificate in `ca.crt`: with Istio in `gateway.namespace`, with Envoy
    /// Gateway in the Service's namespace. If the node-local gateway sends to the Service, its namespace needs a
    /// ConfigMap of this name too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca_config_map: Option<String>,
    /// The name that the Service's certificate must have. Default: `NAME.NAMESPACE.svc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_name: Option<String>,
    /// The Secret with the client certificate that the gateway presents, of type `kubernetes.io/tls`, in
    /// `gateway.namespace`. If the node-local gateway sends to the Service, its namespace needs a Secret of this name
    /// too. Default: none; the Service must then accept clients without a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_secret: Option<String>,
    /// Whether the Service is in Istio's mesh. The gateway then authenticates by the mesh's certificates, and never
    /// sends plain text. It requires Istio as the gateway's provider, and excludes the other keys.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) mesh: bool,
}

impl Backend {
    /// Whether the gateway forwards profiles to it.
    pub(crate) fn takes_profiles(&self) -> bool {
        match self {
            Backend::Collector(collector) => collector.profiles,
            Backend::Service(service) => service.profiles.unwrap_or(true),
        }
    }
}

impl Default for Backend {
    fn default() -> Self {
        Backend::Collector(Box::default())
    }
}

impl Default for Collector {
    fn default() -> Self {
        Collector {
            replicas: NonZeroU32::MIN,
            max_replicas: None,
            image: IMAGE.to_owned(),
            tls: TlsMode::default(),
            exporters: BTreeMap::new(),
            processors: BTreeMap::new(),
            connectors: BTreeMap::new(),
            extensions: BTreeMap::new(),
            pipelines: BTreeMap::new(),
            routes: Vec::new(),
            queue: Queue::Memory,
            queue_volume: QueueVolume::default(),
            profiles: false,
            env: Vec::new(),
            env_from: Vec::new(),
            volumes: Vec::new(),
            volume_mounts: Vec::new(),
            pod: Pod::default(),
        }
    }
}

fn grpc() -> NonZeroU16 {
    OTLP_GRPC
}

fn http() -> NonZeroU16 {
    OTLP_HTTP
}
