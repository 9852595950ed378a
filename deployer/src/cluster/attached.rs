//! Objects that are not the gate's and act on its gateway: routes to other backends, and policies that may bypass or
//! override the filter. Also changes that other field managers made to the gate's own objects.

use std::collections::BTreeSet;

use kube::ResourceExt as _;
use kube::api::{DynamicObject, ListParams};
use serde::Serialize;
use serde_json::Value;

use super::api_error::{api_error, if_allowed};
use super::client::Cluster;
use super::discovery::Discovery;
use super::managers::{contains, is_ours, other_managers};
use super::{forwarding, istio};
use crate::config::Provider;
use crate::error::Error;
use crate::model::{Installation, Names, Object, title};
use crate::providers;

/// Something that acts on the gateway and is not the gate's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Attachment {
    /// The object's title.
    pub(crate) object: String,
    /// Its possible effect, as the rest of a sentence about the object.
    #[serde(rename = "means")]
    pub(crate) effect: String,
    /// Whether clients may get past the filter, or in without a validated certificate.
    #[serde(rename = "unsafe_")]
    pub(crate) is_unsafe: bool,
}

const ROUTE: &str = "leads through the filter to a backend that is not the gate's";
const POLICY: &str = "may replace the filter or how the gateway validates client certificates";
const LISTENERS: &str = "adds listeners, which may not require a client certificate";
const PATCH: &str = "changes the gateway's Envoy and may remove the filter";
const BOUNDS: &str = "may replace the limits for connections to the backend";
const UNVALIDATED: &str =
    "accepts client certificates that no CA has validated, so that clients can claim any identity";
const EXPIRED: &str = "accepts expired client certificates";

