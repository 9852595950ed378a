//! What lets Prometheus and Grafana watch a gate: PodMonitors, a PrometheusRule, dashboards, the NetworkPolicy of the
//! gateway's metrics, and the CronJob that runs `verify`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde_json::json;

use super::collector_pod::policy_port;
use super::verify_job;
use crate::config::Monitoring;
use crate::error::Error;
use crate::model::{Installation, Object};
use crate::monitoring::{self, Job, Target};

/// The API version of the Prometheus operator's kinds.
pub(crate) const OPERATOR_API: &str = "monitoring.coreos.com/v1";

/// The label by which the sidecar of Grafana's chart finds dashboards.
const DASHBOARD_LABEL: (&str, &str) = ("grafana_dashboard", "1");

/// The objects for these targets; none if the config has no `monitoring`. `public` are the ports of the gateway's proxies
/// that everyone may connect to.
pub(crate) fn objects(
    installation: &Installation<'_>,
    targets: &[Target],
    public: &[u16],
) -> Result<Vec<Object>, Error> {
    let Some(settings) = &installation.config.monitoring else { return Ok(Vec::new()) };
    let mut objects = Vec::new();
    if let Some(gateway) = targets.iter().find(|it| it.job == Job::Gateway) {
        for namespace in &gateway.namespaces {
            objects.push(Object::builtin(&network_policy(
                installation,
                settings,
                gateway,
                public,
                namespace,
            ))?);
        }
    }
    if let (true, Some(job)) = (installation.config.gateway.enabled, &settings.verify) {
        objects.extend(verify_job::objects(installation, job)?);
    }
    if settings.dashboards {
        for dashboard in monitoring::dashboards() {
            let mut metadata = metadata(installation, settings, &format!("dashboard-{}", dashboard.name));
            let label = (DASHBOARD_LABEL.0.to_owned(), DASHBOARD_LABEL.1.to_owned());
            metadata.labels.get_or_insert_default().extend([label]);
            let data = Some([(dashboard.file_name(), dashboard.text())].into());
            objects.push(Object::builtin(&ConfigMap { metadata, data, ..ConfigMap::default() })?);
        }
    }
    if installation.prometheus_operator {
        for target in targets {
            objects.push(pod_monitor(installation, settings, target)?);
        }
        let groups = monitoring::rule_groups(settings.runbooks.as_deref(), &monitoring::gate(installation));
        let metadata = metadata(installation, settings, "alarms");
        objects.push(Object::custom(OPERATOR_API, "PrometheusRule", metadata, json!({"groups": groups}))?);
    }
    Ok(objects)
}

/// Metadata of an object that Prometheus or Grafana select by its labels.
fn metadata(installation: &Installation<'_>, settings: &Monitoring, end: &str) -> ObjectMeta {
    let names = &installation.names;
    let mut metadata = names.metadata(&format!("{}-{end}", names.gateway));
    metadata.labels.get_or_insert_default().extend(settings.labels.clone());
    metadata
}

fn pod_monitor(
    installation: &Installation<'_>,
    settings: &Monitoring,
    target: &Target,
) -> Result<Object, Error> {
    let own = target.own_labels(&monitoring::gate(installation));
    let relabelings = own.map(|(label, value)| json!({"targetLabel": label, "replacement": value}));
    let spec = json!({
        "namespaceSelector": {"matchNames": target.namespaces},
        "selector": {"matchLabels": target.labels},
        "podMetricsEndpoints": [{"port": target.port.0, "path": target.path, "relabelings": relabelings}],
    });
    let end = match target.job {
        Job::Gateway => "gateway",
        Job::Collector => "collector",
        Job::Node => "node",
    };
    Object::custom(OPERATOR_API, "PodMonitor", metadata(installation, settings, end), spec)
}

/// Opens the gateway's metrics to those who may read them, and the listeners to everyone. A pod that a NetworkPolicy
/// selects has no other open ports.
fn network_policy(
    installation: &Installation<'_>,
    settings: &Monitoring,
    gateway: &Target,
    public: &[u16],
    namespace: &str,
) -> NetworkPolicy {
    let names = &installation.names;
    let name = match namespace == names.namespace {
        true => format!("{}-metrics", names.gateway),
        // In another namespace there may be those of several gates.
        false => format!("{}.{}-metrics", names.namespace, names.gateway),
    };
    let mut metadata = names.metadata(&name);
    metadata.namespace = Some(namespace.to_owned());
    let labels: BTreeMap<String, String> = gateway.labels.clone();
    let listeners = public.iter().map(|port| policy_port(i32::from(*port))).collect();
    NetworkPolicy {
        metadata,
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![
                NetworkPolicyIngressRule { from: None, ports: Some(listeners) },
                metrics_rule(settings, gateway.port.1),
            ]),
            ..NetworkPolicySpec::default()
        }),
    }
}

/// Who may read the metrics on a port.
pub(super) fn metrics_rule(settings: &Monitoring, port: u16) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule { from: Some(settings.peers()), ports: Some(vec![policy_port(port.into())]) }
}
