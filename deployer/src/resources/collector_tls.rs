//! Mutual TLS between the Collector and its clients, which are the gateway and the node-local gateways: volumes and the
//! Collector's settings.

use k8s_openapi::api::core::v1::{PodSpec, Volume, VolumeMount};
use serde_json::{Map, Value, json};

use crate::model::Installation;
use crate::sha256;

/// The folder of a certificate, its key and the CA in the pod.
pub(super) const FOLDER: &str = "/etc/otlp-gate";
/// How often a Collector reads its certificate and key again. It reads them as files, which the kubelet replaces within
/// a minute or two.
pub(super) const RELOAD_INTERVAL: &str = "30s";

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
