//! The model of one gate in a cluster: its config, the names and labels of its objects, the module, the mesh, and an
//! object as a typed value.
//!
//! **Architecture Invariant:** the model knows no provider and asks no cluster and no clock. [`crate::resources`] and
//! [`crate::providers`] make objects from it, and [`crate::render`] puts them together.

pub(crate) mod mesh;
mod names;
mod object;
mod policy;
mod provider_settings;

pub(crate) use mesh::{DataPlaneMode, Mesh};
pub(crate) use names::Names;
pub(crate) use object::{Object, title, yaml};
pub(crate) use policy::{SMALLER_POLICY, plugin_config, revision};
pub(crate) use provider_settings::ProviderSettings;

use crate::config::Config;
use crate::module::Location;

/// One gate as it is to be installed in a cluster.
#[derive(Debug)]
pub(crate) struct Installation<'a> {
    /// The config, validated.
    pub(crate) config: &'a Config,
    /// The names and labels of the objects.
    pub(crate) names: Names,
    /// Where the gateway's proxies get the filter's module.
    pub(crate) module: Location,
    /// Istio's mesh, as it is in the cluster, or as the config alone implies.
    pub(crate) mesh: Mesh,
    /// The certificates that become objects.
    pub(crate) certificates: Certificates,
}

/// Certificates that become objects. With cert-manager, and where they are created by hand, there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Certificates {
    /// The server's certificate and key. `render` never has them, so that no manifest contains a key.
    pub(crate) server: Option<Server>,
    /// The client CA and its revocation list.
    pub(crate) client_ca: Option<ClientCa>,
}

/// The server's certificate and key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// The certificate and the CAs that issued it, in PEM.
    pub(crate) certificate: String,
    /// The private key, in PEM.
    pub(crate) key: String,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// The client CA. None of it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientCa {
    /// The CA certificates, in PEM.
    pub(crate) certificates: String,
    /// The revocation list, in PEM.
    pub(crate) revocations: String,
}

impl<'a> Installation<'a> {
    /// The installation that a config describes.
    pub(crate) fn new(config: &'a Config, module: Location, mesh: Mesh, certificates: Certificates) -> Self {
        Installation { config, names: Names::of(&config.gateway), module, mesh, certificates }
    }

    /// Whether the certificates must already be in the cluster: they are neither among the objects nor issued by
    /// cert-manager.
    pub(crate) fn expects_certificates(&self) -> bool {
        self.config.takes_certificates() && self.certificates.server.is_none()
    }

    /// The largest message that the gate forwards, in bytes: what the filter adds comes on top of `limits.inflated`,
    /// and the filter bounds both.
    pub(crate) fn largest_message(&self) -> u64 {
        self.config.limits.inflated.bytes().saturating_mul(5) / 4
    }
}
