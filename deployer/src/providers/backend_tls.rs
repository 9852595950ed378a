//! How the gateway authenticates the backend, and itself to the backend.

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::{Backend, Service};
use crate::error::Error;
use crate::model::{BackendTls, Installation, Names, Object};

/// Group and version of the BackendTLSPolicy.
const POLICY_VERSION: &str = "gateway.networking.k8s.io/v1";

/// The label of a Gateway's pods with the Gateway's name.
pub(super) const GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";

/// The BackendTLSPolicy, with which the gateway authenticates the backend. The gateway's own certificate is a setting of
/// the provider. The policy must be in the namespace of the Service.
pub(super) fn policy(installation: &Installation<'_>, tls: &BackendTls) -> Result<Object, Error> {
    let (ca_kind, ca) = tls.ca.object();
    let spec = json!({
        "targetRefs": [{"group": "", "kind": "Service", "name": tls.service}],
        "validation": {
            "caCertificateRefs": [{"group": "", "kind": ca_kind, "name": ca}],
            "hostname": tls.host,
        },
    });
    let names = &installation.names;
    let mut metadata = names.metadata(&rule_name(installation));
    if tls.namespace != names.namespace {
        // Two gates with the same name in different namespaces may use the same Service.
        metadata = names.metadata(&format!("{}.{}", names.namespace, names.gateway));
        metadata.namespace = Some(tls.namespace.clone());
    }
    Object::custom(POLICY_VERSION, "BackendTLSPolicy", metadata, spec)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DestinationRule {
    host: String,
    workload_selector: Value,
    traffic_policy: Value,
}

/// The folder of the Secret in the gateway's pods.
pub(super) const FOLDER: &str = "/etc/otlp-gate";

/// Istio's DestinationRule for the gateway's proxies. It names files: with `credentialName`, istiod gives a proxy the
/// Secret only if the proxy's service account may list all Secrets of the namespace (`Authorize` in
/// pilot/pkg/credentials/kube/secrets.go). Istio's agent watches the files.
pub(super) fn destination_rule(installation: &Installation<'_>, tls: &BackendTls) -> Result<Object, Error> {
    let mut settings = json!({
        "mode": "SIMPLE",
        "caCertificates": format!("{FOLDER}/ca.crt"),
        "sni": tls.host,
        // Without a name Istio accepts any certificate of the CA.
        "subjectAltNames": [tls.host],
    });
    if let (Some(_), Some(settings)) = (&tls.client, settings.as_object_mut()) {
        settings.insert("mode".to_owned(), "MUTUAL".into());
        settings.insert("clientCertificate".to_owned(), format!("{FOLDER}/tls.crt").into());
        settings.insert("privateKey".to_owned(), format!("{FOLDER}/tls.key").into());
    }
    of_gateway(installation, &tls.service, &tls.namespace, settings)
}

/// Istio's DestinationRule for the gateway's proxies to a Service in the mesh; none if the backend is not one. By
/// itself Istio sends plain text to pods that it does not know to be in the mesh.
pub(super) fn mesh_rule(installation: &Installation<'_>) -> Result<Option<Object>, Error> {
    let Backend::Service(service) = &installation.config.backend else { return Ok(None) };
    let Service { name, namespace, tls: Some(tls), .. } = service else { return Ok(None) };
    if !tls.mesh {
        return Ok(None);
    }
    let namespace = namespace.as_ref().unwrap_or(&installation.names.namespace);
    of_gateway(installation, name, namespace, json!({"mode": "ISTIO_MUTUAL"})).map(Some)
}

/// A DestinationRule for the gateway's proxies only.
fn of_gateway(
    installation: &Installation<'_>,
    service: &str,
    namespace: &str,
    tls: Value,
) -> Result<Object, Error> {
    let spec = DestinationRule {
        host: format!("{service}.{namespace}.svc.cluster.local"),
        workload_selector: json!({"matchLabels": {GATEWAY_LABEL: installation.names.gateway}}),
        traffic_policy: json!({"tls": tls}),
    };
    let metadata = installation.names.metadata(&rule_name(installation));
    Object::custom("networking.istio.io/v1", "DestinationRule", metadata, spec)
}

/// The name of the object with the settings of the connection to the backend.
fn rule_name(installation: &Installation<'_>) -> String {
    let names: &Names = &installation.names;
    match &installation.config.backend {
        Backend::Collector(_) => names.collector(),
        Backend::Service(_) => format!("{}-backend", names.gateway),
    }
}
