//! The gateway on every node.

use std::collections::{BTreeMap, BTreeSet};

use otlp_gate_core::config::unique_keys;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backend::IMAGE;

/// A gateway on every node, for plain-text OTLP from the node's own pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeLocal {
    /// Whether there is one.
    pub enabled: bool,
    /// Its namespace: one of its own, since a durable queue and Istio's sidecars need rights that the gateway's must not have.
    /// By default the gateway's, with `-node` behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its image: any distribution of the Collector of version 0.155 or later that has the exporters and the processors
    /// k8s_attributes, transform and filter, and for a durable queue the extension file_storage, such as
    /// opentelemetry-collector-contrib and opentelemetry-collector-k8s.
    pub image: String,
    /// Where it keeps what it has taken and not delivered yet. `memory`: what a pod held is lost when it is killed, and nothing
    /// when it is restarted or replaced. `durable`: in a folder of the node, so that nothing is lost when a pod is killed or
    /// the backend is away; while a pod is replaced, its node has none for some seconds, and exporters try again.
    pub queue: Queue,
    /// When a pod's export is answered: `queued`, when it is in the queue, or `delivered`, when the backend has taken it, so that
    /// nothing that was answered is lost with the memory. A durable queue answers when it has written.
    pub acknowledge: Acknowledge,
    /// Whether it takes part in Istio's mesh, which it needs where its backend is in there. `auto` looks at the cluster when it is
    /// applied, and is `off` in what `render` writes. `on` sends through a sidecar in any case, and `off` never.
    pub mesh: MeshMode,
    /// Where it sends, if not to this gate's backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<Export>,
    /// What comes from an address of no running pod of the node: `refuse` answers that it may be sent again (14 / 503), as a new pod does
    /// until its address is known. `accept` takes it in unattributed, whoever in the cluster sends it: where pods on the host's
    /// network send, which have no address of their own.
    pub unknown_senders: UnknownSenders,
    /// Which pods are whose. The first rule that matches decides. What a pod writes under keys that the gate owns is removed,
    /// and what its rule has is set; `attributes` for every client as well. A pod that no rule matches has none of them, and its
    /// telemetry goes on as nobody's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<PodRule>,
}

/// What comes from an address of no running pod of the node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownSenders {
    /// It is refused, and may be sent again.
    #[default]
    Refuse,
    /// It is taken in, unattributed.
    Accept,
}

/// Where a queue is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Queue {
    /// In the pod's memory.
    #[default]
    Memory,
    /// On the node's disk.
    Durable,
}

/// When an export is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Acknowledge {
    /// When it is in the queue.
    #[default]
    Queued,
    /// When the backend has taken it.
    Delivered,
}

/// Whether to take part in a mesh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MeshMode {
    /// Where the backend does.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// Where the gateway of a node sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Export {
    /// To an otlp-gate elsewhere, as a client of it.
    Gate(RemoteGate),
    /// By exporters of one's own.
    Exporters(
        #[schemars(
            description = "Exporters by name, each as in the Collector's own configuration. All signals go to all of them."
        )]
        BTreeMap<String, serde_json::Value>,
    ),
}

/// An otlp-gate elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoteGate {
    /// Its host and port for OTLP/gRPC, such as `otel-gateway.example.com:4317`.
    pub endpoint: String,
    /// The Secret in the namespace of the node-local gateway that holds this client's `tls.crt` and `tls.key`, and the `ca.crt` of
    /// the gate's server: `otlp-gate client-config NAME --for secret` makes one. A renewed certificate is taken without a restart.
    pub client_secret: String,
    /// The name in the server's certificate, where it is not the host of `endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// Pods of one client, or of any number of clients that are named from what matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodRule {
    /// The client's name, with `{word}` for what `match` captured. It may be that of a client with certificates: then both roads
    /// are one client's.
    pub name: String,
    /// Which pods this rule is for. All that is given must hold.
    #[serde(rename = "match")]
    pub matches: PodMatch,
    /// Resource attributes of this client. They come before those of the same key for every client. Placeholders: `{name}`,
    /// `{namespace}` and the words that `match` captures.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub attributes: BTreeMap<String, String>,
}

/// Where a pod is, as the cluster says: by the address that its connection comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodMatch {
    /// Pattern for its namespace, such as `team-{team}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Patterns for its labels. Whoever may make pods in a namespace chooses them, so match `namespace` as well.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub labels: BTreeMap<String, String>,
}

impl NodeLocal {
    /// The keys of what its rules set, which clients of the gateway may not say either.
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
            export: None,
            clients: Vec::new(),
        }
    }
}
