//! The DaemonSet of the node-local gateway.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet};
use k8s_openapi::api::core::v1::{
    EnvVar, EnvVarSource, HostPathVolumeSource, Lifecycle, LifecycleHandler, ObjectFieldSelector, PodSpec,
    PodTemplateSpec, SleepAction, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::collector_config::METRICS;
use super::super::collector_pod::{self, Size};
use super::super::{collector_config, collector_tls};
use super::NodeGateway;
use super::config::{NODE, QUEUE_FOLDER};
use crate::config::{Backend, Export, Queue};
use crate::model::mesh::{self, DataPlaneMode};
use crate::model::{pod_settings, secret_volume};

/// Resource requests and limits.
const SIZE: Size = Size { cpu: "100m", memory: "128Mi", limit: "512Mi", heap: "400MiB" };

/// Seconds that a terminating pod still receives, until every node has removed it from the Service.
const PRE_STOP: i64 = 5;
/// Seconds that a terminating pod has to deliver its queue.
const GRACE_PERIOD: i64 = 60;

pub(super) fn daemon_set(node_gateway: &NodeGateway<'_>, config_digest: &str) -> DaemonSet {
    let metadata = node_gateway.metadata(&node_gateway.name);
    let mut labels = node_gateway.installation.names.labels();
    labels.extend(node_gateway.selector());
    labels.extend(mesh::labels(node_gateway.installation.mesh.node_local));
    let mut annotations = collector_pod::annotations(config_digest);
    annotations.extend(mesh::annotations(node_gateway.installation.mesh.node_local));
    if node_gateway.backend_tls().is_some()
        && node_gateway.installation.mesh.node_local == DataPlaneMode::Sidecar
    {
        // The connection has TLS of its own, and the Service's port is one of HTTP/2 to a sidecar.
        let port = match &node_gateway.installation.config.backend {
            Backend::Collector(_) => collector_config::GRPC.to_string(),
            Backend::Service(it) => it.grpc.to_string(),
        };
        annotations.insert("traffic.sidecar.istio.io/excludeOutboundPorts".to_owned(), port);
    }
    let template =
        ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() };
    let mut template = PodTemplateSpec { metadata: Some(template), spec: Some(pod(node_gateway)) };
    pod_settings::apply(&mut template, &node_gateway.settings.pod, &node_gateway.selector());
    DaemonSet {
        metadata,
        spec: Some(DaemonSetSpec {
            selector: node_gateway.label_selector(),
            update_strategy: Some(update(node_gateway.settings.queue)),
            template,
            ..DaemonSetSpec::default()
        }),
        ..DaemonSet::default()
    }
}

/// Update strategy: the new pod starts beside the old one. With a durable queue it starts after the old one, which
/// holds the queue's lock.
fn update(queue: Queue) -> DaemonSetUpdateStrategy {
    let (surge, unavailable) = match queue {
        Queue::Memory => (1, 0),
        Queue::Durable => (0, 1),
    };
    DaemonSetUpdateStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDaemonSet {
            max_surge: Some(IntOrString::Int(surge)),
            max_unavailable: Some(IntOrString::Int(unavailable)),
        }),
    }
}

fn pod(node_gateway: &NodeGateway<'_>) -> PodSpec {
    let mut pod = collector_pod::spec(&node_gateway.settings.image, node_gateway.name.clone(), &SIZE);
    pod.service_account_name = Some(node_gateway.name.clone());
    pod.automount_service_account_token = Some(true);
    pod.priority_class_name = node_gateway.cluster_metadata().name;
    pod.termination_grace_period_seconds = Some(GRACE_PERIOD);
    // Every node has pods that send, whatever its taints.
    pod.tolerations = Some(vec![Toleration { operator: Some("Exists".to_owned()), ..Toleration::default() }]);
    let mut volumes = Vec::new();
    if let Some(Export::Gate(remote)) = &node_gateway.settings.export {
        let secret = secret_volume(collector_tls::VOLUME, remote.client_secret.clone());
        collector_tls::mount(&mut pod, secret);
    } else if let Some(tls) = node_gateway.backend_tls() {
        collector_tls::mount(&mut pod, tls.volume(collector_tls::VOLUME));
    }
    if node_gateway.settings.queue == Queue::Durable {
        let folder = HostPathVolumeSource {
            path: format!("/var/lib/otlp-gate/{}", node_gateway.cluster_metadata().name.unwrap_or_default()),
            type_: Some("DirectoryOrCreate".to_owned()),
        };
        volumes.push((Volume { host_path: Some(folder), ..volume("queue") }, QUEUE_FOLDER, false));
        // The kubelet creates the folder as root. Without capabilities, root has no more rights than the folder's
        // owner.
        if let Some(context) = &mut pod.security_context {
            context.run_as_non_root = Some(false);
            context.run_as_user = Some(0);
            context.run_as_group = Some(0);
        }
    }
    for container in &mut pod.containers {
        container
            .ports
            .get_or_insert_default()
            .push(collector_pod::container_port("metrics", METRICS.into()));
        let node =
            ObjectFieldSelector { field_path: "spec.nodeName".to_owned(), ..ObjectFieldSelector::default() };
        container.env.get_or_insert_default().push(EnvVar {
            name: NODE.to_owned(),
            value_from: Some(EnvVarSource { field_ref: Some(node), ..EnvVarSource::default() }),
            ..EnvVar::default()
        });
        let own = node_gateway.settings.env.iter().map(|it| it.0.clone());
        container.env.get_or_insert_default().extend(own);
        container.lifecycle = Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: PRE_STOP }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        });
        let mounts = volumes.iter().map(|(volume, folder, read_only)| VolumeMount {
            name: volume.name.clone(),
            mount_path: (*folder).to_owned(),
            read_only: read_only.then_some(true),
            ..VolumeMount::default()
        });
        container.volume_mounts.get_or_insert_default().extend(mounts);
    }
    pod.volumes.get_or_insert_default().extend(volumes.into_iter().map(|(volume, ..)| volume));
    pod
}

fn volume(name: &str) -> Volume {
    Volume { name: name.to_owned(), ..Volume::default() }
}
