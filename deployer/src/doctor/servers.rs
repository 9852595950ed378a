//! Whether the provider's control plane runs, in a version that can do what the gate needs.

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use super::Check;
use crate::cluster::{Cluster, failed};
use crate::error::Error;
use crate::resources::Gate;

pub(super) async fn checks(cluster: &Cluster, gate: &Gate<'_>) -> Result<Vec<Check>, Error> {
    let provider = gate.provider();
    let (selector, name) = provider.control_plane();
    let api: Api<Deployment> = Api::all(cluster.client.clone());
    let found = match api.list(&ListParams::default().labels(selector)).await {
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            let cure = "ask for the right to list Deployments in all namespaces";
            return Ok(vec![Check::warn(name, "Deployments may not be listed", cure)]);
        }
        found => found.map_err(|e| failed("cannot list Deployments", &e))?,
    };
    let Some(found) = found.items.first() else {
        // It can run outside of the cluster, and then its GatewayClass tells.
        let cure = format!("install {}, unless it runs outside of the cluster", provider.title());
        return Ok(vec![Check::warn(name, "it does not run in the cluster", cure)]);
    };
    let at = format!("{} in {}", found.name_any(), found.namespace().unwrap_or_default());
    let ready = found.status.as_ref().and_then(|it| it.available_replicas).unwrap_or(0);
    let containers = found.spec.as_ref().and_then(|it| it.template.spec.as_ref()).map(|it| &it.containers);
    let image = containers.and_then(|it| it.first()?.image.clone()).unwrap_or_default();
    let words = format!("{at}, {ready} replicas available, image {image}");
    Ok(vec![if ready > 0 {
        Check::pass(name, words)
    } else {
        Check::fail(name, words, format!("`kubectl describe deployment {}` says why", found.name_any()))
    }])
}
