//! The pods whose metrics Prometheus reads.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::config::Backend;
use crate::model::Installation;

/// What a target is: the value of its label `job`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    Gateway,
    Collector,
    Node,
}

impl Job {
    /// The label's value.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Job::Gateway => "otlp-gate/gateway",
            Job::Collector => "otlp-gate/collector",
            Job::Node => "otlp-gate/node",
        }
    }
}

/// Pods with metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) job: Job,
    /// Where the pods may be.
    pub(crate) namespaces: Vec<String>,
    /// The labels that select them.
    pub(crate) labels: BTreeMap<String, String>,
    /// The name and number of the container's port with the metrics.
    pub(crate) port: (&'static str, u16),
    /// The path on that port.
    pub(crate) path: &'static str,
}

/// The gate that a target belongs to, as the value of its label `gate`.
pub(crate) fn gate(installation: &Installation<'_>) -> String {
    format!("{}/{}", installation.names.namespace, installation.names.gateway)
}

/// All targets of an installation; `gateway` are the gateway's proxies, if there is one.
pub(crate) fn targets(installation: &Installation<'_>, gateway: Option<Target>) -> Vec<Target> {
    let (config, names) = (installation.config, &installation.names);
    let mut targets: Vec<Target> = gateway.into_iter().collect();
    let collector = |job, namespace, labels| Target {
        job,
        namespaces: vec![namespace],
        labels,
        port: METRICS,
        path: "/metrics",
    };
    if let (true, Backend::Collector(_)) = (config.gateway.enabled, &config.backend) {
        targets.push(collector(Job::Collector, names.namespace.clone(), names.collector_selector()));
    }
    if config.node_local.enabled {
        let namespace = names.node_local_namespace(&config.node_local);
        targets.push(collector(Job::Node, namespace, names.node_local_selector()));
    }
    targets
}

/// The port of a Collector's own metrics.
const METRICS: (&str, u16) = ("metrics", crate::resources::COLLECTOR_METRICS);

impl Target {
    /// Labels of the target, besides those of its pod.
    pub(crate) fn own_labels(&self, gate: &str) -> [(&'static str, String); 2] {
        [("job", self.job.label().to_owned()), ("gate", gate.to_owned())]
    }

    /// The scrape config for a Prometheus without an operator, which finds the pods by the API server.
    pub(super) fn scrape_config(&self, gate: &str) -> Value {
        let selector: Vec<String> = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let copy = |from: &str, to: &str| json!({"source_labels": [format!("__meta_kubernetes_{from}")], "target_label": to});
        let keep = |from: &str, regex: &str| json!({"source_labels": [format!("__meta_kubernetes_{from}")], "regex": regex, "action": "keep"});
        let mut relabel = vec![
            keep("pod_container_port_number", &self.port.1.to_string()),
            keep("pod_phase", "Running"),
            copy("namespace", "namespace"),
            copy("pod_name", "pod"),
            copy("pod_node_name", "node"),
        ];
        let own = self.own_labels(gate);
        relabel.extend(own.map(|(label, value)| json!({"target_label": label, "replacement": value})));
        json!({
            "job_name": format!("{}/{gate}", self.job.label()),
            "kubernetes_sd_configs": [{
                "role": "pod",
                "namespaces": {"names": self.namespaces},
                "selectors": [{"role": "pod", "label": selector.join(",")}],
            }],
            "metrics_path": self.path,
            "relabel_configs": relabel,
        })
    }
}
