//! The engine of shared quotas that otlp-gate deploys: a Valkey without a disk, which accepts only the gateway's proxies.
//!
//! It is one pod. While it is away, each replica of the gateway goes on with quotas of its own, so nothing has to keep it
//! from being replaced: there is no PodDisruptionBudget, and no second pod, which would count on its own.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy};
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, ExecAction, PodSpec, PodTemplateSpec,
    Probe, ResourceRequirements, Service, ServicePort, ServiceSpec, TCPSocketAction, Volume, VolumeMount,
};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::collector_pod::{self, container_port, policy_port, quantities};
use super::{collector_tls, restricted};
use crate::config::DeployedEngine;
use crate::error::Error;
use crate::model::{Installation, Object, ProviderSettings, QuotaEngine, pod_settings, secret_volume};

/// Folder and file of the configuration in the pod.
const CONFIG_FOLDER: &str = "/etc/valkey";
const CONFIG_FILE: &str = "valkey.conf";
/// The folder that it may write to.
const RUN_FOLDER: &str = "/run/valkey";
/// A file that it writes when it starts.
const PID_FILE: &str = "/run/valkey/valkey.pid";
/// The name of the port.
const PORT_NAME: &str = "valkey";

/// The default memory limit, in MiB: room for about a million buckets in debt.
const MEMORY: u32 = 256;

/// The commands of the two scripts (`core/src/quota/engine/script.rs`), and those that run them. `QUIT` is always
/// allowed.
const COMMANDS: &str = "+eval +evalsha +time +get +set +del";

/// The engine's objects, except for the Secrets with certificates.
pub(crate) fn objects(
    installation: &Installation<'_>,
    engine: &DeployedEngine,
    provider: &ProviderSettings,
) -> Result<Vec<Object>, Error> {
    let names = &installation.names;
    let mut metadata = names.metadata(&names.quotas());
    metadata.labels.get_or_insert_default().extend(names.quotas_selector());
    let text = configuration(engine);
    let digest = collector_tls::digest(installation, &text);
    let config = ConfigMap {
        metadata: metadata.clone(),
        data: Some([(CONFIG_FILE.to_owned(), text)].into()),
        ..ConfigMap::default()
    };
    let selector = LabelSelector { match_labels: Some(names.quotas_selector()), ..LabelSelector::default() };
    let deployment = Deployment {
        metadata: metadata.clone(),
        spec: Some(DeploymentSpec {
            replicas: Some(1),
            selector: selector.clone(),
            // Never two at once: each would count on its own.
            strategy: Some(DeploymentStrategy {
                type_: Some("Recreate".to_owned()),
                ..DeploymentStrategy::default()
            }),
            template: template(installation, engine, provider, &digest),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    };
    let service = Service {
        metadata: metadata.clone(),
        spec: Some(ServiceSpec {
            selector: Some(names.quotas_selector()),
            ports: Some(vec![ServicePort {
                name: Some(PORT_NAME.to_owned()),
                port: QuotaEngine::PORT.into(),
                target_port: Some(IntOrString::String(PORT_NAME.to_owned())),
                protocol: Some("TCP".to_owned()),
                // Not the protocol within TLS: Istio would read it.
                app_protocol: Some("tls".to_owned()),
                ..ServicePort::default()
            }]),
            ip_family_policy: Some(collector_pod::IP_FAMILIES.to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    let policy = NetworkPolicy {
        metadata,
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector),
            // It may connect to nothing.
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: Some(vec![provider.proxies.clone()]),
                ports: Some(vec![policy_port(QuotaEngine::PORT.into())]),
            }]),
            ..NetworkPolicySpec::default()
        }),
    };
    Ok(vec![
        Object::builtin(&config)?,
        Object::builtin(&deployment)?,
        Object::builtin(&service)?,
        Object::builtin(&policy)?,
    ])
}

