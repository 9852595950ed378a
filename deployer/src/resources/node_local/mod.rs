//! The node-local gateway: a Collector on every node that receives plain-text OTLP from the pods of its node, and a
//! Service that routes to the pod on the client's own node only.

mod config;
mod daemon_set;
mod rbac;
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

use super::collector_config::METRICS;
use super::monitoring::metrics_rule;
use super::{collector_pod, collector_tls};
use crate::config::{NodeLocal, Queue};
use crate::error::Error;
use crate::model::mesh::{self, DataPlaneMode};
use crate::model::{BackendTls, Installation, Object, yaml};
use crate::sha256;

/// Priority of the pods: above ordinary workloads, below the cluster's own components.
const PRIORITY: i32 = 1_000_000;

/// The node-local gateway of an installation: its settings, name and namespace.
pub(super) struct NodeGateway<'a> {
    installation: &'a Installation<'a>,
    settings: &'a NodeLocal,
    name: String,
    namespace: String,
}

impl<'a> NodeGateway<'a> {
    /// The node-local gateway, if the config enables it.
    pub(super) fn of(installation: &'a Installation<'a>) -> Option<Self> {
        let settings = &installation.config.node_local;
        settings.enabled.then(|| NodeGateway {
            installation,
            settings,
            name: installation.names.node_local(),
            namespace: installation.names.node_local_namespace(settings),
        })
    }

    fn metadata(&self, name: &str) -> ObjectMeta {
        let mut metadata = self.installation.names.metadata(name);
        metadata.namespace = Some(self.namespace.clone());
        metadata
    }

    /// Metadata of a cluster-scoped object.
    fn cluster_metadata(&self) -> ObjectMeta {
        let mut metadata = self.installation.names.metadata(&format!("{}-{}", self.namespace, self.name));
        metadata.namespace = None;
        metadata
    }

    fn selector(&self) -> BTreeMap<String, String> {
        self.installation.names.node_local_selector()
    }

    fn label_selector(&self) -> LabelSelector {
        LabelSelector { match_labels: Some(self.selector()), ..LabelSelector::default() }
    }

    /// Whether it sends to the Collector that otlp-gate deploys, with mutual TLS.
    fn sends_to_collector(&self) -> bool {
        self.settings.export.is_none() && self.installation.config.encrypts_backend()
    }

    /// How it connects to this gate's backend with TLS; none if it sends elsewhere or in plain text.
    fn backend_tls(&self) -> Option<BackendTls> {
        self.installation.node_backend_tls()
    }

    /// The strictest Pod Security level that admits the pods.
    fn pod_security_level(&self) -> &'static str {
        match (self.settings.queue, self.installation.mesh.node_local) {
            // A hostPath volume needs it, and so does a sidecar's init container, which changes the pod's network.
            (Queue::Durable, _) | (_, DataPlaneMode::Sidecar) => "privileged",
            (Queue::Memory, _) => "restricted",
        }
    }
}

/// Metadata of the Secret with the node-local gateway's certificate for the Collector; none if it needs no certificate.
pub(super) fn backend_client(installation: &Installation<'_>) -> Option<ObjectMeta> {
    let node_gateway = NodeGateway::of(installation)?;
    node_gateway.sends_to_collector().then(|| node_gateway.metadata(&installation.names.node_client()))
}

/// Selects the node-local gateway's pods in a NetworkPolicy of another namespace.
pub(super) fn sender(installation: &Installation<'_>) -> Option<NetworkPolicyPeer> {
    let node_gateway = NodeGateway::of(installation)?;
    let namespace = [("kubernetes.io/metadata.name".to_owned(), node_gateway.namespace.clone())].into();
    Some(NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector { match_labels: Some(namespace), ..LabelSelector::default() }),
        pod_selector: Some(node_gateway.label_selector()),
        ..NetworkPolicyPeer::default()
    })
}

/// The objects of the node-local gateway; none if the config does not enable it.
pub(crate) fn objects(installation: &Installation<'_>) -> Result<Vec<Object>, Error> {
    let Some(node_gateway) = NodeGateway::of(installation) else { return Ok(Vec::new()) };
    let metadata = node_gateway.metadata(&node_gateway.name);
    let text = yaml(&config::config(installation))?;
    let digest = match node_gateway.sends_to_collector() {
        true => collector_tls::digest(installation, &text),
        false => sha256::short(&text, 16),
    };
    let mut objects = vec![
        Object::builtin(&namespace(&node_gateway))?,
        Object::builtin(&PriorityClass {
            metadata: node_gateway.cluster_metadata(),
            value: PRIORITY,
            description: Some("otlp-gate's gateway on every node".to_owned()),
            ..PriorityClass::default()
        })?,
        Object::builtin(&ServiceAccount { metadata: metadata.clone(), ..ServiceAccount::default() })?,
        Object::builtin(&rbac::role(&node_gateway))?,
        Object::builtin(&rbac::binding(&node_gateway))?,
        Object::builtin(&collector_pod::config_map(metadata.clone(), text))?,
        Object::builtin(&daemon_set::daemon_set(&node_gateway, &digest))?,
        Object::builtin(&service(&node_gateway, metadata.clone()))?,
        Object::builtin(&network_policy(&node_gateway, metadata))?,
    ];
    if installation.mesh.present {
        objects.push(mesh::plain_text(
            &node_gateway.name,
            &node_gateway.namespace,
            node_gateway.metadata(&node_gateway.name),
        )?);
    }
    Ok(objects)
}

fn namespace(node_gateway: &NodeGateway<'_>) -> Namespace {
    let mut metadata = node_gateway.metadata(&node_gateway.namespace);
    metadata.namespace = None;
    let level =
        ("pod-security.kubernetes.io/enforce".to_owned(), node_gateway.pod_security_level().to_owned());
    metadata.labels.get_or_insert_default().extend([level]);
    Namespace { metadata, ..Namespace::default() }
}

fn service(node_gateway: &NodeGateway<'_>, metadata: ObjectMeta) -> Service {
    Service {
        metadata,
        spec: Some(ServiceSpec {
            selector: Some(node_gateway.selector()),
            ports: Some(collector_pod::service_ports()),
            // To the pod on the client's node only.
            internal_traffic_policy: Some("Local".to_owned()),
            ip_family_policy: Some(collector_pod::IP_FAMILIES.to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Any pod may send. Metrics are for those that `monitoring` names.
fn network_policy(node_gateway: &NodeGateway<'_>, metadata: ObjectMeta) -> NetworkPolicy {
    let mut ingress =
        vec![NetworkPolicyIngressRule { from: None, ports: Some(collector_pod::policy_ports()) }];
    let settings = &node_gateway.installation.config.monitoring;
    ingress.extend(settings.iter().map(|it| metrics_rule(it, METRICS)));
    NetworkPolicy {
        metadata,
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(node_gateway.label_selector()),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(ingress),
            ..NetworkPolicySpec::default()
        }),
    }
}
