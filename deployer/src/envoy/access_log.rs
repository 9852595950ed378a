//! The gate's access log: one JSON object for each request, with the client and the result as the filter has set them.

use serde_json::{Value, json};

use crate::config::AccessLog;

/// What a request has in the log. Envoy escapes values, leaves out empty ones, and writes numbers as numbers.
///
/// `wasm.` is the prefix of properties that a Wasm filter sets (Envoy's source/extensions/common/wasm/context.cc).
pub(crate) fn fields() -> Value {
    json!({
        "time": "%START_TIME%",
        "client": "%FILTER_STATE(wasm.otlp_gate.client:PLAIN)%",
        "result": "%FILTER_STATE(wasm.otlp_gate.result:PLAIN)%",
        "reason": "%FILTER_STATE(wasm.otlp_gate.reason:PLAIN)%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(:PATH)%",
        "protocol": "%PROTOCOL%",
        "status": "%RESPONSE_CODE%",
        "grpc_status": "%GRPC_STATUS_NUMBER%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%",
        "duration_ms": "%DURATION%",
        "remote_address": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
        "certificate_uri": "%DOWNSTREAM_PEER_URI_SAN%",
        "certificate_subject": "%DOWNSTREAM_PEER_SUBJECT%",
        "certificate_sha256": "%DOWNSTREAM_PEER_FINGERPRINT_256%",
        "user_agent": "%REQ(USER-AGENT)%",
        "upstream": "%UPSTREAM_HOST%",
    })
}

/// The condition (CEL) for what is logged; none for everything. A request has no status if its client has gone. Envoy
/// gives responses to OTLP/HTTP a gRPC status too, by their HTTP status.
pub(crate) fn condition(log: AccessLog) -> Option<&'static str> {
    match log {
        AccessLog::Off | AccessLog::All => None,
        AccessLog::Rejected => Some(
            "!has(response.code) || response.code >= 400 || \
             (request.headers['content-type'].startsWith('application/grpc') && response.grpc_status != 0)",
        ),
    }
}

/// An access log of Envoy (`envoy.config.accesslog.v3.AccessLog`) that writes to a file, or to standard output; none if
/// it is off.
pub(crate) fn access_log(log: AccessLog, file: Option<&str>) -> Option<Value> {
    const FILTER: &str =
        "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter";
    if log == AccessLog::Off {
        return None;
    }
    let format = json!({"json_format": fields(), "omit_empty_values": true});
    let (name, kind) = match file {
        Some(_) => ("file", "file.v3.FileAccessLog"),
        None => ("stdout", "stream.v3.StdoutAccessLog"),
    };
    let mut config = json!({
        "@type": format!("type.googleapis.com/envoy.extensions.access_loggers.{kind}"), "log_format": format,
    });
    if let (Some(file), Some(config)) = (file, config.as_object_mut()) {
        config.insert("path".to_owned(), json!(file));
    }
    let mut log_config = json!({"name": format!("envoy.access_loggers.{name}"), "typed_config": config});
    if let (Some(condition), Some(log_config)) = (condition(log), log_config.as_object_mut()) {
        let filter = json!({"@type": FILTER, "expression": condition});
        let filter = json!({"extension_filter": {"name": "cel", "typed_config": filter}});
        log_config.insert("filter".to_owned(), filter);
    }
    Some(log_config)
}
