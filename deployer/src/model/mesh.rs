//! Istio's mesh, as far as it concerns the Collectors that otlp-gate deploys.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::Object;
use crate::config::{Config, MeshMode, Provider};
use crate::error::Error;

/// What the objects depend on in Istio's mesh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mesh {
    /// Whether the cluster has a mesh.
    pub(crate) present: bool,
    /// How the node-local gateway's pods join it.
    pub(crate) node_local: DataPlaneMode,
}

/// How pods join a mesh: Istio's data plane modes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DataPlaneMode {
    /// They do not join.
    #[default]
    None,
    /// By a sidecar, for outbound connections only. Inbound connections bypass the sidecar.
    Sidecar,
    /// By the node's ztunnel.
    Ambient,
}

impl Mesh {
    /// The mesh that the config implies where no cluster is asked.
    pub(crate) fn from_config(config: &Config) -> Self {
        match config.node_local_mesh() {
            MeshMode::On => Mesh { present: true, node_local: DataPlaneMode::Sidecar },
            MeshMode::Auto => Mesh {
                present: config.gateway.enabled && config.gateway.provider == Provider::Istio,
                node_local: DataPlaneMode::None,
            },
            MeshMode::Off => Mesh::default(),
        }
    }
}

/// Labels of pods that join in this mode.
pub(crate) fn labels(mode: DataPlaneMode) -> BTreeMap<String, String> {
    let (inject, mode) = match mode {
        DataPlaneMode::None => ("false", "none"),
        DataPlaneMode::Sidecar => ("true", "none"),
        DataPlaneMode::Ambient => ("false", "ambient"),
    };
    [("sidecar.istio.io/inject", inject), ("istio.io/dataplane-mode", mode)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Annotations of pods that join in this mode.
pub(crate) fn annotations(mode: DataPlaneMode) -> BTreeMap<String, String> {
    match mode {
        DataPlaneMode::Sidecar => [
            // Connections from the node's own pods are plain text and bypass the sidecar.
            ("traffic.sidecar.istio.io/includeInboundPorts", ""),
            // Otherwise the first exports fail, because the sidecar is not running yet.
            ("proxy.istio.io/config", "holdApplicationUntilProxyStarts: true"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into(),
        DataPlaneMode::None | DataPlaneMode::Ambient => BTreeMap::new(),
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DestinationRule {
    host: String,
    traffic_policy: TrafficPolicy,
}

#[derive(Debug, Serialize)]
struct TrafficPolicy {
    tls: Tls,
}

#[derive(Debug, Serialize)]
struct Tls {
    mode: &'static str,
}

/// A DestinationRule that makes clients in the mesh send plain text to a Service, whatever a mesh-wide rule sets.
pub(crate) fn plain_text(service: &str, namespace: &str, metadata: ObjectMeta) -> Result<Object, Error> {
    let spec = DestinationRule {
        host: format!("{service}.{namespace}.svc.cluster.local"),
        traffic_policy: TrafficPolicy { tls: Tls { mode: "DISABLE" } },
    };
    Object::custom("networking.istio.io/v1", "DestinationRule", metadata, spec)
}
