//! What a provider contributes to the objects that every gate has.

use std::collections::BTreeMap;

use gateway_api::apis::standard::gateways::GatewayInfrastructureParametersRef;
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;

/// What a provider contributes to the Gateway and to the Collector's objects.
#[derive(Debug)]
pub(crate) struct ProviderSettings {
    /// The GatewayClass, unless the config names one.
    pub(crate) class: &'static str,
    /// The object that says how the gateway's proxies are deployed.
    pub(crate) parameters: GatewayInfrastructureParametersRef,
    /// TLS options of the listeners.
    pub(crate) listener_options: BTreeMap<String, String>,
    /// Kind and name of the object whose `ca.crt` is the client CA, where the Gateway itself refers to it.
    pub(crate) client_ca: Option<(&'static str, String)>,
    /// Selects the gateway's proxies in the Collector's NetworkPolicy.
    pub(crate) proxies: NetworkPolicyPeer,
    /// Labels of the Collector's pods.
    pub(crate) collector_labels: BTreeMap<String, String>,
}
