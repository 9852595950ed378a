//! The dashboards of Grafana.

use serde_json::{Value, json};

/// Matches the targets of the gates that are selected in a dashboard.
const GATE: &str = "gate=~\"$gate\"";

/// A dashboard.
#[derive(Debug)]
pub(crate) struct Dashboard {
    /// The end of its name and of its id.
    pub(crate) name: &'static str,
    /// Its title, after "otlp-gate: ".
    pub(crate) title: &'static str,
    pub(crate) panels: Vec<Panel>,
}

/// A panel with lines over time.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    /// Grafana's name of the unit.
    pub(crate) unit: &'static str,
    /// PromQL, and the name of each series.
    pub(crate) queries: Vec<(String, &'static str)>,
    /// Whether the values add up.
    pub(crate) stacked: bool,
}

impl Dashboard {
    /// The name of the dashboard's file and ConfigMap.
    pub(crate) fn file_name(&self) -> String {
        format!("otlp-gate-{}.json", self.name)
    }

    /// The dashboard as the text of a file that Grafana imports.
    pub(crate) fn text(&self) -> String {
        format!("{:#}\n", self.json())
    }

    fn json(&self) -> Value {
        let variable = |name: &str, label: &str, more: Value| {
            let mut variable = json!({"name": name, "label": label, "hide": 0, "skipUrlSync": false});
            if let (Value::Object(more), Some(variable)) = (more, variable.as_object_mut()) {
                variable.extend(more);
            }
            variable
        };
        let gates = "label_values(up{job=~\"otlp-gate/.+\"}, gate)";
        json!({
            "uid": format!("otlp-gate-{}", self.name),
            "title": format!("otlp-gate: {}", self.title),
            "tags": ["otlp-gate"],
            "schemaVersion": 39,
            "editable": true,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-3h", "to": "now"},
            "links": [{
                "title": "otlp-gate", "type": "dashboards", "tags": ["otlp-gate"], "asDropdown": false, "icon": "",
                "includeVars": true, "keepTime": true, "targetBlank": false, "tooltip": "",
            }],
            "templating": {"list": [
                variable("datasource", "Data source", json!({"type": "datasource", "query": "prometheus"})),
                variable("gate", "Gate", json!({
                    "type": "query",
                    "datasource": datasource(),
                    "query": {"query": gates, "refId": "gates"},
                    "includeAll": true,
                    "allValue": ".*",
                    "multi": true,
                    "refresh": 2,
                    "sort": 1,
                })),
            ]},
            "panels": self.panels.iter().enumerate().map(|(index, panel)| panel.json(index)).collect::<Vec<_>>(),
        })
    }
}

impl Panel {
    fn json(&self, index: usize) -> Value {
        let targets = self.queries.iter().zip('A'..='Z').map(|((expression, legend), id)| {
            json!({"refId": id.to_string(), "datasource": datasource(), "expr": expression, "legendFormat": legend})
        });
        json!({
            "id": index + 1,
            "type": "timeseries",
            "title": self.title,
            "datasource": datasource(),
            // Two in a row, in a grid of 24 columns.
            "gridPos": {"h": 8, "w": 12, "x": index % 2 * 12, "y": index / 2 * 8},
            "fieldConfig": {
                "defaults": {
                    "unit": self.unit,
                    "min": 0,
                    "custom": {
                        "fillOpacity": if self.stacked { 30 } else { 0 },
                        "stacking": {"mode": if self.stacked { "normal" } else { "none" }},
                        "showPoints": "never",
                    },
                },
                "overrides": [],
            },
            "options": {
                "legend": {"displayMode": "table", "placement": "right", "showLegend": true, "calcs": ["lastNotNull", "max"]},
                "tooltip": {"mode": "multi", "sort": "desc"},
            },
            "targets": targets.collect::<Vec<_>>(),
        })
    }
}

fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// A panel with one query.
fn panel(title: &'static str, unit: &'static str, expression: String, legend: &'static str) -> Panel {
    Panel { title, unit, queries: vec![(expression, legend)], stacked: false }
}

/// A panel with one query whose values add up.
fn stacked(title: &'static str, unit: &'static str, expression: String, legend: &'static str) -> Panel {
    Panel { stacked: true, ..panel(title, unit, expression, legend) }
}

