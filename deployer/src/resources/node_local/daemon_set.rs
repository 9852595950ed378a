//! The DaemonSet.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet};
use k8s_openapi::api::core::v1::{
    EnvVar, EnvVarSource, HostPathVolumeSource, Lifecycle, LifecycleHandler, ObjectFieldSelector, PodSpec,
    PodTemplateSpec, SecretVolumeSource, SleepAction, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::collector_pod::{self, Size};
use super::super::mesh;
use super::Place;
use super::config::{CERTIFICATE_FOLDER, METRICS, NODE, QUEUE_FOLDER};
use crate::config::{Export, Queue};

const SIZE: Size = Size { cpu: "100m", memory: "128Mi", limit: "512Mi", heap: "400MiB" };

/// How long the pod goes on after it is no longer to be found, until every node knows that.
const FAREWELL: i64 = 5;
/// How long it has to deliver what is in its queue.
const PATIENCE: i64 = 60;

pub(super) fn daemon_set(place: &Place<'_>, config_digest: &str) -> DaemonSet {
    let metadata = place.metadata(&place.name);
    let mut labels = place.gate.names.labels();
    labels.extend(place.selector());
    labels.extend(mesh::labels(place.gate.mesh.part));
    let mut annotations = collector_pod::annotations(config_digest);
    annotations.extend(mesh::annotations(place.gate.mesh.part));
    let template =
        ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() };
    DaemonSet {
        metadata,
        spec: Some(DaemonSetSpec {
            selector: place.label_selector(),
            update_strategy: Some(update(place.node.queue)),
            template: PodTemplateSpec { metadata: Some(template), spec: Some(pod(place)) },
            ..DaemonSetSpec::default()
        }),
        ..DaemonSet::default()
    }
}

/// A new pod beside the old one, or, where its queue is locked as long as the old one has it, after it.
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

fn pod(place: &Place<'_>) -> PodSpec {
    let mut pod = collector_pod::spec(&place.node.image, place.name.clone(), &SIZE);
    pod.service_account_name = Some(place.name.clone());
    pod.automount_service_account_token = Some(true);
    pod.priority_class_name = place.global().name;
    pod.termination_grace_period_seconds = Some(PATIENCE);
    // Every node has pods that send, whatever it keeps away.
    pod.tolerations = Some(vec![Toleration { operator: Some("Exists".to_owned()), ..Toleration::default() }]);
    let mut volumes = Vec::new();
    if let Some(Export::Gate(remote)) = &place.node.export {
        let secret = SecretVolumeSource {
            secret_name: Some(remote.client_secret.clone()),
            ..SecretVolumeSource::default()
        };
        volumes.push((Volume { secret: Some(secret), ..volume("certificate") }, CERTIFICATE_FOLDER, true));
    }
    if place.node.queue == Queue::Durable {
        let folder = HostPathVolumeSource {
            path: format!("/var/lib/otlp-gate/{}", place.global().name.unwrap_or_default()),
            type_: Some("DirectoryOrCreate".to_owned()),
        };
        volumes.push((Volume { host_path: Some(folder), ..volume("queue") }, QUEUE_FOLDER, false));
        // The kubelet makes the folder root's; without capabilities root is no more than its owner.
        if let Some(context) = &mut pod.security_context {
            context.run_as_non_root = Some(false);
            context.run_as_user = Some(0);
            context.run_as_group = Some(0);
        }
    }
    for container in &mut pod.containers {
        container.ports.get_or_insert_default().push(collector_pod::container_port("metrics", METRICS));
        let node =
            ObjectFieldSelector { field_path: "spec.nodeName".to_owned(), ..ObjectFieldSelector::default() };
        container.env.get_or_insert_default().push(EnvVar {
            name: NODE.to_owned(),
            value_from: Some(EnvVarSource { field_ref: Some(node), ..EnvVarSource::default() }),
            ..EnvVar::default()
        });
        container.lifecycle = Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: FAREWELL }),
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
