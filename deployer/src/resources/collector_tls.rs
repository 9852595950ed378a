//! Mutual TLS between the Collector and its clients, which are the gateway and the node-local gateways: Secrets, volumes
//! and the Collector's settings.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{PodSpec, Secret, Volume, VolumeMount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};

use super::node_local;
use crate::error::Error;
use crate::model::{Installation, KeyPair, Object};
use crate::sha256;

/// The folder of a certificate, its key and the CA in the pod.
pub(super) const FOLDER: &str = "/etc/otlp-gate";
/// How often a Collector reads its certificate and key again. It reads them as files, which the kubelet replaces within
/// a minute or two.
pub(super) const RELOAD_INTERVAL: &str = "30s";

/// Stems of the certificates' files.
const COLLECTOR: &str = "collector";
const GATEWAY: &str = "gateway";
const NODE: &str = "node";

/// A Secret with an internal certificate, which the user creates where the folder with the certificates is elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InternalSecret {
    /// The Secret's metadata.
    pub(crate) metadata: ObjectMeta,
    /// The stem of the certificate's files.
    pub(crate) files: &'static str,
}

impl InternalSecret {
    /// The command that creates it from the folder `certs`.
    pub(crate) fn command(&self, certs: &str) -> String {
        let (name, namespace) = (self.name(), self.namespace());
        let files = self.files;
        format!(
            "kubectl create secret generic {name} -n {namespace} --type=kubernetes.io/tls \
             --from-file=tls.crt={certs}/{files}.crt --from-file=tls.key={certs}/{files}.key \
             --from-file=ca.crt={certs}/internal-ca.crt"
        )
    }

    /// Whether it is the Collector's own, and not that of a client of the Collector.
    pub(super) fn is_collectors(&self) -> bool {
        self.files == COLLECTOR
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its namespace.
    pub(crate) fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }
}

/// The Secrets with the internal certificates; none if the gate has no connection to encrypt.
pub(crate) fn secrets(installation: &Installation<'_>) -> Vec<InternalSecret> {
    if !installation.config.encrypts_backend() {
        return Vec::new();
    }
    let names = &installation.names;
    let mut secrets = vec![
        InternalSecret { metadata: names.metadata(&names.collector()), files: COLLECTOR },
        InternalSecret { metadata: names.metadata(&names.backend_client()), files: GATEWAY },
    ];
    secrets.extend(
        node_local::backend_client(installation).map(|metadata| InternalSecret { metadata, files: NODE }),
    );
    secrets
}

/// The Secrets with the internal certificates that are on this machine, as objects.
pub(crate) fn objects(installation: &Installation<'_>) -> Result<Vec<Object>, Error> {
    let Some(internal) = &installation.certificates.internal else { return Ok(Vec::new()) };
    let secret = |it: InternalSecret| {
        let KeyPair { certificate, key } = match it.files {
            COLLECTOR => &internal.collector,
            GATEWAY => &internal.gateway,
            _ => &internal.node,
        };
        let data = [("tls.crt", certificate), ("tls.key", key), ("ca.crt", &internal.ca)];
        Object::builtin(&Secret {
            metadata: it.metadata,
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(
                data.map(|(key, value)| (key.to_owned(), ByteString(value.clone().into_bytes()))).into(),
            ),
            ..Secret::default()
        })
    };
    secrets(installation).into_iter().map(secret).collect()
}

/// The TLS settings of the Collector's receivers: they demand a certificate of the internal CA.
pub(super) fn server(installation: &Installation<'_>) -> Option<Value> {
    installation.config.encrypts_backend().then(|| {
        json!({
            "cert_file": format!("{FOLDER}/tls.crt"),
            "key_file": format!("{FOLDER}/tls.key"),
            "client_ca_file": format!("{FOLDER}/ca.crt"),
            "client_ca_file_reload": true,
            "reload_interval": RELOAD_INTERVAL,
        })
    })
}

/// The TLS settings of an exporter that has the CA, and perhaps a certificate, in [`FOLDER`]. `server_name` is the name
/// in the server's certificate, if it is not the host that the exporter connects to.
pub(super) fn client(certificate: bool, server_name: Option<&str>) -> Value {
    let file = |name: &str| format!("{FOLDER}/{name}").into();
    let mut settings = Map::from_iter([
        ("ca_file".to_owned(), file("ca.crt")),
        ("reload_interval".to_owned(), RELOAD_INTERVAL.into()),
    ]);
    if certificate {
        settings.insert("cert_file".to_owned(), file("tls.crt"));
        settings.insert("key_file".to_owned(), file("tls.key"));
    }
    if let Some(name) = server_name {
        settings.insert("server_name_override".to_owned(), name.into());
    }
    settings.into()
}

/// The name of the volume with a certificate, its key and the CA.
pub(super) const VOLUME: &str = "certificate";

/// Mounts a volume at [`FOLDER`] in all containers of a pod.
pub(super) fn mount(pod: &mut PodSpec, volume: Volume) {
    for container in &mut pod.containers {
        container.volume_mounts.get_or_insert_default().push(VolumeMount {
            name: volume.name.clone(),
            mount_path: FOLDER.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        });
    }
    pod.volumes.get_or_insert_default().push(volume);
}

/// The digest of a Collector's configuration and of the internal CAs. A pod that is replaced has the new CAs at once, so
/// `apply` returns only when all pods have them, and the next step of a CA's rotation is safe. A certificate that is
/// renewed by the same CA causes no rollout.
pub(super) fn digest(installation: &Installation<'_>, text: &str) -> String {
    sha256::short(format!("{text}{}", installation.internal_digest().unwrap_or_default()), 16)
}
