//! The names and labels of the gate's objects.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::config::{Gateway, NodeLocal};

/// The names and labels of the gate's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The Gateway's name.
    pub gateway: String,
    /// The namespace of the Gateway, and of all objects but those that must be elsewhere.
    pub namespace: String,
}

impl Names {
    /// What the gateway's name and namespace come to.
    pub fn of(gateway: &Gateway) -> Self {
        Names { gateway: gateway.name.clone(), namespace: gateway.namespace.clone() }
    }

    /// The Collector that otlp-gate deploys.
    pub fn collector(&self) -> String {
        format!("{}-collector", self.gateway)
    }

    /// The labels by which the Collector's pods are found.
    pub fn collector_selector(&self) -> BTreeMap<String, String> {
        [
            ("app.kubernetes.io/name".to_owned(), "opentelemetry-collector".to_owned()),
            ("app.kubernetes.io/instance".to_owned(), self.gateway.clone()),
        ]
        .into()
    }

    /// The gateway on every node.
    pub fn node_local(&self) -> String {
        format!("{}-node", self.gateway)
    }

    /// The namespace of the gateway on every node.
    pub fn node_local_namespace(&self, node: &NodeLocal) -> String {
        node.namespace.clone().unwrap_or_else(|| format!("{}-node", self.namespace))
    }

    /// The Secret with the server's certificate and key.
    pub fn server(&self) -> String {
        format!("{}-server", self.gateway)
    }

    /// The ConfigMap with the clients' CA and what it revoked.
    pub fn client_ca(&self) -> String {
        format!("{}-client-ca", self.gateway)
    }

    /// The Secret whose `ca.crt` is the clients' CA, where cert-manager makes it.
    pub fn client_trust(&self) -> String {
        format!("{}-client-trust", self.gateway)
    }

    /// What every object of the gate has: its name, its namespace, and the labels by which it is found again.
    pub fn metadata(&self, name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.labels()),
            ..ObjectMeta::default()
        }
    }

    /// What selects all of the gate's objects, as kubectl's `--selector` takes it.
    pub fn selector(&self) -> String {
        format!("otlp-gate.io/gate={},otlp-gate.io/gate-namespace={}", self.gateway, self.namespace)
    }

    /// The labels of every object of the gate.
    pub fn labels(&self) -> BTreeMap<String, String> {
        [
            ("app.kubernetes.io/managed-by", "otlp-gate"),
            ("app.kubernetes.io/part-of", "otlp-gate"),
            ("otlp-gate.io/gate", &self.gateway),
            // A gate's object may be in another namespace, where another gate has one too.
            ("otlp-gate.io/gate-namespace", &self.namespace),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }
}
