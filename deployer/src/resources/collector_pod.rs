//! The pod of a Collector, for the Deployment and the DaemonSet, with the least privileges that it needs.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, HTTPGetAction, PodSpec, Probe,
    ResourceRequirements, ServicePort, Volume, VolumeMount,
};
use k8s_openapi::api::networking::v1::NetworkPolicyPort;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::collector_config::{GRPC, HEALTH, HTTP};
use super::restricted;

/// Folder and file of the configuration in the pod.
const CONFIG_FOLDER: &str = "/etc/otelcol";
const CONFIG_FILE: &str = "config.yaml";

/// Resource requests and limits of a pod.
pub(super) struct Size {
    /// CPU request.
    pub(super) cpu: &'static str,
    /// Memory request.
    pub(super) memory: &'static str,
    /// Memory limit, at which the kernel ends the process.
    pub(super) limit: &'static str,
    /// `GOMEMLIMIT`: heap size at which Go collects garbage, below the memory limit.
    pub(super) heap: &'static str,
}

/// The ConfigMap with a Collector's configuration, which the pod mounts.
pub(super) fn config_map(metadata: ObjectMeta, text: String) -> ConfigMap {
    let data = Some([(CONFIG_FILE.to_owned(), text)].into());
    ConfigMap { metadata, data, ..ConfigMap::default() }
}

/// Annotations that cause a rollout when the configuration changes. A Collector reads its configuration only at
/// startup.
pub(super) fn annotations(config_digest: &str) -> BTreeMap<String, String> {
    [("otlp-gate.io/config".to_owned(), config_digest.to_owned())].into()
}

/// The pod template, with one container.
pub(super) fn spec(image: &str, config_map: String, size: &Size) -> PodSpec {
    PodSpec {
        automount_service_account_token: Some(false),
        security_context: Some(restricted::pod()),
        containers: vec![container(image, size)],
        volumes: Some(vec![Volume {
            name: "config".to_owned(),
            config_map: Some(ConfigMapVolumeSource { name: config_map, ..ConfigMapVolumeSource::default() }),
            ..Volume::default()
        }]),
        ..PodSpec::default()
    }
}

fn container(image: &str, size: &Size) -> Container {
    Container {
        name: "collector".to_owned(),
        image: Some(image.to_owned()),
        args: Some(vec![format!("--config={CONFIG_FOLDER}/{CONFIG_FILE}")]),
        env: Some(vec![EnvVar {
            name: "GOMEMLIMIT".to_owned(),
            value: Some(size.heap.to_owned()),
            ..EnvVar::default()
        }]),
        ports: Some(vec![
            container_port("grpc", GRPC),
            container_port("http", HTTP),
            container_port("health", HEALTH),
        ]),
        startup_probe: Some(probe(2, 30)),
        readiness_probe: Some(probe(5, 2)),
        liveness_probe: Some(probe(10, 3)),
        resources: Some(ResourceRequirements {
            requests: Some(quantities([("cpu", size.cpu), ("memory", size.memory)])),
            limits: Some(quantities([("memory", size.limit)])),
            ..ResourceRequirements::default()
        }),
        security_context: Some(restricted::container()),
        volume_mounts: Some(vec![VolumeMount {
            name: "config".to_owned(),
            mount_path: CONFIG_FOLDER.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}

/// The IP families of a Collector's Service: all that the cluster has.
pub(super) const IP_FAMILIES: &str = "PreferDualStack";

/// Ports of a Service for the Collector.
pub(super) fn service_ports() -> Vec<ServicePort> {
    vec![service_port("grpc", GRPC, "kubernetes.io/h2c"), service_port("http", HTTP, "http")]
}

/// OTLP ports in a NetworkPolicy.
pub(super) fn policy_ports() -> Vec<NetworkPolicyPort> {
    vec![policy_port(GRPC), policy_port(HTTP)]
}

/// A port in a NetworkPolicy.
pub(super) fn policy_port(port: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(port)),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    }
}

/// A port of a container.
pub(super) fn container_port(name: &str, port: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        // Server-side apply merges ports by number and protocol, so the default protocol is written out.
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn service_port(name: &str, port: i32, app_protocol: &str) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        app_protocol: Some(app_protocol.to_owned()),
        ..ServicePort::default()
    }
}

fn probe(period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/".to_owned()),
            port: IntOrString::String("health".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failure_threshold),
        ..Probe::default()
    }
}

/// Requests or limits of a container.
pub(super) fn quantities<const N: usize>(all: [(&str, &str); N]) -> BTreeMap<String, Quantity> {
    all.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))).into()
}
