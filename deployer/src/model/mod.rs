//! The model of one gate in a cluster: its config, the names and labels of its objects, the module, the mesh, and an
//! object as a typed value.
//!
//! **Architecture Invariant:** the model knows no provider and asks no cluster and no clock. [`crate::resources`] and
//! [`crate::providers`] make objects from it, and [`crate::render`] puts them together.

mod backend_tls;
mod extension;
pub(crate) mod mesh;
mod names;
mod object;
pub(crate) mod pod_settings;
mod policy;
mod provider_settings;
mod quota_engine;

pub(crate) use backend_tls::{BackendTls, CaSource, secret_files, secret_volume};
pub(crate) use extension::{EXTENSION_API, Extension, ExtensionKind};
pub(crate) use mesh::{DataPlaneMode, Mesh};
pub(crate) use names::Names;
pub(crate) use object::{Object, title, yaml};
pub(crate) use policy::{SMALLER_POLICY, plugin_config, read_plugin_config, revision};
pub(crate) use provider_settings::ProviderSettings;
pub(crate) use quota_engine::{EngineTls, QuotaEngine};

use std::collections::BTreeMap;

use otlp_gate_core::config::{AuthorityKey, ClientCa as PolicyCa, PolicyConfig};

use crate::certs::{ClientTrust, InternalCertificate};
use crate::config::{ClientCa, Config, PrometheusOperator};
use crate::error::Error;
use crate::module::Location;
use crate::sha256;

/// One gate as it is to be installed in a cluster.
#[derive(Debug)]
pub(crate) struct Installation<'a> {
    /// The config, validated.
    pub(crate) config: &'a Config,
    /// The policy that the filter is sent.
    pub(crate) policy: PolicyConfig,
    /// The names and labels of the objects.
    pub(crate) names: Names,
    /// Where the gateway's proxies get the filter's module.
    pub(crate) module: Location,
    /// Istio's mesh, as it is in the cluster, or as the config alone implies.
    pub(crate) mesh: Mesh,
    /// Istio's object with the filter: by the config alone, unless a cluster was asked.
    pub(crate) extension: Extension,
    /// Whether there are objects for the Prometheus operator: by the config alone, unless a cluster was asked.
    pub(crate) prometheus_operator: bool,
    /// The certificates that become objects.
    pub(crate) certificates: Certificates,
}

/// Certificates that become objects. With cert-manager, and where they are created by hand, there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Certificates {
    /// The server's certificate and key. `render` never has them, so that no manifest contains a key.
    pub(crate) server: Option<KeyPair>,
    /// The CAs of clients and their revocation lists.
    pub(crate) clients: Option<ClientTrust>,
    /// The internal certificates.
    pub(crate) internal: Option<Internal>,
}

/// The certificates of the connections to the Collector and to the engine of shared quotas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Internal {
    /// The CA certificates that all ends trust, in PEM.
    pub(crate) ca: String,
    /// Identifies the CA that issued the servers' certificates.
    pub(crate) issuer: String,
    /// The certificates with their keys: those of the gate's servers, and of all clients.
    pub(crate) pairs: BTreeMap<InternalCertificate, KeyPair>,
}

/// A certificate and its key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeyPair {
    /// The certificate and the CAs that issued it, in PEM.
    pub(crate) certificate: String,
    /// The private key, in PEM.
    pub(crate) key: String,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair").finish_non_exhaustive()
    }
}

impl<'a> Installation<'a> {
    /// The installation that a config describes.
    pub(crate) fn new(config: &'a Config, module: Location, mesh: Mesh, certificates: Certificates) -> Self {
        let policy = match &certificates.clients {
            Some(clients) => clients.policy(config),
            None => config.policy(),
        };
        Installation {
            config,
            policy,
            names: Names::of(&config.gateway),
            module,
            mesh,
            extension: Extension::from_config(config),
            prometheus_operator: config
                .monitoring
                .as_ref()
                .is_some_and(|it| it.prometheus_operator == PrometheusOperator::On),
            certificates,
        }
    }

