//! How the live gateway forwards client certificates in `x-forwarded-client-cert`, beside how `apply` configures it.
//!
//! The filter finds the certificate that counts by the fingerprint that Envoy has validated. Another mode than the
//! deployed one therefore gives no client another identity, but may keep the certificate from the filter.

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, ListParams};
use serde_json::Value;

use super::api_error::{api_error, if_allowed};
use super::attached::Attachment;
use super::client::Cluster;
use crate::config::Provider;
use crate::error::Error;
use crate::model::{Installation, title};
use crate::providers;

/// A mode of `forward_client_cert_details`, in which both providers have names of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Sanitize,
    SanitizeSet,
    AppendForward,
    /// The client's header, whatever the client's certificate.
    Forward,
}

impl Mode {
    /// Reads Envoy's and Istio's name (`SANITIZE_SET`), or Envoy Gateway's (`SanitizeSet`).
    fn read(name: &str) -> Option<Self> {
        Some(match name.replace('_', "").to_ascii_lowercase().as_str() {
            "sanitize" => Mode::Sanitize,
            "sanitizeset" => Mode::SanitizeSet,
            "appendforward" => Mode::AppendForward,
            "forwardonly" | "alwaysforwardonly" => Mode::Forward,
            _ => return None,
        })
    }
}

/// What follows from a mode that is not the deployed one, as the rest of a sentence about the object that sets it.
/// `trusts_hops` is whether the config has `trustedHops`.
fn effect(name: &str, trusts_hops: bool) -> Option<String> {
    let consequence = match (Mode::read(name)?, trusts_hops) {
        (Mode::SanitizeSet, false) | (Mode::AppendForward, true) => return None,
        (Mode::Sanitize | Mode::Forward, _) => {
            "the filter gets no client certificate and rejects requests (14 / 503)"
        }
        (Mode::SanitizeSet, true) => "what trusted hops forward is dropped, and their requests are rejected",
        (Mode::AppendForward, false) => {
            "what clients write in x-forwarded-client-cert reaches the filter, which ignores it"
        }
    };
    Some(format!("sets the forwarding mode {name}: {consequence}; `otlp-gate apply` sets the right one"))
}

/// The mode in a ClientTrafficPolicy. Without one, Envoy Gateway sanitizes.
pub(super) fn of_traffic_policy(policy: &Value, trusts_hops: bool) -> Option<String> {
    let header = policy.pointer("/spec/headers/xForwardedClientCert");
    let text = |key: &str| header?.get(key)?.as_str();
    let details = header.and_then(|it| it.get("certDetailsToAdd")).and_then(Value::as_array);
    let mode = text("mode").unwrap_or("Sanitize");
    effect(mode, trusts_hops).or_else(|| {
        let has_certificate = details.is_some_and(|all| all.iter().any(|it| it == "Cert"));
        (!has_certificate).then(|| {
            "does not add `Cert` to x-forwarded-client-cert: the filter gets no client certificate and rejects \
             requests (14 / 503)"
                .to_owned()
        })
    })
}

/// The mode that an EnvoyFilter sets anywhere in its patches.
pub(super) fn of_envoy_filter(filter: &Value, trusts_hops: bool) -> Option<String> {
    let patches = filter.pointer("/spec/configPatches").and_then(Value::as_array)?;
    let mode = patches.iter().find_map(|patch| {
        ["forward_client_cert_details", "forwardClientCertDetails"]
            .into_iter()
            .find_map(|key| patch.pointer("/patch/value/typed_config")?.get(key)?.as_str())
    })?;
    effect(mode, trusts_hops)
}

/// The mode in the annotation `proxy.istio.io/config` of the gateway's pods.
fn of_proxy_config(text: &str, trusts_hops: bool) -> Option<String> {
    let config: Value = serde_saphyr::from_str(text).ok()?;
    let mode = config.pointer("/gatewayTopology/forwardClientCertDetails")?.as_str()?;
    effect(mode, trusts_hops)
}

