//! The gateway on every node: a Collector that takes plain-text OTLP from the pods of its own node, and a Service that leads to
//! no other.

mod config;
mod daemon_set;
mod rights;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, Service, ServiceAccount, ServiceSpec};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicySpec,
};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::mesh::{self, Part};
use super::{Gate, Object, collector_pod, yaml};
use crate::config::{NodeLocal, Queue};
use crate::error::Error;
use crate::sha256;

/// Before most workloads, which are of no use unseen, and after what the cluster itself needs.
const PRIORITY: i32 = 1_000_000;

/// What the objects are called, and where they are.
pub(super) struct Place<'a> {
    gate: &'a Gate<'a>,
    node: &'a NodeLocal,
    name: String,
    namespace: String,
}

impl<'a> Place<'a> {
    /// Nowhere, where there is none.
    pub(super) fn of(gate: &'a Gate<'a>) -> Option<Self> {
        let node = &gate.config.node_local;
        node.enabled.then(|| Place {
            gate,
            node,
            name: gate.names.node_local(),
            namespace: gate.names.node_local_namespace(node),
        })
    }

    fn metadata(&self, name: &str) -> ObjectMeta {
        let mut metadata = self.gate.names.metadata(name);
        metadata.namespace = Some(self.namespace.clone());
        metadata
    }

    /// Of what is in no namespace.
    fn global(&self) -> ObjectMeta {
        let mut metadata = self.gate.names.metadata(&format!("{}-{}", self.namespace, self.name));
        metadata.namespace = None;
        metadata
    }

    fn selector(&self) -> BTreeMap<String, String> {
        [
            ("app.kubernetes.io/name".to_owned(), "opentelemetry-collector".to_owned()),
            ("app.kubernetes.io/instance".to_owned(), self.name.clone()),
        ]
        .into()
    }

    fn label_selector(&self) -> LabelSelector {
        LabelSelector { match_labels: Some(self.selector()), ..LabelSelector::default() }
    }

    /// The strictest level of pod security at which its pods may run.
    fn level(&self) -> &'static str {
        match (self.node.queue, self.gate.mesh.part) {
            // A folder of the node, or what a sidecar's first container does to the pod's network.
            (Queue::Durable, _) | (_, Part::Sidecar) => "privileged",
            (Queue::Memory, _) => "restricted",
        }
    }
}

/// The gateway's pods, as a NetworkPolicy elsewhere selects them.
pub(super) fn sender(gate: &Gate<'_>) -> Option<NetworkPolicyPeer> {
    let place = Place::of(gate)?;
    let namespace = [("kubernetes.io/metadata.name".to_owned(), place.namespace.clone())].into();
    Some(NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector { match_labels: Some(namespace), ..LabelSelector::default() }),
        pod_selector: Some(place.label_selector()),
        ..NetworkPolicyPeer::default()
    })
}

/// Its objects.
pub(super) fn objects(gate: &Gate<'_>) -> Result<Vec<Object>, Error> {
    let Some(place) = Place::of(gate) else { return Ok(Vec::new()) };
    let metadata = place.metadata(&place.name);
    let text = yaml(&config::config(gate))?;
    let digest = sha256::short(&text, 16);
    let mut objects = vec![
        Object::builtin(&namespace(&place))?,
        Object::builtin(&PriorityClass {
            metadata: place.global(),
            value: PRIORITY,
            description: Some("otlp-gate's gateway on every node".to_owned()),
            ..PriorityClass::default()
        })?,
        Object::builtin(&ServiceAccount { metadata: metadata.clone(), ..ServiceAccount::default() })?,
        Object::builtin(&rights::role(&place))?,
        Object::builtin(&rights::binding(&place))?,
        Object::builtin(&collector_pod::config_map(metadata.clone(), text))?,
        Object::builtin(&daemon_set::daemon_set(&place, &digest))?,
        Object::builtin(&service(&place, metadata.clone()))?,
        Object::builtin(&network_policy(&place, metadata))?,
    ];
    if gate.mesh.noticed {
        objects.push(mesh::plain_text(&place.name, &place.namespace, place.metadata(&place.name))?);
    }
    Ok(objects)
}

fn namespace(place: &Place<'_>) -> Namespace {
    let mut metadata = place.metadata(&place.namespace);
    metadata.namespace = None;
    let level = ("pod-security.kubernetes.io/enforce".to_owned(), place.level().to_owned());
    metadata.labels.get_or_insert_default().extend([level]);
    Namespace { metadata, ..Namespace::default() }
}

fn service(place: &Place<'_>, metadata: ObjectMeta) -> Service {
    Service {
        metadata,
        spec: Some(ServiceSpec {
            selector: Some(place.selector()),
            ports: Some(collector_pod::service_ports()),
            // To the pod's own node, or nowhere.
            internal_traffic_policy: Some("Local".to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Pods may send, and read its metrics.
fn network_policy(place: &Place<'_>, metadata: ObjectMeta) -> NetworkPolicy {
    let mut ports = collector_pod::policy_ports();
    ports.push(collector_pod::policy_port(config::METRICS));
    NetworkPolicy {
        metadata,
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(place.label_selector()),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule { from: None, ports: Some(ports) }]),
            ..NetworkPolicySpec::default()
        }),
    }
}
