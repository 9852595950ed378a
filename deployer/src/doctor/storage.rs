//! Checks whether the cluster can create the volumes of a durable queue.

use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use super::Check;
use crate::cluster::Cluster;
use crate::config::{Backend, Config, Queue};

/// The annotation of the class that volumes without a class get.
const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

/// The check, if the gate has a durable queue.
pub(super) async fn check(cluster: &Cluster, config: &Config) -> Option<Check> {
    let Backend::Collector(collector) = &config.backend else { return None };
    if collector.queue == Queue::Memory {
        return None;
    }
    let wanted = collector.queue_volume.storage_class_name.as_deref();
    let classes = Api::<StorageClass>::all(cluster.client.clone()).list(&ListParams::default()).await;
    Some(match classes {
        Ok(classes) => found(wanted, &classes.items),
        Err(_) => Check::warn(
            SUBJECT,
            "unknown: StorageClasses may not be listed",
            "run `otlp-gate status` after `otlp-gate apply`",
        ),
    })
}

const SUBJECT: &str = "storage";

fn found(wanted: Option<&str>, classes: &[StorageClass]) -> Check {
    let is_default = |class: &&StorageClass| class.annotations().get(DEFAULT).is_some_and(|it| it == "true");
    match wanted {
        Some(name) if classes.iter().any(|it| it.name_any() == name) => {
            Check::pass(SUBJECT, format!("StorageClass {name} exists"))
        }
        Some(name) => Check::warn(
            SUBJECT,
            format!("there is no StorageClass {name}: only PersistentVolumes that exist can be used"),
            format!("correct `queueVolume.storageClassName`, or create the class: {}", names(classes)),
        ),
        None => match classes.iter().find(is_default) {
            Some(class) => Check::pass(SUBJECT, format!("the default StorageClass is {}", class.name_any())),
            None => Check::warn(
                SUBJECT,
                "there is no default StorageClass, and `queueVolume` names none: the volumes stay pending",
                format!("set `queueVolume.storageClassName`: {}", names(classes)),
            ),
        },
    }
}

fn names(classes: &[StorageClass]) -> String {
    match classes.iter().map(|it| it.name_any()).collect::<Vec<_>>().as_slice() {
        [] => "the cluster has none".to_owned(),
        all => format!("the cluster has {}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::ObjectMeta;

    use super::super::CheckResult;
    use super::*;

    #[test]
    fn volumes_need_a_class_that_exists_or_a_default() {
        let class = |name: &str, default: &str| StorageClass {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                annotations: Some([(DEFAULT.to_owned(), default.to_owned())].into()),
                ..ObjectMeta::default()
            },
            ..StorageClass::default()
        };
        let classes = [class("slow", "false"), class("fast", "true")];
        for (wanted, classes, result, says) in [
            (Some("slow"), &classes[..], CheckResult::Pass, "slow exists"),
            (Some("none"), &classes[..], CheckResult::Warn, "slow, fast"),
            (None, &classes[..], CheckResult::Pass, "default StorageClass is fast"),
            (None, &classes[..1], CheckResult::Warn, "the cluster has slow"),
            (None, &[], CheckResult::Warn, "the cluster has none"),
        ] {
            let check = found(wanted, classes);
            assert_eq!(check.result, result, "{check:?}");
            assert!(format!("{check:?}").contains(says), "{check:?}");
        }
    }
}