/// What follows from the annotations of the gateway's pods, which only Istio reads.
///
/// # Errors
/// The API server does not respond. A user who may not list Deployments gets nothing.
pub(super) async fn of_pods(
    cluster: &Cluster,
    installation: &Installation<'_>,
) -> Result<Option<Attachment>, Error> {
    if installation.config.gateway.provider != Provider::Istio {
        return Ok(None);
    }
    let workload = providers::of(installation.config).workload(&installation.names);
    let namespace = &installation.names.namespace;
    let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), namespace);
    let found = if_allowed(api.list(&ListParams::default().labels(&workload.selector)).await);
    let found = found.map_err(|e| api_error("cannot list the gateway's Deployments", &e))?;
    let trusts_hops = !installation.config.trusted_hops.is_empty();
    let attachment = found.into_iter().flat_map(|it| it.items).find_map(|deployment| {
        let annotations = deployment.spec?.template.metadata?.annotations?;
        let effect = of_proxy_config(annotations.get("proxy.istio.io/config")?, trusts_hops)?;
        let object = title("Deployment", Some(namespace), &deployment.metadata.name?);
        Some(Attachment { object, effect, is_unsafe: false })
    });
    Ok(attachment)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mode_that_is_not_the_deployed_one_has_a_consequence() {
        for (mode, trusts_hops, consequence) in [
            ("SANITIZE_SET", false, None),
            ("APPEND_FORWARD", true, None),
            ("SanitizeSet", false, None),
            ("AppendForward", true, None),
            ("SANITIZE", false, Some("gets no client certificate")),
            ("ForwardOnly", false, Some("gets no client certificate")),
            ("ALWAYS_FORWARD_ONLY", true, Some("gets no client certificate")),
            ("AppendForward", false, Some("which ignores it")),
            ("SANITIZE_SET", true, Some("trusted hops forward is dropped")),
            ("UNDEFINED", false, None),
        ] {
            let found = effect(mode, trusts_hops);
            assert_eq!(found.is_some(), consequence.is_some(), "{mode}");
            assert!(found.is_none_or(|it| it.contains(consequence.unwrap()) && it.contains(mode)), "{mode}");
        }
    }

    #[test]
    fn the_mode_is_found_in_every_object_that_sets_it() {
        let policy = |header: Value| json!({"spec": {"headers": {"xForwardedClientCert": header}}});
        for (object, found) in [
            (policy(json!({"mode": "SanitizeSet", "certDetailsToAdd": ["Cert"]})), None),
            (policy(json!({"mode": "AppendForward", "certDetailsToAdd": ["Cert"]})), Some("AppendForward")),
            (policy(json!({"mode": "SanitizeSet", "certDetailsToAdd": ["Subject"]})), Some("`Cert`")),
            (policy(json!({"mode": "SanitizeSet"})), Some("`Cert`")),
            (policy(json!({})), Some("Sanitize")),
            (json!({"spec": {}}), Some("Sanitize")),
        ] {
            let effect = of_traffic_policy(&object, false);
            assert_eq!(effect.is_some(), found.is_some(), "{object}");
            assert!(effect.is_none_or(|it| it.contains(found.unwrap())), "{object}");
        }
        let patch = |value: Value| {
            json!({"spec": {"configPatches": [
                {"patch": {"value": {"typed_config": {}}}}, {"patch": {"value": {"typed_config": value}}},
            ]}})
        };
        for key in ["forward_client_cert_details", "forwardClientCertDetails"] {
            assert!(of_envoy_filter(&patch(json!({key: "FORWARD_ONLY"})), false).is_some());
            assert_eq!(of_envoy_filter(&patch(json!({key: "SANITIZE_SET"})), false), None);
        }
        assert_eq!(of_envoy_filter(&patch(json!({"server_name": "x"})), false), None);
        assert_eq!(of_envoy_filter(&json!({"spec": {}}), false), None);
        let annotation = "extraStatTags: [a]\ngatewayTopology: {forwardClientCertDetails: FORWARD_ONLY}\n";
        assert!(of_proxy_config(annotation, false).is_some_and(|it| it.contains("FORWARD_ONLY")));
        for other in ["gatewayTopology: {numTrustedProxies: 1}", "{", ""] {
            assert_eq!(of_proxy_config(other, false), None, "{other}");
        }
    }
}
