//! What the gate is in a cluster: every Kubernetes object, as typed values, from the config alone.
//!
//! **Architecture Invariant:** the same config gives the same objects, byte for byte. Nothing here asks a cluster or a clock.

mod cert_manager;
mod collector;
mod collector_config;
mod collector_pod;
mod folder;
mod gateway;
pub(crate) mod mesh;
mod module;
mod names;
mod node_local;
mod object;
mod policy;
mod routes;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::Namespace;

pub(crate) use cert_manager::clients_issuer;
pub(crate) use collector_config::largest_message;
pub use folder::write_folder;
pub use mesh::{Mesh, Part};
pub use module::Module;
pub use names::Names;
pub use object::Object;
pub(crate) use object::yaml;
pub(crate) use policy::SMALLER_POLICY;
pub use policy::{Revision, plugin_config, revision};

use crate::config::{self, Backend, Config, MeshMode};
use crate::error::Error;
use crate::providers::{self, Provider};

/// Every kind of object that a gate may have, in the order in which they are made; with its API version. Not among them: the
/// namespace, which may hold more than the gate.
pub const KINDS: [(&str, &str); 25] = [
    ("scheduling.k8s.io/v1", "PriorityClass"),
    ("v1", "ServiceAccount"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("v1", "Secret"),
    ("v1", "ConfigMap"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "DaemonSet"),
    ("v1", "Service"),
    ("policy/v1", "PodDisruptionBudget"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"),
    (cert_manager::API_VERSION, "Issuer"),
    (cert_manager::API_VERSION, "Certificate"),
    ("networking.istio.io/v1", "DestinationRule"),
    ("networking.istio.io/v1alpha3", "EnvoyFilter"),
    ("extensions.istio.io/v1alpha1", "WasmPlugin"),
    ("gateway.envoyproxy.io/v1alpha1", "EnvoyProxy"),
    ("gateway.envoyproxy.io/v1alpha1", "ClientTrafficPolicy"),
    ("gateway.envoyproxy.io/v1alpha1", "BackendTrafficPolicy"),
    ("gateway.envoyproxy.io/v1alpha1", "EnvoyExtensionPolicy"),
    ("gateway.networking.k8s.io/v1", "Gateway"),
    ("gateway.networking.k8s.io/v1", "GRPCRoute"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
];

/// What the objects are made from.
#[derive(Debug)]
pub struct Gate<'a> {
    /// The config, without mistakes.
    pub config: &'a Config,
    /// The names of the objects.
    pub names: Names,
    /// Where the gateway gets the filter's module.
    pub module: Module,
    /// The clients' CA and what it revoked, where they are to be among the objects.
    pub client_ca: Option<ClientCa>,
    /// The server's certificate and key, where they are to be among the objects: never in what `render` writes.
    pub server: Option<Server>,
    /// Istio's mesh, as it is in the cluster; where no cluster was looked at, as the config says.
    pub mesh: Mesh,
}

/// The server's certificate and key.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// The certificate and the CAs that issued it, in PEM.
    pub certificate: String,
    /// Its private key, in PEM.
    pub key: String,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// The clients' CA. Nothing of it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCa {
    /// The CA's certificates, in PEM.
    pub certificates: String,
    /// What it revoked, in PEM.
    pub revocations: String,
}

impl<'a> Gate<'a> {
    /// # Errors
    /// The gateway's name is too long for the names that are made from it, or the module cannot get to the gateway in
    /// this way.
    pub fn new(config: &'a Config, module: Module, client_ca: Option<ClientCa>) -> Result<Self, Error> {
        let mesh = match config.node_local.mesh {
            MeshMode::On => Mesh { noticed: true, part: Part::Sidecar },
            MeshMode::Auto => {
                let istio = config.gateway.enabled && config.gateway.provider == config::Provider::Istio;
                Mesh { noticed: istio, part: Part::None }
            }
            MeshMode::Off => Mesh::default(),
        };
        Ok(Gate { config, names: Names::of(&config.gateway), module, client_ca, server: None, mesh })
    }

    /// Whether its certificates must come to the cluster in some other way: neither are they among the objects, nor does
    /// cert-manager make them.
    pub fn expects_certificates(&self) -> bool {
        self.config.takes_certificates() && self.server.is_none()
    }

    /// What implements the gateway.
    pub fn provider(&self) -> &'static dyn Provider {
        providers::of(self.config.gateway.provider)
    }

    /// All objects, in the order in which they can be made.
    pub fn objects(&self) -> Result<Vec<Object>, Error> {
        let mut objects = match self.config.gateway.enabled {
            true => self.gateway()?,
            false => Vec::new(),
        };
        objects.extend(node_local::objects(self)?);
        Ok(objects)
    }

    /// The gateway, and what is in front of it and behind.
    fn gateway(&self) -> Result<Vec<Object>, Error> {
        let mut objects = Vec::new();
        // Everybody's namespace is nobody's to change.
        if self.names.namespace != "default" {
            objects.push(self.namespace()?);
        }
        match &self.config.backend {
            Backend::Collector(collector) => objects.extend(collector::objects(self, collector)?),
            Backend::Service(service) => objects.extend(routes::grant(self, service)?),
        }
        if let Some(cert_manager) = &self.config.certificates.cert_manager {
            objects.extend(cert_manager::objects(self, cert_manager)?);
        }
        objects.extend(self.provider().objects(self)?);
        objects.push(gateway::gateway(self)?);
        objects.extend(routes::routes(self)?);
        Ok(objects)
    }

    fn namespace(&self) -> Result<Object, Error> {
        let mut metadata = self.names.metadata(&self.names.namespace);
        metadata.namespace = None;
        // Istio's gateway pods do not name a seccomp profile, so they meet `baseline` and not all of `restricted`.
        let levels = [("enforce", "baseline"), ("warn", "restricted")];
        let levels =
            levels.map(|(act, level)| (format!("pod-security.kubernetes.io/{act}"), level.to_owned()));
        metadata.labels.get_or_insert_default().extend(levels);
        Object::builtin(&Namespace { metadata, ..Namespace::default() })
    }
}
