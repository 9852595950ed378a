//! The gateway's proxies: their pods, and their metrics by the API server's proxy.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
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
    let api: Api<Pod> = match &workload.namespace {
        Some(namespace) => Api::namespaced(cluster.client.clone(), namespace),
        None => Api::all(cluster.client.clone()),
    };
    let pods = api.list(&ListParams::default().labels(&workload.selector)).await;
    let pods = pods.map_err(|e| api_error("cannot list the gateway's pods", &e))?;
    Ok(pods.items.into_iter().filter(is_running).collect())
}

pub(super) fn is_running(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod.status.as_ref().and_then(|it| it.phase.as_deref()) == Some("Running")
}

/// The metrics of a proxy whose names match `filter`, as Prometheus reads them; nothing if it does not listen yet.
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
