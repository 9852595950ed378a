//! The configuration of the node-local Collector.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::collector_config::{HEALTH, otlp_receiver, telemetry};
use super::super::{collector_queue, collector_tls};
use super::rules;
use crate::config::{Acknowledge, Backend, Export, NodeLocal, Queue, RemoteGate, ServerCa, UnknownSenders};
use crate::model::Installation;

/// The environment variable with the name of the pod's node.
pub(super) const NODE: &str = "KUBE_NODE_NAME";
/// The folder of a durable queue in the pod.
pub(super) const QUEUE_FOLDER: &str = collector_queue::FOLDER;

/// The size of a queue, in bytes of OTLP. In memory, telemetry takes more than in OTLP: the queue is a tenth of the
/// pod's memory.
const IN_MEMORY: u64 = 48 << 20;
const ON_DISK: u64 = 1 << 30;
/// The smallest and largest messages that are sent, in bytes: receivers accept 4 MiB by default.
const MESSAGE: (u64, u64) = (1 << 20, 3 << 20);

/// Matches spans that Istio's proxies record of exports: exporting them would record more.
const EXPORT_SPANS: &str = r#"span.attributes["component"] == "proxy" and IsMatch(span.attributes["http.url"], "/(?:opentelemetry\\.proto\\.collector\\.[A-Za-z0-9.]+/Export|v1/(?:traces|metrics|logs))$$")"#;

/// The Collector's configuration.
pub(super) fn config(installation: &Installation<'_>) -> Value {
    let node = &installation.config.node_local;
    let exporters = exporters(installation);
    let mut extensions: BTreeMap<&str, Value> =
        [("health_check", json!({"endpoint": format!(":{HEALTH}")}))].into();
    if node.queue == Queue::Durable {
        extensions.insert("file_storage", storage());
    }
    let mut processors: BTreeMap<&str, Value> = [
        (
            "memory_limiter",
            json!({"check_interval": "1s", "limit_percentage": 75, "spike_limit_percentage": 20}),
        ),
        ("transform/unclaimed", transform(&rules::remove_owned(installation.config))),
        ("k8s_attributes", pod_attributes(node)),
    ]
    .into();
    if node.unknown_senders == UnknownSenders::Refuse {
        processors.insert("transform/unknown", transform(&[rules::reject_unknown_senders()]));
    }
    let attributes = rules::set_attributes(installation.config);
    if !attributes.is_empty() {
        processors.insert("transform/clients", transform(&attributes));
    }
    if installation.mesh.present {
        let filter = json!({"error_mode": "ignore", "traces": {"span": [EXPORT_SPANS]}});
        processors.insert("filter/mesh", filter);
    }
    let used = |signal: &str| {
        let order = [
            "memory_limiter",
            "filter/mesh",
            "transform/unclaimed",
            "k8s_attributes",
            "transform/unknown",
            "transform/clients",
        ];
        let used =
            |name: &&str| processors.contains_key(name) && (*name != "filter/mesh" || signal == "traces");
        order.into_iter().filter(used).collect::<Vec<_>>()
    };
    let names: Vec<&String> = exporters.keys().collect();
    let pipelines: BTreeMap<&str, Value> = ["logs", "metrics", "traces"]
        .map(|signal| {
            (signal, json!({"receivers": ["otlp"], "processors": used(signal), "exporters": names}))
        })
        .into();
    json!({
        "extensions": extensions,
        "receivers": {"otlp": otlp_receiver(installation.config.limits.wire.bytes(), None)},
        "processors": processors,
        "exporters": exporters,
        "service": {
            "extensions": extensions.keys().collect::<Vec<_>>(),
            "pipelines": pipelines,
            "telemetry": telemetry(),
        },
    })
}

/// The extension with the queue's files, in a folder with the node's name: nodes may share a file system.
fn storage() -> Value {
    collector_queue::storage(&format!("{QUEUE_FOLDER}/${{env:{NODE}}}"))
}

/// The same statements for the Resources of every signal. If one fails, the export is rejected: nothing is forwarded
/// without its attributes.
fn transform(statements: &[String]) -> Value {
    let mut transform = json!({"error_mode": "propagate"});
    for key in ["trace_statements", "metric_statements", "log_statements"] {
        if let Some(all) = transform.as_object_mut() {
            all.insert(key.to_owned(), json!([{"context": "resource", "statements": statements}]));
        }
    }
    transform
}

