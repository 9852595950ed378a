//! The alarms.

use serde_json::{Value, json};

use super::recordings;

/// The page that has a heading for each alarm, with what to do.
const PAGE: &str = "docs/guides/monitoring.md";

/// What an alarm is about, with a heading of its own in the docs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Proxies,
    Backend,
    Clients,
    Collectors,
    Certificates,
}

impl Group {
    pub(crate) const ALL: [Group; 5] =
        [Group::Proxies, Group::Backend, Group::Clients, Group::Collectors, Group::Certificates];

    /// The heading in the docs.
    #[cfg(test)]
    pub(crate) fn title(self) -> &'static str {
        match self {
            Group::Proxies => "Configuration and proxies",
            Group::Backend => "Backend",
            Group::Clients => "Clients",
            Group::Collectors => "Collectors",
            Group::Certificates => "Certificates and probes",
        }
    }

    /// The name of the group of rules.
    fn name(self) -> &'static str {
        match self {
            Group::Proxies => "otlp-gate-proxies",
            Group::Backend => "otlp-gate-backend",
            Group::Clients => "otlp-gate-clients",
            Group::Collectors => "otlp-gate-collectors",
            Group::Certificates => "otlp-gate-certificates",
        }
    }
}

/// The value of an alarm's label `severity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Telemetry is lost or rejected, or a limit is not enforced: act now.
    Critical,
    /// Act within a day.
    Warning,
    /// For dashboards and reports.
    Info,
}

impl Urgency {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Urgency::Critical => "critical",
            Urgency::Warning => "warning",
            Urgency::Info => "info",
        }
    }
}

/// One alarm.
#[derive(Debug)]
pub(crate) struct Alarm {
    pub(crate) group: Group,
    /// Its name, which is also its heading in the docs.
    pub(crate) name: &'static str,
    /// PromQL that gives a series while something is wrong.
    pub(crate) expression: String,
    /// How long that must last, in minutes.
    pub(crate) minutes: u32,
    pub(crate) urgency: Urgency,
    /// What happened. `{client}` and other labels of the series in braces become their values.
    pub(crate) summary: &'static str,
    /// What it means and what to do, in Markdown, with links from docs/guides.
    pub(crate) action: &'static str,
}

impl Alarm {
    /// The address of the alarm's heading in the docs, on the page at `page`.
    fn runbook(&self, page: &str) -> String {
        format!("{page}#{}", self.name.to_lowercase())
    }

    /// The rule as Prometheus reads it.
    fn rule(&self, page: &str) -> Value {
        let mut rule = json!({
            "alert": self.name,
            "expr": self.expression,
            "labels": {"severity": self.urgency.name()},
            "annotations": {
                "summary": templated(self.summary),
                "description": plain(self.action),
                "runbook_url": self.runbook(page),
            },
        });
        if let (1.., Some(rule)) = (self.minutes, rule.as_object_mut()) {
            rule.insert("for".to_owned(), format!("{}m", self.minutes).into());
        }
        rule
    }
}

/// The groups of all rules, as in a rule file of Prometheus and in a PrometheusRule.
pub(crate) fn rule_groups(page: Option<&str>, gate: &str) -> Vec<Value> {
    let page = page.map_or_else(default_page, str::to_owned);
    let alarms = alarms();
    let of = |group: Group| {
        let rules: Vec<Value> =
            alarms.iter().filter(|it| it.group == group).map(|it| it.rule(&page)).collect();
        json!({"name": group.name(), "rules": rules})
    };
    let mut groups: Vec<Value> = Group::ALL.map(of).into();
    groups.push(recordings::rule_group(gate));
    groups
}

/// Where the docs of this version are, as far as the package has an address.
fn default_page() -> String {
    match env!("CARGO_PKG_REPOSITORY") {
        "" => PAGE.to_owned(),
        repository => format!("{repository}/blob/v{}/{PAGE}", env!("CARGO_PKG_VERSION")),
    }
}

/// `{label}` as a template of Prometheus.
fn templated(text: &str) -> String {
    text.replace('{', "{{ $labels.").replace('}', " }}")
}

