//! The configuration of the Collector that otlp-gate deploys as the backend.

use serde_json::{Value, json};

use super::collector_exporters;
use super::collector_pipelines::{self, Pipelines};
use super::{collector_queue, collector_tls};
use crate::config::{CANARY, Collector, FILE_STORAGE, HEALTH_CHECK, MEMORY_LIMITER, Queue};
use crate::model::Installation;

/// Port of the health check: the default of the Collector's `health_check` extension.
pub(super) const HEALTH: i32 = 13133;
/// Ports of the OTLP receiver.
pub(super) const GRPC: i32 = 4317;
pub(super) const HTTP: i32 = 4318;

/// Port of a Collector's own metrics.
pub(crate) const METRICS: u16 = 8888;

/// Serves a Collector's own metrics to other pods. By default it serves them to its own pod only.
pub(super) fn telemetry() -> Value {
    // Without these settings, names depend on the Collector's version. The empty host is every address of the pod.
    json!({"metrics": {"readers": [{"pull": {"exporter": {"prometheus": {
        "host": "",
        "port": METRICS,
        "without_scope_info": true,
        "without_type_suffix": true,
        "without_units": true,
    }}}}]}})
}

/// The Collector's configuration: the user's components, and those of the gate.
pub(super) fn config(installation: &Installation<'_>, collector: &Collector) -> Value {
    let mut exporters = collector_exporters::exporters(collector);
    exporters.insert(CANARY.to_owned(), json!({"verbosity": "detailed", "use_internal_logger": false}));
    let Pipelines { pipelines, mut processors, mut connectors } = collector_pipelines::pipelines(collector);
    connectors.extend(collector.connectors.clone());
    processors.extend(collector.processors.clone());
    processors.insert(
        MEMORY_LIMITER.to_owned(),
        json!({"check_interval": "1s", "limit_percentage": 80, "spike_limit_percentage": 20}),
    );
    let mut extensions = collector.extensions.clone();
    extensions.insert(HEALTH_CHECK.to_owned(), json!({"endpoint": format!(":{HEALTH}")}));
    if collector.queue == Queue::Durable {
        extensions.insert(FILE_STORAGE.to_owned(), collector_queue::storage_on(&collector.queue_volume));
    }
    let mut service = json!({
        "extensions": extensions.keys().collect::<Vec<_>>(),
        "pipelines": pipelines,
    });
    if let (Some(_), Some(service)) = (&installation.config.monitoring, service.as_object_mut()) {
        service.insert("telemetry".to_owned(), telemetry());
    }
    json!({
        "receivers": {"otlp": otlp_receiver(installation.largest_message(), collector_tls::server(installation))},
        "processors": processors,
        "connectors": connectors,
        "exporters": exporters,
        "service": service,
        "extensions": extensions,
    })
}

/// An OTLP receiver for messages of up to `largest` bytes; without `tls`, in plain text.
pub(super) fn otlp_receiver(largest: u64, tls: Option<Value>) -> Value {
    let mut grpc =
        json!({"endpoint": format!(":{GRPC}"), "max_recv_msg_size_mib": largest.div_ceil(1 << 20)});
    let mut http = json!({"endpoint": format!(":{HTTP}"), "max_request_body_size": largest});
    if let Some(tls) = tls {
        for protocol in [&mut grpc, &mut http].into_iter().filter_map(Value::as_object_mut) {
            protocol.insert("tls".to_owned(), tls.clone());
        }
    }
    json!({"protocols": {"grpc": grpc, "http": http}})
}
