//! The gateway's proxies: their pods, and their metrics by the API server's proxy.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::api::{Api, ListParams};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::api_error::api_error;
use super::client::Cluster;
use crate::error::Error;
use crate::providers::Workload;

/// How long a proxy may take to return its metrics.
const METRICS_TIMEOUT: Duration = Duration::from_secs(3);

/// The pods of the proxies that run.
///
/// # Errors
/// The API server does not respond, or does not allow to list pods.
pub(crate) async fn running_proxies(cluster: &Cluster, workload: &Workload) -> Result<Vec<Pod>, Error> {
    let pods: Vec<Pod> =
        list(cluster, workload).await.map_err(|e| api_error("cannot list the gateway's pods", &e))?;
    Ok(pods.into_iter().filter(is_running).collect())
}

/// The objects of a kind that belong to the proxies: their Deployment, or their pods.
pub(super) async fn list<K>(cluster: &Cluster, workload: &Workload) -> kube::Result<Vec<K>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = match &workload.namespace {
        Some(namespace) => Api::namespaced(cluster.client.clone(), namespace),
        None => Api::all(cluster.client.clone()),
    };
    Ok(api.list(&ListParams::default().labels(&workload.selector)).await?.items)
}

/// Whether a pod has started, and does not end.
pub(crate) fn is_running(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod.status.as_ref().and_then(|it| it.phase.as_deref()) == Some("Running")
}

/// The metrics of a proxy whose names match the regular expression `filter`, encoded for an address, as Prometheus reads
/// them; nothing if it does not listen yet.
///
/// # Errors
/// Why they cannot be read.
pub(crate) async fn proxy_metrics(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    port: u16,
    filter: &str,
) -> Result<String, String> {
    let path =
        format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/stats/prometheus?filter={filter}");
    let request = http::Request::get(path).body(Vec::new()).map_err(|e| e.to_string())?;
    match timeout(METRICS_TIMEOUT, cluster.pods.request_text(request)).await {
        Err(_) => Err(format!("no response within {} s", METRICS_TIMEOUT.as_secs())),
        // A starting proxy does not listen yet.
        Ok(Err(kube::Error::Api(status))) if status.code >= 500 => Ok(String::new()),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(text)) => Ok(text),
    }
}
