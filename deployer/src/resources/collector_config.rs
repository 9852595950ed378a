//! The configuration of the Collector that otlp-gate deploys.

use std::collections::BTreeMap;

use otlp_gate_core::config::Limits;
use otlp_gate_core::policy::VERIFY_ATTRIBUTE;
use serde_json::{Value, json};

use crate::config::Collector;

/// The port of the health check, as the Collector's extension has it by default.
pub(super) const HEALTH: i32 = 13133;
/// The ports of its receivers.
pub(super) const GRPC: i32 = 4317;
pub(super) const HTTP: i32 = 4318;

/// The largest message that the gate forwards, in bytes. What was stamped comes on top of what the gate measured, and the
/// gate bounds both.
pub(crate) fn largest_message(limits: &Limits) -> u64 {
    limits.inflated.bytes().saturating_mul(5) / 4
}

/// The Collector's configuration.
pub(super) fn config(collector: &Collector, limits: &Limits) -> Value {
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
        // What was stamped comes on top of what the gate measured, and the gate bounds both.
        "receivers": {"otlp": otlp_receiver(largest_message(limits))},
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

/// An OTLP receiver, for messages of up to so many bytes.
pub(super) fn otlp_receiver(largest: u64) -> Value {
    json!({"protocols": {
        "grpc": {"endpoint": format!(":{GRPC}"), "max_recv_msg_size_mib": largest.div_ceil(1 << 20)},
        "http": {"endpoint": format!(":{HTTP}"), "max_request_body_size": largest},
    }})
}

/// Prints what `otlp-gate verify` sent, for it to read in the log, where every other line is the Collector's own.
const CANARY: &str = "debug/otlp-gate-verify";

/// What is said once for each signal.
pub(super) fn of_signals<const N: usize>(of: impl Fn(&str) -> [(String, Value); N]) -> Value {
    Value::Object(["logs", "metrics", "traces"].into_iter().flat_map(of).collect())
}

/// All that comes in goes on to the exporters; only what `otlp-gate verify` sent ends in the log.
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

/// An OTLP exporter that answers only when the data is delivered: a queue in memory answers before, and what is in it is
/// lost with the pod. It also batches, since no processor may: that would answer before, too. What the user wrote stays.
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
