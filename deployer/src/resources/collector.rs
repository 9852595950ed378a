//! The Collector that otlp-gate deploys as the backend. Only the gateway and the node-local gateway can connect to it.

use std::num::NonZeroU32;

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment, StatefulSet,
};
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec,
    MetricTarget, ResourceMetricSource,
};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec, Service, ServiceSpec};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicySpec};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::collector_config::{METRICS, config};
use super::collector_pod::{self, Size};
use super::monitoring::metrics_rule;
use super::{collector_queue, collector_tls, node_local};
use crate::config::{Collector, Kubernetes, Queue};
use crate::error::Error;
use crate::model::{Installation, Object, ProviderSettings, pod_settings, secret_volume, yaml};

/// Resource requests and limits.
const SIZE: Size = Size { cpu: "200m", memory: "512Mi", limit: "2Gi", heap: "1600MiB" };

/// The feature gate without which the Collector has no pipelines for profiles.
const PROFILES: &str = "--feature-gates=service.profilesSupport";

/// The autoscaler's target: CPU usage in percent of the pods' requests.
const TARGET_CPU: i32 = 70;

/// The Collector's objects.
pub(crate) fn objects(
    installation: &Installation<'_>,
    collector: &Collector,
    provider: &ProviderSettings,
) -> Result<Vec<Object>, Error> {
    let name = installation.names.collector();
    let metadata = metadata(installation, &name);
    let text = yaml(&config(installation, collector))?;
    let digest = collector_tls::digest(installation, &text);
    let config = collector_pod::config_map(metadata.clone(), text);
    let workload = workload(installation, collector, template(installation, collector, provider, &digest))?;
    let service = Service {
        metadata: metadata.clone(),
        spec: Some(ServiceSpec {
            selector: Some(installation.names.collector_selector()),
            ports: Some(collector_pod::service_ports()),
            ip_family_policy: Some(collector_pod::IP_FAMILIES.to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    let budget = PodDisruptionBudget {
        metadata: metadata.clone(),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(label_selector(installation)),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    };
    let mut objects =
        vec![Object::builtin(&config)?, workload, Object::builtin(&service)?, Object::builtin(&budget)?];
    if let Some(most) = collector.max_replicas {
        objects.push(Object::builtin(&autoscaler(&metadata, collector, most))?);
    }
    objects.push(Object::builtin(&network_policy(installation, provider, metadata))?);
    Ok(objects)
}

fn autoscaler(metadata: &ObjectMeta, collector: &Collector, most: NonZeroU32) -> HorizontalPodAutoscaler {
    let busy = ResourceMetricSource {
        name: "cpu".to_owned(),
        target: MetricTarget {
            type_: "Utilization".to_owned(),
            average_utilization: Some(TARGET_CPU),
            ..MetricTarget::default()
        },
    };
    HorizontalPodAutoscaler {
        metadata: metadata.clone(),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: match collector.queue {
                    Queue::Memory => "Deployment".to_owned(),
                    Queue::Durable => "StatefulSet".to_owned(),
                },
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

fn metadata(installation: &Installation<'_>, name: &str) -> ObjectMeta {
    let mut metadata = installation.names.metadata(name);
    metadata.labels.get_or_insert_default().extend(installation.names.collector_selector());
    metadata
}

fn label_selector(installation: &Installation<'_>) -> LabelSelector {
    LabelSelector { match_labels: Some(installation.names.collector_selector()), ..LabelSelector::default() }
}

/// A Deployment, or with a durable queue a StatefulSet, of these pods.
fn workload(
    installation: &Installation<'_>,
    collector: &Collector,
    template: PodTemplateSpec,
) -> Result<Object, Error> {
    let name = installation.names.collector();
    let (metadata, selector) = (metadata(installation, &name), label_selector(installation));
    // With an autoscaler, the autoscaler owns this field.
    let replicas = match collector.max_replicas {
        None => i32::try_from(collector.replicas.get()).ok(),
        Some(_) => None,
    };
    if collector.queue == Queue::Durable {
        let volume = &collector.queue_volume;
        let spec =
            collector_queue::stateful_set(&name, replicas, selector, template, volume, metadata.clone());
        return Object::builtin(&StatefulSet { metadata, spec: Some(spec), ..StatefulSet::default() });
    }
    Object::builtin(&Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas,
            selector,
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template,
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    })
}

fn template(
    installation: &Installation<'_>,
    collector: &Collector,
    provider: &ProviderSettings,
    config_digest: &str,
) -> PodTemplateSpec {
    let mut labels = installation.names.labels();
    labels.extend(installation.names.collector_selector());
    labels.extend(provider.collector_labels.clone());
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(collector_pod::annotations(config_digest)),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(installation, collector)),
    };
    pod_settings::apply(&mut template, &collector.pod, &installation.names.collector_selector());
    template
}

/// The pod, with its certificate, and with the user's environment variables and volumes.
fn pod(installation: &Installation<'_>, collector: &Collector) -> PodSpec {
    let mut pod = collector_pod::spec(&collector.image, installation.names.collector(), &SIZE);
    if installation.config.encrypts_backend() {
        let secret = secret_volume(collector_tls::VOLUME, installation.names.collector());
        collector_tls::mount(&mut pod, secret);
    }
    pod.volumes.get_or_insert_default().extend(unwrapped(&collector.volumes));
    for container in &mut pod.containers {
        if installation.config.monitoring.is_some() {
            let port = collector_pod::container_port("metrics", METRICS.into());
            container.ports.get_or_insert_default().push(port);
        }
        if collector.profiles {
            container.args.get_or_insert_default().push(PROFILES.to_owned());
        }
        container.env.get_or_insert_default().extend(unwrapped(&collector.env));
        container.env_from =
            (!collector.env_from.is_empty()).then(|| unwrapped(&collector.env_from).collect());
        container.volume_mounts.get_or_insert_default().extend(unwrapped(&collector.volume_mounts));
    }
    pod
}

fn unwrapped<T: Clone>(all: &[Kubernetes<T>]) -> impl Iterator<Item = T> {
    all.iter().map(|it| it.0.clone())
}

fn network_policy(
    installation: &Installation<'_>,
    provider: &ProviderSettings,
    metadata: ObjectMeta,
) -> NetworkPolicy {
    let mut from = vec![provider.proxies.clone()];
    from.extend(node_local::sender(installation));
    let mut ingress =
        vec![NetworkPolicyIngressRule { from: Some(from), ports: Some(collector_pod::policy_ports()) }];
    ingress.extend(installation.config.monitoring.iter().map(|it| metrics_rule(it, METRICS)));
    NetworkPolicy {
        metadata,
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(label_selector(installation)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(ingress),
            ..NetworkPolicySpec::default()
        }),
    }
}
