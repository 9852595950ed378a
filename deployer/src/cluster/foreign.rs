//! What others attached to the gateway: routes that lead elsewhere, and policies that may bypass or override the filter.

use kube::ResourceExt as _;
use kube::api::{DynamicObject, ListParams};
use serde::Serialize;
use serde_json::Value;

use super::apply::title;
use super::ownership::{applied_by_us, contains, others};
use super::{Cluster, Discovery, failed};
use crate::error::Error;
use crate::resources::{Gate, Names, Object};

/// Something that is not the gate's and acts on its gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    pub object: String,
    /// What it may do.
    pub means: String,
    /// Whether it lets in somebody whom nobody identified, or past the filter.
    pub unsafe_: bool,
}

const ROUTE: &str = "leads through the filter to a backend that is not the gate's";
const POLICY: &str = "may replace the filter or what the gate says of its clients' certificates";
const LISTENERS: &str = "adds listeners, whose clients may not have to show a certificate";
const PATCH: &str = "changes the gateway's Envoy, and may take the filter out";
const BOUNDS: &str = "may replace the bounds of what goes to the backend";
const OPTIONAL: &str =
    "lets clients in whose certificates nobody validated, and they can say that they are anybody";

const EXPIRED: &str = "lets clients in whose certificates have expired";

/// The kinds that can be attached to a gateway, and what that means.
const KINDS: [(&str, &str, &str); 17] = [
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
    ("gateway.envoyproxy.io/v1alpha1", "BackendTrafficPolicy", BOUNDS),
    ("gateway.envoyproxy.io/v1alpha1", "EnvoyPatchPolicy", PATCH),
    ("extensions.istio.io/v1alpha1", "WasmPlugin", POLICY),
    ("extensions.istio.io/v1alpha1", "TrafficExtension", POLICY),
    ("networking.istio.io/v1", "Gateway", LISTENERS),
    ("networking.istio.io/v1alpha3", "EnvoyFilter", PATCH),
    ("security.istio.io/v1", "RequestAuthentication", POLICY),
];

/// What of the gate itself decides who gets in and what is done with it, beside what can be attached.
const CORE: [&str; 3] = ["Gateway", "EnvoyProxy", "ConfigMap"];

/// Looks for all of it. A kind that may not be listed everywhere is listed in the gate's namespace. An object is the gate's by its kind,
/// namespace and name: labels are anybody's to write.
pub async fn foreign(cluster: &Cluster, gate: &Gate<'_>, wanted: &[Object]) -> Result<Vec<Finding>, Error> {
    let versions = KINDS.iter().map(|(version, ..)| *version);
    let discovery = Discovery::of(cluster, versions.chain(wanted.iter().map(Object::api_version))).await?;
    let mut found = Vec::new();
    for (version, kind, means) in KINDS {
        let all = ListParams::default();
        let listed = match discovery.list(cluster, (version, kind), &gate.names.namespace, &all).await {
            // Whoever may not look is told of it where rights are looked at.
            Err(kube::Error::Api(status)) if status.is_forbidden() => continue,
            listed => listed.map_err(|e| failed(format_args!("cannot list every {kind}"), &e))?,
        };
        for object in listed {
            let own = wanted.iter().find(|it| is(it, version, kind, &object));
            let finding = match own {
                Some(wanted) => changed(wanted, &object),
                None => acts_on(version, kind, &object, gate).then(|| {
                    let object = title(kind, object.namespace().as_deref(), &object.name_any());
                    let unsafe_ = ![ROUTE, BOUNDS].contains(&means);
                    Finding { object, means: means.to_owned(), unsafe_ }
                }),
            };
            found.extend(finding);
        }
    }
    for own in wanted.iter().filter(|it| CORE.contains(&it.kind.as_str())) {
        let Some(api) = discovery.api(cluster, own.api_version(), &own.kind, own.namespace.as_deref()) else {
            continue;
        };
        let live = match api.get_opt(&own.name).await {
            Err(kube::Error::Api(status)) if status.is_forbidden() => continue,
            live => live.map_err(|e| failed(format_args!("cannot read {} {}", own.kind, own.name), &e))?,
        };
        found.extend(live.and_then(|live| changed(own, &live)));
    }
    found.extend(unvalidated(cluster, &discovery, gate).await?);
    Ok(found)
}

