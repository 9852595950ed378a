//! Whether Istio is in the cluster, and whether the gateway on every node needs its mesh.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use super::{Cluster, failed, selecting};
use crate::config::{Backend, Export, MeshMode};
use crate::error::Error;
use crate::resources::{Gate, Mesh, Part};

/// What was found, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noticed {
    /// For the gate's objects.
    pub mesh: Mesh,
    /// In words.
    pub words: String,
}

/// Looks for a control plane that runs and what brings pods into its mesh; definitions alone may be left over from one.
///
/// # Errors
/// The config wants the mesh, and there is none.
pub async fn mesh(cluster: &Cluster, gate: &Gate<'_>) -> Result<Noticed, Error> {
    let none = |words: &str| Noticed { mesh: Mesh::default(), words: words.to_owned() };
    let istiod = match available::<Deployment>(cluster, "app=istiod").await {
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            return Ok(none("not looked for, since Deployments may not be listed"));
        }
        found => found.map_err(|e| failed("cannot list Deployments", &e))?,
    };
    let mode = gate.config.node_local.mesh;
    let Some(istiod) = istiod else {
        return match mode {
            MeshMode::On => Err(Error::failed("`nodeLocal.mesh` is `on`, and no istiod runs in the cluster")
                .hint("install Istio, or set `mesh: auto`")),
            MeshMode::Auto | MeshMode::Off => Ok(none("no istiod runs")),
        };
    };
    let hooks = Api::<MutatingWebhookConfiguration>::all(cluster.client.clone());
    let injector = hooks.list_metadata(&ListParams::default().labels("app=sidecar-injector")).await;
    let injector = injector.is_ok_and(|found| !found.items.is_empty());
    let ambient = available::<DaemonSet>(cluster, "app=ztunnel").await.is_ok_and(|found| found.is_some());
    let backend = match mode {
        MeshMode::Auto => backend(cluster, gate).await?,
        MeshMode::On | MeshMode::Off => Part::None,
    };
    let part = match (mode, backend) {
        (MeshMode::Off, _) | (MeshMode::Auto, Part::None) => Part::None,
        (MeshMode::On, _) if injector => Part::Sidecar,
        (MeshMode::On, _) if ambient => Part::Ambient,
        (MeshMode::On, _) => {
            let message =
                format!("`nodeLocal.mesh` is `on`, and {istiod} has neither an injector nor a ztunnel");
            return Err(Error::failed(message).hint("let Istio inject sidecars, or set `mesh: auto`"));
        }
        (MeshMode::Auto, Part::Sidecar) if injector => Part::Sidecar,
        (MeshMode::Auto, Part::Ambient) if ambient => Part::Ambient,
        (MeshMode::Auto, _) => Part::None,
    };
    let has = match (injector, ambient) {
        (true, true) => "with an injector and ambient mode",
        (true, false) => "with an injector",
        (false, true) => "with ambient mode",
        (false, false) => "without an injector",
    };
    let takes_part = match part {
        Part::None => "the nodes' gateways are not in the mesh",
        Part::Sidecar => "the nodes' gateways send through a sidecar",
        Part::Ambient => "the nodes' gateways send through ztunnel",
    };
    let words = format!("{istiod} {has}; {takes_part}");
    Ok(Noticed { mesh: Mesh { noticed: true, part }, words })
}

/// The first of these of which a pod is there, as `istiod in istio-system`.
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
    /// How many of its pods can be used.
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

/// How the pods take part to which the nodes' gateways send.
async fn backend(cluster: &Cluster, gate: &Gate<'_>) -> Result<Part, Error> {
    for (name, namespace) in services(gate) {
        let services = Api::<Service>::namespaced(cluster.client.clone(), &namespace);
        let found = match services.get_opt(&name).await {
            // Who may not look there says `mesh: on`.
            Err(kube::Error::Api(status)) if status.is_forbidden() => continue,
            found => {
                found.map_err(|e| failed(format_args!("cannot read service {name} in {namespace}"), &e))?
            }
        };
        let Some(selector) = found.and_then(|it| it.spec?.selector).filter(|it| !it.is_empty()) else {
            continue;
        };
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), &namespace);
        let pods = pods.list(&selecting(&selector)).await;
        let pods = pods.map_err(|e| failed(format_args!("cannot list pods in {namespace}"), &e))?;
        if let Some(part) = pods.items.iter().map(part).find(|part| *part != Part::None) {
            return Ok(part);
        }
    }
    Ok(Part::None)
}

fn part(pod: &Pod) -> Part {
    let spec = pod.spec.as_ref();
    let containers =
        spec.into_iter().flat_map(|it| it.containers.iter().chain(it.init_containers.iter().flatten()));
    if containers.map(|it| it.name.as_str()).any(|name| name == "istio-proxy") {
        return Part::Sidecar;
    }
    match pod.annotations().get("ambient.istio.io/redirection").map(String::as_str) {
        Some("enabled") => Part::Ambient,
        _ => Part::None,
    }
}

/// The Services that it sends to, each with its namespace. Our own Collector is never in the mesh.
fn services(gate: &Gate<'_>) -> Vec<(String, String)> {
    match (&gate.config.node_local.export, &gate.config.backend) {
        (None, Backend::Service(service)) => {
            let namespace = service.namespace.as_ref().unwrap_or(&gate.names.namespace);
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

/// The Service of an endpoint such as `http://name.namespace.svc:4317`.
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
