//! Detects Istio's mesh, and whether the node-local gateway must join it.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use super::api_error::{api_error, if_allowed};
use super::client::Cluster;
use super::client::selecting;
use crate::config::{Backend, Config, Export, MeshMode};
use crate::error::Error;
use crate::model::{DataPlaneMode, Mesh};

/// The mesh, and what to tell the user about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetectedMesh {
    /// For the gate's objects.
    pub(crate) mesh: Mesh,
    /// What was found and what follows from it; none if the mesh makes no difference to the gate.
    pub(crate) summary: Option<String>,
}

/// Looks for a running control plane and for what adds pods to its mesh. CustomResourceDefinitions alone may be left
/// from an earlier installation. Without a node-local gateway nothing depends on the mesh, and the cluster is not
/// asked.
///
/// # Errors
/// The config requires the mesh and there is none, or the API server does not respond.
pub(crate) async fn detect_mesh(cluster: &Cluster, config: &Config) -> Result<DetectedMesh, Error> {
    if !config.node_local.enabled {
        return Ok(DetectedMesh { mesh: Mesh::from_config(config), summary: None });
    }
    let none = |summary: &str| DetectedMesh { mesh: Mesh::default(), summary: Some(summary.to_owned()) };
    let istiod = if_allowed(available::<Deployment>(cluster, "app=istiod").await);
    let Some(istiod) = istiod.map_err(|e| api_error("cannot list Deployments", &e))? else {
        return Ok(none("unknown, because Deployments may not be listed"));
    };
    let mode = config.node_local_mesh();
    let Some(istiod) = istiod else {
        return match mode {
            MeshMode::On => Err(Error::failed("`nodeLocal.mesh` is `on`, but no istiod runs in the cluster")
                .hint("install Istio, or set `mesh: auto`")),
            MeshMode::Auto | MeshMode::Off => Ok(none("no istiod runs")),
        };
    };
    let webhooks = Api::<MutatingWebhookConfiguration>::all(cluster.client.clone());
    let injector = webhooks.list_metadata(&ListParams::default().labels("app=sidecar-injector")).await;
    let injector = injector.is_ok_and(|found| !found.items.is_empty());
    let ambient = available::<DaemonSet>(cluster, "app=ztunnel").await.is_ok_and(|found| found.is_some());
    let backend = match mode {
        MeshMode::Auto => backend_mode(cluster, config).await?,
        MeshMode::On | MeshMode::Off => DataPlaneMode::None,
    };
    let node_local = match (mode, backend) {
        (MeshMode::Off, _) | (MeshMode::Auto, DataPlaneMode::None) => DataPlaneMode::None,
        (MeshMode::On, _) if injector => DataPlaneMode::Sidecar,
        (MeshMode::On, _) if ambient => DataPlaneMode::Ambient,
        (MeshMode::On, _) => {
            let message = format!(
                "`nodeLocal.mesh` is `on`, but {istiod} has neither a sidecar injector nor a ztunnel"
            );
            return Err(Error::failed(message).hint("enable sidecar injection in Istio, or set `mesh: auto`"));
        }
        (MeshMode::Auto, DataPlaneMode::Sidecar) if injector => DataPlaneMode::Sidecar,
        (MeshMode::Auto, DataPlaneMode::Ambient) if ambient => DataPlaneMode::Ambient,
        (MeshMode::Auto, _) => DataPlaneMode::None,
    };
    let offers = match (injector, ambient) {
        (true, true) => "with a sidecar injector and ambient mode",
        (true, false) => "with a sidecar injector",
        (false, true) => "with ambient mode",
        (false, false) => "without a sidecar injector",
    };
    let membership = match node_local {
        DataPlaneMode::None => "the node-local gateway is not in the mesh",
        DataPlaneMode::Sidecar => "the node-local gateway sends through a sidecar",
        DataPlaneMode::Ambient => "the node-local gateway sends through ztunnel",
    };
    let summary = Some(format!("{istiod} {offers}; {membership}"));
    Ok(DetectedMesh { mesh: Mesh { present: true, node_local }, summary })
}

