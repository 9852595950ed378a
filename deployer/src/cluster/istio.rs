//! Istio's control planes, as far as the gate depends on them: their versions, and the root namespaces of their meshes.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde::Deserialize;

use super::api_error::{api_error, if_allowed};
use super::client::Cluster;
use super::release::release;
use crate::error::Error;

/// The root namespace of a mesh that does not set one (`DefaultMeshConfig` in Istio's pkg/config/mesh).
const DEFAULT_ROOT: &str = "istio-system";

/// The namespaces whose policies Istio applies in all namespaces: `rootNamespace` in the mesh config of each control
/// plane. `istio-system` if no control plane or no mesh config can be read, as where istiod runs outside of the
/// cluster.
///
/// # Errors
/// The API server does not respond.
pub(super) async fn root_namespaces(cluster: &Cluster) -> Result<BTreeSet<String>, Error> {
    let mut roots = BTreeSet::new();
    for istiod in istiods(cluster).await?.unwrap_or_default() {
        let namespace = istiod.namespace().unwrap_or_default();
        let config = mesh_config(istiod.labels().get("istio.io/rev").map(String::as_str));
        let api = Api::<ConfigMap>::namespaced(cluster.client.clone(), &namespace);
        let found = if_allowed(api.get_opt(&config).await);
        let found = found
            .map_err(|e| api_error(format_args!("cannot read configmap/{config} in {namespace}"), &e))?
            .flatten();
        let text = found.and_then(|it| it.data?.remove("mesh"));
        // Istio's charts set the root namespace to that of istiod.
        roots.insert(text.map_or(namespace, |text| root_namespace(&text)));
    }
    if roots.is_empty() {
        roots.insert(DEFAULT_ROOT.to_owned());
    }
    Ok(roots)
}

/// The version of an istiod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    /// Name and namespace of its Deployment, as in `istiod in istio-system`.
    pub(super) istiod: String,
    /// Major and minor version, if the Deployment shows them.
    pub(super) number: Option<(u32, u32)>,
}

impl Version {
    /// Whether it is known to act on TrafficExtensions.
    pub(super) fn has_traffic_extension(&self) -> bool {
        self.number.is_some_and(|number| number >= (1, 30))
    }
}

/// The versions of all istiods. Empty if Deployments may not be listed.
///
/// # Errors
/// The API server does not respond.
pub(super) async fn versions(cluster: &Cluster) -> Result<Vec<Version>, Error> {
    let istiods = istiods(cluster).await?.unwrap_or_default();
    Ok(istiods.iter().map(version).collect())
}

fn version(deployment: &Deployment) -> Version {
    let istiod = format!("{} in {}", deployment.name_any(), deployment.namespace().unwrap_or_default());
    Version { istiod, number: release(deployment) }
}

/// The Deployments of istiod; none if they may not be listed.
async fn istiods(cluster: &Cluster) -> Result<Option<Vec<Deployment>>, Error> {
    let api = Api::<Deployment>::all(cluster.client.clone());
    let found = if_allowed(api.list(&ListParams::default().labels("app=istiod")).await);
    Ok(found.map_err(|e| api_error("cannot list Deployments", &e))?.map(|it| it.items))
}

/// The name of the ConfigMap with the mesh config of a revision.
fn mesh_config(revision: Option<&str>) -> String {
    match revision {
        None | Some("" | "default") => "istio".to_owned(),
        Some(revision) => format!("istio-{revision}"),
    }
}

/// The root namespace that a mesh config sets, else the default. A text that is not one, Istio does not use either.
fn root_namespace(text: &str) -> String {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct MeshConfig {
        root_namespace: String,
    }
    let config: MeshConfig = serde_saphyr::from_str(text).unwrap_or_default();
    match config.root_namespace {
        name if name.is_empty() => DEFAULT_ROOT.to_owned(),
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::super::release::deployment;
    use super::*;

    #[test]
    fn the_root_namespace_is_that_of_the_mesh_config() {
        for (text, root) in [
            ("rootNamespace: mesh-admin\n", "mesh-admin"),
            ("{\"rootNamespace\": \"json\"}", "json"),
            (
                "defaultConfig:\n  discoveryAddress: istiod.x.svc:15012\nrootNamespace: istio-system\ntrustDomain: a\n",
                "istio-system",
            ),
            ("enablePrometheusMerge: true\n", "istio-system"),
            ("rootNamespace: \"\"\n", "istio-system"),
            ("", "istio-system"),
            ("[broken", "istio-system"),
        ] {
            assert_eq!(root_namespace(text), root, "{text}");
        }
    }

    #[test]
    fn a_version_names_its_istiod() {
        let version = version(&deployment("istiod", "docker.io/istio/pilot:1.31.1", ""));
        assert_eq!((version.number, version.istiod.as_str()), (Some((1, 31)), "istiod in system"));
    }

    #[test]
    fn each_revision_has_a_mesh_config_of_its_own() {
        assert_eq!(mesh_config(None), "istio");
        assert_eq!(mesh_config(Some("default")), "istio");
        assert_eq!(mesh_config(Some("1-31")), "istio-1-31");
    }
}
