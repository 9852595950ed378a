//! The exporters of the Collector, with what otlp-gate adds: a queue that loses nothing which was acknowledged.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::config::{Collector, kind};

/// The exporters. Without any, telemetry is only written to the log.
pub(super) fn exporters(collector: &Collector) -> BTreeMap<String, Value> {
    if collector.exporters.is_empty() {
        return [("debug".to_owned(), json!({}))].into();
    }
    let exporters = collector.exporters.iter();
    exporters.map(|(name, exporter)| (name.clone(), queued(name, exporter))).collect()
}

/// An exporter that responds only after delivery. A queue in memory would respond before, and its items would be lost
/// with the pod. The exporter also batches, because a batch processor would respond before delivery as well. The user's
/// own settings are kept.
fn queued(name: &str, exporter: &Value) -> Value {
    let mut exporter = if exporter.is_null() { json!({}) } else { exporter.clone() };
    let Some(settings) = exporter.as_object_mut() else { return exporter };
    match kind(name) {
        "otlp" | "otlp_grpc" | "otlphttp" | "otlp_http" => delivering(settings),
        // It has an OTLP exporter for each endpoint.
        "loadbalancing" => {
            let protocol = settings.entry("protocol").or_insert_with(|| json!({}));
            let otlp = protocol.as_object_mut().map(|it| it.entry("otlp").or_insert_with(|| json!({})));
            if let Some(otlp) = otlp.and_then(Value::as_object_mut) {
                delivering(otlp);
            }
        }
        _ => {}
    }
    exporter
}

fn delivering(settings: &mut Map<String, Value>) {
    // Without settings, the Collector's own queue would respond before delivery.
    settings.retain(|key, value| key != "sending_queue" || !value.is_null());
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
}
