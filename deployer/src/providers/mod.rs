//! What implements the Gateway API, and what each does in its own way. A third one is one more file here.

mod envoy_gateway;
mod istio;

use std::collections::BTreeMap;

use gateway_api::apis::standard::gateways::GatewayInfrastructureParametersRef;
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use serde::Serialize;

use crate::config;
use crate::error::Error;
use crate::resources::{Gate, Names, Object};

/// What a gateway implementation does in its own way.
pub trait Provider: std::fmt::Debug {
    /// Its name, for people.
    fn title(&self) -> &'static str;

    /// The labels of its control plane's Deployment, as kubectl's `--selector` takes them, and what that is called.
    fn control_plane(&self) -> (&'static str, &'static str);

    /// The GatewayClass that it has by default.
    fn class(&self) -> &'static str;

    /// How the cluster gets it.
    fn class_cure(&self) -> &'static str;

    /// Options of a listener's TLS.
    fn listener_options(&self, gate: &Gate<'_>) -> BTreeMap<String, String>;

    /// The kind and name of the object whose `ca.crt` is the clients' CA, where the Gateway itself names it.
    fn frontend_ca(&self, gate: &Gate<'_>) -> Option<(&'static str, String)>;

    /// The object that says how the gateway's proxies are deployed.
    fn parameters(&self, names: &Names) -> GatewayInfrastructureParametersRef;

    /// The gateway's proxies, as a NetworkPolicy selects them.
    fn proxies(&self, names: &Names) -> NetworkPolicyPeer;

    /// The gateway's proxies, as they are found.
    fn workload(&self, gate: &Gate<'_>) -> Workload;

    /// Labels of the Collector's pods.
    fn collector_labels(&self) -> BTreeMap<String, String>;

    /// The objects of its own kinds: the filter, and how the proxies are deployed and connected.
    fn objects(&self, gate: &Gate<'_>) -> Result<Vec<Object>, Error>;

    /// The objects with keys or certificates that the user makes, each with the command that makes it.
    fn expected(&self, gate: &Gate<'_>, certs: &str) -> Vec<Expected>;
}

/// The gateway's proxies, as they are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// The labels of the Deployment and its pods.
    pub selector: String,
    /// Their namespace, where it is known.
    pub namespace: Option<String>,
    /// The port of the pods on which Envoy shows its metrics at `/stats/prometheus`.
    pub stats_port: u16,
    /// What `MODULE_ANNOTATION` says on pods with the filter's module, where another one needs other pods.
    pub module: Option<String>,
}

/// An object that the user makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its kind and name, as kubectl writes them.
    pub object: String,
    /// What kubectl is told to make it.
    pub command: String,
}

/// The provider that the config names.
pub fn of(provider: config::Provider) -> &'static dyn Provider {
    match provider {
        config::Provider::Istio => &istio::Istio,
        config::Provider::EnvoyGateway => &envoy_gateway::EnvoyGateway,
    }
}

/// The annotation of the proxies' pods that changes with the module, so that they are replaced one by one.
pub const MODULE_ANNOTATION: &str = "otlp-gate.io/module";

/// The tags of the filter's metrics, and the expressions that cut them out of the metrics' names.
const METRIC_TAGS: [&str; 3] = ["client", "signal", "result"];

/// The Gateway, as policies of both providers name what they are attached to.
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
