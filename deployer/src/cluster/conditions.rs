//! Readiness of objects whose controllers report conditions: Gateways, routes, policies, and cert-manager's
//! Certificates.

use kube::api::DynamicObject;
use serde_json::Value;

use super::not_ready::NotReady;

/// Reads an object's status: what to show of a ready object, or why it is not ready.
pub(super) type Reader = fn(&DynamicObject) -> Result<String, NotReady>;

/// How to read the status of a kind; none for a kind without conditions that matter.
pub(super) fn reader(kind: &str) -> Option<Reader> {
    match kind {
        "Gateway" => Some(gateway),
        "GRPCRoute" | "HTTPRoute" => Some(route),
        "Certificate" => Some(certificate),
        "EnvoyExtensionPolicy" | "ClientTrafficPolicy" | "BackendTrafficPolicy" => Some(policy),
        "BackendTLSPolicy" => Some(backend_tls_policy),
        _ => None,
    }
}

/// The addresses in a Gateway's status.
pub(super) fn addresses(gateway: &DynamicObject) -> Vec<String> {
    let list = gateway.data.pointer("/status/addresses").and_then(Value::as_array);
    let values = list.into_iter().flatten().filter_map(|it| it.get("value")?.as_str());
    values.map(str::to_owned).collect()
}

fn gateway(object: &DynamicObject) -> Result<String, NotReady> {
    let generation = object.metadata.generation;
    let status = object.data.get("status").unwrap_or(&Value::Null);
    let listeners = status.get("listeners").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for condition in ["Accepted", "Programmed"] {
        require(status, condition, generation).map_err(|why| {
            // An unresolved reference of a listener is more specific than the condition of the whole Gateway.
            let unresolved = listeners.iter().filter_map(|it| require(it, "ResolvedRefs", generation).err());
            let is_false =
                |it: &NotReady| matches!(it, NotReady::ConditionNotTrue { status, .. } if status == "False");
            unresolved.into_iter().find(is_false).unwrap_or(why)
        })?;
    }
    let wanted = object.data.pointer("/spec/listeners").and_then(Value::as_array).map_or(0, Vec::len);
    if listeners.len() < wanted {
        return Err(NotReady::ListenersMissing { reported: listeners.len(), wanted });
    }
    for listener in listeners {
        let name = listener.get("name").and_then(Value::as_str).unwrap_or_default();
        for condition in ["Accepted", "ResolvedRefs", "Programmed"] {
            require(listener, condition, generation)
                .map_err(|why| NotReady::Listener { name: name.to_owned(), why: Box::new(why) })?;
        }
    }
    match addresses(object).as_slice() {
        [] => Err(NotReady::NoAddress),
        found => Ok(format!("at {}", found.join(", "))),
    }
}

fn route(object: &DynamicObject) -> Result<String, NotReady> {
    require_each(object, "/status/parents", &["Accepted", "ResolvedRefs"], NotReady::RouteNotAccepted)
}

fn policy(object: &DynamicObject) -> Result<String, NotReady> {
    require_each(object, "/status/ancestors", &["Accepted"], NotReady::PolicyNotAccepted)
}

fn backend_tls_policy(object: &DynamicObject) -> Result<String, NotReady> {
    require_each(object, "/status/ancestors", &["Accepted", "ResolvedRefs"], NotReady::PolicyNotAccepted)
}

fn certificate(object: &DynamicObject) -> Result<String, NotReady> {
    let status = object.data.get("status").unwrap_or(&Value::Null);
    require(status, "Ready", object.metadata.generation).map(|()| "issued".to_owned())
}

