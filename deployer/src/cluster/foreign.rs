//! What others attached to the gateway: routes that lead elsewhere, and policies that may bypass or override the filter.

use kube::ResourceExt as _;
use kube::api::{DynamicObject, ListParams};
use serde::Serialize;
use serde_json::Value;

use super::apply::title;
use super::{Cluster, Discovery, failed};
use crate::error::Error;
use crate::resources::{Gate, Names};

/// Something that is not the gate's and acts on its gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    pub object: String,
    /// What it may do.
    pub means: &'static str,
    /// Whether it lets in somebody whom nobody identified, or past the filter.
    pub unsafe_: bool,
}

const ROUTE: &str = "leads through the filter to a backend that is not the gate's";
const POLICY: &str = "may replace the filter or what the gate says of its clients' certificates";
const LISTENERS: &str = "adds listeners, whose clients may not have to show a certificate";
const PATCH: &str = "changes the gateway's Envoy, and may take the filter out";
const OPTIONAL: &str =
    "lets clients in whose certificates nobody validated, and they can say that they are anybody";

/// The kinds that can be attached to a gateway, and what that means.
const KINDS: [(&str, &str, &str); 14] = [
    ("gateway.networking.k8s.io/v1", "GRPCRoute", ROUTE),
    ("gateway.networking.k8s.io/v1", "HTTPRoute", ROUTE),
    ("gateway.networking.k8s.io/v1", "TLSRoute", ROUTE),
    ("gateway.networking.k8s.io/v1alpha2", "TLSRoute", ROUTE),
    ("gateway.networking.k8s.io/v1alpha2", "TCPRoute", ROUTE),
    ("gateway.networking.k8s.io/v1", "ListenerSet", LISTENERS),
    ("gateway.networking.x-k8s.io/v1alpha1", "XListenerSet", LISTENERS),
    ("gateway.envoyproxy.io/v1alpha1", "EnvoyExtensionPolicy", POLICY),
    ("gateway.envoyproxy.io/v1alpha1", "ClientTrafficPolicy", POLICY),
    ("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy", POLICY),
    ("gateway.envoyproxy.io/v1alpha1", "EnvoyPatchPolicy", PATCH),
    ("extensions.istio.io/v1alpha1", "WasmPlugin", POLICY),
    ("networking.istio.io/v1alpha3", "EnvoyFilter", PATCH),
    ("security.istio.io/v1", "RequestAuthentication", POLICY),
];

/// Looks for all of it. A kind that may not be listed everywhere is listed in the gate's namespace.
pub async fn foreign(cluster: &Cluster, gate: &Gate<'_>) -> Result<Vec<Finding>, Error> {
    let discovery = Discovery::of(cluster, KINDS.iter().map(|(version, ..)| *version)).await?;
    let ours = gate.names.labels();
    let mut found = Vec::new();
    for (version, kind, means) in KINDS {
        let all = ListParams::default();
        let listed = match discovery.list(cluster, (version, kind), &gate.names.namespace, &all).await {
            // Whoever may not look is told of it where rights are looked at.
            Err(kube::Error::Api(status)) if status.is_forbidden() => continue,
            listed => listed.map_err(|e| failed(format_args!("cannot list every {kind}"), &e))?,
        };
        for object in listed {
            let mine = ours.iter().all(|(key, value)| object.labels().get(key) == Some(value));
            if !mine && acts_on(kind, &object, gate) {
                let object = title(kind, object.namespace().as_deref(), &object.name_any());
                found.push(Finding { object, means, unsafe_: means != ROUTE });
            }
        }
    }
    found.extend(unvalidated(cluster, &discovery, gate).await?);
    Ok(found)
}

/// Whether an object of somebody else's acts on the gateway.
fn acts_on(kind: &str, object: &DynamicObject, gate: &Gate<'_>) -> bool {
    let namespace = object.namespace().unwrap_or_default();
    let spec = object.data.get("spec").unwrap_or(&Value::Null);
    let list = |key: &str| spec.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let named = |reference: &Value| {
        let text = |key: &str| reference.get(key).and_then(Value::as_str);
        text("name") == Some(&gate.names.gateway)
            && text("kind").is_none_or(|kind| kind == "Gateway")
            && text("namespace").unwrap_or(&namespace) == gate.names.namespace
    };
    // A policy of Envoy Gateway on one of our routes replaces the one on the gateway.
    let on_route = |reference: &Value| {
        let text = |key: &str| reference.get(key).and_then(Value::as_str).unwrap_or_default();
        namespace == gate.names.namespace
            && matches!(text("kind"), "GRPCRoute" | "HTTPRoute")
            && text("name").starts_with(&gate.names.gateway)
    };
    let targets: Vec<Value> = list("targetRefs").into_iter().chain(spec.get("targetRef").cloned()).collect();
    match kind {
        "WasmPlugin" | "EnvoyFilter" | "RequestAuthentication" => {
            if targets.is_empty() {
                // What is in Istio's root namespace is for all namespaces.
                (namespace == "istio-system" || namespace == gate.names.namespace) && selects(spec, gate)
            } else {
                targets.iter().any(named)
            }
        }
        "ListenerSet" | "XListenerSet" => spec.get("parentRef").is_some_and(named),
        kind if kind.ends_with("Route") => list("parentRefs").iter().any(named),
        _ => {
            targets.iter().any(|it| named(it) || on_route(it))
                || list("targetSelectors").iter().any(|it| selects_target(it, &namespace, &gate.names))
        }
    }
}

