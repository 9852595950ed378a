//! The exporters of the Collector, with what otlp-gate adds: a queue that loses nothing which was acknowledged.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::config::{Collector, FILE_STORAGE, Resilience};

/// The exporters. Without any, telemetry is only written to the log.
pub(super) fn exporters(collector: &Collector) -> BTreeMap<String, Value> {
    if collector.exporters.is_empty() {
        return [("debug".to_owned(), json!({}))].into();
    }
    let exporters = collector.exporters.iter();
    exporters.map(|(name, exporter)| (name.clone(), queued(collector, name, exporter))).collect()
}

/// An exporter that responds only after delivery, or when its durable queue has the data. A queue in memory would respond
/// before, and its items would be lost with the pod. The exporter also batches, because a batch processor would respond
/// before delivery as well. The user's own settings are kept.
fn queued(collector: &Collector, name: &str, exporter: &Value) -> Value {
    let durable = collector.queues_durably(name, exporter).then(|| collector.queue_size());
    let mut exporter = if exporter.is_null() { json!({}) } else { exporter.clone() };
    let Some(settings) = exporter.as_object_mut() else { return exporter };
    let resilience = Resilience::of(name);
    if let Some(size) = durable {
        store(settings, resilience, size);
    }
    match resilience {
        Resilience::Otlp if durable.is_none() => delivering(settings),
        Resilience::LoadBalancing => {
            let protocol = settings.entry("protocol").or_insert_with(|| json!({}));
            let otlp = protocol.as_object_mut().map(|it| it.entry("otlp").or_insert_with(|| json!({})));
            if let Some(otlp) = otlp.and_then(Value::as_object_mut) {
                delivering(otlp);
            }
        }
        Resilience::Otlp | Resilience::Unknown => {}
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

/// Puts the queue on disk. What is in it has been acknowledged, so it is sent until the backend takes it: by default the
/// Collector would drop it after five minutes.
fn store(settings: &mut Map<String, Value>, resilience: Resilience, size: u64) {
    settings.retain(|key, value| {
        !matches!(key.as_str(), "sending_queue" | "retry_on_failure") || !value.is_null()
    });
    let queue = settings.entry("sending_queue").or_insert_with(|| match resilience {
        // Receivers accept 4 MiB by default.
        Resilience::Otlp => json!({
            "batch": {"sizer": "bytes", "flush_timeout": "200ms", "min_size": 1 << 20, "max_size": 3 << 20},
        }),
        // It splits what it gets by its routing key.
        Resilience::LoadBalancing | Resilience::Unknown => json!({}),
    });
    if let Some(queue) = queue.as_object_mut() {
        queue.insert("storage".to_owned(), FILE_STORAGE.into());
        if !queue.contains_key("queue_size") && !queue.contains_key("sizer") {
            queue.insert("sizer".to_owned(), "bytes".into());
            queue.insert("queue_size".to_owned(), size.into());
        }
    }
    let defaults = match resilience {
        Resilience::Otlp => json!({"max_interval": "10s", "max_elapsed_time": "0s"}),
        // It has no defaults of its own, and would not wait between attempts.
        Resilience::LoadBalancing => json!({
            "enabled": true, "initial_interval": "1s", "randomization_factor": 0.5, "multiplier": 1.5,
            "max_interval": "10s", "max_elapsed_time": "0s",
        }),
        // It may not have this key.
        Resilience::Unknown => return,
    };
    let retry = settings.entry("retry_on_failure").or_insert_with(|| json!({}));
    if let (Some(retry), Value::Object(defaults)) = (retry.as_object_mut(), defaults) {
        for (key, value) in defaults {
            retry.entry(key).or_insert(value);
        }
    }
}
