//! Puts all objects of a gate together. This is the only module that knows both the model's objects and the providers.
//!
//! **Architecture Invariant:** the same config gives the same objects, byte for byte. No cluster and no clock is asked.

mod folder;
mod references;
#[cfg(test)]
mod tests;

pub(crate) use folder::write_folder;
pub(crate) use references::{Reference, ReferenceKind, references};

use crate::config::Backend;
use crate::error::Error;
use crate::model::{EXTENSION_API, Installation, Object};
use crate::monitoring::Target;
use crate::providers;
use crate::resources::internal_tls::{self, InternalSecret};
use crate::resources::monitoring::OPERATOR_API;
use crate::resources::{
    cert_manager, collector, gateway, monitoring, namespace, node_local, quota_engine, routes,
};

/// API version and kind of every object that a gate may have, in the order of creation. Prune looks for these kinds.
/// The Namespace is not among them, because it may contain other objects.
pub(crate) const KINDS: [(&str, &str); 31] = [
    ("scheduling.k8s.io/v1", "PriorityClass"),
    ("v1", "ServiceAccount"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("v1", "Secret"),
    ("v1", "ConfigMap"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "CronJob"),
    ("v1", "Service"),
    ("policy/v1", "PodDisruptionBudget"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"),
    ("gateway.networking.k8s.io/v1", "BackendTLSPolicy"),
    (cert_manager::API_VERSION, "Issuer"),
    (cert_manager::API_VERSION, "Certificate"),
    ("networking.istio.io/v1", "DestinationRule"),
    (EXTENSION_API, "WasmPlugin"),
    (EXTENSION_API, "TrafficExtension"),
    ("networking.istio.io/v1alpha3", "EnvoyFilter"),
    ("gateway.envoyproxy.io/v1alpha1", "EnvoyProxy"),
    ("gateway.envoyproxy.io/v1alpha1", "ClientTrafficPolicy"),
    ("gateway.envoyproxy.io/v1alpha1", "BackendTrafficPolicy"),
    ("gateway.envoyproxy.io/v1alpha1", "EnvoyExtensionPolicy"),
    (OPERATOR_API, "PodMonitor"),
    (OPERATOR_API, "PrometheusRule"),
    ("gateway.networking.k8s.io/v1", "Gateway"),
    ("gateway.networking.k8s.io/v1", "GRPCRoute"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
];

/// All objects of an installation, in the order of creation.
///
/// # Errors
/// The policy does not fit into an object, or the provider cannot get the module from its location.
pub(crate) fn objects(installation: &Installation<'_>) -> Result<Vec<Object>, Error> {
    let mut objects = match installation.config.gateway.enabled {
        true => gateway_objects(installation)?,
        false => Vec::new(),
    };
    objects.extend(node_local::objects(installation)?);
    let public = providers::of(installation.config).public_ports(installation);
    objects.extend(monitoring::objects(installation, &targets(installation), &public)?);
    Ok(objects)
}

/// The pods of an installation that have metrics.
pub(crate) fn targets(installation: &Installation<'_>) -> Vec<Target> {
    let config = installation.config;
    let gateway = config.gateway.enabled.then(|| providers::of(config).target(installation));
    crate::monitoring::targets(installation, gateway)
}

/// The Secrets with the internal certificates of an installation.
pub(crate) fn internal_secrets(installation: &Installation<'_>) -> Vec<InternalSecret> {
    let proxies = providers::of(installation.config).proxy_namespaces(&installation.names);
    internal_tls::secrets(installation, &proxies)
}

/// The gateway, its certificates, its routes and its backend.
fn gateway_objects(installation: &Installation<'_>) -> Result<Vec<Object>, Error> {
    let config = installation.config;
    let provider = providers::of(config);
    let settings = provider.settings(installation);
    let mut objects = Vec::new();
    objects.extend(namespace::namespace(installation)?);
    let internal = internal_secrets(installation);
    objects.extend(internal_tls::objects(installation, &internal)?);
    match &config.backend {
        Backend::Collector(it) => objects.extend(collector::objects(installation, it, &settings)?),
        Backend::Service(it) => objects.extend(routes::reference_grant(installation, it)?),
    }
    if let Some(engine) = config.deployed_engine() {
        objects.extend(quota_engine::objects(installation, engine, &settings)?);
    }
    objects.extend(provider.objects(installation)?);
    objects.push(gateway::gateway(installation, &settings)?);
    objects.extend(routes::routes(installation)?);
    // After the Gateway: once cert-manager has written the server's Secret, its `ca.crt` is the server's issuer. A Gateway
    // of Istio that still reads the clients' CA from that Secret would accept clients of that issuer.
    if let Some(it) = &config.certificates.cert_manager {
        objects.extend(cert_manager::objects(installation, it, &internal)?);
    }
    Ok(objects)
}
