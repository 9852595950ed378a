//! The durable queue: what it needs, and what would drop acknowledged telemetry.

use otlp_gate_core::policy::Problem;
use serde_json::Value;

use super::at;
use crate::config::{Collector, Config, QUEUE_VOLUME, Queue, QueueVolume, Resilience};

pub(super) fn errors(collector: &Collector, config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let volume = &collector.queue_volume;
    if collector.queue == Queue::Memory {
        if !volume.is_default() {
            let hint = "set `queue: durable`, or remove this key";
            problems.push(Problem::new(at("queueVolume"), "a queue in memory has no volume").hint(hint));
        }
        return problems;
    }
    if collector.durable_queues() == 0 {
        let hint = "add an OTLP exporter, or give an exporter of another kind `sending_queue: {}`";
        problems.push(Problem::new(at("queue"), "no exporter has a durable queue").hint(hint));
    }
    let largest = config.limits.inflated.bytes().saturating_mul(5) / 4;
    if volume.size.bytes() < QueueVolume::SMALLEST {
        let hint = "write at least `1GiB`";
        problems.push(Problem::new(at("queueVolume").key("size"), "the volume is too small").hint(hint));
    } else if collector.queue_size() < largest {
        let message = format!(
            "each of {} queues has room for {} bytes, less than one message of `limits.inflated`",
            collector.durable_queues(),
            collector.queue_size()
        );
        let hint = "make the volume larger, or lower `limits.inflated`";
        problems.push(Problem::new(at("queueVolume").key("size"), message).hint(hint));
    }
    for (index, it) in collector.volumes.iter().enumerate().filter(|(_, it)| it.0.name == QUEUE_VOLUME) {
        let message = format!("`{}` is the volume of the durable queue", it.0.name);
        problems.push(Problem::new(at("volumes").index(index), message).hint("use another name"));
    }
    problems
}

pub(super) fn warnings(collector: &Collector) -> Vec<Problem> {
    let mut problems = Vec::new();
    if collector.queue == Queue::Durable && collector.max_replicas.is_some() {
        let message = "when the autoscaler removes a replica, its queue is not delivered before the replica exists again";
        let hint = "set `replicas` only";
        problems.push(Problem::new(at("maxReplicas"), message).hint(hint));
    }
    for (name, settings) in &collector.exporters {
        let queue = settings.get("sending_queue");
        let stored = collector.queues_durably(name, settings)
            || queue.is_some_and(|it| {
                it.get("storage").is_some() && it.get("enabled").and_then(Value::as_bool) != Some(false)
            });
        if let (true, Some(drops)) = (stored, drops(collector, name, settings)) {
            let path = at("exporters").key(name).key("retry_on_failure");
            let hint = "set `max_elapsed_time: 0s`: it then retries until the backend accepts";
            problems
                .push(Problem::new(path, format!("acknowledged telemetry is dropped {drops}")).hint(hint));
        }
    }
    problems
}

/// When an exporter drops what it cannot deliver, if it does.
fn drops(collector: &Collector, name: &str, settings: &Value) -> Option<String> {
    let retry = settings.get("retry_on_failure").filter(|it| it.is_object());
    let get = |key: &str| retry.and_then(|it| it.get(key));
    if get("enabled").and_then(Value::as_bool) == Some(false) {
        return Some("after one attempt".to_owned());
    }
    match get("max_elapsed_time") {
        Some(Value::String(text)) if is_zero(text) => None,
        Some(Value::Number(number)) if number.as_f64() == Some(0.0) => None,
        Some(Value::String(text)) => Some(format!("after {text} of attempts")),
        Some(other) => Some(format!("after {other} ns of attempts")),
        // otlp-gate adds `0s`.
        None if collector.queues_durably(name, settings) && Resilience::of(name) != Resilience::Unknown => {
            None
        }
        None => Some("by default after 5 minutes of attempts".to_owned()),
    }
}

/// Whether a duration is zero, as in `0`, `0s` and `0.0h0ms`: Go has several forms.
fn is_zero(duration: &str) -> bool {
    duration.contains('0') && !duration.contains(|it: char| matches!(it, '1'..='9'))
}