/// Whether a selector of Envoy Gateway's policies (its api/v1alpha1 `TargetSelector`) selects the Gateway or one of its
/// routes. Expressions are taken to hold, and a grant for a policy of another namespace to be there.
fn selects_target(selector: &Value, namespace: &str, names: &Names) -> bool {
    let kind = selector.get("kind").and_then(Value::as_str).unwrap_or_default();
    let from = selector.pointer("/namespaces/from").and_then(Value::as_str).unwrap_or("Same");
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let ours = names.labels();
    matches!(kind, "Gateway" | "GRPCRoute" | "HTTPRoute")
        && (namespace == names.namespace || from != "Same")
        && labels
            .into_iter()
            .flatten()
            .all(|(key, value)| ours.get(key).map(String::as_str) == value.as_str())
}

/// Whether labels that Istio selects workloads by are those of the gateway's pods. Without any it is all of
/// them.
fn selects(spec: &Value, gate: &Gate<'_>) -> bool {
    let labels = spec
        .pointer("/selector/matchLabels")
        .or_else(|| spec.pointer("/workloadSelector/labels"))
        .and_then(Value::as_object);
    labels.is_none_or(|labels| {
        labels.iter().all(|(key, value)| {
            key == "gateway.networking.k8s.io/gateway-name" && value.as_str() == Some(&gate.names.gateway)
        })
    })
}

/// Whether the gateway, as it is in the cluster, lets in clients whose certificates nobody validated.
async fn unvalidated(
    cluster: &Cluster,
    discovery: &Discovery,
    gate: &Gate<'_>,
) -> Result<Vec<Finding>, Error> {
    let mut found = Vec::new();
    let names = &gate.names;
    for (version, kind) in [
        ("gateway.networking.k8s.io/v1", "Gateway"),
        ("gateway.envoyproxy.io/v1alpha1", "ClientTrafficPolicy"),
    ] {
        let Some(api) = discovery.api(cluster, version, kind, Some(&names.namespace)) else { continue };
        let live = match api.get_opt(&names.gateway).await {
            Err(kube::Error::Api(status)) if status.is_forbidden() => continue,
            live => live,
        };
        let live = live.map_err(|e| failed(format_args!("cannot read {kind} {}", names.gateway), &e))?;
        let Some(live) = live else { continue };
        if lets_anybody_in(&live.data) {
            let object = title(kind, Some(&names.namespace), &names.gateway);
            found.push(Finding { object, means: OPTIONAL, unsafe_: true });
        }
    }
    Ok(found)
}

/// Modes in which a certificate that nobody validated gets in, of Gateway API, Istio and Envoy Gateway.
fn lets_anybody_in(object: &Value) -> bool {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let insecure = |validation: Option<&Value>| {
        validation.and_then(|it| it.get("mode")).and_then(Value::as_str) == Some("AllowInsecureFallback")
    };
    let per_port = spec.pointer("/tls/frontend/perPort").and_then(Value::as_array);
    let listeners = spec.get("listeners").and_then(Value::as_array);
    let client = spec.pointer("/tls/clientValidation");
    let mode = client.and_then(|it| it.get("mode")).and_then(Value::as_str);
    insecure(spec.pointer("/tls/frontend/default/validation"))
        || per_port.into_iter().flatten().any(|it| insecure(it.pointer("/tls/validation")))
        || listeners.into_iter().flatten().any(|it| {
            let mode =
                it.pointer("/tls/options/gateway.istio.io~1tls-terminate-mode").and_then(Value::as_str);
            mode.is_some_and(|mode| mode != "MUTUAL")
        })
        || client.and_then(|it| it.get("optional")).and_then(Value::as_bool) == Some(true)
        || matches!(mode, Some("Request" | "RequireAny" | "VerifyIfGiven"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn modes_that_let_in_unvalidated_certificates_are_known() {
        for spec in [
            json!({"tls": {"frontend": {"default": {"validation": {"mode": "AllowInsecureFallback"}}}}}),
            json!({"tls": {"frontend": {"perPort": [{"tls": {"validation": {"mode": "AllowInsecureFallback"}}}]}}}),
            json!({"listeners": [{"tls": {"options": {"gateway.istio.io/tls-terminate-mode": "OPTIONAL_MUTUAL"}}}]}),
            json!({"tls": {"clientValidation": {"optional": true}}}),
            json!({"tls": {"clientValidation": {"mode": "RequireAny"}}}),
        ] {
            assert!(lets_anybody_in(&json!({"spec": spec.clone()})), "{spec}");
        }
        for spec in [
            json!({"tls": {"frontend": {"default": {"validation": {"mode": "AllowValidOnly"}}}}}),
            json!({"listeners": [{"tls": {"options": {"gateway.istio.io/tls-terminate-mode": "MUTUAL"}}}]}),
            json!({"tls": {"clientValidation": {"optional": false}}}),
        ] {
            assert!(!lets_anybody_in(&json!({"spec": spec.clone()})), "{spec}");
        }
    }

    #[test]
    fn selectors_are_compared_with_the_labels_of_the_gates_objects() {
        let names = Names { gateway: "otel-gateway".to_owned(), namespace: "here".to_owned() };
        let label = json!({"otlp-gate.io/gate": "otel-gateway"});
        for (namespace, selector, selected) in [
            ("here", json!({"kind": "Gateway"}), true),
            ("here", json!({"kind": "HTTPRoute", "matchLabels": label}), true),
            ("here", json!({"kind": "HTTPRoute", "matchLabels": {"app": "other"}}), false),
            ("here", json!({"kind": "TCPRoute"}), false),
            ("there", json!({"kind": "Gateway"}), false),
            ("there", json!({"kind": "Gateway", "namespaces": {"from": "All"}}), true),
        ] {
            assert_eq!(selects_target(&selector, namespace, &names), selected, "{namespace}: {selector}");
        }
    }
}
