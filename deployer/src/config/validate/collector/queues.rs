//! Exporters and processors that answer before the data is delivered: what they hold is lost with the pod.

use otlp_gate_core::policy::{ConfigPath, Problem};
use serde_json::Value;

use super::at;
use crate::config::{Collector, Queue, kind};

/// Exporters that have no queue.
const WITHOUT_QUEUE: [&str; 5] = ["debug", "nop", "file", "prometheus", "otlpjsonfile"];
/// Processors that keep data and answer at once.
const HOLDING: [(&str, &str); 6] = [
    ("batch", "remove it: the exporters gather batches themselves, and answer after delivery"),
    ("tail_sampling", "see `tail sampling` in docs/guides/collector.md for what is lost when"),
    ("groupbytrace", "see `tail sampling` in docs/guides/collector.md for what is lost when"),
    ("interval", "see docs/guides/collector.md for what is lost when"),
    ("logdedup", "see docs/guides/collector.md for what is lost when"),
    ("log_dedup", "see docs/guides/collector.md for what is lost when"),
];

pub(super) fn warnings(collector: &Collector) -> Vec<Problem> {
    let exporters = collector.exporters.iter().flat_map(|(name, settings)| {
        let path = at("exporters").key(name);
        if collector.queues_durably(name, settings) {
            return Vec::new();
        }
        match kind(name) {
            kind if WITHOUT_QUEUE.contains(&kind) => Vec::new(),
            // Without a queue of their own, they get one that waits.
            "otlp" | "otlp_grpc" | "otlphttp" | "otlp_http" => {
                configured(settings, &path, true).into_iter().collect()
            }
            "loadbalancing" => {
                let otlp = settings.get("protocol").and_then(|it| it.get("otlp"));
                let of_endpoints =
                    otlp.and_then(|otlp| configured(otlp, &path.key("protocol").key("otlp"), true));
                configured(settings, &path, false).into_iter().chain(of_endpoints).collect()
            }
            _ if settings.get("sending_queue").is_some_and(Value::is_object) => {
                configured(settings, &path, false).into_iter().collect()
            }
            kind => {
                let message = format!(
                    "the exporter may answer before delivery: most exporters queue in memory, and `{kind}` is not known here"
                );
                let hint = match collector.queue {
                    Queue::Memory => "if it has a queue, set `sending_queue: {wait_for_result: true}`",
                    Queue::Durable => "if it has a queue, set `sending_queue: {}`: it is then on disk",
                };
                vec![Problem::new(path, message).hint(hint)]
            }
        }
    });
    let processors = collector.processors.keys().filter_map(|name| {
        let (_, hint) = HOLDING.iter().find(|(holding, _)| *holding == kind(name))?;
        let message = "the processor answers before delivery: what it holds is lost with the pod";
        Some(Problem::new(at("processors").key(name), message).hint(*hint))
    });
    exporters.chain(processors).collect()
}

/// The problem with a queue that the user has configured, if it answers early. Where otlp-gate makes queues wait, only
/// an explicit `false` prevents it.
fn configured(settings: &Value, path: &ConfigPath, made_to_wait: bool) -> Option<Problem> {
    let queue = settings.get("sending_queue").filter(|queue| queue.is_object())?;
    let flag = |key: &str| queue.get(key).and_then(Value::as_bool);
    if flag("enabled") == Some(false)
        || queue.get("storage").is_some()
        || flag("wait_for_result").unwrap_or(made_to_wait)
    {
        return None;
    }
    let message = "the exporter answers before delivery: what it has queued is lost with the pod";
    Some(Problem::new(path.key("sending_queue"), message).hint("set `wait_for_result: true`"))
}
