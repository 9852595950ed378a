//! Implementations of the Gateway API, and what each of them needs in its own way.
//!
//! A new provider is one more file here that implements [`Provider`], an entry in [`of`] and in the config's
//! `gateway.provider`, and its kinds in [`crate::render::KINDS`].

mod backend_tls;
mod certificates;
mod envoy_gateway;
mod istio;
mod native_module;
mod quota_engine;

use otlp_gate_core::config::PolicyConfig;
use serde::Serialize;
use serde_json::Value;

use crate::config;
use crate::error::Error;
use crate::model::{
    BackendTls, Extension, Installation, Names, Object, ProviderSettings, read_plugin_config,
};
use crate::monitoring::Target;

/// An implementation of the Gateway API.
pub(crate) trait Provider: std::fmt::Debug {
    /// The product's name, for messages.
    fn title(&self) -> &'static str;

    /// The label selector of the control plane's Deployment, in kubectl's form, and the Deployment's name.
    fn control_plane(&self) -> (&'static str, &'static str);

    /// The default GatewayClass.
    fn class(&self) -> &'static str;

    /// How to create the default GatewayClass.
    fn class_hint(&self) -> &'static str;

    /// What the provider contributes to the objects that every gate has.
    fn settings(&self, installation: &Installation<'_>) -> ProviderSettings;

    /// Where the gateway's proxies run.
    fn workload(&self, names: &Names) -> Workload;

    /// Annotations of the proxies' pods that have the current module and CAs; empty if pods are not bound to them.
    fn pod_annotations(&self, installation: &Installation<'_>) -> Vec<(&'static str, String)>;

    /// The pods of the gateway's proxies, for Prometheus.
    fn target(&self, installation: &Installation<'_>) -> Target;

    /// The ports of the proxies' pods that clients and load balancers connect to.
    fn public_ports(&self, installation: &Installation<'_>) -> Vec<u16>;

    /// Where the policy is in the cluster. The object has the gateway's name. `extension` is Istio's object with the
    /// filter.
    fn policy_object(&self, extension: Extension) -> PolicyObject;

    /// The namespace of the gateway's proxies. If it may be one of several, the usual one is the first.
    fn proxy_namespaces(&self, names: &Names) -> Vec<String>;

    /// The namespace in which the provider reads the CA of a backend's certificate.
    fn backend_ca_namespace(&self, names: &Names, tls: &BackendTls) -> String;

    /// The objects of the provider's own kinds: the filter, and how the proxies are deployed and connected.
    fn objects(&self, installation: &Installation<'_>) -> Result<Vec<Object>, Error>;

    /// The objects with keys or certificates that the user creates, each with the command that creates it from the
    /// folder `certs`.
    fn user_objects(&self, installation: &Installation<'_>, certs: &str) -> Vec<UserObject>;
}

/// The Deployment and pods of the gateway's proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workload {
    /// The label selector of the Deployment and its pods, in kubectl's form.
    pub(crate) selector: String,
    /// Their namespace; none if it may be one of several.
    pub(crate) namespace: Option<String>,
    /// The pods' port on which Envoy serves metrics at `/stats/prometheus`.
    pub(crate) stats_port: u16,
}

/// The kind of object with the filter's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PolicyObject {
    /// Its group and version.
    pub(crate) api_version: &'static str,
    /// Its kind.
    pub(crate) kind: &'static str,
    /// The JSON pointers to the places where it may have the policy.
    policy: &'static [&'static str],
}

impl PolicyObject {
    /// The policy in such an object.
    pub(crate) fn read(&self, object: &Value) -> Option<PolicyConfig> {
        self.policy.iter().find_map(|pointer| read_plugin_config(object.pointer(pointer)?))
    }
}

/// Every kind of object that may have a gate's policy.
pub(crate) const POLICY_OBJECTS: [PolicyObject; 3] =
    [istio::WASM_PLUGIN, istio::TRAFFIC_EXTENSION, envoy_gateway::EXTENSION_POLICY];

/// An object that the user creates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserObject {
    /// Kind and name as kubectl writes them.
    pub(crate) object: String,
    /// The kubectl command that creates it.
    pub(crate) command: String,
}

/// The provider that the config names.
pub(crate) fn of(config: &config::Config) -> &'static dyn Provider {
    match config.gateway.provider {
        config::Provider::Istio => &istio::Istio,
        config::Provider::EnvoyGateway => &envoy_gateway::EnvoyGateway,
    }
}

/// The annotation of the proxies' pods that changes with the module, so that a new module causes a rollout.
pub(crate) const MODULE_ANNOTATION: &str = "otlp-gate.io/module";

/// The annotation of the proxies' pods that changes with the internal CAs, so that other CAs cause a rollout.
pub(crate) const INTERNAL_ANNOTATION: &str = "otlp-gate.io/internal-ca";

/// A reference to the Gateway, as the policies of both providers write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct TargetRef {
    group: &'static str,
    kind: &'static str,
    name: String,
}

impl TargetRef {
    fn gateway(names: &Names) -> Self {
        TargetRef { group: "gateway.networking.k8s.io", kind: "Gateway", name: names.gateway.clone() }
    }
}
