//! Objects that let Prometheus and Grafana watch a gate.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use otlp_gate_core::config::unique_keys;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kubernetes::Kubernetes;

/// Objects that let Prometheus and Grafana watch a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Monitoring {
    /// Whether to make PodMonitors and a PrometheusRule for the Prometheus operator. `auto`: `apply` makes them where the
    /// cluster has these kinds; `render` makes none. Without the operator, `otlp-gate render --monitoring DIR` writes
    /// scrape configs and rules as files.
    pub(crate) prometheus_operator: PrometheusOperator,
    /// Whether to make ConfigMaps with Grafana dashboards, with the label `grafana_dashboard: "1"` that the sidecar of
    /// Grafana's chart looks for.
    pub(crate) dashboards: bool,
    /// More labels of the PodMonitors, the PrometheusRule and the ConfigMaps, by which a Prometheus or Grafana selects
    /// them: `{release: kube-prometheus-stack}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub(crate) labels: BTreeMap<String, String>,
    /// Who may read metrics, as in a NetworkPolicy: the gateway's, the Collector's and the nodes' metrics are open to these
    /// and to no other pods, as far as the cluster enforces NetworkPolicies. Default: the pods in the namespace
    /// `monitoring`.
    pub(crate) from: Vec<Kubernetes<NetworkPolicyPeer>>,
    /// The address of the page with what to do about each alarm; alarms add `#` and their name. Default: the page in the
    /// documentation of this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) runbooks: Option<String>,
    /// A CronJob that runs `otlp-gate verify` in the cluster. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verify: Option<VerifyJob>,
}

/// A CronJob that runs `otlp-gate verify` in the cluster. It has no rights there: it sees the gate as a client does, and
/// does not read what the backend receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct VerifyJob {
    /// The image of the command `otlp-gate`.
    pub(crate) image: String,
    /// When it runs, in the form of a CronJob.
    #[serde(default = "VerifyJob::default_schedule")]
    pub(crate) schedule: String,
    /// The address of the gate, as of `otlp-gate verify --address`: `otel-gateway-istio.otel-collector.svc`. Default:
    /// `gateway.hostname`, so that DNS and the load balancer are tested too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
}

impl VerifyJob {
    fn default_schedule() -> String {
        "*/15 * * * *".to_owned()
    }
}

/// Whether to make objects for the Prometheus operator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PrometheusOperator {
    /// Where the cluster has it.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl Default for Monitoring {
    fn default() -> Self {
        let namespace = ("kubernetes.io/metadata.name".to_owned(), "monitoring".to_owned());
        let selector = LabelSelector { match_labels: Some([namespace].into()), ..LabelSelector::default() };
        let peer = NetworkPolicyPeer { namespace_selector: Some(selector), ..NetworkPolicyPeer::default() };
        Monitoring {
            prometheus_operator: PrometheusOperator::Auto,
            dashboards: true,
            labels: BTreeMap::new(),
            from: vec![Kubernetes(peer)],
            runbooks: None,
            verify: None,
        }
    }
}

impl Monitoring {
    /// Who may read metrics.
    pub(crate) fn peers(&self) -> Vec<NetworkPolicyPeer> {
        self.from.iter().map(|it| it.0.clone()).collect()
    }
}