/// The rate of a counter, by these labels. `matching` is empty, or a comma and matchers.
fn rate(counter: &str, matching: &str, labels: &str) -> String {
    format!("sum by ({labels}) (rate({counter}{{{GATE}{matching}}}[$__rate_interval]))")
}

/// A percentile of the time that Envoy has requests for, over the listeners of clients.
fn percentile(quantile: &str) -> String {
    let clients = "envoy_http_conn_manager_prefix!~\"admin|agent|stats|eg-.+\"";
    format!(
        "histogram_quantile({quantile}, sum by (le) \
         (rate(envoy_http_downstream_rq_time_bucket{{{GATE},{clients}}}[$__rate_interval])))"
    )
}

/// The rates of a counter that a Collector has for each signal.
fn by_signal(title: &'static str, counter: &str, labels: &str) -> Panel {
    let query = |signal, legend| (rate(&format!("{counter}_{signal}"), "", labels), legend);
    let queries = match labels.contains("exporter") {
        true => vec![
            query("spans", "{{job}} {{exporter}}: spans"),
            query("metric_points", "{{job}} {{exporter}}: data points"),
            query("log_records", "{{job}} {{exporter}}: log records"),
        ],
        false => vec![
            query("spans", "{{job}}: spans"),
            query("metric_points", "{{job}}: data points"),
            query("log_records", "{{job}}: log records"),
        ],
    };
    Panel { title, unit: "cps", queries, stacked: false }
}

/// All dashboards.
pub(crate) fn dashboards() -> [Dashboard; 4] {
    [tenants(), gate(), collectors(), certificates()]
}

fn tenants() -> Dashboard {
    let max = |metric: &str, matching: &str, labels: &str| {
        format!("max by ({labels}) ({metric}{{{GATE}{matching}}})")
    };
    Dashboard {
        name: "tenants",
        title: "Tenants",
        panels: vec![
            stacked(
                "Items that the backend accepted",
                "cps",
                rate("otlp_gate_items_total", "", "client, signal"),
                "{{client}} {{signal}}",
            ),
            stacked(
                "Bytes of these, decompressed",
                "Bps",
                rate("otlp_gate_bytes_total", "", "client, signal"),
                "{{client}} {{signal}}",
            ),
            panel(
                "Quota in use, by the client's tightest limit",
                "percent",
                max("otlp_gate_quota_used_percent", ",client!=\"\"", "client"),
                "{{client}}",
            ),
            panel(
                "Quota of all clients together in use",
                "percent",
                max("otlp_gate_quota_used_percent", ",client=\"\"", "gate"),
                "{{gate}}",
            ),
            panel(
                "Throttled requests, and why",
                "reqps",
                rate("otlp_gate_requests_total", ",result=~\"over_quota|over_total\"", "client, result"),
                "{{client}} {{result}}",
            ),
            panel(
                "Requests that a new quota would throttle (shadow)",
                "reqps",
                rate("otlp_gate_shadow_throttled_requests_total", "", "client"),
                "{{client}}",
            ),
            panel(
                "Rejected requests, and why",
                "reqps",
                rate(
                    "otlp_gate_requests_total",
                    ",result!~\"accepted|serving|preflight|over_quota|over_total\"",
                    "client, result",
                ),
                "{{client}} {{result}}",
            ),
            panel(
                "Owned attributes that clients sent (removed)",
                "cps",
                rate("otlp_gate_forged_attributes_total", "", "client"),
                "{{client}}",
            ),
        ],
    }
}

