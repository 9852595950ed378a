//! `otlp-gate.yaml`, the only file that users edit. Manifests, certificates and the filter's policy are made from it.

mod backend;
mod certificates;
mod client_ca;
mod collector;
mod gateway;
mod kubernetes;
mod monitoring;
mod node_local;
mod parse;
mod pipeline;
mod pod;
mod pod_rule;
mod position;
mod queue_volume;
mod quota_engine;
mod report;
pub(crate) mod schema;
mod source;
mod validate;

use std::collections::BTreeMap;

use otlp_gate_core::config::{
    self as policy, ClientRule, HopConfig, Limits, MetricsConfig, OwnedSpellings, PolicyConfig, Scope,
    Unknown, unique_keys,
};
use otlp_gate_core::with_policy_keys;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use backend::{Backend, Collector, Service, ServiceTls, TlsMode};
pub(crate) use certificates::{CertManager, Certificates, IssuerKind, IssuerRef, ServerCa};
pub(crate) use client_ca::ClientCa;
pub(crate) use collector::{
    CANARY, FILE_STORAGE, HEALTH_CHECK, MEMORY_LIMITER, QUEUE_VOLUME, Resilience, kind,
};
pub(crate) use gateway::{AccessLog, ExtensionMode, FilterHost, Gateway, Provider};
pub(crate) use kubernetes::Kubernetes;
pub(crate) use monitoring::{Monitoring, PrometheusOperator, VerifyJob};
pub(crate) use node_local::{
    Acknowledge, Export, MeshMode, NodeLocal, PodRule, Queue, RemoteGate, UnknownSenders,
};
pub(crate) use pipeline::{Pipeline, Route, RoutedSignal, Values};
pub(crate) use pod::Pod;
pub(crate) use pod_rule::{CompiledPodRule, PodField};
pub(crate) use queue_volume::QueueVolume;
pub(crate) use quota_engine::{DeployedEngine, EngineCertificates, EngineTls, Quotas};
pub(crate) use report::{Finding, Report, Severity};
pub(crate) use source::{Loaded, Source, check_namespace};

with_policy_keys! {
    /// The configuration of a gate: its gateway, its backend, the clients that may send, the attributes and headers
    /// that are set for them, and their quotas.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[schemars(title = "otlp-gate.yaml")]
    pub(crate) struct Config {
        /// The version of the file's format.
        pub(crate) api_version: ApiVersion,
        /// The gateway that clients connect to.
        #[serde(default)]
        pub(crate) gateway: Gateway,
        /// Where certificates come from. Default: from the folder that `otlp-gate certs` writes.
        #[serde(default, skip_serializing_if = "Certificates::is_default")]
        pub(crate) certificates: Certificates,
        /// The CAs that issue client certificates, by name, so that a rule can be limited to the clients of one CA with
        /// `match: {ca: NAME}`. Default: the gateway trusts the CAs in the folder `certs`, and any of them can issue a
        /// certificate for any client. With `certificates.certManager`, the gateway trusts the CAs of these entries
        /// only, and cert-manager issues no client certificates.
        #[serde(default, rename = "clientCAs", skip_serializing_if = "Vec::is_empty")]
        pub(crate) client_cas: Vec<ClientCa>,
        /// Where accepted telemetry is forwarded to: a Collector that otlp-gate deploys, or your own Service.
        #[serde(default)]
        pub(crate) backend: Backend,
        /// The node-local gateway: a Collector on every node that receives plain-text OTLP from the pods of its node.
        #[serde(default)]
        pub(crate) node_local: NodeLocal,
        /// Objects that let Prometheus and Grafana watch the gate. `{}` has them with all defaults. Default: none, and
        /// only the gateway's metrics can be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) monitoring: Option<Monitoring>,
    }
}

/// The versions of the file's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum ApiVersion {
    /// The first version.
    #[serde(rename = "otlp-gate/v1")]
    V1,
}

impl Config {
    /// Whether the server's certificate comes from a folder: there is a gateway, and cert-manager is not used.
    pub(crate) fn takes_server_certificate(&self) -> bool {
        self.gateway.enabled && self.certificates.cert_manager.is_none()
    }

    /// Whether the client CAs come from a folder, from files or from ConfigMaps: there is a gateway, and cert-manager
    /// does not issue the clients' certificates.
    pub(crate) fn takes_client_cas(&self) -> bool {
        self.gateway.enabled && !self.issues_client_certificates()
    }

