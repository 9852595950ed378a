//! Istio's mesh, as far as a Collector has to do with it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::Object;
use crate::error::Error;

/// What the gate knows of the mesh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mesh {
    /// Whether there is one.
    pub noticed: bool,
    /// How the gateway on every node takes part in it.
    pub part: Part,
}

/// How pods take part in a mesh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Part {
    /// They do not.
    #[default]
    None,
    /// By a sidecar, for what they send. What they take does not go through it.
    Sidecar,
    /// By the node's ztunnel.
    Ambient,
}

/// Labels of pods that take part like this.
pub(crate) fn labels(part: Part) -> BTreeMap<String, String> {
    let (inject, mode) = match part {
        Part::None => ("false", "none"),
        Part::Sidecar => ("true", "none"),
        Part::Ambient => ("false", "ambient"),
    };
    [("sidecar.istio.io/inject", inject), ("istio.io/dataplane-mode", mode)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Annotations of pods that take part like this.
pub(super) fn annotations(part: Part) -> BTreeMap<String, String> {
    match part {
        Part::Sidecar => [
            // What comes from the node's own pods goes past the sidecar, plain.
            ("traffic.sidecar.istio.io/includeInboundPorts", ""),
            // Else the first exports find no network.
            ("proxy.istio.io/config", "holdApplicationUntilProxyStarts: true"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into(),
        Part::None | Part::Ambient => BTreeMap::new(),
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

/// Tells the mesh's clients that a Service takes plain text, whatever a rule for all of the mesh says.
pub(crate) fn plain_text(service: &str, namespace: &str, metadata: ObjectMeta) -> Result<Object, Error> {
    let spec = DestinationRule {
        host: format!("{service}.{namespace}.svc.cluster.local"),
        traffic_policy: TrafficPolicy { tls: Tls { mode: "DISABLE" } },
    };
    Object::custom("networking.istio.io/v1", "DestinationRule", metadata, spec)
}