/// Markdown as plain text: links become their words.
fn plain(markdown: &str) -> String {
    let (mut text, mut rest) = (String::new(), markdown);
    while let Some((before, link)) = rest.split_once('[') {
        text.push_str(before);
        let found = link.split_once("](").filter(|(words, _)| !words.contains('['));
        let found = found.and_then(|(words, after)| Some((words, after.split_once(')')?.1)));
        let Some((words, after)) = found else {
            text.push('[');
            rest = link;
            continue;
        };
        text.push_str(words);
        rest = after;
    }
    text + rest
}

/// The rate of requests with a result, by gate and by these labels.
fn results(matching: &str, labels: &str) -> String {
    format!("sum by (gate{labels}) (rate(otlp_gate_requests_total{{result{matching}}}[5m])) > 0")
}

/// What has been counted in the last ten minutes, by gate and by these labels. A counter that does not exist before its
/// first event has no increase at that event, so a new series counts as well.
fn counted(selector: &str, labels: &str) -> String {
    format!(
        "sum by (gate{labels}) (increase({selector}[10m]) > 0 or ({selector} unless {selector} offset 10m)) > 0"
    )
}

/// One of these counters of a Collector increases.
fn any_of(counters: &[&str], labels: &str) -> String {
    let rate = |name: &&str| format!("sum by (gate, job{labels}) (rate({name}[5m])) > 0");
    counters.iter().map(rate).collect::<Vec<_>>().join(" or ")
}

