//! The names and labels of the gate's objects.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::certs::{InternalCertificate, InternalServer};
use crate::config::{Config, Gateway, NodeLocal};

/// The names and labels of the gate's objects, which follow from the Gateway's name and namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// The Gateway's name.
    pub(crate) gateway: String,
    /// The namespace of the Gateway and of all objects, except those that must be in another one.
    pub(crate) namespace: String,
}

impl Names {
    /// The names that follow from the config's `gateway.name` and `gateway.namespace`.
    pub(crate) fn of(gateway: &Gateway) -> Self {
        Names { gateway: gateway.name.clone(), namespace: gateway.namespace.clone() }
    }

    /// Name of the Collector's objects.
    pub(crate) fn collector(&self) -> String {
        format!("{}-collector", self.gateway)
    }

    /// The name in the cluster of a Service of the gate, to which its certificate is issued.
    pub(crate) fn host(&self, service: &str) -> String {
        format!("{service}.{}.svc", self.namespace)
    }

    /// A server with an internal certificate, by its Service. The certificate has all names that clients in the cluster
    /// may use.
    fn server_of(&self, certificate: InternalCertificate, service: String) -> InternalServer {
        let host = self.host(&service);
        let others = [format!("{host}.cluster.local"), format!("{service}.{}", self.namespace), service];
        InternalServer { certificate, hosts: [host].into_iter().chain(others).collect() }
    }

    /// The Collector, as a server with an internal certificate.
    pub(crate) fn collector_server(&self) -> InternalServer {
        self.server_of(InternalCertificate::Collector, self.collector())
    }

    /// The engine of shared quotas, as a server with an internal certificate.
    pub(crate) fn quotas_server(&self) -> InternalServer {
        self.server_of(InternalCertificate::Quotas, self.quotas())
    }

    /// The servers of a gate that have internal certificates.
    pub(crate) fn internal_servers(&self, config: &Config) -> Vec<InternalServer> {
        let collector = config.encrypts_backend().then(|| self.collector_server());
        collector.into_iter().chain(config.deployed_engine().map(|_| self.quotas_server())).collect()
    }

    /// Name of the objects of the engine of shared quotas.
    pub(crate) fn quotas(&self) -> String {
        format!("{}-quotas", self.gateway)
    }

    /// Name of the Secret with the gateway's certificate and key for the connection to the engine of shared quotas, and
    /// the CA of the engine's certificate. It is in the namespace of the proxies, where there may be those of several
    /// gates.
    pub(crate) fn quotas_client(&self) -> String {
        format!("{}.{}-client", self.namespace, self.quotas())
    }

    /// Labels that select the pod of the engine of shared quotas.
    pub(crate) fn quotas_selector(&self) -> BTreeMap<String, String> {
        [
            ("app.kubernetes.io/name".to_owned(), "valkey".to_owned()),
            ("app.kubernetes.io/instance".to_owned(), self.gateway.clone()),
        ]
        .into()
    }

    /// Name of the Secret with the gateway's certificate and key for the connection to the Collector, and the CA of the
    /// Collector's certificate.
    pub(crate) fn backend_client(&self) -> String {
        format!("{}-backend-client", self.gateway)
    }

    /// Name of the Secret with the node-local gateway's certificate and key for the connection to the Collector.
    pub(crate) fn node_client(&self) -> String {
        format!("{}-client", self.node_local())
    }

    /// Labels that select the Collector's pods.
    pub(crate) fn collector_selector(&self) -> BTreeMap<String, String> {
        [
            ("app.kubernetes.io/name".to_owned(), "opentelemetry-collector".to_owned()),
            ("app.kubernetes.io/instance".to_owned(), self.gateway.clone()),
        ]
        .into()
    }

    /// Name of the node-local gateway's objects.
    pub(crate) fn node_local(&self) -> String {
        format!("{}-node", self.gateway)
    }

    /// Labels that select the node-local gateway's pods.
    pub(crate) fn node_local_selector(&self) -> BTreeMap<String, String> {
        [
            ("app.kubernetes.io/name".to_owned(), "opentelemetry-collector".to_owned()),
            ("app.kubernetes.io/instance".to_owned(), self.node_local()),
        ]
        .into()
    }

    /// Namespace of the node-local gateway: `nodeLocal.namespace`, else `NAMESPACE-node`.
    pub(crate) fn node_local_namespace(&self, node: &NodeLocal) -> String {
        node.namespace.clone().unwrap_or_else(|| format!("{}-node", self.namespace))
    }

    /// Name of the Secret with the server's certificate and key.
    pub(crate) fn server(&self) -> String {
        format!("{}-server", self.gateway)
    }

    /// Name of the ConfigMap with the client CA and its revocation list.
    pub(crate) fn client_ca(&self) -> String {
        format!("{}-client-ca", self.gateway)
    }

    /// Name of the Secret that cert-manager writes and whose `ca.crt` is the client CA.
    pub(crate) fn client_trust(&self) -> String {
        format!("{}-client-trust", self.gateway)
    }

    /// Metadata of an object in the gate's namespace, with the labels that every object of the gate has.
    pub(crate) fn metadata(&self, name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.labels()),
            ..ObjectMeta::default()
        }
    }

    /// Label selector for all of the gate's objects, as kubectl's `--selector` takes it.
    pub(crate) fn selector(&self) -> String {
        format!("otlp-gate.io/gate={},otlp-gate.io/gate-namespace={}", self.gateway, self.namespace)
    }

    /// Labels that every object of the gate has.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        [
            ("app.kubernetes.io/managed-by", "otlp-gate"),
            ("app.kubernetes.io/part-of", "otlp-gate"),
            ("otlp-gate.io/gate", &self.gateway),
            // An object in another namespace, such as a ReferenceGrant, may be in the same namespace as one of another
            // gate.
            ("otlp-gate.io/gate-namespace", &self.namespace),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }
}
