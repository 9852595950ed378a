//! The node-local gateway.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::EnvVar;
use otlp_gate_core::config::unique_keys;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backend::IMAGE;
use super::certificates::ServerCa;
use super::kubernetes::Kubernetes;
use super::pod::Pod;

/// The node-local gateway: a Collector DaemonSet that receives plain-text OTLP from the pods of its node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct NodeLocal {
    /// Whether to deploy it.
    pub(crate) enabled: bool,
    /// Its namespace, which must not be that of the gateway: a durable queue and Istio's sidecars need privileges that
    /// the gateway's pods must not have. Default: `gateway.namespace` and `-node`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    /// Its image: a Collector distribution of version 0.155 or later with the configured exporters, the processors
    /// k8s_attributes, transform and filter, and for a durable queue the extension file_storage, such as
    /// opentelemetry-collector-contrib or opentelemetry-collector-k8s.
    pub(crate) image: String,
    /// Where it queues telemetry that the backend has not accepted yet. `memory`: lost when its pod is killed, not when
    /// the pod is restarted or replaced. `durable`: in a folder on the node, not lost when the pod is killed or the
    /// backend is unreachable. While a pod with a durable queue is replaced, its node has no gateway for some seconds;
    /// exporters retry.
    pub(crate) queue: Queue,
    /// When an export is answered with success. `queued`: when it is in the queue. `delivered`: when the backend has
    /// accepted it, so that a queue in memory loses no acknowledged telemetry. A durable queue answers when it has
    /// written to disk: leave this out.
    pub(crate) acknowledge: Acknowledge,
    /// Whether it joins Istio's mesh, which it must if its backend is in the mesh. `auto`: `apply` looks at the
    /// cluster; in `render` it is `off`. `on`: it sends through a sidecar. `off`: it does not join.
    pub(crate) mesh: MeshMode,
    /// Where it sends to. Default: this gate's backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) export: Option<Export>,
    /// What happens to an export from an address that no running pod of the node has. `refuse` rejects it as retryable
    /// (14 / 503); the address of a new pod is known after some seconds. `accept` forwards it unattributed, from any
    /// sender in the cluster's network: for pods in the host's network, which have no address of their own.
    pub(crate) unknown_senders: UnknownSenders,
    /// Environment variables, as in a container: `[{name: TOKEN, valueFrom: {secretKeyRef: {name: backend, key:
    /// token}}}]`. `${env:TOKEN}` in `export.exporters` is replaced by the value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) env: Vec<Kubernetes<EnvVar>>,
    /// Settings of its pods.
    #[serde(skip_serializing_if = "Pod::is_default")]
    pub(crate) pod: Pod,
    /// Rules that map pods to clients, in order: the first rule that matches decides. Values that pods send under owned
    /// keys are removed; the attributes of the rule and the top-level `attributes` are set. Telemetry of pods that no
    /// rule matches is forwarded unattributed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) clients: Vec<PodRule>,
}

/// What happens to an export from an address that no running pod of the node has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum UnknownSenders {
    /// It is rejected as retryable.
    #[default]
    Refuse,
    /// It is forwarded unattributed.
    Accept,
}

/// Where a queue is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Queue {
    /// In the pod's memory.
    #[default]
    Memory,
    /// On a disk.
    Durable,
}

impl Queue {
    /// Whether it is in memory, as by default.
    pub(crate) fn is_memory(&self) -> bool {
        *self == Queue::Memory
    }
}

/// When an export is answered with success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Acknowledge {
    /// When it is in the queue.
    #[default]
    Queued,
    /// When the backend has accepted it.
    Delivered,
}

/// Whether to join a mesh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MeshMode {
    /// If the backend is in the mesh.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// Where the node-local gateway sends to. One of the two keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Export {
    /// The gate of another cluster, as a client of it.
    Gate(RemoteGate),
    /// Your own exporters.
    Exporters(
        #[schemars(
            description = "Exporters by name, as in the Collector's configuration. All signals are sent to all of them."
        )]
        BTreeMap<String, serde_json::Value>,
    ),
}

/// The gate of another cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RemoteGate {
    /// Its host and port for OTLP/gRPC: `otel-gateway.example.com:4317`.
    pub(crate) endpoint: String,
    /// The Secret with this client's `tls.crt` and `tls.key`, and the `ca.crt` of the gate's server, in the namespace
    /// of the node-local gateway. `otlp-gate client-config NAME --for secret` creates one. A renewed certificate is
    /// used without a restart.
    pub(crate) client_secret: String,
    /// The name in the server's certificate. Default: the host of `endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server_name: Option<String>,
    /// Who trusts the CA of the server's certificate, as in the gate's `certificates.serverCA`. With `public`, the
    /// Secret needs no `ca.crt`.
    #[serde(default, rename = "serverCA", skip_serializing_if = "ServerCa::is_private")]
    pub(crate) server_ca: ServerCa,
}

/// A rule for the pods of one client, or of many clients whose names are made of captures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PodRule {
    /// The client's name, of `A-Z a-z 0-9 . _ -`, captures of `match`, and `{namespace}`. It may be the name of a
    /// client under the top-level `clients`.
    pub(crate) name: String,
    /// Which pods the rule matches; all keys that are given must match.
    #[serde(rename = "match")]
    pub(crate) matches: PodMatch,
    /// Resource attributes of this client. They replace those of the same key under the top-level `attributes`.
    /// Placeholders: `{name}`, `{namespace}` and the captures of `match`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub(crate) attributes: BTreeMap<String, String>,
}

/// What a pod must have. Pods are identified by the address that their connections come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct PodMatch {
    /// Pattern for its namespace: `team-{team}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    /// Patterns for its labels: `{app: "edge-*"}`. Everyone who may create pods in a namespace chooses their labels, so
    /// match `namespace` as well.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub(crate) labels: BTreeMap<String, String>,
}

impl NodeLocal {
    /// The keys of the attributes that its rules set: they are owned at the gateway as well.
    pub(super) fn owned(&self) -> Vec<String> {
        let keys: BTreeSet<&String> = match self.enabled {
            true => self.clients.iter().flat_map(|rule| rule.attributes.keys()).collect(),
            false => BTreeSet::new(),
        };
        keys.into_iter().cloned().collect()
    }
}

impl Default for NodeLocal {
    fn default() -> Self {
        NodeLocal {
            enabled: false,
            namespace: None,
            image: IMAGE.to_owned(),
            queue: Queue::default(),
            acknowledge: Acknowledge::default(),
            mesh: MeshMode::default(),
            unknown_senders: UnknownSenders::default(),
            env: Vec::new(),
            pod: Pod::default(),
            export: None,
            clients: Vec::new(),
        }
    }
}
