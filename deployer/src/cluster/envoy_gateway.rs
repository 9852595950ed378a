//! Whether Envoy Gateway acts on dynamic modules.

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use super::api_error::{api_error, if_allowed};
use super::client::Cluster;
use super::release::release;
use crate::config::{Config, FilterHost};
use crate::error::Error;
use crate::providers;

/// The first release that has dynamic modules.
const FIRST: (u32, u32) = (1, 8);

/// Which Envoy Gateway is known to ignore the dynamic module of the gate, where it has one, as a sentence.
///
/// That the API server takes the field does not suffice: CustomResourceDefinitions are upgraded before the controller,
/// and stay when it is downgraded. A controller that does not know the field forwards without any filter.
///
/// # Errors
/// The API server does not respond.
pub(crate) async fn ignores_dynamic_module(
    cluster: &Cluster,
    config: &Config,
) -> Result<Option<String>, Error> {
    if config.gateway.host == FilterHost::Wasm || !config.gateway.enabled {
        return Ok(None);
    }
    let (selector, _) = providers::of(config).control_plane();
    let api: Api<Deployment> = Api::all(cluster.client.clone());
    let listed = if_allowed(api.list(&ListParams::default().labels(selector)).await);
    let listed = listed.map_err(|e| api_error("cannot list Deployments", &e))?;
    Ok(listed.iter().flatten().find(|it| is_too_old(it)).map(|old| {
        let (name, namespace) = (old.name_any(), old.namespace().unwrap_or_default());
        format!("{name} in {namespace} is older than Envoy Gateway 1.8, and would forward without the filter")
    }))
}

fn is_too_old(controller: &Deployment) -> bool {
    release(controller).is_some_and(|release| release < FIRST)
}

#[cfg(test)]
mod tests {
    use super::super::release::deployment;
    use super::*;

    #[test]
    fn only_a_release_that_is_known_to_be_older_is_too_old() {
        for (image, is_old) in [
            ("docker.io/envoyproxy/gateway:v1.7.3", true),
            ("docker.io/envoyproxy/gateway:v1.8.0", false),
            ("docker.io/envoyproxy/gateway:v2.0.0", false),
            ("localhost/gateway:latest", false),
        ] {
            assert_eq!(is_too_old(&deployment("envoy-gateway", image, "")), is_old, "{image}");
        }
    }
}
