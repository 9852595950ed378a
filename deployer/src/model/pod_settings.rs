//! The config's settings of pods, applied to a pod template, or as a patch for the pods that a provider creates.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde_json::Value;

use crate::config::{Kubernetes, Pod};

/// The variable with the heap size at which Go collects garbage.
const HEAP: &str = "GOMEMLIMIT";

/// Applies the settings to a pod template with one container. `selector` selects the pods. What the template has wins,
/// except for resources, tolerations and the priority, which have defaults.
pub(crate) fn apply(template: &mut PodTemplateSpec, pod: &Pod, selector: &BTreeMap<String, String>) {
    let metadata = template.metadata.get_or_insert_default();
    add(&mut metadata.labels, &pod.labels);
    add(&mut metadata.annotations, &pod.annotations);
    let Some(spec) = &mut template.spec else { return };
    add(&mut spec.node_selector, &pod.node_selector);
    if !pod.tolerations.is_empty() {
        spec.tolerations = Some(unwrapped(&pod.tolerations));
    }
    if let Some(Kubernetes(affinity)) = &pod.affinity {
        spec.affinity = Some(affinity.clone());
    }
    if !pod.topology_spread_constraints.is_empty() {
        let mut constraints = unwrapped(&pod.topology_spread_constraints);
        for constraint in &mut constraints {
            constraint.label_selector.get_or_insert_with(|| LabelSelector {
                match_labels: Some(selector.clone()),
                ..LabelSelector::default()
            });
        }
        spec.topology_spread_constraints = Some(constraints);
    }
    if !pod.image_pull_secrets.is_empty() {
        spec.image_pull_secrets = Some(unwrapped(&pod.image_pull_secrets));
    }
    if let Some(class) = &pod.priority_class_name {
        spec.priority_class_name = Some(class.clone());
    }
    if let (Some(Kubernetes(resources)), Some(container)) = (&pod.resources, spec.containers.first_mut()) {
        add_resources(container, resources);
    }
}

/// The settings as a strategic merge patch for a pod template, in which this container is the main one.
pub(crate) fn patch(pod: &Pod, container: &str, selector: &BTreeMap<String, String>) -> Value {
    let container = Container { name: container.to_owned(), ..Container::default() };
    let spec = PodSpec { containers: vec![container], ..PodSpec::default() };
    let mut template = PodTemplateSpec { metadata: Some(ObjectMeta::default()), spec: Some(spec) };
    apply(&mut template, pod, selector);
    serde_json::to_value(&template).unwrap_or_default()
}

/// Merges a patch into another one, whose values win. Lists of named maps, such as containers, are merged by name.
pub(crate) fn merge(patch: Value, into: &mut Value) {
    match (patch, into) {
        (Value::Object(patch), Value::Object(into)) => {
            for (key, value) in patch {
                match into.get_mut(&key) {
                    Some(own) => merge(value, own),
                    None => drop(into.insert(key, value)),
                }
            }
        }
        (Value::Array(patch), Value::Array(into)) => {
            for item in patch {
                let name = item.get("name").cloned();
                match into.iter_mut().find(|own| name.is_some() && own.get("name") == name.as_ref()) {
                    Some(own) => merge(item, own),
                    None => into.push(item),
                }
            }
        }
        _ => {}
    }
}

fn add(all: &mut Option<BTreeMap<String, String>>, more: &BTreeMap<String, String>) {
    for (key, value) in more {
        all.get_or_insert_default().entry(key.clone()).or_insert_with(|| value.clone());
    }
}

fn unwrapped<T: Clone>(all: &[Kubernetes<T>]) -> Vec<T> {
    all.iter().map(|it| it.0.clone()).collect()
}

/// Replaces the requests and limits that are given. The heap follows the memory limit.
fn add_resources(container: &mut Container, more: &ResourceRequirements) {
    let resources = container.resources.get_or_insert_default();
    for (all, more) in [(&mut resources.requests, &more.requests), (&mut resources.limits, &more.limits)] {
        for (name, amount) in more.iter().flatten() {
            all.get_or_insert_default().insert(name.clone(), amount.clone());
        }
    }
    let Some(limit) = more.limits.as_ref().and_then(|limits| limits.get("memory")) else { return };
    for variable in container.env.iter_mut().flatten().filter(|variable| variable.name == HEAP) {
        match bytes(&limit.0) {
            Some(bytes) => variable.value = Some(format!("{}MiB", (bytes / 5 * 4) >> 20)),
            // Go's default: the limit of the container alone holds.
            None => variable.value = Some("off".to_owned()),
        }
    }
}

/// The memory limit in the settings, in bytes; none if it is not given, or in a rarer form.
pub(crate) fn memory_limit(pod: &Pod) -> Option<u64> {
    bytes(&pod.resources.as_ref()?.0.limits.as_ref()?.get("memory")?.0)
}

/// The bytes of a quantity such as `4Gi`. `None` for rarer forms, such as `1.5Gi` or `2e9`.
fn bytes(quantity: &str) -> Option<u64> {
    let digits = quantity.trim_end_matches(|it: char| !it.is_ascii_digit());
    let unit: u64 = match quantity.get(digits.len()..)? {
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(value: Value) -> Pod {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn quantities_are_read() {
        for (text, expected) in [
            ("512Mi", Some(512 << 20)),
            ("4Gi", Some(4 << 30)),
            ("1000", Some(1000)),
            ("2G", Some(2_000_000_000)),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
        for text in ["1.5Gi", "2e9", "", "Gi", "99999999999Ti"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn a_patch_has_what_is_set_and_nothing_else() {
        let selector = [("app".to_owned(), "gateway".to_owned())].into();
        let settings = pod(json!({
            "labels": {"team": "a"},
            "tolerations": [{"key": "x", "operator": "Exists"}],
            "resources": {"limits": {"memory": "2Gi"}},
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"},
            ],
        }));
        assert_eq!(
            patch(&settings, "envoy", &selector),
            json!({
                "metadata": {"labels": {"team": "a"}},
                "spec": {
                    "containers": [{"name": "envoy", "resources": {"limits": {"memory": "2Gi"}}}],
                    "tolerations": [{"key": "x", "operator": "Exists"}],
                    "topologySpreadConstraints": [{
                        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
                        "labelSelector": {"matchLabels": {"app": "gateway"}},
                    }],
                },
            })
        );
    }

    #[test]
    fn what_a_patch_has_already_wins() {
        let mut own = json!({"metadata": {"annotations": {"a": "own"}}, "spec": {"containers": [{"name": "envoy", "x": 1}]}});
        let more = json!({
            "metadata": {"annotations": {"a": "other", "b": "other"}},
            "spec": {"containers": [{"name": "envoy", "y": 2}, {"name": "z"}], "priorityClassName": "high"},
        });
        merge(more, &mut own);
        assert_eq!(
            own,
            json!({
                "metadata": {"annotations": {"a": "own", "b": "other"}},
                "spec": {"containers": [{"name": "envoy", "x": 1, "y": 2}, {"name": "z"}], "priorityClassName": "high"},
            })
        );
    }
}