/// The first workload that has an available pod, as in `istiod in istio-system`.
async fn available<K: Workload>(cluster: &Cluster, selector: &str) -> Result<Option<String>, kube::Error> {
    let found = Api::<K>::all(cluster.client.clone()).list(&ListParams::default().labels(selector)).await?;
    let found = found.items.into_iter().find(|it| it.available() > 0);
    Ok(found.map(|it| format!("{} in {}", it.name_any(), it.namespace().unwrap_or_default())))
}

trait Workload:
    kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + serde::de::DeserializeOwned
{
    /// How many of its pods are available.
    fn available(&self) -> i32;
}

impl Workload for Deployment {
    fn available(&self) -> i32 {
        self.status.as_ref().and_then(|it| it.available_replicas).unwrap_or(0)
    }
}

impl Workload for DaemonSet {
    fn available(&self) -> i32 {
        self.status.as_ref().and_then(|it| it.number_available).unwrap_or(0)
    }
}

/// How the pods that the node-local gateway sends to join the mesh.
async fn backend_mode(cluster: &Cluster, config: &Config) -> Result<DataPlaneMode, Error> {
    for (name, namespace) in services(config) {
        let services = Api::<Service>::namespaced(cluster.client.clone(), &namespace);
        // A user who may not read the Service can set `mesh: on`.
        let found = if_allowed(services.get_opt(&name).await);
        let found =
            found.map_err(|e| api_error(format_args!("cannot read service/{name} in {namespace}"), &e))?;
        let selector = found.flatten().and_then(|it| it.spec?.selector).filter(|it| !it.is_empty());
        let Some(selector) = selector else { continue };
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), &namespace);
        let pods = pods.list(&selecting(&selector)).await;
        let pods = pods.map_err(|e| api_error(format_args!("cannot list pods in {namespace}"), &e))?;
        if let Some(mode) = pods.items.iter().map(pod_mode).find(|mode| *mode != DataPlaneMode::None) {
            return Ok(mode);
        }
    }
    Ok(DataPlaneMode::None)
}

fn pod_mode(pod: &Pod) -> DataPlaneMode {
    let spec = pod.spec.as_ref();
    let containers =
        spec.into_iter().flat_map(|it| it.containers.iter().chain(it.init_containers.iter().flatten()));
    if containers.map(|it| it.name.as_str()).any(|name| name == "istio-proxy") {
        return DataPlaneMode::Sidecar;
    }
    match pod.annotations().get("ambient.istio.io/redirection").map(String::as_str) {
        Some("enabled") => DataPlaneMode::Ambient,
        _ => DataPlaneMode::None,
    }
}

/// Name and namespace of the Services that the node-local gateway sends to. The gate's own Collector is never in the
/// mesh.
fn services(config: &Config) -> Vec<(String, String)> {
    match (&config.node_local.export, &config.backend) {
        (None, Backend::Service(service)) => {
            let namespace = service.namespace.as_ref().unwrap_or(&config.gateway.namespace);
            vec![(service.name.clone(), namespace.clone())]
        }
        (None, Backend::Collector(_)) => Vec::new(),
        (Some(Export::Gate(remote)), _) => service(&remote.endpoint).into_iter().collect(),
        (Some(Export::Exporters(exporters)), _) => {
            let endpoint = |it: &serde_json::Value| service(it.get("endpoint")?.as_str()?);
            exporters.values().filter_map(endpoint).collect()
        }
    }
}

/// Name and namespace of the Service in an endpoint such as `http://name.namespace.svc:4317`.
fn service(endpoint: &str) -> Option<(String, String)> {
    let host = endpoint.rsplit_once("//").map_or(endpoint, |(_, rest)| rest);
    let host = host.split(['/', ':']).next()?;
    let mut labels = host.split('.');
    let (name, namespace) = (labels.next()?, labels.next()?);
    matches!(labels.next(), None | Some("svc")).then(|| (name.to_owned(), namespace.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::service;

    #[test]
    fn a_host_of_the_cluster_is_a_service() {
        for (endpoint, expected) in [
            ("otel.observability:4317", Some("otel/observability")),
            ("http://otel.observability.svc:4318/v1", Some("otel/observability")),
            ("https://otel.observability.svc.cluster.local", Some("otel/observability")),
            ("otel:4317", None),
            ("otlp.vendor.example:4317", None),
        ] {
            let found = service(endpoint).map(|(name, namespace)| format!("{name}/{namespace}"));
            assert_eq!(found.as_deref(), expected, "{endpoint}");
        }
    }
}
