//! The durable queue of a Collector: its files, and the StatefulSet that gives each replica a volume for them.

use k8s_openapi::api::apps::v1::{
    StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PodTemplateSpec, VolumeMount,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde_json::{Value, json};

use super::restricted::USER;
use crate::config::{QUEUE_VOLUME, QueueVolume};

/// The folder of the queue's files in the pod.
pub(super) const FOLDER: &str = "/var/lib/otelcol";

/// The extension with a queue's files in a folder.
pub(super) fn storage(folder: &str) -> Value {
    json!({
        "directory": folder,
        "create_directory": true,
        // A pod that was deleted with --force holds the lock until it has ended.
        "timeout": "30s",
        "compaction": {"directory": folder, "on_rebound": true, "cleanup_on_start": true},
    })
}

/// The same for the queue on a volume.
pub(super) fn storage_on(volume: &QueueVolume) -> Value {
    let mut storage = storage(FOLDER);
    if let Some(storage) = storage.as_object_mut() {
        // Without fsync, the node's crash may damage a file. It is renamed then, and the Collector starts.
        let key = if volume.fsync { "fsync" } else { "recreate" };
        storage.insert(key.to_owned(), true.into());
    }
    storage
}

/// A StatefulSet of these pods, each with a volume.
pub(super) fn stateful_set(
    name: &str,
    replicas: Option<i32>,
    selector: LabelSelector,
    mut template: PodTemplateSpec,
    volume: &QueueVolume,
    labels: ObjectMeta,
) -> StatefulSetSpec {
    if let Some(pod) = &mut template.spec {
        // The volume belongs to root at first.
        let security = pod.security_context.get_or_insert_default();
        security.fs_group = Some(USER);
        security.fs_group_change_policy = Some("OnRootMismatch".to_owned());
        for container in &mut pod.containers {
            container.volume_mounts.get_or_insert_default().push(VolumeMount {
                name: QUEUE_VOLUME.to_owned(),
                mount_path: FOLDER.to_owned(),
                ..VolumeMount::default()
            });
        }
    }
    StatefulSetSpec {
        replicas,
        selector,
        service_name: Some(name.to_owned()),
        template,
        // Replicas do not depend on each other, and one that is not ready does not hold up the others.
        pod_management_policy: Some("Parallel".to_owned()),
        update_strategy: Some(StatefulSetUpdateStrategy {
            type_: Some("RollingUpdate".to_owned()),
            ..StatefulSetUpdateStrategy::default()
        }),
        // A volume may hold telemetry that is not delivered yet.
        persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
            when_deleted: Some("Retain".to_owned()),
            when_scaled: Some("Retain".to_owned()),
        }),
        volume_claim_templates: Some(vec![claim(volume, labels)]),
        ..StatefulSetSpec::default()
    }
}

fn claim(volume: &QueueVolume, labels: ObjectMeta) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(QUEUE_VOLUME.to_owned()),
            labels: labels.labels,
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: volume.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), quantity(volume.size.bytes()))].into()),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

/// Bytes in the largest unit that divides them.
fn quantity(bytes: u64) -> Quantity {
    let units = [(1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")];
    let unit = units.into_iter().find(|(unit, _)| bytes.is_multiple_of(*unit));
    Quantity(unit.map_or_else(|| bytes.to_string(), |(unit, name)| format!("{}{name}", bytes / unit)))
}
