//! Which kinds the cluster serves.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use tokio::task::JoinSet;

use super::{Cluster, failed};
use crate::error::Error;
use crate::resources::Object;

/// The kinds that the cluster serves, of the API versions that were asked for.
#[derive(Debug, Clone, Default)]
pub struct Discovery {
    kinds: BTreeMap<(String, String), Kind>,
}

#[derive(Debug, Clone)]
struct Kind {
    resource: ApiResource,
    namespaced: bool,
}

/// A kind that the cluster does not serve, and what brings it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// Its API version.
    pub api_version: String,
    /// Its name.
    pub kind: String,
    /// What brings it.
    pub cure: &'static str,
}

impl Discovery {
    /// Asks for the kinds of these API versions. One that is not served has none.
    pub async fn of<'a>(
        cluster: &Cluster,
        api_versions: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Error> {
        let mut asked = JoinSet::new();
        for version in api_versions.into_iter().collect::<BTreeSet<_>>() {
            let (client, version) = (cluster.client.clone(), version.to_owned());
            asked.spawn(async move {
                let list = if version.contains('/') {
                    client.list_api_group_resources(&version).await
                } else {
                    client.list_core_api_resources(&version).await
                };
                (version, list)
            });
        }
        let mut kinds = BTreeMap::new();
        while let Some(answer) = asked.join_next().await {
            let Ok((version, list)) = answer else { continue };
            let list = match list {
                Err(kube::Error::Api(status)) if status.code == 404 => continue,
                list => list.map_err(|e| failed(format_args!("cannot read what {version} has"), &e))?,
            };
            for kind in list.resources.iter().filter(|it| !it.name.contains('/')) {
                let (group, bare) = version.split_once('/').unwrap_or(("", &version));
                let gvk = GroupVersionKind::gvk(group, bare, &kind.kind);
                let resource = ApiResource::from_gvk_with_plural(&gvk, &kind.name);
                kinds.insert(
                    (version.clone(), kind.kind.clone()),
                    Kind { resource, namespaced: kind.namespaced },
                );
            }
        }
        Ok(Discovery { kinds })
    }

    /// The kinds of these objects.
    pub async fn of_objects(cluster: &Cluster, objects: &[Object]) -> Result<Self, Error> {
        Discovery::of(cluster, objects.iter().map(Object::api_version)).await
    }

    /// Whether it is served.
    pub fn has(&self, api_version: &str, kind: &str) -> bool {
        self.kinds.contains_key(&(api_version.to_owned(), kind.to_owned()))
    }

    /// What the API calls objects of a kind in its paths.
    pub fn plural(&self, api_version: &str, kind: &str) -> Option<&str> {
        let found = self.kinds.get(&(api_version.to_owned(), kind.to_owned()))?;
        Some(&found.resource.plural)
    }

    /// What these objects need and the cluster does not serve.
    pub fn missing(&self, objects: &[Object]) -> BTreeSet<Missing> {
        objects
            .iter()
            .filter(|object| !self.has(object.api_version(), &object.kind))
            .map(|object| Missing {
                api_version: object.api_version().to_owned(),
                kind: object.kind.clone(),
                cure: cure(object.api_version()),
            })
            .collect()
    }

    /// The objects of a kind in a namespace; those in all namespaces where none is named.
    pub fn api(
        &self,
        cluster: &Cluster,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
    ) -> Option<Api<DynamicObject>> {
        let found = self.kinds.get(&(api_version.to_owned(), kind.to_owned()))?;
        let client = cluster.client.clone();
        Some(match namespace {
            Some(namespace) if found.namespaced => Api::namespaced_with(client, namespace, &found.resource),
            _ => Api::all_with(client, &found.resource),
        })
    }

    /// The objects of a kind wherever they are; where that may not be asked, those in `namespace`. None where the kind is
    /// not served.
    pub async fn list(
        &self,
        cluster: &Cluster,
        (api_version, kind): (&str, &str),
        namespace: &str,
        which: &ListParams,
    ) -> Result<Vec<DynamicObject>, kube::Error> {
        let Some(everywhere) = self.api(cluster, api_version, kind, None) else { return Ok(Vec::new()) };
        let listed =
            match (everywhere.list(which).await, self.api(cluster, api_version, kind, Some(namespace))) {
                (Err(kube::Error::Api(status)), Some(here)) if status.is_forbidden() => {
                    here.list(which).await
                }
                // Its definition was removed since it was discovered.
                (Err(kube::Error::Api(status)), _) if status.code == 404 => return Ok(Vec::new()),
                (listed, _) => listed,
            };
        listed.map(|list| list.items)
    }
}

/// What brings the kinds of a group.
pub(super) fn cure(api_version: &str) -> &'static str {
    match api_version.split('/').next().unwrap_or_default() {
        "gateway.networking.k8s.io" => {
            "install the Gateway API's standard channel, version 1.1 or later: gateway-api.sigs.k8s.io/guides"
        }
        "gateway.envoyproxy.io" => {
            "install Envoy Gateway: gateway.envoyproxy.io/docs/install; or set `gateway.provider: istio`"
        }
        "cert-manager.io" => {
            "install cert-manager: cert-manager.io/docs/installation; or leave out `certificates.certManager`"
        }
        group if group.ends_with("istio.io") => {
            "install Istio: istio.io/docs/setup/install; or set `gateway.provider: envoy-gateway`"
        }
        _ => "this version of Kubernetes is too old: use 1.29 or later",
    }
}
