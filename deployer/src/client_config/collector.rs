//! The configuration of an OpenTelemetry Collector that sends through the gate.

use std::path::Path;

use serde_json::{Value, json};

use super::{Connection, Protocol};
use crate::error::Error;
use crate::model::yaml;

const COMMENT: &str = "\
# Configuration of an OpenTelemetry Collector that sends its telemetry through the gate.
# When the client is over its quota, the gate replies with a delay: retry_on_failure waits that long, and sending_queue
# holds the data. The queue is in memory; sending_queue.storage with the file_storage extension survives restarts.
";

impl Connection {
    /// The Collector's configuration in YAML, with comments.
    pub(crate) fn collector_yaml(&self) -> Result<String, Error> {
        let protocol = match self.protocol {
            Protocol::Grpc => {
                "# Protocol: OTLP/gRPC. For OTLP/HTTP, run client-config with --protocol http/protobuf.\n"
            }
            Protocol::HttpProtobuf => {
                "# Protocol: OTLP/HTTP. For OTLP/gRPC, run client-config with --protocol grpc.\n"
            }
        };
        Ok(format!("{COMMENT}{protocol}{}", yaml(&self.collector())?))
    }

    /// The Collector's configuration.
    pub(crate) fn collector(&self) -> Value {
        let path = |path: &Path| path.display().to_string();
        let mut tls = json!({
            "cert_file": path(&self.files.certificate),
            "key_file": path(&self.files.key),
            "reload_interval": "1m",
        });
        let ca = self.files.ca.as_deref().map(|ca| ("ca_file", path(ca)));
        let name = self.server_name.as_ref().map(|name| ("server_name_override", name.clone()));
        for (key, value) in ca.into_iter().chain(name) {
            if let Some(tls) = tls.as_object_mut() {
                tls.insert(key.to_owned(), value.into());
            }
        }
        let (exporter, endpoint) = match self.protocol {
            Protocol::Grpc => ("otlp_grpc", self.address.to_string()),
            Protocol::HttpProtobuf => ("otlp_http", self.url()),
        };
        let pipeline = |receivers: &[&str]| json!({"receivers": receivers, "exporters": [exporter]});
        json!({
            "receivers": {
                "otlp": {"protocols": {"grpc": {"endpoint": "localhost:4317"}, "http": {"endpoint": "localhost:4318"}}},
                "host_metrics": {"collection_interval": "30s", "scrapers": {"cpu": {}, "load": {}, "memory": {}}},
            },
            "exporters": {exporter: {
                "endpoint": endpoint,
                "tls": tls,
                "compression": "gzip",
                "retry_on_failure": {"enabled": true, "max_elapsed_time": "0s"},
                "sending_queue": {"enabled": true, "queue_size": 1000},
            }},
            "service": {"pipelines": {
                "traces": pipeline(&["otlp"]),
                "metrics": pipeline(&["otlp", "host_metrics"]),
                "logs": pipeline(&["otlp"]),
            }},
        })
    }
}
