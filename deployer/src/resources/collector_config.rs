//! The configuration of the Collector that otlp-gate deploys as the backend.

use std::collections::BTreeMap;

use otlp_gate_core::policy::VERIFY_ATTRIBUTE;
use serde_json::{Value, json};

use crate::config::Collector;
use crate::model::Installation;

/// Port of the health check: the default of the Collector's `health_check` extension.
pub(super) const HEALTH: i32 = 13133;
/// Ports of the OTLP receiver.
pub(super) const GRPC: i32 = 4317;
pub(super) const HTTP: i32 = 4318;

/// The Collector's configuration.
pub(super) fn config(installation: &Installation<'_>, collector: &Collector) -> Value {
    let mut exporters: BTreeMap<String, Value> = collector
        .exporters
        .iter()
        .map(|(name, exporter)| (name.clone(), delivering(name, exporter)))
        .collect();
    if exporters.is_empty() {
        exporters.insert("debug".to_owned(), json!({}));
    }
    let names: Vec<String> = exporters.keys().cloned().collect();
    exporters.insert(CANARY.to_owned(), json!({"verbosity": "detailed", "use_internal_logger": false}));
    json!({
        "extensions": {"health_check": {"endpoint": format!(":{HEALTH}")}},
        "receivers": {"otlp": otlp_receiver(installation.largest_message())},
        "processors": {"memory_limiter": {
            "check_interval": "1s", "limit_percentage": 80, "spike_limit_percentage": 20,
        }},
        "connectors": of_signals(|signal| [(format!("routing/{signal}"), canary_only(signal))]),
        "exporters": exporters,
        "service": {
            "extensions": ["health_check"],
            "pipelines": of_signals(|signal| pipelines(signal, &names)),
        },
    })
}

/// An OTLP receiver for messages of up to `largest` bytes.
pub(super) fn otlp_receiver(largest: u64) -> Value {
    json!({"protocols": {
        "grpc": {"endpoint": format!(":{GRPC}"), "max_recv_msg_size_mib": largest.div_ceil(1 << 20)},
        "http": {"endpoint": format!(":{HTTP}"), "max_request_body_size": largest},
    }})
}

/// Exporter that logs what `otlp-gate verify` sends. `verify` reads it from the Collector's log.
const CANARY: &str = "debug/otlp-gate-verify";

/// An object with the entries of `of` for each signal.
pub(super) fn of_signals<const N: usize>(of: impl Fn(&str) -> [(String, Value); N]) -> Value {
    Value::Object(["logs", "metrics", "traces"].into_iter().flat_map(of).collect())
}

/// Pipelines of a signal: everything goes to the exporters, except the items of `otlp-gate verify`, which go to the
/// log.
fn pipelines(signal: &str, exporters: &[String]) -> [(String, Value); 3] {
    let routing = [format!("routing/{signal}")];
    [
        (
            format!("{signal}/in"),
            json!({"receivers": ["otlp"], "processors": ["memory_limiter"], "exporters": routing}),
        ),
        (signal.to_owned(), json!({"receivers": routing, "exporters": exporters})),
        (format!("{signal}/verify"), json!({"receivers": routing, "exporters": [CANARY]})),
    ]
}

fn canary_only(signal: &str) -> Value {
    json!({
        "default_pipelines": [signal],
        "table": [{
            "context": "resource",
            "condition": format!("attributes[\"{VERIFY_ATTRIBUTE}\"] != nil"),
            "pipelines": [format!("{signal}/verify")],
        }],
    })
}

/// An OTLP exporter that responds only after delivery. A queue in memory would respond before, and its items would be
/// lost with the pod. The exporter also batches, because a batch processor would respond before delivery as well. The
/// user's own settings are kept.
fn delivering(name: &str, exporter: &Value) -> Value {
    let kind = name.split('/').next().unwrap_or_default();
    let mut exporter = if exporter.is_null() { json!({}) } else { exporter.clone() };
    if !matches!(kind, "otlp" | "otlphttp" | "otlp_grpc" | "otlp_http") {
        return exporter;
    }
    let Some(settings) = exporter.as_object_mut() else { return exporter };
    let queue = settings.entry("sending_queue").or_insert_with(|| {
        json!({
            "sizer": "items",
            "queue_size": 1_000_000,
            "batch": {"flush_timeout": "200ms", "min_size": 8192},
        })
    });
    if let Some(queue) = queue.as_object_mut()
        && !queue.contains_key("storage")
    {
        queue.entry("wait_for_result").or_insert(Value::Bool(true));
    }
    exporter
}