/// Its configuration file. Valkey 8 and 9 and Redis 7 read it.
fn configuration(engine: &DeployedEngine) -> String {
    let limit = pod_settings::memory_limit(&engine.pod).unwrap_or(u64::from(MEMORY) << 20);
    let (folder, port) = (collector_tls::FOLDER, QuotaEngine::PORT);
    let memory = limit / 4 * 3;
    format!(
        "\
# Connections: with certificates of the internal CA only.
port 0
tls-port {port}
tls-cert-file {folder}/tls.crt
tls-key-file {folder}/tls.key
tls-ca-cert-file {folder}/ca.crt
tls-auth-clients yes
# This mode rejects other machines if there is no password.
protected-mode no
timeout 30
# Nothing but the gate's scripts, on the gate's keys.
user default on nopass resetkeys ~otlp-gate:* resetchannels -@all {COMMANDS}
# All keys expire. The one that would expire first is evicted first.
maxmemory {memory}
maxmemory-policy volatile-ttl
# Nothing on disk.
save \"\"
appendonly no
dir {RUN_FOLDER}
pidfile {PID_FILE}
"
    )
}

fn template(
    installation: &Installation<'_>,
    engine: &DeployedEngine,
    provider: &ProviderSettings,
    digest: &str,
) -> PodTemplateSpec {
    let names = &installation.names;
    let mut labels = names.labels();
    labels.extend(names.quotas_selector());
    labels.extend(provider.collector_labels.clone());
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(collector_pod::annotations(digest)),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(engine, names.quotas())),
    };
    pod_settings::apply(&mut template, &engine.pod, &names.quotas_selector());
    template
}

/// The pod, with the least privileges that it needs. `name` is that of its ConfigMap and of the Secret with its
/// certificate.
fn pod(engine: &DeployedEngine, name: String) -> PodSpec {
    let config = ConfigMapVolumeSource { name: name.clone(), ..ConfigMapVolumeSource::default() };
    let run = EmptyDirVolumeSource {
        medium: Some("Memory".to_owned()),
        size_limit: Some(Quantity("1Mi".to_owned())),
    };
    let mut pod = PodSpec {
        automount_service_account_token: Some(false),
        security_context: Some(restricted::pod()),
        containers: vec![container(engine)],
        volumes: Some(vec![
            Volume { name: "config".to_owned(), config_map: Some(config), ..Volume::default() },
            Volume { name: "run".to_owned(), empty_dir: Some(run), ..Volume::default() },
        ]),
        ..PodSpec::default()
    };
    collector_tls::mount(&mut pod, secret_volume(collector_tls::VOLUME, name));
    pod
}

fn container(engine: &DeployedEngine) -> Container {
    let mount = |name: &str, folder: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: folder.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    Container {
        name: "valkey".to_owned(),
        image: Some(engine.image.clone()),
        command: Some(vec!["valkey-server".to_owned(), format!("{CONFIG_FOLDER}/{CONFIG_FILE}")]),
        ports: Some(vec![container_port(PORT_NAME, QuotaEngine::PORT.into())]),
        startup_probe: Some(Probe { failure_threshold: Some(60), ..connects(1) }),
        readiness_probe: Some(connects(5)),
        liveness_probe: Some(certificate_is_current()),
        resources: Some(ResourceRequirements {
            requests: Some(quantities([("cpu", "50m"), ("memory", "64Mi")])),
            limits: Some(quantities([("memory", &format!("{MEMORY}Mi"))])),
            ..ResourceRequirements::default()
        }),
        security_context: Some(restricted::container()),
        volume_mounts: Some(vec![mount("config", CONFIG_FOLDER, true), mount("run", RUN_FOLDER, false)]),
        ..Container::default()
    }
}

fn connects(period_seconds: i32) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction {
            port: IntOrString::String(PORT_NAME.to_owned()),
            ..TCPSocketAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(2),
        ..Probe::default()
    }
}

/// Fails when the certificate's file is newer than the process, which reads it at startup only. The container then
/// starts again, also if cert-manager has renewed the certificate long after `apply`.
fn certificate_is_current() -> Probe {
    let folder = collector_tls::FOLDER;
    let test = format!("test ! {folder}/tls.crt -nt {PID_FILE}");
    Probe {
        exec: Some(ExecAction { command: Some(vec!["sh".to_owned(), "-c".to_owned(), test]) }),
        period_seconds: Some(10),
        failure_threshold: Some(1),
        ..Probe::default()
    }
}
