//! The kinds that the API server serves.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersion};
use kube::discovery::{Scope, pinned_group};
use tokio::task::JoinSet;

use super::api_error::api_error;
use super::client::Cluster;
use crate::error::Error;
use crate::model::Object;

/// The kinds that the API server serves, of the API versions that were asked for.
///
/// [`kube::Discovery`] asks for every version of a group and fails if one is missing; here a missing version is a
/// normal result, which [`Discovery::missing`] reports with a hint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Discovery {
    /// By API version and kind.
    kinds: BTreeMap<(String, String), (ApiResource, Scope)>,
}

/// A kind that the API server does not serve.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MissingKind {
    /// The API version, such as `gateway.networking.k8s.io/v1`.
    pub(crate) api_version: String,
    /// The kind, such as `Gateway`.
    pub(crate) kind: String,
    /// What to install.
    pub(crate) hint: &'static str,
}

impl Discovery {
    /// Asks for the kinds of these API versions. A version that is not served has none.
    pub(crate) async fn of<'a>(
        cluster: &Cluster,
        api_versions: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Error> {
        let mut requests = JoinSet::new();
        for version in api_versions.into_iter().collect::<BTreeSet<_>>() {
            let (client, version) = (cluster.client.clone(), version.to_owned());
            let (group, bare) = version.split_once('/').unwrap_or(("", &version));
            let group_version = GroupVersion::gv(group, bare);
            requests.spawn(async move { (version, pinned_group(&client, &group_version).await) });
        }
        let mut kinds = BTreeMap::new();
        while let Some(response) = requests.join_next().await {
            let Ok((version, group)) = response else { continue };
            let group = match group {
                Err(kube::Error::Api(status)) if status.code == 404 => continue,
                group => {
                    group.map_err(|e| api_error(format_args!("cannot read the kinds of {version}"), &e))?
                }
            };
            for (resource, capabilities) in group.recommended_resources() {
                kinds.insert((version.clone(), resource.kind.clone()), (resource, capabilities.scope));
            }
        }
        Ok(Discovery { kinds })
    }

    /// Asks for the kinds of these objects.
    pub(crate) async fn of_objects(cluster: &Cluster, objects: &[Object]) -> Result<Self, Error> {
        Discovery::of(cluster, objects.iter().map(Object::api_version)).await
    }

    fn find(&self, api_version: &str, kind: &str) -> Option<&(ApiResource, Scope)> {
        self.kinds.get(&(api_version.to_owned(), kind.to_owned()))
    }

    /// The kind's name in API paths and in RBAC.
    pub(crate) fn plural(&self, api_version: &str, kind: &str) -> Option<&str> {
        self.find(api_version, kind).map(|(resource, _)| resource.plural.as_str())
    }

    /// The kinds of these objects that the API server does not serve.
    pub(crate) fn missing(&self, objects: &[Object]) -> BTreeSet<MissingKind> {
        objects
            .iter()
            .filter(|object| self.find(object.api_version(), &object.kind).is_none())
            .map(|object| MissingKind {
                api_version: object.api_version().to_owned(),
                kind: object.kind.clone(),
                hint: how_to_install(object.api_version(), &object.kind),
            })
            .collect()
    }

    /// Fails if the API server does not serve all kinds of these objects.
    ///
    /// # Errors
    /// All missing kinds, those with the same hint together.
    pub(crate) fn require(&self, objects: &[Object]) -> Result<(), Error> {
        let mut by_hint: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for MissingKind { api_version, kind, hint } in self.missing(objects) {
            by_hint.entry(hint).or_default().push(format!("{kind} ({api_version})"));
        }
        if by_hint.is_empty() {
            return Ok(());
        }
        let error = |(hint, kinds): (&str, Vec<String>)| {
            Error::failed(format_args!("the cluster has no {}", kinds.join(", "))).hint(hint)
        };
        Err(Error::all(by_hint.into_iter().map(error).collect()))
    }

    /// Access to a kind's objects, in a namespace or, without one, in all. None if the kind is not served.
    pub(crate) fn api(
        &self,
        cluster: &Cluster,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
    ) -> Option<Api<DynamicObject>> {
        let (resource, scope) = self.find(api_version, kind)?;
        let client = cluster.client.clone();
        Some(match namespace {
            Some(namespace) if *scope == Scope::Namespaced => {
                Api::namespaced_with(client, namespace, resource)
            }
            _ => Api::all_with(client, resource),
        })
    }

    /// Access to objects of the same kind and in the same namespace.
    ///
    /// # Errors
    /// The kind is not served.
    pub(super) fn api_of(&self, cluster: &Cluster, object: &Object) -> Result<Api<DynamicObject>, Error> {
        let Object { kind, namespace, .. } = object;
        self.api(cluster, object.api_version(), kind, namespace.as_deref()).ok_or_else(|| {
            Error::failed(format_args!("the cluster has no {kind} ({})", object.api_version()))
        })
    }

    /// Lists a kind's objects in all namespaces, or in `namespace` if RBAC does not allow the former. None if the kind
    /// is not served.
    pub(super) async fn list(
        &self,
        cluster: &Cluster,
        (api_version, kind): (&str, &str),
        namespace: &str,
        params: &ListParams,
    ) -> Result<Vec<DynamicObject>, kube::Error> {
        let Some(all) = self.api(cluster, api_version, kind, None) else { return Ok(Vec::new()) };
        let listed = match (all.list(params).await, self.api(cluster, api_version, kind, Some(namespace))) {
            (Err(kube::Error::Api(status)), Some(namespaced)) if status.is_forbidden() => {
                namespaced.list(params).await
            }
            // The CustomResourceDefinition was deleted since discovery.
            (Err(kube::Error::Api(status)), _) if status.code == 404 => return Ok(Vec::new()),
            (listed, _) => listed,
        };
        listed.map(|list| list.items)
    }
}

/// What to install for a kind.
fn how_to_install(api_version: &str, kind: &str) -> &'static str {
    if kind == "BackendTLSPolicy" {
        return "install the Gateway API's standard channel, version 1.4 or later: gateway-api.sigs.k8s.io/guides; or set \
            `backend.collector.tls: off` for plain text";
    }
    match api_version.split('/').next().unwrap_or_default() {
        "gateway.networking.k8s.io" => {
            "install the Gateway API's standard channel, version 1.1 or later: gateway-api.sigs.k8s.io/guides"
        }
        "gateway.envoyproxy.io" => {
            "install Envoy Gateway: gateway.envoyproxy.io/docs/install; or set `gateway.provider: istio`"
        }
        "monitoring.coreos.com" => {
            "install the Prometheus operator: prometheus-operator.dev/docs/getting-started/installation; or set \
            `monitoring.prometheusOperator: auto`"
        }
        "cert-manager.io" => {
            "install cert-manager: cert-manager.io/docs/installation; or remove `certificates.certManager`"
        }
        group if group.ends_with("istio.io") => {
            "install Istio: istio.io/docs/setup/install; or set `gateway.provider: envoy-gateway`"
        }
        _ => "this version of Kubernetes is too old: use 1.29 or later",
    }
}