/// All alarms.
#[expect(clippy::too_many_lines, reason = "a list, with one entry for each alarm")]
pub(crate) fn alarms() -> Vec<Alarm> {
    use Group::{Backend, Certificates, Clients, Collectors, Proxies};
    use Urgency::{Critical, Info, Warning};
    vec![
        Alarm {
            group: Proxies,
            name: "OtlpGateTargetDown",
            expression: "up{job=~\"otlp-gate/.+\"} == 0".to_owned(),
            minutes: 5,
            urgency: Warning,
            summary: "Prometheus cannot read the metrics of {instance} ({job})",
            action: "The proxy, Collector or node gateway is down, or a NetworkPolicy keeps Prometheus out: \
                     `monitoring.from` in the config names who may read metrics. Run `otlp-gate status`.",
        },
        Alarm {
            group: Proxies,
            name: "OtlpGateWithoutFilter",
            expression: "up{job=\"otlp-gate/gateway\"} == 1 unless on (gate, instance) otlp_gate_policy_revision"
                .to_owned(),
            minutes: 5,
            urgency: Critical,
            summary: "the proxy {instance} of {gate} runs without the filter",
            action: "Every client is rejected there. See [the module](troubleshooting.md#the-module).",
        },
        Alarm {
            group: Proxies,
            name: "OtlpGateNoPolicy",
            expression: results("=\"no_policy\"", ""),
            minutes: 2,
            urgency: Critical,
            summary: "a proxy of {gate} has no policy",
            action: "Clients are answered that they must retry. Run `otlp-gate status`, then `otlp-gate apply`.",
        },
        Alarm {
            group: Proxies,
            name: "OtlpGatePolicyRejected",
            expression: counted("otlp_gate_rejected_policies_total", ""),
            minutes: 0,
            urgency: Critical,
            summary: "proxies of {gate} have rejected a policy",
            action: "A policy with errors reached the proxies. The last valid one stays in effect. Run `otlp-gate check`, \
                     then `otlp-gate apply`.",
        },
        Alarm {
            group: Proxies,
            name: "OtlpGatePoliciesDiffer",
            expression: "count by (gate) (count_values by (gate) (\"revision\", otlp_gate_policy_revision)) > 1"
                .to_owned(),
            minutes: 10,
            urgency: Warning,
            summary: "the proxies of {gate} have different policies",
            action: "A rollout has not finished, or a proxy does not receive the policy. Run `otlp-gate status`.",
        },
        Alarm {
            group: Proxies,
            name: "OtlpGateUnmetered",
            expression: counted("otlp_gate_unmetered_requests_total", ", client"),
            minutes: 0,
            urgency: Critical,
            summary: "quotas of {gate} were not enforced for requests of {client}",
            action: "The shared counters of a proxy failed. Read the proxy's log and restart the proxy.",
        },
        Alarm {
            group: Proxies,
            name: "OtlpGateQuotaEngineDown",
            expression: "min by (gate, instance) (otlp_gate_quota_engine_up) == 0".to_owned(),
            minutes: 1,
            urgency: Critical,
            summary: "the proxy {instance} of {gate} does not reach the quota engine",
            action: "The proxy has quotas of its own meanwhile, so clients can get more than their quota. The proxy's log \
                     has the reason. See [the quota engine](troubleshooting.md#the-quota-engine).",
        },
        Alarm {
            group: Proxies,
            name: "OtlpGateQuotaReportsFail",
            expression: "sum by (gate) (rate(otlp_gate_quota_reports_total{result=\"failed\"}[5m])) / \
                         sum by (gate) (rate(otlp_gate_quota_reports_total[5m])) > 0.05"
                .to_owned(),
            minutes: 5,
            urgency: Warning,
            summary: "the quota engine of {gate} fails more than 5 % of the reports",
            action: "The engine answers, but not to all reports: it is too slow, full, or rejects commands. Read the \
                     proxy's log. See [the quota engine](troubleshooting.md#the-quota-engine).",
        },
        Alarm {
            group: Proxies,
            name: "OtlpGateQuotaLimitsDiffer",
            expression: "max by (gate) (otlp_gate_quota_engine_replicas_with_other_limits) > 0".to_owned(),
            minutes: 10,
            urgency: Warning,
            summary: "gates that name the same quota engine as {gate} have other limits",
            action: "Their quotas do not count together. Give all of them the same tiers and the same \
                     `quotas.total`, or other names in `quotas.engine.name`, and run `otlp-gate apply`.",
        },
        Alarm {
            group: Proxies,
            name: "OtlpGateQuotaOverBurst",
            expression: "sum by (gate) (rate(otlp_gate_quota_over_burst_total[5m])) > 1".to_owned(),
            minutes: 10,
            urgency: Warning,
            summary: "clients of {gate} get more than their burst on several replicas",
            action: "It is paid back. The engine answers slowly, or proxies do not reach it.",
        },
        Alarm {
            group: Proxies,
            name: "OtlpGateCertificateWithheld",
            expression: counted("otlp_gate_requests_total{result=\"certificate_withheld\"}", ""),
            minutes: 0,
            urgency: Critical,
            summary: "the gateway of {gate} does not pass client certificates to the filter",
            action: "Its `x-forwarded-client-cert` settings were changed. Clients are answered that they must retry. Run \
                     `otlp-gate apply`. See \
                     [certificate validity](../concepts/identity-and-trust.md#certificate-validity).",
        },
        Alarm {
            group: Proxies,
            name: "OtlpGateForeignCertificateHeaders",
            expression: counted("otlp_gate_foreign_client_cert_headers_total", ""),
            minutes: 0,
            urgency: Warning,
            summary: "the gateway of {gate} passes on what clients write in x-forwarded-client-cert",
            action: "The gateway's forwarding mode was changed. The filter ignores what clients write. Run \
                     `otlp-gate doctor`, then `otlp-gate apply`. `otlp-gate local` always appends to the header, so there \
                     this alarm shows clients that send it.",
        },
        Alarm {
            group: Backend,
            name: "OtlpGateBackendFails",
            expression: results("=~\"backend_.+\"", ", result"),
            minutes: 5,
            urgency: Critical,
            summary: "the backend of {gate} does not accept requests: {result}",
            action: "`backend_refused`: the Collector rejects requests; read its log and check its exporters. \
                     `backend_failed`: it is unreachable or too slow. Clients retry what can be retried.",
        },
        Alarm {
            group: Backend,
            name: "OtlpGateNotServing",
            expression: results("=\"not_serving\"", ""),
            minutes: 2,
            urgency: Critical,
            summary: "health checks of {gate} find the backend unreachable or rejecting",
            action: "Load balancers stop sending to the gateway. Read the Collector's log. See \
                     [health checks](../reference/health-checks.md).",
        },
        Alarm {
            group: Backend,
            name: "OtlpGateBusy",
            expression: results("=\"busy\"", ""),
            minutes: 2,
            urgency: Warning,
            summary: "workers of {gate} hold as many open requests as they may",
            action: "Clients are answered that they must retry. The cause is a slow backend, or a client that keeps \
                     requests open: find it ([isolation](../concepts/isolation.md)). Add replicas, or raise `limits`.",
        },
        Alarm {
            group: Clients,
            name: "OtlpGateQuotaNearlyUsed",
            expression: "max by (gate, client) (otlp_gate_quota_used_percent{client!=\"\"}) > 80 and on (gate, client) \
                         sum by (gate, client) (rate(otlp_gate_requests_total[5m])) > 0"
                .to_owned(),
            minutes: 10,
            urgency: Warning,
            summary: "{client} sends almost its whole quota to {gate}",
            action: "Most bursts of this client will be throttled. Agree with it on less, or raise its tier \
                     ([quotas](quotas.md)).",
        },
        Alarm {
            group: Clients,
            name: "OtlpGateOverQuota",
            expression: results("=\"over_quota\"", ", client"),
            minutes: 60,
            urgency: Warning,
            summary: "{client} sends more than its quota to {gate}, and will drop data",
            action: "Agree with the client on less, or raise its tier ([quotas](quotas.md)).",
        },
        Alarm {
            group: Clients,
            name: "OtlpGateOverTotal",
            expression: results("=\"over_total\"", ""),
            minutes: 10,
            urgency: Warning,
            summary: "all clients of {gate} together send more than `quotas.total`",
            action: "Clients are throttled that are within their own quota. Raise `quotas.total` if the backend can take \
                     more, or lower the quotas of clients ([quotas](quotas.md)).",
        },
        Alarm {
            group: Clients,
            name: "OtlpGateForgedAttributes",
            expression: "sum by (gate, client) (increase(otlp_gate_forged_attributes_total[1h])) > 0".to_owned(),
            minutes: 60,
            urgency: Info,
            summary: "{client} sends attributes to {gate} that only the gate may set",
            action: "They are removed. Usually the client's own configuration sets `tenant.id` or another owned key: ask \
                     it to stop. See [clients](clients.md).",
        },
        Alarm {
            group: Clients,
            name: "OtlpGateCertificateRejected",
            expression: results("=~\"certificate_(expired|not_yet_valid|revoked|unreadable)\"", ", client, result"),
            minutes: 1,
            urgency: Warning,
            summary: "certificates of clients are rejected by {gate}: {result}",
            action: "`certificate_expired`: a client uses a connection that is older than its certificate's expiry; give \
                     it its new certificate and let it reconnect. `certificate_not_yet_valid`: a clock is wrong. \
                     `certificate_revoked`: a revoked client still sends. See [certificates](certificates.md).",
        },
        Alarm {
            group: Clients,
            name: "OtlpGateUnknownClients",
            expression: results("=~\"no_certificate|unknown_client|denied\"", ", result"),
            minutes: 5,
            urgency: Warning,
            summary: "connections without a known client at {gate}: {result}",
            action: "Somewhere a client has an unknown or denied certificate, or a rule is missing in `clients`. The \
                     proxy's access log has the address. `otlp-gate whoami CERT` shows which rule a certificate matches.",
        },
        Alarm {
            group: Collectors,
            name: "OtlpGateCollectorRefuses",
            expression: any_of(
                &[
                    "otelcol_receiver_refused_spans",
                    "otelcol_receiver_refused_metric_points",
                    "otelcol_receiver_refused_log_records",
                ],
                "",
            ),
            minutes: 5,
            urgency: Warning,
            summary: "the Collectors of {gate} ({job}) reject telemetry",
            action: "Their memory limit is reached, or an exporter's backend rejects what is sent. Read their logs. Add \
                     replicas, or repair the exporter's backend.",
        },
        Alarm {
            group: Collectors,
            name: "OtlpGateCollectorQueueFills",
            expression: "max by (gate, job, instance, exporter) \
                         (otelcol_exporter_queue_size / otelcol_exporter_queue_capacity) > 0.8"
                .to_owned(),
            minutes: 5,
            urgency: Warning,
            summary: "the queue of {exporter} at {instance} ({job}) is more than 80 % full",
            action: "The exporter's backend is unreachable or too slow. When the queue is full, the Collector rejects \
                     telemetry, and clients retry. See [the Collector](collector.md).",
        },
        Alarm {
            group: Collectors,
            name: "OtlpGateCollectorSendFails",
            expression: any_of(
                &[
                    "otelcol_exporter_send_failed_spans",
                    "otelcol_exporter_send_failed_metric_points",
                    "otelcol_exporter_send_failed_log_records",
                ],
                ", exporter",
            ),
            minutes: 5,
            urgency: Critical,
            summary: "{exporter} of {gate} ({job}) fails to send",
            action: "Its backend rejects telemetry, or retries have ended. What a queue has acknowledged is lost. The \
                     Collector's log has the reason.",
        },
        Alarm {
            group: Certificates,
            name: "OtlpGateCertificateExpires",
            expression: "min by (gate) (envoy_server_days_until_first_cert_expiring) < 14".to_owned(),
            minutes: 10,
            urgency: Warning,
            summary: "a certificate of the gateway {gate} expires in less than 14 days",
            action: "It is the server's certificate, a CA of clients, or the certificate for the Collector; the dashboard \
                     Certificates shows which. `otlp-gate certs list` shows those in the folder, \
                     `otlp-gate certs renew` and `otlp-gate apply` replace them. With cert-manager, \
                     `otlp-gate status` shows why a Certificate is not renewed. See [certificates](certificates.md).",
        },
        Alarm {
            group: Certificates,
            name: "OtlpGateCertificateExpiresSoon",
            expression: "min by (gate) (envoy_server_days_until_first_cert_expiring) < 3".to_owned(),
            minutes: 10,
            urgency: Critical,
            summary: "a certificate of the gateway {gate} expires in less than 3 days",
            action: "Then no client can connect, or the gateway cannot reach the Collector. Act as for \
                     [the warning](#otlpgatecertificateexpires).",
        },
        Alarm {
            group: Certificates,
            name: "OtlpGateVerifyFails",
            expression: "kube_cronjob_status_last_schedule_time{cronjob=~\"otlp-gate-verify-.+\"} > on (namespace, cronjob) \
                         kube_cronjob_status_last_successful_time or \
                         kube_cronjob_status_last_schedule_time{cronjob=~\"otlp-gate-verify-.+\"} unless on \
                         (namespace, cronjob) kube_cronjob_status_last_successful_time"
                .to_owned(),
            minutes: 15,
            urgency: Critical,
            summary: "`otlp-gate verify` does not succeed: {cronjob} in {namespace}",
            action: "A client cannot send, or an invalid client is accepted. The log of the CronJob's last pod has each \
                     case. The metrics are those of kube-state-metrics. See [probe the gateway](#probe-the-gateway).",
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_become_words_and_labels_become_templates() {
        assert_eq!(plain("a [b c](d.md#e) f [g] [h](i)"), "a b c f [g] h");
        assert_eq!(templated("a {client} b"), "a {{ $labels.client }} b");
    }

    #[test]
    fn every_label_of_a_summary_is_one_of_the_series() {
        for alarm in alarms() {
            for label in alarm.summary.split('{').skip(1).filter_map(|it| it.split('}').next()) {
                // A series without aggregation has the labels of its target.
                let inherited = !alarm.expression.contains(" by (");
                assert!(inherited || alarm.expression.contains(label), "{}: {label}", alarm.name);
            }
        }
    }
}
