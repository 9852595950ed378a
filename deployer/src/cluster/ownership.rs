//! Whose an object is, by what the API server keeps of who wrote which of its fields.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::DynamicObject;
use serde_json::Value;

use super::FIELD_MANAGER;

/// Whether otlp-gate has applied it. Labels say nothing of that: whoever may change an object may write them.
pub(super) fn applied_by_us(object: &DynamicObject) -> bool {
    managers(object).any(|it| it.manager.as_deref() == Some(FIELD_MANAGER))
}

/// Who, of all others, has written something into it, beside metadata and status, that we have not: a field that we leave out, or another value for one of ours,
/// which is not ours any longer then. Whoever writes the same value as we has it together with us.
pub(super) fn others(object: &DynamicObject) -> Vec<String> {
    let (ours, foreign): (Vec<_>, Vec<_>) =
        managers(object).partition(|it| it.manager.as_deref() == Some(FIELD_MANAGER));
    let ours: Vec<Value> = ours.into_iter().map(fields).collect();
    let foreign = foreign.into_iter().filter(|it| {
        let fields = fields(it);
        fields.as_object().is_some_and(|it| !it.is_empty()) && !ours.iter().any(|ours| covers(ours, &fields))
    });
    let names: BTreeSet<String> = foreign.map(|it| it.manager.clone().unwrap_or_default()).collect();
    names.into_iter().collect()
}

/// Those who have written the object itself; its status is its controllers' to write.
fn managers(object: &DynamicObject) -> impl Iterator<Item = &ManagedFieldsEntry> {
    let entries = object.metadata.managed_fields.iter().flatten();
    entries.filter(|it| it.subresource.as_deref().unwrap_or_default().is_empty())
}

/// What somebody has written, beside metadata and status, and what every object has.
fn fields(entry: &ManagedFieldsEntry) -> Value {
    let mut fields = entry.fields_v1.as_ref().map(|it| it.0.clone()).unwrap_or_default();
    if let Some(fields) = fields.as_object_mut() {
        fields.retain(|key, _| !["f:metadata", "f:status", "f:apiVersion", "f:kind"].contains(&key.as_str()));
    }
    fields
}

/// Whether a set of fields has all of another one. Both are trees; `.` stands for the field itself.
fn covers(all: &Value, some: &Value) -> bool {
    let Some(some) = some.as_object() else { return true };
    some.iter().all(|(key, below)| all.get(key).map_or(key == ".", |all| covers(all, below)))
}

/// Whether an object has all that is wanted. It may have more, since the API server fills in what is left out; but no list is longer.
pub(super) fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| live.get(key).is_some_and(|live| contains(live, wanted)))
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| contains(live, wanted))
        }
        (live, wanted) => live == wanted,
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
                "manager": manager, "operation": "Apply", "subresource": subresource, "fieldsType": "FieldsV1", "fieldsV1": fields,
            }))
            .unwrap()
        });
        object.metadata.managed_fields = Some(entries.collect());
        object
    }

    #[test]
    fn who_else_wrote_into_the_spec_is_known() {
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
            assert!(applied_by_us(&object));
            assert_eq!(others(&object), expected);
        }
        assert!(!applied_by_us(&written_by(&[("kubectl", "", json!({"f:spec": {}}))])));
        assert!(!applied_by_us(&written_by(&[("otlp-gate", "status", json!({}))])));
        assert!(!applied_by_us(&written_by(&[])), "labels alone");
    }

    #[test]
    fn what_the_api_server_fills_in_is_no_change_and_one_more_in_a_list_is() {
        let wanted = json!({"rules": [{"backendRefs": [{"name": "collector"}]}], "failOpen": false});
        for (live, same) in [
            (wanted.clone(), true),
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
            assert_eq!(contains(&live, &wanted), same, "{live}");
        }
    }
}