/// API version and kind of what can be attached to a gateway, and its possible effect.
const ATTACHABLE: [(&str, &str, &str); 17] = [
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

/// Kinds of the gate's own objects that decide which clients are accepted, besides the attachable ones.
const OWN: [&str; 3] = ["Gateway", "EnvoyProxy", "ConfigMap"];

/// Finds everything that acts on the gateway and is not the gate's. An object is the gate's if it has the kind,
/// namespace and name of a desired object: anyone may set labels.
///
/// # Errors
/// The API server does not respond. Kinds that RBAC does not allow to list are skipped; kinds that it allows to list in
/// the gate's namespace only are listed there.
pub(crate) async fn attached(
    cluster: &Cluster,
    installation: &Installation<'_>,
    desired: &[Object],
) -> Result<Vec<Attachment>, Error> {
    let versions = ATTACHABLE.iter().map(|(version, ..)| *version);
    let discovery = Discovery::of(cluster, versions.chain(desired.iter().map(Object::api_version))).await?;
    let roots = match installation.config.gateway.provider {
        Provider::Istio => istio::root_namespaces(cluster).await?,
        Provider::EnvoyGateway => BTreeSet::new(),
    };
    let trusts_hops = !installation.config.trusted_hops.is_empty();
    let mut found = Vec::new();
    for (version, kind, effect) in ATTACHABLE {
        let (namespace, all) = (&installation.names.namespace, ListParams::default());
        let listed = if_allowed(discovery.list(cluster, (version, kind), namespace, &all).await);
        let listed = listed.map_err(|e| api_error(format_args!("cannot list every {kind}"), &e))?;
        // `doctor` reports missing rights.
        for object in listed.unwrap_or_default() {
            let own = desired.iter().find(|it| is_same(it, version, kind, &object));
            let acts = own.is_some() || acts_on_gateway(version, kind, &object, installation, &roots);
            let title = title(kind, object.namespace().as_deref(), &object.name_any());
            let forwards = match kind {
                "ClientTrafficPolicy" => forwarding::of_traffic_policy(&object.data, trusts_hops),
                "EnvoyFilter" => forwarding::of_envoy_filter(&object.data, trusts_hops),
                _ => None,
            };
            let forwards = forwards.filter(|_| acts).map(|effect| Attachment {
                object: title.clone(),
                effect,
                is_unsafe: false,
            });
            let attachment = match own {
                Some(desired) => changed(desired, &object),
                None if is_replaced(kind, &object, installation) => Some(Attachment {
                    object: title,
                    effect: format!(
                        "is left from before the {}: `otlp-gate apply` removes it",
                        installation.extension.kind.name()
                    ),
                    is_unsafe: false,
                }),
                None => acts.then(|| {
                    let is_unsafe = ![ROUTE, BOUNDS].contains(&effect);
                    Attachment { object: title, effect: effect.to_owned(), is_unsafe }
                }),
            };
            found.extend(attachment.into_iter().chain(forwards));
        }
    }
    for own in desired.iter().filter(|it| OWN.contains(&it.kind.as_str())) {
        let Some(api) = discovery.api(cluster, own.api_version(), &own.kind, own.namespace.as_deref()) else {
            continue;
        };
        let live = if_allowed(api.get_opt(&own.name).await);
        let live = live.map_err(|e| api_error(format_args!("cannot read {}", own.short_title()), &e))?;
        found.extend(live.flatten().and_then(|live| changed(own, &live)));
    }
    found.extend(weak_validation(cluster, &discovery, &installation.names).await?);
    found.extend(forwarding::of_pods(cluster, installation).await?);
    Ok(found)
}

/// Whether an object is this desired one. Some kinds are listed in another version than they are applied in.
fn is_same(desired: &Object, version: &str, kind: &str, object: &DynamicObject) -> bool {
    let group = |version: &str| version.split('/').next().unwrap_or_default().to_owned();
    desired.kind == kind
        && group(desired.api_version()) == group(version)
        && desired.namespace == object.namespace()
        && desired.name == object.name_any()
}

/// Whether an object is the gate's own of the kind that another kind replaces.
fn is_replaced(kind: &str, object: &DynamicObject, installation: &Installation<'_>) -> bool {
    let (extension, names) = (&installation.extension, &installation.names);
    extension.replaces
        && kind == extension.kind.other().name()
        && object.namespace().as_ref() == Some(&names.namespace)
        && object.name_any() == names.gateway
        && is_ours(object)
}

/// What other field managers changed in one of the gate's objects.
fn changed(desired: &Object, live: &DynamicObject) -> Option<Attachment> {
    let managers = other_managers(live);
    let effect = if is_ours(live) {
        if managers.is_empty() {
            return None;
        }
        let managers = managers.join(", ");
        format!(
            "was changed by {managers}: `otlp-gate apply --force-conflicts` restores the gate's fields; remove added fields by hand"
        )
    } else {
        // Another tool may have applied what `render` wrote.
        let keys = ["spec", "data", "binaryData"];
        let desired = |key: &str| desired.value.get(key);
        let live = |key: &str| live.data.get(key).unwrap_or(&Value::Null);
        if keys.iter().all(|key| desired(key).is_none_or(|desired| contains(live(key), desired))) {
            return None;
        }
        "has the name of one of the gate's objects, was not applied by otlp-gate, and differs from the config"
            .to_owned()
    };
    Some(Attachment { object: desired.title(), effect, is_unsafe: true })
}

/// Whether an object that is not the gate's acts on the gateway.
fn acts_on_gateway(
    version: &str,
    kind: &str,
    object: &DynamicObject,
    installation: &Installation<'_>,
    roots: &BTreeSet<String>,
) -> bool {
    let names = &installation.names;
    let namespace = object.namespace().unwrap_or_default();
    let spec = object.data.get("spec").unwrap_or(&Value::Null);
    let list = |key: &str| spec.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let names_gateway = |reference: &Value| {
        let text = |key: &str| reference.get(key).and_then(Value::as_str);
        text("name") == Some(&names.gateway)
            && text("kind").is_none_or(|kind| kind == "Gateway")
            && text("namespace").unwrap_or(&namespace) == names.namespace
    };
    // A policy of Envoy Gateway on one of the gate's routes replaces the policy on the gateway.
    let names_route = |reference: &Value| {
        let text = |key: &str| reference.get(key).and_then(Value::as_str).unwrap_or_default();
        namespace == names.namespace
            && matches!(text("kind"), "GRPCRoute" | "HTTPRoute")
            && text("name").starts_with(&names.gateway)
    };
    let targets: Vec<Value> = list("targetRefs").into_iter().chain(spec.get("targetRef").cloned()).collect();
    match kind {
        // Istio's own Gateway adds listeners to the pods that it selects, in any namespace.
        "Gateway" if version.contains("istio.io/") => spec
            .get("selector")
            .and_then(Value::as_object)
            .is_some_and(|labels| are_gateway_labels(labels, installation)),
        "WasmPlugin" | "TrafficExtension" | "EnvoyFilter" | "RequestAuthentication" => {
            if targets.is_empty() {
                // A policy in a mesh's root namespace applies to all namespaces.
                (roots.contains(&namespace) || namespace == names.namespace)
                    && selects_gateway(spec, installation)
            } else {
                targets.iter().any(names_gateway)
            }
        }
        "ListenerSet" | "XListenerSet" => spec.get("parentRef").is_some_and(names_gateway),
        kind if kind.ends_with("Route") => list("parentRefs").iter().any(names_gateway),
        _ => {
            targets.iter().any(|it| names_gateway(it) || names_route(it))
                || list("targetSelectors").iter().any(|it| selects_target(it, &namespace, names))
        }
    }
}

/// Whether a selector of Envoy Gateway's policies (its api/v1alpha1 `TargetSelector`) selects the Gateway or one of its
/// routes. Match expressions are assumed to match, and a ReferenceGrant for another namespace is assumed to exist.
fn selects_target(selector: &Value, namespace: &str, names: &Names) -> bool {
    let kind = selector.get("kind").and_then(Value::as_str).unwrap_or_default();
    let from = selector.pointer("/namespaces/from").and_then(Value::as_str).unwrap_or("Same");
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let own = names.labels();
    matches!(kind, "Gateway" | "GRPCRoute" | "HTTPRoute")
        && (namespace == names.namespace || from != "Same")
        && labels.into_iter().flatten().all(|(key, value)| own.get(key).map(String::as_str) == value.as_str())
}

/// Whether a workload selector of Istio's policies selects the gateway's pods. Without labels it selects all pods.
fn selects_gateway(spec: &Value, installation: &Installation<'_>) -> bool {
    let labels = spec
        .pointer("/selector/matchLabels")
        .or_else(|| spec.pointer("/workloadSelector/labels"))
        .and_then(Value::as_object);
    labels.is_none_or(|labels| are_gateway_labels(labels, installation))
}

/// Whether all of these labels are on the gateway's pods, which have Istio's labels for the Gateway's name and class.
fn are_gateway_labels(labels: &serde_json::Map<String, Value>, installation: &Installation<'_>) -> bool {
    let config = installation.config;
    let class = config.gateway.class.as_deref().unwrap_or_else(|| providers::of(config).class());
    let name = &installation.names.gateway;
    labels.iter().all(|(key, value)| {
        let value = value.as_str().unwrap_or_default();
        match key.as_str() {
            key if config.gateway.labels.get(key).is_some_and(|own| own == value) => true,
            "gateway.networking.k8s.io/gateway-name" => value == name,
            "gateway.networking.k8s.io/gateway-class-name" => value == class,
            "service.istio.io/canonical-name" | "app.kubernetes.io/name" | "app.kubernetes.io/instance" => {
                value == name || value == format!("{name}-{class}")
            }
            // The values of these depend on Istio's version. A false match only causes a superfluous warning.
            key => {
                key == "service.istio.io/canonical-revision"
                    || key == "istio.io/dataplane-mode"
                    || key == "gateway.istio.io/managed"
                    || key == "sidecar.istio.io/inject"
            }
        }
    })
}

/// Whether the gateway accepts certificates in the cluster that are expired or not validated.
async fn weak_validation(
    cluster: &Cluster,
    discovery: &Discovery,
    names: &Names,
) -> Result<Vec<Attachment>, Error> {
    let mut found = Vec::new();
    for (version, kind) in [
        ("gateway.networking.k8s.io/v1", "Gateway"),
        ("gateway.envoyproxy.io/v1alpha1", "ClientTrafficPolicy"),
    ] {
        let Some(api) = discovery.api(cluster, version, kind, Some(&names.namespace)) else { continue };
        let title = title(kind, Some(&names.namespace), &names.gateway);
        let live = if_allowed(api.get_opt(&names.gateway).await);
        let live = live.map_err(|e| api_error(format_args!("cannot read {title}"), &e))?;
        let Some(live) = live.flatten() else { continue };
        let effects =
            [(accepts_unvalidated(&live.data), UNVALIDATED), (accepts_expired(&live.data), EXPIRED)];
        for (_, effect) in effects.into_iter().filter(|(applies, _)| *applies) {
            found.push(Attachment { object: title.clone(), effect: effect.to_owned(), is_unsafe: true });
        }
    }
    Ok(found)
}

/// Whether the object sets a mode of Gateway API, Istio or Envoy Gateway that accepts certificates without validation.
fn accepts_unvalidated(object: &Value) -> bool {
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

/// Whether the object makes Envoy Gateway accept expired certificates: in the handshake, or by session resumption,
/// which skips the validation.
fn accepts_expired(object: &Value) -> bool {
    let at = |pointer: &str| object.pointer(pointer);
    at("/spec/tls/clientValidation/allowExpiredCertificate").and_then(Value::as_bool) == Some(true)
        || at("/spec/tls/session/resumption").is_some_and(|it| !it.is_null())
}

#[cfg(test)]
mod tests {
    use kube::core::{ApiResource, GroupVersionKind};
    use serde_json::json;

    use super::*;
    use crate::config::Source;
    use crate::model::{Certificates, Mesh};
    use crate::module::Location;

    #[test]
    fn modes_that_accept_unvalidated_certificates_are_found() {
        for spec in [
            json!({"tls": {"frontend": {"default": {"validation": {"mode": "AllowInsecureFallback"}}}}}),
            json!({"tls": {"frontend": {"perPort": [{"tls": {"validation": {"mode": "AllowInsecureFallback"}}}]}}}),
            json!({"listeners": [{"tls": {"options": {"gateway.istio.io/tls-terminate-mode": "OPTIONAL_MUTUAL"}}}]}),
            json!({"tls": {"clientValidation": {"optional": true}}}),
            json!({"tls": {"clientValidation": {"mode": "RequireAny"}}}),
        ] {
            assert!(accepts_unvalidated(&json!({"spec": spec.clone()})), "{spec}");
        }
        for spec in [
            json!({"tls": {"frontend": {"default": {"validation": {"mode": "AllowValidOnly"}}}}}),
            json!({"listeners": [{"tls": {"options": {"gateway.istio.io/tls-terminate-mode": "MUTUAL"}}}]}),
            json!({"tls": {"clientValidation": {"optional": false}}}),
        ] {
            assert!(!accepts_unvalidated(&json!({"spec": spec.clone()})), "{spec}");
        }
    }

    #[test]
    fn policies_for_the_gateways_labels_and_of_root_namespaces_act_on_it() {
        let text = "{apiVersion: otlp-gate/v1, gateway: {labels: {team: platform}}, clients: []}".to_owned();
        let config = Source { name: "test".to_owned(), text }.load().unwrap().config;
        let module = Location::at("oci://registry.example/otlp-gate:1", None, "").unwrap();
        let mesh = Mesh::from_config(&config);
        let installation = Installation::new(&config, module, mesh, Certificates::default());
        let roots = ["mesh-admin".to_owned()].into();
        for (namespace, labels, acts) in [
            ("otel-collector", json!({"team": "platform"}), true),
            ("otel-collector", json!({"team": "other"}), false),
            ("otel-collector", json!({"gateway.networking.k8s.io/gateway-name": "otel-gateway"}), true),
            ("mesh-admin", json!({}), true),
            ("mesh-admin", json!({"team": "platform", "app": "other"}), false),
            ("istio-system", json!({}), false),
        ] {
            for kind in ["WasmPlugin", "TrafficExtension"] {
                let resource =
                    ApiResource::from_gvk(&GroupVersionKind::gvk("extensions.istio.io", "v1alpha1", kind));
                let mut object = DynamicObject::new("x", &resource);
                object.metadata.namespace = Some(namespace.to_owned());
                object.data = json!({"spec": {"selector": {"matchLabels": labels}}});
                let found =
                    acts_on_gateway("extensions.istio.io/v1alpha1", kind, &object, &installation, &roots);
                assert_eq!(found, acts, "{namespace} {labels}");
            }
        }
    }

    #[test]
    fn settings_that_accept_expired_certificates_are_found() {
        for (tls, known) in [
            (json!({"clientValidation": {"allowExpiredCertificate": true}}), true),
            (json!({"session": {"resumption": {"stateless": {}}}}), true),
            (json!({"clientValidation": {"allowExpiredCertificate": false}}), false),
            (json!({"clientValidation": {"optional": false}}), false),
        ] {
            assert_eq!(accepts_expired(&json!({"spec": {"tls": tls.clone()}})), known, "{tls}");
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
