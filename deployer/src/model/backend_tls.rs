//! TLS to the gate's backend, of the gateway and of the node-local gateway.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, KeyToPath, ProjectedVolumeSource, SecretProjection, SecretVolumeSource, Volume,
    VolumeProjection,
};

use super::Names;
use crate::config::{Backend, Config, ServiceTls};

/// How a client of the backend authenticates the backend, and itself to the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackendTls {
    /// The backend's Service.
    pub(crate) service: String,
    /// The Service's namespace.
    pub(crate) namespace: String,
    /// The name that the backend's certificate must have.
    pub(crate) host: String,
    /// Where the CA of that certificate is, in `ca.crt`.
    pub(crate) ca: CaSource,
    /// The Secret with the client's certificate and key; none if the backend demands none.
    pub(crate) client: Option<String>,
}

/// The object with a CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CaSource {
    /// A Secret of this name.
    Secret(String),
    /// A ConfigMap of this name.
    ConfigMap(String),
}

impl CaSource {
    /// Kind and name.
    pub(crate) fn object(&self) -> (&'static str, &str) {
        match self {
            CaSource::Secret(name) => ("Secret", name),
            CaSource::ConfigMap(name) => ("ConfigMap", name),
        }
    }
}

impl CaSource {
    /// The file `ca.crt`, as a part of a volume.
    pub(crate) fn file(&self) -> VolumeProjection {
        let keys = &["ca.crt"];
        match self {
            CaSource::Secret(secret) => secret_files(secret, keys),
            CaSource::ConfigMap(map) => VolumeProjection {
                config_map: Some(ConfigMapProjection {
                    name: map.clone(),
                    items: Some(files(keys)),
                    ..ConfigMapProjection::default()
                }),
                ..VolumeProjection::default()
            },
        }
    }
}

impl BackendTls {
    /// Of a client of the Collector that otlp-gate deploys. The Secret has the CA and the client's certificate.
    pub(super) fn of_collector(names: &Names, secret: String) -> Self {
        BackendTls {
            service: names.collector(),
            namespace: names.namespace.clone(),
            host: names.host(&names.collector()),
            ca: CaSource::Secret(secret.clone()),
            client: Some(secret),
        }
    }

    /// Of a client of a Service of the user's own; none for plain text, and for Istio's mesh.
    pub(super) fn of_service(config: &Config, names: &Names) -> Option<Self> {
        let Backend::Service(service) = &config.backend else { return None };
        let ServiceTls { ca_config_map: Some(ca), server_name, client_secret, .. } = service.tls.as_ref()?
        else {
            return None;
        };
        let namespace = service.namespace.as_ref().unwrap_or(&names.namespace);
        Some(BackendTls {
            service: service.name.clone(),
            namespace: namespace.clone(),
            host: server_name.clone().unwrap_or_else(|| format!("{}.{namespace}.svc", service.name)),
            ca: CaSource::ConfigMap(ca.clone()),
            client: client_secret.clone(),
        })
    }

    /// A volume with `ca.crt`, and with `tls.crt` and `tls.key` if the client has a certificate.
    pub(crate) fn volume(&self, name: &str) -> Volume {
        let volume = Volume { name: name.to_owned(), ..Volume::default() };
        let ca = match &self.ca {
            CaSource::Secret(secret) if self.client.as_ref() == Some(secret) => {
                return secret_volume(name, secret.clone());
            }
            ca => ca.file(),
        };
        let client = self.client.iter().map(|secret| secret_files(secret, &["tls.crt", "tls.key"]));
        let sources = Some([ca].into_iter().chain(client).collect());
        Volume {
            projected: Some(ProjectedVolumeSource { sources, ..ProjectedVolumeSource::default() }),
            ..volume
        }
    }
}

/// A volume with all files of a Secret.
pub(crate) fn secret_volume(name: &str, secret: String) -> Volume {
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource { secret_name: Some(secret), ..SecretVolumeSource::default() }),
        ..Volume::default()
    }
}

/// Files of a Secret, as a part of a volume.
pub(crate) fn secret_files(secret: &str, keys: &[&str]) -> VolumeProjection {
    let secret =
        SecretProjection { name: secret.to_owned(), items: Some(files(keys)), ..SecretProjection::default() };
    VolumeProjection { secret: Some(secret), ..VolumeProjection::default() }
}

fn files(keys: &[&str]) -> Vec<KeyToPath> {
    let file = |key: &&str| KeyToPath { key: (*key).to_owned(), path: (*key).to_owned(), mode: None };
    keys.iter().map(file).collect()
}
