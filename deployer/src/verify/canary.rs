//! Reads what the Collector received from the verification's reserved client. The Collector that otlp-gate deploys
//! sends this telemetry to a pipeline of its own, the canary pipeline, whose debug exporter writes it to the log.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, LogParams};
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, api_error, selecting};
use crate::error::Error;

/// How long an accepted request may take to appear in the log. The Collector writes it before it responds.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);
/// Age of the log lines that are read, in seconds. A run takes less.
const MAX_LOG_AGE: i64 = 120;

/// String attributes or labels by key.
pub(super) type Attributes = BTreeMap<String, String>;

/// Reads the Resources whose attribute `key` has one of these values. Repeats until there is one for each value, or the
/// time is over.
///
/// # Errors
/// The Collector's pods or their logs cannot be read.
pub(super) async fn received(
    cluster: &Cluster,
    namespace: &str,
    labels: &Attributes,
    key: &str,
    values: &[&str],
) -> Result<Vec<Attributes>, Error> {
    let started = Instant::now();
    loop {
        let mut found = Vec::new();
        for log in logs(cluster, namespace, labels).await? {
            let resources = resources(&log).into_iter();
            found.extend(
                resources.filter(|it| it.get(key).is_some_and(|value| values.contains(&value.as_str()))),
            );
        }
        if found.len() >= values.len() || started.elapsed() > LOG_TIMEOUT {
            return Ok(found);
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn logs(cluster: &Cluster, namespace: &str, labels: &Attributes) -> Result<Vec<String>, Error> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let pods = api.list(&selecting(labels)).await;
    let pods = pods.map_err(|e| api_error("cannot list the Collector's pods", &e))?;
    let mut logs = Vec::new();
    for pod in pods.items.iter().filter(|pod| has_log(pod)) {
        let name = pod.name_any();
        let params = LogParams { since_seconds: Some(MAX_LOG_AGE), ..LogParams::default() };
        let log = api.logs(&name, &params).await;
        logs.push(log.map_err(|e| api_error(format_args!("cannot read the log of {name}"), &e))?);
    }
    Ok(logs)
}

/// Whether the pod has a log. One that never ran has none.
fn has_log(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
    matches!(phase, Some("Running" | "Succeeded" | "Failed"))
}

/// Parses the debug exporter's output: for each Resource a heading, then one line per attribute with its type.
fn resources(log: &str) -> Vec<Attributes> {
    let mut all = Vec::new();
    let mut lines = log.lines();
    while let Some(line) = lines.next() {
        if line != "Resource attributes:" {
            continue;
        }
        let mut attributes = Attributes::new();
        for line in lines.by_ref() {
            let Some((key, value)) = attribute(line) else { break };
            attributes.insert(key.to_owned(), value.to_owned());
        }
        all.push(attributes);
    }
    all
}

fn attribute(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.strip_prefix("     -> ")?.split_once(": ")?;
    Some((key, value.strip_prefix("Str(")?.strip_suffix(')')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_found_between_other_log_lines() {
        let log = "\
2026-11-23T15:07:27.095Z\tinfo\tEverything is ready.
Traces\t{\"resource spans\": 1, \"spans\": 1}
ResourceSpans #0
Resource SchemaURL: 
Resource attributes:
     -> otlp_gate.verify: Str(true)
     -> note: Str(a: b (c))
ScopeSpans #0
Attributes:
     -> key: Str(of the span)
Resource attributes:
     -> otlp_gate.verify: Str(true)
";
        let found = resources(log);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].get("note").unwrap(), "a: b (c)");
        assert_eq!(found[0].len(), 2);
        assert_eq!(found[1].len(), 1);
    }
}