fn gate() -> Dashboard {
    Dashboard {
        name: "gate",
        title: "Gate",
        panels: vec![
            stacked(
                "Requests by result",
                "reqps",
                rate("otlp_gate_requests_total", "", "result"),
                "{{result}}",
            ),
            Panel {
                title: "Time until the response",
                unit: "ms",
                queries: vec![
                    (percentile("0.5"), "50 %"),
                    (percentile("0.95"), "95 %"),
                    (percentile("0.99"), "99 %"),
                ],
                stacked: false,
            },
            panel(
                "Proxies by policy revision",
                "short",
                format!("count_values by (gate) (\"revision\", otlp_gate_policy_revision{{{GATE}}})"),
                "{{gate}} {{revision}}",
            ),
            panel(
                "Memory of the proxies",
                "bytes",
                format!("max by (instance) (envoy_server_memory_allocated{{{GATE}}})"),
                "{{instance}}",
            ),
            panel(
                "Rejected because a worker holds as much as it may",
                "reqps",
                rate("otlp_gate_requests_total", ",result=\"busy\"", "client"),
                "{{client}}",
            ),
            panel(
                "Requests that were not charged",
                "reqps",
                rate("otlp_gate_unmetered_requests_total", "", "client"),
                "{{client}}",
            ),
            panel(
                "Reports to the quota engine",
                "reqps",
                rate("otlp_gate_quota_reports_total", "", "result"),
                "{{result}}",
            ),
            panel(
                "Time since the quota engine's last answer",
                "s",
                format!("time() - max by (instance) (otlp_gate_quota_engine_answered_seconds{{{GATE}}})"),
                "{{instance}}",
            ),
            panel(
                "Reports of clients over their burst",
                "reqps",
                rate("otlp_gate_quota_over_burst_total", "", "gate"),
                "{{gate}}",
            ),
            panel(
                "Proxies that reach the quota engine",
                "short",
                format!("sum by (gate) (otlp_gate_quota_engine_up{{{GATE}}})"),
                "{{gate}}",
            ),
        ],
    }
}

fn collectors() -> Dashboard {
    let max = |metric: &str, labels: &str| format!("max by ({labels}) ({metric}{{{GATE}}})");
    Dashboard {
        name: "collectors",
        title: "Collectors",
        panels: vec![
            by_signal("Received", "otelcol_receiver_accepted", "job"),
            by_signal("Rejected by receivers", "otelcol_receiver_refused", "job"),
            by_signal("Sent", "otelcol_exporter_sent", "job, exporter"),
            by_signal(
                "Not sent: rejected by the exporter's backend",
                "otelcol_exporter_send_failed",
                "job, exporter",
            ),
            panel(
                "Queue, in percent of its capacity",
                "percent",
                format!(
                    "100 * max by (instance, exporter) (otelcol_exporter_queue_size{{{GATE}}} / \
                     otelcol_exporter_queue_capacity{{{GATE}}})"
                ),
                "{{instance}} {{exporter}}",
            ),
            panel("Memory", "bytes", max("otelcol_process_memory_rss", "instance"), "{{instance}}"),
            panel("CPU", "percentunit", rate("otelcol_process_cpu_seconds", "", "instance"), "{{instance}}"),
        ],
    }
}

fn certificates() -> Dashboard {
    Dashboard {
        name: "certificates",
        title: "Certificates",
        panels: vec![
            panel(
                "Days until the gateway's first certificate expires",
                "d",
                format!("min by (gate) (envoy_server_days_until_first_cert_expiring{{{GATE}}})"),
                "{{gate}}",
            ),
            panel(
                "Days until each certificate of the listeners expires",
                "d",
                format!(
                    "min by (envoy_tls_certificate) \
                     (envoy_listener_ssl_certificate_expiration_unix_time_seconds{{{GATE}}} - time()) / 86400"
                ),
                "{{envoy_tls_certificate}}",
            ),
            panel(
                "Days until each certificate for the backend expires",
                "d",
                format!(
                    "min by (envoy_tls_certificate) \
                     (envoy_cluster_ssl_certificate_expiration_unix_time_seconds{{{GATE}}} - time()) / 86400"
                ),
                "{{envoy_tls_certificate}}",
            ),
            panel(
                "Requests with a certificate that is not valid",
                "reqps",
                rate("otlp_gate_requests_total", ",result=~\"certificate_.+\"", "client, result"),
                "{{client}} {{result}}",
            ),
            panel(
                "Requests without a known client",
                "reqps",
                rate(
                    "otlp_gate_requests_total",
                    ",result=~\"no_certificate|unknown_client|denied\"",
                    "result",
                ),
                "{{result}}",
            ),
            panel(
                "Hours since `otlp-gate verify` succeeded",
                "h",
                "(time() - max by (namespace, cronjob) \
                 (kube_cronjob_status_last_successful_time{cronjob=~\"otlp-gate-verify-.+\"})) / 3600"
                    .to_owned(),
                "{{namespace}} {{cronjob}}",
            ),
        ],
    }
}
