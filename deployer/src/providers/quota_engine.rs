//! The engine of shared quotas in the gateway's proxies: Envoy's cluster, and what the proxies' pods need for it. Both
//! providers take both in the same form.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{
    Container, DownwardAPIProjection, DownwardAPIVolumeFile, EnvVar, EnvVarSource, ObjectFieldSelector,
    PodSpec, PodTemplateSpec, ProjectedVolumeSource, SecretKeySelector, Volume, VolumeMount,
    VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use otlp_gate_core::gate::{ENGINE_PASSWORD, ENGINE_USER};
use serde_json::{Value, json};

use crate::envoy::engine_cluster;
use crate::model::{EngineTls, QuotaEngine, secret_files};

/// The variables of the proxies' environment that the filter may read.
pub(super) const VARIABLES: [&str; 2] = [ENGINE_USER, ENGINE_PASSWORD];

/// The volume with the certificates, and its folder in the proxies' pods.
const VOLUME: &str = "otlp-gate-quota-engine";
const FOLDER: &str = "/etc/otlp-gate-quota-engine";
/// The public CAs in the images of both providers' proxies.
const PUBLIC_CAS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A secret of Envoy's (SDS) in a file of its own.
///
/// Envoy reads certificates in files anew only if SDS names them. The file for SDS is an annotation of the pod, so it is
/// in whatever namespace the pod is in.
struct SecretFile {
    /// The name of the secret, of its file and of the annotation.
    name: &'static str,
    /// The keys of Envoy's `Secret`.
    secret: Value,
}

impl SecretFile {
    fn ca() -> Self {
        let context = json!({"trusted_ca": file("ca.crt"), "watched_directory": {"path": FOLDER}});
        SecretFile { name: "ca", secret: json!({"validation_context": context}) }
    }

    fn client() -> Self {
        let certificate = json!({
            "certificate_chain": file("tls.crt"),
            "private_key": file("tls.key"),
            "watched_directory": {"path": FOLDER},
        });
        SecretFile { name: "client", secret: json!({"tls_certificate": certificate}) }
    }

    /// The files that this connection needs.
    fn all(tls: &EngineTls) -> impl Iterator<Item = SecretFile> {
        let ca = tls.ca.as_ref().map(|_| SecretFile::ca());
        ca.into_iter().chain(tls.client.as_ref().map(|_| SecretFile::client()))
    }

    fn annotation(&self) -> String {
        format!("otlp-gate.io/quota-engine-{}", self.name)
    }

    fn path(&self) -> String {
        format!("{}.json", self.name)
    }

    /// The file's text: Envoy's `DiscoveryResponse`.
    fn text(&self) -> String {
        let mut secret = json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            "name": self.name,
        });
        if let (Some(secret), Some(more)) = (secret.as_object_mut(), self.secret.as_object()) {
            secret.extend(more.clone());
        }
        json!({"resources": [secret]}).to_string()
    }

    /// How a TLS context refers to it.
    fn reference(&self) -> Value {
        let path = format!("{FOLDER}/{}", self.path());
        json!({
            "name": self.name,
            "sds_config": {"path_config_source": {"path": path}, "resource_api_version": "V3"},
        })
    }
}

fn file(name: &str) -> Value {
    json!({"filename": format!("{FOLDER}/{name}")})
}

/// Envoy's cluster.
pub(super) fn cluster(engine: &QuotaEngine) -> Value {
    engine_cluster(&engine.cluster, &engine.address, engine.tls.as_ref().map(transport_socket))
}

fn transport_socket(tls: &EngineTls) -> Value {
    let is_address = tls.host.parse::<IpAddr>().is_ok();
    let kind = if is_address { "IP_ADDRESS" } else { "DNS" };
    let names = json!([{"san_type": kind, "matcher": {"exact": tls.host}}]);
    let mut common = json!({"tls_params": {"tls_minimum_protocol_version": "TLSv1_2"}});
    let mut context = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    });
    if let (Some(common), Some(context)) = (common.as_object_mut(), context.as_object_mut()) {
        match &tls.ca {
            Some(_) => common.insert(
                "combined_validation_context".to_owned(),
                json!({
                    "default_validation_context": {"match_typed_subject_alt_names": names},
                    "validation_context_sds_secret_config": SecretFile::ca().reference(),
                }),
            ),
            None => common.insert(
                "validation_context".to_owned(),
                json!({"trusted_ca": {"filename": PUBLIC_CAS}, "match_typed_subject_alt_names": names}),
            ),
        };
        if tls.client.is_some() {
            let client = SecretFile::client().reference();
            common.insert("tls_certificate_sds_secret_configs".to_owned(), json!([client]));
        }
        if !is_address {
            context.insert("sni".to_owned(), tls.host.clone().into());
        }
        context.insert("common_tls_context".to_owned(), common.clone().into());
    }
    json!({"name": "envoy.transport_sockets.tls", "typed_config": context})
}

/// What the proxies' pods need, as a strategic merge patch for their template: the password in the environment of this
/// container, and the certificates.
pub(super) fn pod_patch(engine: &QuotaEngine, container: &str) -> Value {
    let mut container = Container { name: container.to_owned(), ..Container::default() };
    if let Some(secret) = &engine.credentials {
        container.env = Some(vec![
            variable(ENGINE_USER, secret, QuotaEngine::USER, true),
            variable(ENGINE_PASSWORD, secret, QuotaEngine::PASSWORD, false),
        ]);
    }
    let (mut metadata, mut volumes) = (None, None);
    if let Some(tls) = engine.tls.as_ref().filter(|tls| SecretFile::all(tls).next().is_some()) {
        let files = SecretFile::all(tls).map(|it| (it.annotation(), it.text()));
        metadata = Some(ObjectMeta { annotations: Some(files.collect()), ..ObjectMeta::default() });
        container.volume_mounts = Some(vec![VolumeMount {
            name: VOLUME.to_owned(),
            mount_path: FOLDER.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]);
        volumes = Some(vec![volume(tls)]);
    }
    let spec = PodSpec { containers: vec![container], volumes, ..PodSpec::default() };
    let template = PodTemplateSpec { metadata, spec: Some(spec) };
    serde_json::to_value(&template).unwrap_or_default()
}

fn variable(name: &str, secret: &str, key: &str, optional: bool) -> EnvVar {
    let selector = SecretKeySelector {
        name: secret.to_owned(),
        key: key.to_owned(),
        optional: optional.then_some(true),
    };
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource { secret_key_ref: Some(selector), ..EnvVarSource::default() }),
        ..EnvVar::default()
    }
}

/// A volume with the certificates and the files for SDS.
fn volume(tls: &EngineTls) -> Volume {
    let items = SecretFile::all(tls).map(|it| DownwardAPIVolumeFile {
        path: it.path(),
        field_ref: Some(ObjectFieldSelector {
            field_path: format!("metadata.annotations['{}']", it.annotation()),
            ..ObjectFieldSelector::default()
        }),
        ..DownwardAPIVolumeFile::default()
    });
    let files = VolumeProjection {
        downward_api: Some(DownwardAPIProjection { items: Some(items.collect()) }),
        ..VolumeProjection::default()
    };
    let ca = tls.ca.as_ref().map(|ca| ca.file());
    let client = tls.client.as_ref().map(|secret| secret_files(secret, &["tls.crt", "tls.key"]));
    let sources = [files].into_iter().chain(ca).chain(client).collect();
    Volume {
        name: VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource { sources: Some(sources), ..ProjectedVolumeSource::default() }),
        ..Volume::default()
    }
}