/// Whether this is the object that the gate wants. Some kinds are listed by another version than they are made by.
fn is(wanted: &Object, version: &str, kind: &str, object: &DynamicObject) -> bool {
    let group = |version: &str| version.split('/').next().unwrap_or_default().to_owned();
    wanted.kind == kind
        && group(wanted.api_version()) == group(version)
        && wanted.namespace == object.namespace()
        && wanted.name == object.name_any()
}

/// What others did to an object of the gate's.
fn changed(wanted: &Object, live: &DynamicObject) -> Option<Finding> {
    let managers = others(live);
    let means = if applied_by_us(live) {
        if managers.is_empty() {
            return None;
        }
        let managers = managers.join(", ");
        format!(
            "has been changed by {managers}: `otlp-gate apply --force-conflicts` sets what is the gate's again, and what was added is to be removed by hand"
        )
    } else {
        // As what `render` wrote is, by whatever brings it here.
        let keys = ["spec", "data", "binaryData"];
        let wanted = |key: &str| wanted.value.get(key);
        let live = |key: &str| live.data.get(key).unwrap_or(&Value::Null);
        if keys.iter().all(|key| wanted(key).is_none_or(|wanted| contains(live(key), wanted))) {
            return None;
        }
        "has the name of one of the gate's, was not applied by otlp-gate, and is not as the config has it"
            .to_owned()
    };
    let object = title(&wanted.kind, wanted.namespace.as_deref(), &wanted.name);
    Some(Finding { object, means, unsafe_: true })
}

/// Whether an object of somebody else's acts on the gateway.
fn acts_on(version: &str, kind: &str, object: &DynamicObject, gate: &Gate<'_>) -> bool {
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
        // Istio's own, which adds listeners to the pods that it selects, in whatever namespace it is itself.
        "Gateway" if version.contains("istio.io/") => {
            spec.get("selector").and_then(Value::as_object).is_some_and(|labels| ours(labels, gate))
        }
        "WasmPlugin" | "TrafficExtension" | "EnvoyFilter" | "RequestAuthentication" => {
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
    labels.is_none_or(|labels| ours(labels, gate))
}

/// Whether these are labels of the gateway's pods: Istio gives them its name, and some that say what it is.
fn ours(labels: &serde_json::Map<String, Value>, gate: &Gate<'_>) -> bool {
    let class = gate.config.gateway.class.as_deref().unwrap_or_else(|| gate.provider().class());
    let name = &gate.names.gateway;
    labels.iter().all(|(key, value)| {
        let value = value.as_str().unwrap_or_default();
        match key.as_str() {
            "gateway.networking.k8s.io/gateway-name" => value == name,
            "gateway.networking.k8s.io/gateway-class-name" => value == class,
            "service.istio.io/canonical-name" | "app.kubernetes.io/name" | "app.kubernetes.io/instance" => {
                value == name || value == format!("{name}-{class}")
            }
            // The rest is Istio's to choose, by version; what is taken for ours too often is only looked at too often.
            key => {
                key == "service.istio.io/canonical-revision"
                    || key == "istio.io/dataplane-mode"
                    || key == "gateway.istio.io/managed"
                    || key == "sidecar.istio.io/inject"
            }
        }
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
        let said = [(lets_anybody_in(&live.data), OPTIONAL), (lets_expired_in(&live.data), EXPIRED)];
        for (_, means) in said.into_iter().filter(|(said, _)| *said) {
            let object = title(kind, Some(&names.namespace), &names.gateway);
            found.push(Finding { object, means: means.to_owned(), unsafe_: true });
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

/// Whether Envoy Gateway is told to pass over a certificate's end, at the handshake or by resumed sessions, which skip it.
fn lets_expired_in(object: &Value) -> bool {
    let at = |pointer: &str| object.pointer(pointer);
    at("/spec/tls/clientValidation/allowExpiredCertificate").and_then(Value::as_bool) == Some(true)
        || at("/spec/tls/session/resumption").is_some_and(|it| !it.is_null())
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
    fn what_passes_over_the_end_of_a_certificate_is_known() {
        for (tls, known) in [
            (json!({"clientValidation": {"allowExpiredCertificate": true}}), true),
            (json!({"session": {"resumption": {"stateless": {}}}}), true),
            (json!({"clientValidation": {"allowExpiredCertificate": false}}), false),
            (json!({"clientValidation": {"optional": false}}), false),
        ] {
            assert_eq!(lets_expired_in(&json!({"spec": {"tls": tls.clone()}})), known, "{tls}");
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