/// Requires the conditions in every element of a list in the status, and at least one element.
fn require_each(
    object: &DynamicObject,
    list: &str,
    conditions: &[&'static str],
    none: NotReady,
) -> Result<String, NotReady> {
    let elements = object.data.pointer(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if elements.is_empty() {
        return Err(none);
    }
    for element in elements {
        for condition in conditions {
            require(element, condition, object.metadata.generation)?;
        }
    }
    Ok("accepted".to_owned())
}

/// Requires that a condition is `True` for the object's current generation.
fn require(status: &Value, condition: &'static str, generation: Option<i64>) -> Result<(), NotReady> {
    let conditions = status.get("conditions").and_then(Value::as_array);
    let text =
        |found: &Value, key: &str| found.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(found) = conditions.into_iter().flatten().find(|it| text(it, "type") == condition) else {
        return Err(NotReady::NoCondition { condition });
    };
    let observed = found.get("observedGeneration").and_then(Value::as_i64);
    if observed < generation && observed.is_some() {
        return Err(NotReady::OutdatedCondition { condition });
    }
    match text(found, "status") {
        status if status == "True" => Ok(()),
        status => Err(NotReady::ConditionNotTrue {
            condition,
            status,
            reason: text(found, "reason"),
            message: text(found, "message"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use kube::api::{ApiResource, GroupVersionKind};
    use serde_json::json;

    use super::*;

    fn object(generation: i64, data: Value) -> DynamicObject {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("g", "v1", "Kind"));
        let mut object = DynamicObject::new("name", &kind).data(data);
        object.metadata.generation = Some(generation);
        object
    }

    fn conditions(all: &[(&str, &str, i64)]) -> Value {
        let all = all.iter().map(|(kind, status, generation)| {
            json!({
                "type": kind, "status": status, "reason": "Because", "message": "of this",
                "observedGeneration": generation,
            })
        });
        Value::Array(all.collect())
    }

    #[test]
    fn a_gateway_is_ready_with_its_conditions_its_listeners_and_an_address() {
        let good =
            conditions(&[("Accepted", "True", 2), ("ResolvedRefs", "True", 2), ("Programmed", "True", 2)]);
        let bad =
            conditions(&[("Accepted", "True", 2), ("ResolvedRefs", "False", 2), ("Programmed", "True", 2)]);
        let old = conditions(&[("Accepted", "True", 1), ("Programmed", "True", 1)]);
        let with = |conditions: &Value, listener: &Value, addresses: Value| {
            let listeners = json!([{"name": "grpc", "conditions": listener}]);
            let status = json!({"conditions": conditions, "listeners": listeners, "addresses": addresses});
            gateway(&object(2, json!({"spec": {"listeners": [{}]}, "status": status})))
                .map_err(|e| e.to_string())
        };
        let somewhere = json!([{"value": "192.0.2.1"}]);
        assert_eq!(with(&good, &good, somewhere.clone()), Ok("at 192.0.2.1".to_owned()));
        assert_eq!(with(&good, &good, json!([])), Err("no address is assigned yet".to_owned()));
        let why = "listener grpc: ResolvedRefs is False: Because: of this".to_owned();
        assert_eq!(with(&good, &bad, somewhere.clone()), Err(why));
        let why = "ResolvedRefs is False: Because: of this".to_owned();
        assert_eq!(
            with(&old, &bad, somewhere.clone()),
            Err(why),
            "more specific than the Gateway's own condition"
        );
        let why = "Accepted is not reported for the last change yet".to_owned();
        assert_eq!(with(&old, &good, somewhere), Err(why));
        let none = gateway(&object(1, json!({})));
        assert_eq!(none, Err(NotReady::NoCondition { condition: "Accepted" }));
    }

    #[test]
    fn a_route_that_no_gateway_accepted_is_not_ready() {
        let none = route(&object(1, json!({"status": {"parents": []}})));
        assert_eq!(none, Err(NotReady::RouteNotAccepted));
        let accepted = json!({"status": {"parents": [
            {"conditions": conditions(&[("Accepted", "True", 1), ("ResolvedRefs", "True", 1)])},
        ]}});
        assert_eq!(route(&object(1, accepted)), Ok("accepted".to_owned()));
    }
}
