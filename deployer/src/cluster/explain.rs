//! Why pods do not come up: the condition, the event or the last words of the log that tell it.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, LogParams};
use serde::Serialize;

use super::{Cluster, failed, selecting};
use crate::error::Error;

/// How Istio's agent (pkg/wasm/convert.go) and Envoy (source/extensions/common/wasm) begin to say that a module is missing.
const WASM_TROUBLE: [&str; 2] = ["error in converting the wasm config", "Unable to create Wasm"];
/// How many of the last lines of a log are searched.
const RECENT: i64 = 200;
/// How many lines of a log are shown.
const LAST_WORDS: i64 = 3;

/// Why something does not come up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Where that was seen.
    pub seen: String,
    /// In the words of whoever noticed it.
    pub words: String,
}

/// Why a Deployment's pods do not come up, if one of them or its controller says so.
pub(super) async fn trouble(cluster: &Cluster, deployment: &Deployment) -> Result<Option<Trouble>, Error> {
    let conditions = deployment.status.as_ref().and_then(|it| it.conditions.as_ref());
    let failure =
        conditions.into_iter().flatten().find(|it| it.type_ == "ReplicaFailure" && it.status == "True");
    if let Some(failure) = failure {
        let seen = format!("deployment/{}", deployment.name_any());
        return Ok(Some(Trouble { seen, words: failure.message.clone().unwrap_or_default() }));
    }
    let selector = deployment.spec.as_ref().map(|spec| &spec.selector);
    of_pods(cluster, &deployment.namespace().unwrap_or_default(), selector).await
}

/// Why pods that are selected like this do not come up, if one does not.
pub(super) async fn of_pods(
    cluster: &Cluster,
    namespace: &str,
    selector: Option<&LabelSelector>,
) -> Result<Option<Trouble>, Error> {
    let labels = selector.and_then(|it| it.match_labels.clone()).unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let mut pods = pods.list(&selecting(&labels)).await.map_err(|e| failed("cannot list pods", &e))?.items;
    // The newest is of the version that is waited for.
    pods.sort_by_key(|pod| std::cmp::Reverse(pod.creation_timestamp()));
    for pod in &pods {
        if let Some(found) = of_pod(cluster, namespace, pod).await {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// What a proxy's log says of the module that it has not got, if anything.
pub(super) async fn filter_trouble(cluster: &Cluster, pod: &Pod) -> Option<Trouble> {
    let name = pod.name_any();
    let container = &pod.spec.as_ref()?.containers.first()?.name;
    let log = log(cluster, &pod.namespace()?, &name, container, RECENT, false).await;
    let line = log.lines().rev().find(|line| WASM_TROUBLE.iter().any(|words| line.contains(words)))?;
    Some(Trouble { seen: format!("log of pod/{name}"), words: one_line(line) })
}

async fn of_pod(cluster: &Cluster, namespace: &str, pod: &Pod) -> Option<Trouble> {
    let name = pod.name_any();
    let status = pod.status.as_ref()?;
    let seen = format!("pod/{name}");
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    for container in containers.filter(|it| !it.ready) {
        if let Some(words) = of_container(container) {
            let previous = container.restart_count > 0;
            let log = one_line(&log(cluster, namespace, &name, &container.name, LAST_WORDS, previous).await);
            let words = if log.is_empty() { words } else { format!("{words}; its log ends with: {log}") };
            return Some(Trouble { seen: format!("{seen}, container {}", container.name), words });
        }
    }
    let unscheduled =
        status.conditions.iter().flatten().find(|it| it.type_ == "PodScheduled" && it.status == "False");
    if let Some(message) = unscheduled.and_then(|it| it.message.clone()) {
        return Some(Trouble { seen, words: message });
    }
    let events: Api<Event> = Api::namespaced(cluster.client.clone(), namespace);
    let about = ListParams::default().fields(&format!("involvedObject.name={name},type=Warning"));
    let warned =
        events.list(&about).await.ok()?.items.into_iter().max_by_key(|it| it.last_timestamp.clone())?;
    let reason = warned.reason.unwrap_or_default();
    Some(Trouble { seen: format!("event of {seen}"), words: format!("{reason}: {}", warned.message?.trim()) })
}

fn of_container(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.clone().unwrap_or_default();
        // Every container begins like this.
        if matches!(reason.as_str(), "ContainerCreating" | "PodInitializing") {
            return None;
        }
        return Some(match &waiting.message {
            Some(message) => format!("{reason}: {message}"),
            None => reason,
        });
    }
    let ended = state.terminated.as_ref()?;
    let reason = ended.reason.clone().unwrap_or_default();
    (ended.exit_code != 0).then(|| format!("{reason} with exit code {}", ended.exit_code))
}

/// The last lines of a container's log, or of that of the one before it; nothing where it cannot be read.
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
