//! Checks whether the provider's control plane is available.

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use super::Check;
use crate::cluster::{Cluster, api_error, if_allowed};
use crate::config::Config;
use crate::error::Error;
use crate::providers;

pub(super) async fn check(cluster: &Cluster, config: &Config) -> Result<Check, Error> {
    let provider = providers::of(config);
    let (selector, name) = provider.control_plane();
    let api: Api<Deployment> = Api::all(cluster.client.clone());
    let listed = if_allowed(api.list(&ListParams::default().labels(selector)).await);
    let Some(listed) = listed.map_err(|e| api_error("cannot list Deployments", &e))? else {
        let hint = "ask for the right to list Deployments in all namespaces";
        return Ok(Check::warn(name, "unknown: Deployments may not be listed", hint));
    };
    let Some(found) = listed.items.first() else {
        // It may run outside of the cluster. The GatewayClass shows whether it works.
        let hint = format!("install {}, unless it runs outside of the cluster", provider.title());
        return Ok(Check::warn(name, "not in the cluster", hint));
    };
    let available = found.status.as_ref().and_then(|it| it.available_replicas).unwrap_or(0);
    let containers = found.spec.as_ref().and_then(|it| it.template.spec.as_ref()).map(|it| &it.containers);
    let image = containers.and_then(|it| it.first()?.image.clone()).unwrap_or_default();
    let (object, namespace) = (found.name_any(), found.namespace().unwrap_or_default());
    let detail = format!("{object} in {namespace}, {available} replicas available, image {image}");
    Ok(if available > 0 {
        Check::pass(name, detail)
    } else {
        Check::fail(name, detail, format!("run `kubectl describe deployment {object} -n {namespace}`"))
    })
}