    /// Takes over the keys of client CAs and what these have revoked from the policy in the cluster, where there are no
    /// certificates to read them from. Names come from the config. Those in ConfigMaps are left out where the policy does
    /// not depend on them, so that it stays the same when they change.
    pub(crate) fn keep_client_cas(&mut self, live: Vec<PolicyCa>) {
        if self.certificates.clients.is_none() && self.policy.client_cas.is_empty() {
            self.policy.client_cas = live.into_iter().filter(|ca| ca.name.is_empty()).collect();
            return;
        }
        let needless = |ca: &PolicyCa| self.config_map_of(ca).is_some() && !self.config.uses_cas();
        let needless: Vec<bool> = self.policy.client_cas.iter().map(needless).collect();
        for (ca, needless) in self.policy.client_cas.iter_mut().zip(needless) {
            if needless || !ca.keys.is_empty() {
                continue;
            }
            if let Some(live) = live.iter().find(|live| live.name == ca.name) {
                live.clone_into(ca);
            }
        }
    }

    /// The ConfigMap with a CA's certificates, if they are in one.
    fn config_map_of(&self, ca: &PolicyCa) -> Option<&'a str> {
        self.config.client_cas.iter().find(|it| it.name == ca.name)?.config_map.as_deref()
    }

    /// Takes over the keys of the CAs in a ConfigMap, without CAs that other entries have: what writes the ConfigMap could
    /// otherwise give the clients of those CAs another name. Returns those that it has taken.
    pub(crate) fn follow(&mut self, config_map: &str, mut keys: Vec<AuthorityKey>) -> Vec<AuthorityKey> {
        let all = &mut self.policy.client_cas;
        let mut entries = self.config.client_cas.iter();
        let entry = entries.find(|it| it.config_map.as_deref() == Some(config_map));
        let is_named = |ca: &PolicyCa| entry.is_some_and(|it| it.name == ca.name);
        let is_known = |key: &AuthorityKey, ca: &PolicyCa| ca.keys.iter().any(|it| it.key == key.key);
        keys.retain(|key| !all.iter().any(|ca| !is_named(ca) && is_known(key, ca)));
        if let Some(ca) = all.iter_mut().find(|ca| is_named(ca)) {
            ca.keys.clone_from(&keys);
        }
        keys
    }

    /// The warning about entries of `clientCAs` whose keys are neither in files nor in the cluster.
    pub(crate) fn unknown_cas(&self) -> Option<Error> {
        let unknown = self.policy.client_cas.iter().find(|ca| ca.keys.is_empty() && !ca.name.is_empty())?;
        let config_map = self.config_map_of(unknown);
        if config_map.is_some() && !self.config.uses_cas() {
            return None;
        }
        let message = format!(
            "clientCAs: the CA `{}` is unknown: rules with `ca` match none of its clients",
            unknown.name
        );
        Some(Error::failed(message).hint(match config_map {
            None => "run this where the folder with client-ca.crt is, or name it with `--certs`".to_owned(),
            Some(name) => format!("`otlp-gate apply` reads the CA in configmap/{name}"),
        }))
    }

    /// Whether the server's certificate must already be in the cluster: it is neither among the objects nor issued by
    /// cert-manager.
    pub(crate) fn expects_server_certificate(&self) -> bool {
        self.config.takes_server_certificate() && self.certificates.server.is_none()
    }

    /// Whether the ConfigMap with the client CAs must already be in the cluster.
    pub(crate) fn expects_client_cas(&self) -> bool {
        self.has_client_ca_object() && self.certificates.clients.is_none()
    }

    /// Whether some client CAs are in a ConfigMap of the gate, where the provider takes them from a ConfigMap.
    fn has_client_ca_object(&self) -> bool {
        self.config.takes_client_cas() && self.config.has_client_ca_files()
    }

    /// Kind and name of the objects whose `ca.crt` are the CAs of clients.
    pub(crate) fn client_ca_objects(&self) -> Vec<(&'static str, String)> {
        if self.config.issues_client_certificates() {
            return vec![("Secret", self.names.client_trust())];
        }
        let own = self.has_client_ca_object().then(|| self.names.client_ca());
        let others = self.config.client_ca_config_maps().map(str::to_owned);
        own.into_iter().chain(others).map(|name| ("ConfigMap", name)).collect()
    }

    /// Whether the gateway has the revocation lists of its clients' CAs. Envoy takes those of all CAs or none.
    pub(crate) fn has_revocations(&self) -> bool {
        match &self.certificates.clients {
            // cert-manager issues no lists.
            _ if self.config.issues_client_certificates() => false,
            Some(clients) => clients.revocations.is_some(),
            None => self.config.client_cas.iter().all(ClientCa::has_list),
        }
    }

    /// Whether the filter finds out which CA signed a client's certificate.
    pub(crate) fn tells_cas_apart(&self) -> bool {
        self.policy.client_cas.iter().any(|ca| !ca.name.is_empty())
    }

    /// Whether the internal certificates must already be in the cluster.
    pub(crate) fn expects_internal_certificates(&self) -> bool {
        self.config.takes_server_certificate()
            && self.config.uses_internal_certificates()
            && self.certificates.internal.is_none()
    }

    /// How the gateway authenticates the backend and itself; none if it connects in plain text or by a mesh.
    pub(crate) fn backend_tls(&self) -> Option<BackendTls> {
        match self.config.encrypts_backend() {
            true => Some(BackendTls::of_collector(&self.names, self.names.backend_client())),
            false => BackendTls::of_service(self.config, &self.names),
        }
    }

    /// The same of the node-local gateway, if it sends to this gate's backend.
    pub(crate) fn node_backend_tls(&self) -> Option<BackendTls> {
        if self.config.node_local.export.is_some() {
            return None;
        }
        match self.config.encrypts_backend() {
            true => Some(BackendTls::of_collector(&self.names, self.names.node_client())),
            false => BackendTls::of_service(self.config, &self.names),
        }
    }

    /// The digest of what a running pod has late, because the kubelet updates its files in the end only: the trusted
    /// internal CAs, and the CA that issued the internal certificates. `None` if these certificates are not on this
    /// machine.
    pub(crate) fn internal_digest(&self) -> Option<String> {
        let internal = self.certificates.internal.as_ref()?;
        Some(sha256::short(format!("{}{}", internal.ca, internal.issuer), 16))
    }

    /// The largest message that the gate forwards, in bytes: what the filter adds comes on top of `limits.inflated`,
    /// and the filter bounds both.
    pub(crate) fn largest_message(&self) -> u64 {
        self.config.limits.inflated.bytes().saturating_mul(5) / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    fn keys(all: &[&str]) -> Vec<AuthorityKey> {
        all.iter().map(|key| AuthorityKey { key: (*key).to_owned(), ..AuthorityKey::default() }).collect()
    }

    /// The keys of each CA of the policy, by name, after `act`.
    fn after(clients: &str, act: impl FnOnce(&mut Installation<'_>)) -> Vec<(String, Vec<AuthorityKey>)> {
        let text = format!(
            "{{apiVersion: otlp-gate/v1, gateway: {{provider: envoy-gateway}}, clients: [{clients}], \
             clientCAs: [{{name: own}}, {{name: spire, configMap: bundle}}]}}"
        );
        let config = Source { name: "test".to_owned(), text }.load().unwrap().config;
        let (module, mesh) = (Location::config_map(b"").unwrap(), Mesh::from_config(&config));
        let mut installation = Installation::new(&config, module, mesh, Certificates::default());
        act(&mut installation);
        installation.policy.client_cas.into_iter().map(|ca| (ca.name, ca.keys)).collect()
    }

    fn live(own: &[&str], spire: &[&str]) -> Vec<PolicyCa> {
        [("own", own), ("spire", spire)]
            .map(|(name, all)| PolicyCa { name: name.to_owned(), keys: keys(all), ..PolicyCa::default() })
            .into()
    }

    const BY_CA: &str = "{name: a, match: {dns: a, ca: spire}}";

    #[test]
    fn a_config_map_does_not_rename_the_clients_of_another_ca() {
        let found = after(BY_CA, |it| {
            it.keep_client_cas(live(&["a"], &["old"]));
            assert_eq!(it.follow("bundle", keys(&["a", "b"])), keys(&["b"]));
            it.follow("other", keys(&["c"]));
        });
        assert_eq!(found, [("own".to_owned(), keys(&["a"])), ("spire".to_owned(), keys(&["b"]))]);
    }

    #[test]
    fn a_policy_that_does_not_depend_on_cas_stays_the_same_when_a_config_map_changes() {
        let keep = |it: &mut Installation<'_>| it.keep_client_cas(live(&["a"], &["b"]));
        let found = after("{name: a, match: {dns: a}}", keep);
        assert_eq!(found, [("own".to_owned(), keys(&["a"])), ("spire".to_owned(), vec![])]);
        for clients in [BY_CA, "{name: a, match: {dns: a}, attributes: {ca: '{ca}'}}"] {
            assert_eq!(after(clients, keep)[1].1, keys(&["b"]), "{clients}");
        }
    }
}