    /// Whether cert-manager issues the clients' certificates.
    pub(crate) fn issues_client_certificates(&self) -> bool {
        self.certificates.cert_manager.is_some() && self.client_cas.is_empty()
    }

    /// Whether the client CAs in a folder are trusted: an entry of `clientCAs` names them, or nothing in the config says
    /// that clients have other CAs instead.
    pub(crate) fn trusts_folder(&self) -> bool {
        let entries = &self.client_cas;
        entries.iter().any(ClientCa::is_of_folder)
            || entries.is_empty()
            || (self.certificates.cert_manager.is_none() && entries.iter().all(|it| it.config_map.is_none()))
    }

    /// Whether some client CAs are in a folder or in files.
    pub(crate) fn has_client_ca_files(&self) -> bool {
        self.trusts_folder() || self.client_cas.iter().any(|it| it.certificates.is_some())
    }

    /// The ConfigMaps with client CAs.
    pub(crate) fn client_ca_config_maps(&self) -> impl Iterator<Item = &str> {
        self.client_cas.iter().filter_map(|it| it.config_map.as_deref())
    }

    /// Whether the policy depends on which CA signed a certificate: a rule, a template or an entry of `deny` names one.
    pub(crate) fn uses_cas(&self) -> bool {
        fn uses(value: &Value) -> bool {
            match value {
                Value::Object(map) => map.iter().any(|(key, value)| key == "ca" || uses(value)),
                Value::Array(list) => list.iter().any(uses),
                Value::String(text) => {
                    text.contains("{ca}") || (text.starts_with("serial:") && text.contains('@'))
                }
                _ => false,
            }
        }
        // The policy's keys were read from YAML, and can be written.
        serde_json::to_value(self.policy_keys()).is_ok_and(|policy| uses(&policy))
    }

    /// How the node-local gateway joins Istio's mesh. It must if the gate's backend is in the mesh.
    pub(crate) fn node_local_mesh(&self) -> MeshMode {
        let meshed =
            matches!(&self.backend, Backend::Service(it) if it.tls.as_ref().is_some_and(|it| it.mesh));
        match self.node_local.mesh {
            MeshMode::Auto if meshed && self.node_local.export.is_none() => MeshMode::On,
            mode => mode,
        }
    }

    /// Whether the connections to the Collector that otlp-gate deploys are encrypted.
    pub(crate) fn encrypts_backend(&self) -> bool {
        let encrypted = |it: &Collector| it.tls == TlsMode::On;
        self.gateway.enabled && matches!(&self.backend, Backend::Collector(it) if encrypted(it))
    }

    /// The engine of shared quotas that otlp-gate deploys, if the gateway uses one.
    pub(crate) fn deployed_engine(&self) -> Option<&DeployedEngine> {
        let is_used = self.gateway.enabled && self.quotas.effective_scope() != Scope::Replica;
        self.quotas.engine.as_ref().filter(|_| is_used)?.deploy.as_ref()
    }

    /// Whether the gate has certificates of the internal CA: the Collector or the engine of shared quotas demands them.
    pub(crate) fn uses_internal_certificates(&self) -> bool {
        self.encrypts_backend() || self.deployed_engine().is_some()
    }

    /// The policy that the filter is sent, without the keys of client CAs and without what these have revoked.
    pub(crate) fn policy(&self) -> PolicyConfig {
        PolicyConfig {
            gate: format!("{}/{}", self.gateway.namespace, self.gateway.name),
            verify: true,
            no_profiles: self.gateway.enabled && !self.backend.takes_profiles(),
            owned: self.node_local.owned(),
            client_cas: self.named_cas(),
            ..self.policy_keys()
        }
    }

    /// The entries of `clientCAs`, and one without a name for the CAs of the folder if none of them names those.
    fn named_cas(&self) -> Vec<policy::ClientCa> {
        let named = |entry: &ClientCa| policy::ClientCa { name: entry.name.clone(), ..Default::default() };
        let mut all: Vec<_> = self.client_cas.iter().map(named).collect();
        if !all.is_empty() && self.trusts_folder() && !self.client_cas.iter().any(ClientCa::is_of_folder) {
            all.push(policy::ClientCa::default());
        }
        all
    }
}
