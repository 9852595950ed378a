//! Why pods are not ready, from conditions, container states, events and logs.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, LogParams};
use serde::Serialize;

use super::api_error::api_error;
use super::client::Cluster;
use super::client::selecting;
use crate::error::Error;

/// What Istio's agent (pkg/wasm/convert.go) and Envoy (source/extensions/common/wasm) log when a module is missing.
pub(super) const WASM_ERRORS: [&str; 2] = ["error in converting the wasm config", "Unable to create Wasm"];
/// What the filter logs when it does not reach the engine of shared quotas.
pub(super) const ENGINE_ERRORS: [&str; 1] = ["quota engine does not answer"];
/// How many lines at the end of a log are searched.
const SEARCHED_LINES: i64 = 200;
/// How many lines at the end of a log are shown.
const SHOWN_LINES: i64 = 3;

/// Why pods are not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Diagnosis {
    /// What reports it: an object, an event or a log.
    #[serde(rename = "seen")]
    pub(crate) source: String,
    /// The message, as its source words it.
    #[serde(rename = "words")]
    pub(crate) message: String,
}

/// Why a Deployment's pods are not ready, if its controller or one of the pods reports it.
pub(super) async fn of_deployment(
    cluster: &Cluster,
    deployment: &Deployment,
) -> Result<Option<Diagnosis>, Error> {
    let conditions = deployment.status.as_ref().and_then(|it| it.conditions.as_ref());
    let failure =
        conditions.into_iter().flatten().find(|it| it.type_ == "ReplicaFailure" && it.status == "True");
    if let Some(failure) = failure {
        let source = format!("deployment/{}", deployment.name_any());
        return Ok(Some(Diagnosis { source, message: failure.message.clone().unwrap_or_default() }));
    }
    let selector = deployment.spec.as_ref().map(|spec| &spec.selector);
    of_pods(cluster, &deployment.namespace().unwrap_or_default(), selector).await
}

/// Why the selected pods are not ready, if one of them is not.
pub(super) async fn of_pods(
    cluster: &Cluster,
    namespace: &str,
    selector: Option<&LabelSelector>,
) -> Result<Option<Diagnosis>, Error> {
    let labels = selector.and_then(|it| it.match_labels.clone()).unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let mut pods = pods.list(&selecting(&labels)).await.map_err(|e| api_error("cannot list pods", &e))?.items;
    // The newest pod belongs to the current rollout.
    pods.sort_by_key(|pod| std::cmp::Reverse(pod.creation_timestamp()));
    for pod in &pods {
        if let Some(found) = of_pod(cluster, namespace, pod).await {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The last line in a proxy's log that has one of these errors.
pub(super) async fn of_proxy(cluster: &Cluster, pod: &Pod, errors: &[&str]) -> Option<Diagnosis> {
    let name = pod.name_any();
    let container = &pod.spec.as_ref()?.containers.first()?.name;
    let log = log(cluster, &pod.namespace()?, &name, container, SEARCHED_LINES, false).await;
    let line = log.lines().rev().find(|line| errors.iter().any(|error| line.contains(error)))?;
    Some(Diagnosis { source: format!("log of pod/{name}"), message: one_line(line) })
}

async fn of_pod(cluster: &Cluster, namespace: &str, pod: &Pod) -> Option<Diagnosis> {
    let name = pod.name_any();
    let status = pod.status.as_ref()?;
    let source = format!("pod/{name}");
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    for container in containers.filter(|it| !it.ready) {
        if let Some(state) = of_container(container) {
            let previous = container.restart_count > 0;
            let log = one_line(&log(cluster, namespace, &name, &container.name, SHOWN_LINES, previous).await);
            let message = if log.is_empty() { state } else { format!("{state}; its log ends with: {log}") };
            return Some(Diagnosis { source: format!("{source}, container {}", container.name), message });
        }
    }
    let unscheduled =
        status.conditions.iter().flatten().find(|it| it.type_ == "PodScheduled" && it.status == "False");
    if let Some(message) = unscheduled.and_then(|it| it.message.clone()) {
        return Some(Diagnosis { source, message });
    }
    let events: Api<Event> = Api::namespaced(cluster.client.clone(), namespace);
    let about = ListParams::default().fields(&format!("involvedObject.name={name},type=Warning"));
    let newest =
        events.list(&about).await.ok()?.items.into_iter().max_by_key(|it| it.last_timestamp.clone())?;
    let message = format!("{}: {}", newest.reason.unwrap_or_default(), newest.message?.trim());
    Some(Diagnosis { source: format!("event of {source}"), message })
}

/// Why a container is not running; none if it is still starting.
fn of_container(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.clone().unwrap_or_default();
        // Every container starts in one of these states.
        if matches!(reason.as_str(), "ContainerCreating" | "PodInitializing") {
            return None;
        }
        return Some(match &waiting.message {
            Some(message) => format!("{reason}: {message}"),
            None => reason,
        });
    }
    let terminated = state.terminated.as_ref()?;
    let reason = terminated.reason.clone().unwrap_or_default();
    (terminated.exit_code != 0).then(|| format!("{reason} with exit code {}", terminated.exit_code))
}

/// The last lines of the log of a container, or of its previous instance. Empty if the log cannot be read.
async fn log(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    container: &str,
    lines: i64,
    previous: bool,
) -> String {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let params = LogParams {
        container: Some(container.to_owned()),
        previous,
        tail_lines: Some(lines),
        ..LogParams::default()
    };
    pods.logs(pod, &params).await.unwrap_or_default()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
