//! Settings of pods, the same for the gateway's proxies, the Collector and the node-local gateway.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use otlp_gate_core::config::unique_keys;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kubernetes::Kubernetes;

/// How pods are placed and labelled, in the words of Kubernetes' pods.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Pod {
    /// More labels of the pods. The labels that otlp-gate sets cannot be replaced.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub(crate) labels: BTreeMap<String, String>,
    /// More annotations of the pods. The annotations that otlp-gate sets cannot be replaced.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// The container's requests and limits: `{requests: {cpu: 500m}, limits: {memory: 4Gi}}`. What is not given keeps
    /// its default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resources: Option<Kubernetes<ResourceRequirements>>,
    /// The labels that a node must have: `{kubernetes.io/arch: arm64}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub(crate) node_selector: BTreeMap<String, String>,
    /// The taints of nodes that the pods tolerate: `[{key: dedicated, value: telemetry}]`. Those of the node-local
    /// gateway tolerate every taint by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tolerations: Vec<Kubernetes<Toleration>>,
    /// Rules for the nodes and the other pods that the pods run beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) affinity: Option<Kubernetes<Affinity>>,
    /// How the pods are spread over zones and nodes: `[{topologyKey: topology.kubernetes.io/zone, maxSkew: 1,
    /// whenUnsatisfiable: ScheduleAnyway}]`. Without a `labelSelector`, the pods themselves are counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) topology_spread_constraints: Vec<Kubernetes<TopologySpreadConstraint>>,
    /// The Secrets with the credentials of image registries: `[{name: registry}]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) image_pull_secrets: Vec<Kubernetes<LocalObjectReference>>,
    /// The PriorityClass. The node-local gateway has one of its own by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) priority_class_name: Option<String>,
}

impl Pod {
    /// Whether nothing is set.
    pub(crate) fn is_default(&self) -> bool {
        *self == Pod::default()
    }
}
