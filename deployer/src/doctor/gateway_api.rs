//! Checks the Gateway API: version and channel of its definitions, and whether a controller has accepted the
//! GatewayClass.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde_json::Value;

use super::Check;
use crate::cluster::{Cluster, Discovery, api_error, if_allowed};
use crate::config::Config;
use crate::error::Error;
use crate::providers;

/// The oldest minor version of Gateway API 1 whose standard channel has GRPCRoute.
const OLDEST: u32 = 1;

pub(super) async fn checks(cluster: &Cluster, config: &Config) -> Result<Vec<Check>, Error> {
    Ok([definitions(cluster).await?, Some(class(cluster, config).await?)].into_iter().flatten().collect())
}

/// None if the definitions are missing, which the check of kinds reports, or may not be read.
async fn definitions(cluster: &Cluster) -> Result<Option<Check>, Error> {
    let subject = "Gateway API";
    let api: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let found = if_allowed(api.get_opt("grpcroutes.gateway.networking.k8s.io").await);
    let found = found.map_err(|e| api_error("cannot read the Gateway API's definitions", &e))?;
    let Some(found) = found.flatten() else { return Ok(None) };
    let annotation = |key: &str| {
        let annotation = found.annotations().get(&format!("gateway.networking.k8s.io/{key}"));
        annotation.cloned().unwrap_or_default()
    };
    let (version, channel) = (annotation("bundle-version"), annotation("channel"));
    let minor = version.trim_start_matches("v1.").split('.').next().and_then(|it| it.parse::<u32>().ok());
    let found = format!("{version}, {channel} channel");
    Ok(Some(match minor {
        Some(minor) if version.starts_with("v1.") && minor >= OLDEST => Check::pass(subject, found),
        _ => Check::fail(
            subject,
            found,
            "install the standard channel, version 1.1 or later: gateway-api.sigs.k8s.io/guides",
        ),
    }))
}

async fn class(cluster: &Cluster, config: &Config) -> Result<Check, Error> {
    const VERSION: &str = "gateway.networking.k8s.io/v1";
    let provider = providers::of(config);
    let wanted = config.gateway.class.as_deref().unwrap_or_else(|| provider.class());
    let subject = format!("GatewayClass {wanted}");
    let discovery = Discovery::of(cluster, [VERSION]).await?;
    let Some(api) = discovery.api(cluster, VERSION, "GatewayClass", None) else {
        return Ok(Check::fail(subject, "there are no GatewayClasses", "install the Gateway API first"));
    };
    let listed = if_allowed(api.list(&ListParams::default()).await);
    let Some(listed) = listed.map_err(|e| api_error("cannot list GatewayClasses", &e))? else {
        let hint = "ask for the right to list GatewayClasses";
        return Ok(Check::warn(subject, "unknown: GatewayClasses may not be listed", hint));
    };
    let Some(found) = listed.items.iter().find(|it| it.name_any() == wanted) else {
        let names: Vec<String> = listed.items.iter().map(kube::ResourceExt::name_any).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Ok(Check::fail(
            subject,
            format!("not found; the cluster has: {names}"),
            format!("{}, or set `gateway.class` to another one", provider.class_hint()),
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
            format!("check whether {} is running", provider.title()),
        )
    })
}
