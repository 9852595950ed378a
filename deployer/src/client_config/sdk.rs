//! The environment variables with which OpenTelemetry SDKs send through the gate.

use std::path::Path;

use serde_json::json;

use super::{Connection, Protocol};

impl Connection {
    /// The variables of OpenTelemetry's specification ("OTLP Exporter Configuration").
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let protocol = match self.protocol {
            Protocol::Grpc => "grpc",
            Protocol::HttpProtobuf => "http/protobuf",
        };
        let path = |path: &Path| path.display().to_string();
        let ca = self.files.ca.as_deref().map(|ca| ("OTEL_EXPORTER_OTLP_CERTIFICATE", path(ca)));
        let first = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", self.url()),
        ];
        let last = [
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", path(&self.files.certificate)),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", path(&self.files.key)),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip".to_owned()),
        ];
        first.into_iter().chain(ca).chain(last).collect()
    }

    /// A script for a POSIX shell that exports the variables.
    pub(crate) fn shell_script(&self) -> String {
        let lines = self.variables().into_iter();
        let lines = lines.map(|(name, value)| format!("export {name}={}\n", quoted(&value)));
        format!("{}{}{}", self.protocol_comment(), self.ca_comment(), lines.collect::<String>())
    }

    /// The variables as comments in YAML, for a pod that mounts the client's Secret at `dir`.
    pub(crate) fn pod_comment(&self, dir: &Path) -> String {
        let lines = self.variables().into_iter();
        let lines = lines.map(|(name, value)| format!("#   - {{name: {name}, value: {}}}\n", json!(value)));
        format!(
            "# In a pod that mounts this Secret at {}, set:\n#   env:\n{}{}{}",
            dir.display(),
            lines.collect::<String>(),
            self.protocol_comment(),
            self.ca_comment()
        )
    }

    /// What Python's exporter for OTLP/gRPC needs where the server's CA is public (its `_get_credentials`).
    fn ca_comment(&self) -> &'static str {
        match (self.protocol, &self.files.ca) {
            (Protocol::Grpc, None) => {
                "\
# The system's trusted CAs verify the server. Python's gRPC exporter presents a client certificate only if
# OTEL_EXPORTER_OTLP_CERTIFICATE is set too: set it to the system's file, such as /etc/ssl/certs/ca-certificates.crt.
"
            }
            _ => "",
        }
    }

    /// Which SDKs need which protocol (docs/concepts/quotas.md), as comments of a shell or of YAML.
    fn protocol_comment(&self) -> &'static str {
        match self.protocol {
            Protocol::Grpc => {
                "\
# Protocol: OTLP/gRPC. For JavaScript, run client-config with --protocol http/protobuf: its gRPC exporter drops data
# that is over quota instead of sending it again. Python and Java send again with either protocol.
"
            }
            Protocol::HttpProtobuf => {
                "\
# Protocol: OTLP/HTTP. JavaScript needs it: its gRPC exporter drops data that is over quota instead of sending it again.
# Python and Java send again with either protocol; for OTLP/gRPC, run client-config with --protocol grpc.
"
            }
        }
    }
}

/// A word for a POSIX shell.
fn quoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._:-".contains(&byte);
    if value.bytes().all(plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', "'\\''")) }
}
