//! Field managers: who owns which fields of an object, as the API server records it in `managedFields`.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::DynamicObject;
use serde_json::Value;

/// The field manager of everything that otlp-gate applies.
pub(super) const FIELD_MANAGER: &str = "otlp-gate";

/// Whether otlp-gate has applied the object. Labels do not prove that: anyone who may change an object may set them.
pub(super) fn is_ours(object: &DynamicObject) -> bool {
    managers(object).any(|it| it.manager.as_deref() == Some(FIELD_MANAGER))
}

/// Other field managers that own fields outside of metadata and status that otlp-gate does not own: fields that it does
/// not set, and fields whose value they have changed. A manager that sets the same value shares the field with
/// otlp-gate.
pub(super) fn other_managers(object: &DynamicObject) -> Vec<String> {
    let (ours, others): (Vec<_>, Vec<_>) =
        managers(object).partition(|it| it.manager.as_deref() == Some(FIELD_MANAGER));
    let ours: Vec<Value> = ours.into_iter().map(fields).collect();
    let others = others.into_iter().filter(|it| {
        let fields = fields(it);
        fields.as_object().is_some_and(|it| !it.is_empty()) && !ours.iter().any(|ours| covers(ours, &fields))
    });
    let names: BTreeSet<String> = others.map(|it| it.manager.clone().unwrap_or_default()).collect();
    names.into_iter().collect()
}

/// Entries of managers of the object itself, without those of subresources such as `status`.
fn managers(object: &DynamicObject) -> impl Iterator<Item = &ManagedFieldsEntry> {
    let entries = object.metadata.managed_fields.iter().flatten();
    entries.filter(|it| it.subresource.as_deref().unwrap_or_default().is_empty())
}

/// The fields that an entry owns, without metadata, status, `apiVersion` and `kind`.
fn fields(entry: &ManagedFieldsEntry) -> Value {
    let mut fields = entry.fields_v1.as_ref().map(|it| it.0.clone()).unwrap_or_default();
    if let Some(fields) = fields.as_object_mut() {
        fields.retain(|key, _| !["f:metadata", "f:status", "f:apiVersion", "f:kind"].contains(&key.as_str()));
    }
    fields
}

/// Whether a set of fields contains another one. Both are trees in the `fieldsV1` format, where `.` is the field
/// itself.
fn covers(all: &Value, some: &Value) -> bool {
    let Some(some) = some.as_object() else { return true };
    some.iter().all(|(key, below)| all.get(key).map_or(key == ".", |all| covers(all, below)))
}

/// Whether an object has all desired fields. It may have more fields, because the API server sets defaults, but not
/// longer lists.
pub(super) fn contains(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            desired.iter().all(|(key, desired)| live.get(key).is_some_and(|live| contains(live, desired)))
        }
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len()
                && live.iter().zip(desired).all(|(live, desired)| contains(live, desired))
        }
        (live, desired) => live == desired,
    }
}

#[cfg(test)]
mod tests {
    use kube::api::{ApiResource, GroupVersionKind};
    use serde_json::json;

    use super::*;

    fn written_by(entries: &[(&str, &str, Value)]) -> DynamicObject {
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk("networking.istio.io", "v1alpha3", "EnvoyFilter"));
        let mut object = DynamicObject::new("otel-gateway", &resource);
        let entries = entries.iter().map(|(manager, subresource, fields)| {
            serde_json::from_value(json!({
                "manager": manager, "operation": "Apply", "subresource": subresource,
                "fieldsType": "FieldsV1", "fieldsV1": fields,
            }))
            .unwrap()
        });
        object.metadata.managed_fields = Some(entries.collect());
        object
    }

    #[test]
    fn managers_of_other_fields_in_the_spec_are_found() {
        let patches =
            json!({"f:spec": {"f:configPatches": {}, "f:workloadSelector": {"f:labels": {"f:a": {}}}}});
        let ours = ("otlp-gate", "", patches.clone());
        for (other, expected) in [
            (("argocd", "", patches), vec![]),
            (("istiod", "status", json!({"f:status": {}})), vec![]),
            (("somebody", "", json!({"f:metadata": {"f:labels": {"f:x": {}}}})), vec![]),
            (("kubectl-patch", "", json!({"f:data": {"f:ca.crt": {}}})), vec!["kubectl-patch"]),
            (("kubectl-edit", "", json!({"f:spec": {"f:priority": {}}})), vec!["kubectl-edit"]),
            (
                ("kubectl-patch", "", json!({"f:spec": {"f:workloadSelector": {"f:labels": {"f:b": {}}}}})),
                vec!["kubectl-patch"],
            ),
        ] {
            let object = written_by(&[ours.clone(), other]);
            assert!(is_ours(&object));
            assert_eq!(other_managers(&object), expected);
        }
        assert!(!is_ours(&written_by(&[("kubectl", "", json!({"f:spec": {}}))])));
        assert!(!is_ours(&written_by(&[("otlp-gate", "status", json!({}))])));
        assert!(!is_ours(&written_by(&[])), "labels alone");
    }

    #[test]
    fn defaults_are_no_difference_and_another_list_element_is() {
        let desired = json!({"rules": [{"backendRefs": [{"name": "collector"}]}], "failOpen": false});
        for (live, same) in [
            (desired.clone(), true),
            (
                json!({"rules": [{"backendRefs": [{"name": "collector", "weight": 1}]}], "failOpen": false, "x": 1}),
                true,
            ),
            (
                json!({"rules": [{"backendRefs": [{"name": "collector"}, {"name": "other"}]}], "failOpen": false}),
                false,
            ),
            (json!({"rules": [{"backendRefs": [{"name": "collector"}]}], "failOpen": true}), false),
            (json!({"rules": [{"backendRefs": [{"name": "collector"}]}]}), false),
        ] {
            assert_eq!(contains(&live, &desired), same, "{live}");
        }
    }
}
