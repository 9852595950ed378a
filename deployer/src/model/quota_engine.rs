//! The engine of shared quotas as the gateway's proxies reach it.

use otlp_gate_core::config::Scope;
use otlp_gate_core::policy::engine_cluster;

use super::backend_tls::CaSource;
use super::{Installation, Names};
use crate::address::Address;
use crate::config::{self, EngineCertificates};

/// How the gateway's proxies reach the engine. All objects are in the namespace of the proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QuotaEngine {
    /// The name of its cluster in the proxies, by which the filter calls it.
    pub(crate) cluster: String,
    /// Its host and port.
    pub(crate) address: Address,
    /// TLS; none for plain text.
    pub(crate) tls: Option<EngineTls>,
    /// The Secret with the user and the password; none without a password.
    pub(crate) credentials: Option<String>,
}

/// TLS to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EngineTls {
    /// The name or address that the engine's certificate must have.
    pub(crate) host: String,
    /// Where its CA is, in `ca.crt`; none for the public CAs.
    pub(crate) ca: Option<CaSource>,
    /// The Secret with the proxies' certificate and key; none without.
    pub(crate) client: Option<String>,
}

impl QuotaEngine {
    /// The port of an engine that otlp-gate deploys.
    pub(crate) const PORT: u16 = 6379;
    /// The key of the Secret with the password.
    pub(crate) const PASSWORD: &str = "password";
    /// The key of the Secret with the user; left out for the engine's default one.
    pub(crate) const USER: &str = "username";
}

impl Installation<'_> {
    /// The engine that adds up what the replicas of the gateway charge; none if each has quotas of its own.
    pub(crate) fn quota_engine(&self) -> Option<QuotaEngine> {
        let config = self.config;
        let quotas = &config.quotas;
        if !config.gateway.enabled || quotas.effective_scope() == Scope::Replica {
            return None;
        }
        let engine = quotas.engine.as_ref()?;
        let cluster = engine_cluster(&self.policy.gate);
        if engine.deploy.is_some() {
            return Some(QuotaEngine::deployed(cluster, &self.names));
        }
        // The config is valid.
        let address: Address = engine.address.as_ref()?.parse().ok()?;
        let tls = match &engine.tls {
            config::EngineTls::Off => None,
            config::EngineTls::On(it) => Some(EngineTls::of(it, &address)),
        };
        let credentials = engine.credentials.as_ref().map(|it| it.secret.clone());
        Some(QuotaEngine { cluster, address, tls, credentials })
    }
}

impl QuotaEngine {
    /// The engine that otlp-gate deploys. Its clients need no password: it demands a certificate.
    fn deployed(cluster: String, names: &Names) -> Self {
        let secret = names.quotas_client();
        let tls = EngineTls {
            host: names.host(&names.quotas()),
            ca: Some(CaSource::Secret(secret.clone())),
            client: Some(secret),
        };
        // Proxies find a Service of another namespace by its full name only.
        let host = format!("{}.cluster.local", tls.host);
        let address = Address { host, port: QuotaEngine::PORT };
        QuotaEngine { cluster, address, tls: Some(tls), credentials: None }
    }
}

impl EngineTls {
    fn of(certificates: &EngineCertificates, address: &Address) -> Self {
        let EngineCertificates { ca_config_map, ca_secret, client_secret, server_name } = certificates;
        let config_map = ca_config_map.clone().map(CaSource::ConfigMap);
        EngineTls {
            host: server_name.clone().unwrap_or_else(|| address.host.clone()),
            ca: config_map.or_else(|| ca_secret.clone().map(CaSource::Secret)),
            client: client_secret.clone(),
        }
    }
}
