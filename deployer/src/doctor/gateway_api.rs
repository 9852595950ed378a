//! The Gateway API: which version and channel of its kinds, and whether somebody takes Gateways of the config's class.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;
use kube::api::Api;
use serde_json::Value;

use super::Check;
use crate::cluster::{Cluster, Discovery, failed};
use crate::error::Error;
use crate::resources::Gate;

/// GRPCRoute is in the standard channel since this minor version of 1.
const OLDEST: u32 = 1;

pub(super) async fn checks(cluster: &Cluster, gate: &Gate<'_>) -> Result<Vec<Check>, Error> {
    Ok([definitions(cluster).await?, Some(class(cluster, gate).await?)].into_iter().flatten().collect())
}

async fn definitions(cluster: &Cluster) -> Result<Option<Check>, Error> {
    let subject = "Gateway API";
    let api: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let found = match api.get_opt("grpcroutes.gateway.networking.k8s.io").await {
        Err(kube::Error::Api(status)) if status.is_forbidden() => return Ok(None),
        found => found.map_err(|e| failed("cannot read the Gateway API's definitions", &e))?,
    };
    // That it is not there is told with the other kinds.
    let Some(found) = found else { return Ok(None) };
    let note = |key: &str| found.annotations().get(&format!("gateway.networking.k8s.io/{key}")).cloned();
    let (version, channel) =
        (note("bundle-version").unwrap_or_default(), note("channel").unwrap_or_default());
    let minor = version.trim_start_matches("v1.").split('.').next().and_then(|it| it.parse::<u32>().ok());
    let words = format!("{version}, {channel} channel");
    Ok(Some(match minor {
        Some(minor) if version.starts_with("v1.") && minor >= OLDEST => Check::pass(subject, words),
        _ => Check::fail(
            subject,
            words,
            "install the standard channel, version 1.1 or later: gateway-api.sigs.k8s.io/guides",
        ),
    }))
}

async fn class(cluster: &Cluster, gate: &Gate<'_>) -> Result<Check, Error> {
    const VERSION: &str = "gateway.networking.k8s.io/v1";
    let wanted = gate.config.gateway.class.as_deref().unwrap_or_else(|| gate.provider().class());
    let subject = format!("GatewayClass {wanted}");
    let discovery = Discovery::of(cluster, [VERSION]).await?;
    let Some(api) = discovery.api(cluster, VERSION, "GatewayClass", None) else {
        return Ok(Check::fail(subject, "there are no GatewayClasses", "install the Gateway API first"));
    };
    let all = match api.list(&kube::api::ListParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            let cure = "ask for the right to list GatewayClasses, or ask whoever has it";
            return Ok(Check::warn(subject, "GatewayClasses may not be listed", cure));
        }
        all => all,
    };
    let all = all.map_err(|e| failed("cannot list GatewayClasses", &e))?;
    let Some(found) = all.items.iter().find(|it| it.name_any() == wanted) else {
        let names: Vec<String> = all.items.iter().map(kube::ResourceExt::name_any).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Ok(Check::fail(
            subject,
            format!("it is not there; there are: {names}"),
            format!("{}, or name another class in `gateway.class`", gate.provider().class_cure()),
        ));
    };
    let controller = found.data.pointer("/spec/controllerName").and_then(Value::as_str).unwrap_or_default();
    let conditions = found.data.pointer("/status/conditions").and_then(Value::as_array);
    let accepted = conditions.into_iter().flatten().any(|it| {
        it.get("type").and_then(Value::as_str) == Some("Accepted")
            && it.get("status").and_then(Value::as_str) == Some("True")
    });
    Ok(if accepted {
        Check::pass(subject, format!("accepted by {controller}"))
    } else {
        Check::fail(
            subject,
            format!("{controller} has not accepted it"),
            format!("see whether {} runs", gate.provider().title()),
        )
    })
}
