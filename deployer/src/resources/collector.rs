//! The Collector that otlp-gate deploys, which only the gateway reaches.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec,
    MetricTarget, ResourceMetricSource,
};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMap, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, HTTPGetAction,
    PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile,
    SecurityContext, Service, ServicePort, ServiceSpec, Volume, VolumeMount,
};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::collector_config::{GRPC, HEALTH, HTTP, config};
use super::{Gate, Object, yaml};
use crate::config::Collector;
use crate::error::Error;
use crate::sha256;

/// Where its configuration is, in its pod.
const CONFIG_FOLDER: &str = "/etc/otelcol";
const CONFIG_FILE: &str = "config.yaml";
/// `nobody`, which every image lets run.
const USER: i64 = 65532;

/// An autoscaler keeps the CPU at so many percent of what the pods ask for.
const BUSY: i32 = 70;

/// The Collector's objects.
pub(super) fn objects(gate: &Gate<'_>, collector: &Collector) -> Result<Vec<Object>, Error> {
    let name = gate.names.collector();
    let metadata = metadata(gate, &name);
    let text = yaml(&config(collector, &gate.config.limits))?;
    let digest = sha256::short(&text, 16);
    let config = ConfigMap {
        metadata: metadata.clone(),
        data: Some([(CONFIG_FILE.to_owned(), text)].into()),
        ..ConfigMap::default()
    };
    let deployment = Deployment {
        metadata: metadata.clone(),
        spec: Some(deployment(gate, collector, &digest)),
        ..Deployment::default()
    };
    let service = Service {
        metadata: metadata.clone(),
        spec: Some(ServiceSpec {
            selector: Some(gate.names.collector_selector()),
            ports: Some(vec![
                service_port("grpc", GRPC, "kubernetes.io/h2c"),
                service_port("http", HTTP, "http"),
            ]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    let budget = PodDisruptionBudget {
        metadata: metadata.clone(),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(label_selector(gate)),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    };
    let mut objects = vec![
        Object::builtin(&config)?,
        Object::builtin(&deployment)?,
        Object::builtin(&service)?,
        Object::builtin(&budget)?,
    ];
    if let Some(most) = collector.max_replicas {
        objects.push(Object::builtin(&autoscaler(&metadata, collector, most))?);
    }
    objects.push(Object::builtin(&network_policy(gate, metadata))?);
    Ok(objects)
}

fn autoscaler(metadata: &ObjectMeta, collector: &Collector, most: NonZeroU32) -> HorizontalPodAutoscaler {
    let busy = ResourceMetricSource {
        name: "cpu".to_owned(),
        target: MetricTarget {
            type_: "Utilization".to_owned(),
            average_utilization: Some(BUSY),
            ..MetricTarget::default()
        },
    };
    HorizontalPodAutoscaler {
        metadata: metadata.clone(),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name: metadata.name.clone().unwrap_or_default(),
            },
            min_replicas: i32::try_from(collector.replicas.get()).ok(),
            max_replicas: i32::try_from(most.get()).unwrap_or(i32::MAX),
            metrics: Some(vec![MetricSpec {
                type_: "Resource".to_owned(),
                resource: Some(busy),
                ..MetricSpec::default()
            }]),
            ..HorizontalPodAutoscalerSpec::default()
        }),
        ..HorizontalPodAutoscaler::default()
    }
}

fn metadata(gate: &Gate<'_>, name: &str) -> ObjectMeta {
    let mut metadata = gate.names.metadata(name);
    metadata.labels.get_or_insert_default().extend(gate.names.collector_selector());
    metadata
}

fn label_selector(gate: &Gate<'_>) -> LabelSelector {
    LabelSelector { match_labels: Some(gate.names.collector_selector()), ..LabelSelector::default() }
}

fn deployment(gate: &Gate<'_>, collector: &Collector, config_digest: &str) -> DeploymentSpec {
    let mut labels = gate.names.labels();
    labels.extend(gate.names.collector_selector());
    labels.extend(gate.provider().collector_labels());
    DeploymentSpec {
        // Where there is an autoscaler, that decides.
        replicas: match collector.max_replicas {
            None => i32::try_from(collector.replicas.get()).ok(),
            Some(_) => None,
        },
        selector: label_selector(gate),
        strategy: Some(DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateDeployment {
                max_surge: Some(IntOrString::Int(1)),
                max_unavailable: Some(IntOrString::Int(0)),
            }),
        }),
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(labels),
                // The Collector reads its configuration when it starts only.
                annotations: Some([("otlp-gate.io/config".to_owned(), config_digest.to_owned())].into()),
                ..ObjectMeta::default()
            }),
            spec: Some(pod(gate, collector)),
        },
        ..DeploymentSpec::default()
    }
}

fn pod(gate: &Gate<'_>, collector: &Collector) -> PodSpec {
    PodSpec {
        automount_service_account_token: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(collector)],
        volumes: Some(vec![Volume {
            name: "config".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: gate.names.collector(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        }]),
        ..PodSpec::default()
    }
}

fn container(collector: &Collector) -> Container {
    Container {
        name: "collector".to_owned(),
        image: Some(collector.image.clone()),
        args: Some(vec![format!("--config={CONFIG_FOLDER}/{CONFIG_FILE}")]),
        // Go then collects garbage before the kernel ends the process.
        env: Some(vec![EnvVar {
            name: "GOMEMLIMIT".to_owned(),
            value: Some("1600MiB".to_owned()),
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
            requests: Some(quantities([("cpu", "200m"), ("memory", "512Mi")])),
            limits: Some(quantities([("memory", "2Gi")])),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![VolumeMount {
            name: "config".to_owned(),
            mount_path: CONFIG_FOLDER.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}

fn container_port(name: &str, port: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        // Server-side apply merges ports by number and protocol, so both are said.
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

fn quantities<const N: usize>(all: [(&str, &str); N]) -> BTreeMap<String, Quantity> {
    all.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))).into()
}

fn network_policy(gate: &Gate<'_>, metadata: ObjectMeta) -> NetworkPolicy {
    let port = |port: i32| NetworkPolicyPort {
        port: Some(IntOrString::Int(port)),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    };
    NetworkPolicy {
        metadata,
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(label_selector(gate)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: Some(vec![gate.provider().proxies(&gate.names)]),
                ports: Some(vec![port(GRPC), port(HTTP)]),
            }]),
            ..NetworkPolicySpec::default()
        }),
    }
}