/// The processor that finds the pod by the address of its connection, and adds its attributes.
fn pod_attributes(node: &NodeLocal) -> Value {
    let labels = rules::labels(&node.clients);
    let labels = labels.iter().map(|(key, name)| json!({"tag_name": name, "key": key, "from": "pod"}));
    let labels: Vec<Value> = labels.collect();
    let mut extract = json!({"metadata": rules::POD_ATTRIBUTES, "deployment_name_from_replicaset": true});
    if let (false, Some(extract)) = (labels.is_empty(), extract.as_object_mut()) {
        extract.insert("labels".to_owned(), labels.into());
    }
    // The object of an ended pod may exist for long, while another pod has its address.
    let ended = ["Succeeded", "Failed"]
        .map(|phase| json!({"key": "status.phase", "op": "not-equals", "value": phase}));
    json!({
        "filter": {"node_from_env_var": NODE, "fields": ended},
        // By default the address of a deleted pod is kept for two minutes. Deletions are processed every 30 s.
        "pod_delete_grace_period": "0s",
        "extract": extract,
        "pod_association": [{"sources": [{"from": "connection"}]}],
        "wait_for_metadata": true,
    })
}

fn exporters(installation: &Installation<'_>) -> BTreeMap<String, Value> {
    let node = &installation.config.node_local;
    let mut exporters = match &node.export {
        Some(Export::Exporters(own)) => own.clone(),
        Some(Export::Gate(remote)) => [("otlp_grpc".to_owned(), client_of(remote))].into(),
        None => {
            let (name, namespace, port) = match &installation.config.backend {
                Backend::Collector(_) => {
                    (installation.names.collector(), &installation.names.namespace, 4317)
                }
                Backend::Service(it) => (
                    it.name.clone(),
                    it.namespace.as_ref().unwrap_or(&installation.names.namespace),
                    it.grpc.get(),
                ),
            };
            let host = format!("{name}.{namespace}.svc");
            let tls = installation
                .node_backend_tls()
                .map(|it| collector_tls::client(it.client.is_some(), (it.host != host).then_some(&*it.host)));
            // Without certificates of its own, it is the mesh that encrypts, if anything does.
            let tls = tls.unwrap_or_else(|| json!({"insecure": true}));
            // Within a cluster compression is not worth it: it takes most of the CPU.
            let exporter = json!({"endpoint": format!("{host}:{port}"), "tls": tls, "compression": "none"});
            [("otlp_grpc".to_owned(), exporter)].into()
        }
    };
    exporters.values_mut().for_each(|exporter| add_queue(node, exporter));
    exporters
}

/// The exporter to the gate of another cluster. It reloads the certificate, so a renewed one needs no restart.
fn client_of(remote: &RemoteGate) -> Value {
    let mut tls = collector_tls::client(true, remote.server_name.as_deref());
    if let (ServerCa::Public, Some(tls)) = (remote.server_ca, tls.as_object_mut()) {
        tls.remove("ca_file");
    }
    json!({"endpoint": remote.endpoint, "tls": tls, "compression": "gzip"})
}

/// Adds a queue to an exporter, unless the user has configured one. It batches as well: a batch processor would answer
/// before the queue has the data. It retries without limit, since queued telemetry has been acknowledged.
fn add_queue(node: &NodeLocal, exporter: &mut Value) {
    if exporter.is_null() {
        *exporter = json!({});
    }
    let Some(settings) = exporter.as_object_mut() else { return };
    let (least, most) = MESSAGE;
    let batch = json!({"sizer": "bytes", "flush_timeout": "200ms", "min_size": least, "max_size": most});
    let mut queue = json!({"sizer": "bytes", "queue_size": IN_MEMORY, "batch": batch});
    if let Some(queue) = queue.as_object_mut() {
        if node.queue == Queue::Durable {
            queue.insert("queue_size".to_owned(), ON_DISK.into());
            queue.insert("storage".to_owned(), "file_storage".into());
        } else if node.acknowledge == Acknowledge::Delivered {
            queue.insert("wait_for_result".to_owned(), true.into());
        }
    }
    settings.entry("sending_queue").or_insert(queue);
    if node.acknowledge == Acknowledge::Queued {
        // Retries for ever, and soon after the backend is reachable again.
        settings
            .entry("retry_on_failure")
            .or_insert(json!({"max_elapsed_time": "0s", "max_interval": "10s"}));
    }
}
