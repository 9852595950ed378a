//! The reason to reject a request whose path is not one of OTLP: which path, which are supported, and the likely
//! mistake.

use super::headers::{self, Headers, media_type, printable, value};
use crate::response::{Protocol, Reason};
use otlp_gate_wire::otlp::Signal;

/// The path of gRPC's health service, with the slash before its methods.
const HEALTH_SERVICE: &str = "/grpc.health.v1.Health/";
/// The path of the health service's method that answers once.
pub(super) const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
/// The path of the health service's method that answers with every change.
pub(super) const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";

/// The longest path that a message shows, in bytes.
const MAX_SHOWN: usize = 128;

/// The prefix of OpenTelemetry Arrow's services. Its exporter falls back to OTLP where they are rejected.
const ARROW: &[u8] = b"/opentelemetry.proto.experimental.arrow.";

/// The reason to reject a request to this path.
#[cold]
pub(super) fn unknown(headers: &Headers, protocol: Protocol) -> Reason {
    let path = headers::path(headers).unwrap_or_default();
    let (what, hint, supported) = match protocol {
        Protocol::Grpc => ("an OTLP/gRPC path", grpc(path), grpc_paths()),
        Protocol::HttpProtobuf | Protocol::HttpJson => {
            let content_type = media_type(value(headers, b"content-type").unwrap_or_default());
            ("an OTLP/HTTP path", http(path, &content_type), http_paths())
        }
    };
    let hint = hint.map(|hint| format!("; hint: {hint}")).unwrap_or_default();
    Reason::UnknownPath(format!("{} is not {what}{hint}; supported: {supported}", printable(path, MAX_SHOWN)))
}

/// Whether a path is one of the health service's.
fn is_health(path: &[u8]) -> bool {
    path.starts_with(HEALTH_SERVICE.as_bytes())
}

fn http_paths() -> String {
    Signal::ALL.map(Signal::http_path).join(", ")
}

fn grpc_paths() -> String {
    let exports = Signal::ALL.map(Signal::grpc_path).join(", ");
    format!("{exports}, {}, {}", HEALTH_CHECK, HEALTH_WATCH)
}

fn grpc(path: &[u8]) -> Option<String> {
    if let Some((_, of)) = ends_with(path, Signal::http_path) {
        return Some(format!(
            "{of} is a path of OTLP/HTTP: configure the exporter's endpoint without a path, or its protocol as http/protobuf"
        ));
    }
    if let Some((before, of)) = ends_with(path, Signal::grpc_path) {
        return Some(prefixed(before, of));
    }
    if path.starts_with(ARROW) {
        return Some("OpenTelemetry Arrow is not supported, send OTLP".to_owned());
    }
    if is_health(path) {
        return Some("call Check or Watch for health checks".to_owned());
    }
    let service = |signal: &Signal| signal.grpc_path().trim_end_matches("Export");
    let of = Signal::ALL.iter().find(|signal| path.starts_with(service(signal).as_bytes()));
    of.map(|_| "the only method of this service is Export".to_owned())
}

fn http(path: &[u8], content_type: &[u8]) -> Option<String> {
    if content_type.starts_with(b"application/grpc-web") {
        return Some("gRPC-Web is not supported, send OTLP/HTTP from web pages".to_owned());
    }
    if content_type.starts_with(b"application/grpc") {
        let hint = "gRPC needs the content type application/grpc, in lower case and without parameters";
        return Some(hint.to_owned());
    }
    if ends_with(path, Signal::grpc_path).is_some() || is_health(path) {
        return Some(format!(
            "this is a path of OTLP/gRPC, which needs the content type application/grpc instead of {}",
            printable(content_type, 64)
        ));
    }
    if let Some((before, of)) = ends_with(path, Signal::http_path) {
        return Some(prefixed(before, of));
    }
    if let Some(signal) = Signal::ALL.iter().find(|it| path.eq_ignore_ascii_case(it.http_path().as_bytes())) {
        return Some(format!("paths are case-sensitive, use {}", signal.http_path()));
    }
    if path.iter().all(|&byte| byte == b'/') {
        return Some(
            "an endpoint for one signal (such as OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) needs the signal's path, such as /v1/traces"
                .to_owned(),
        );
    }
    let word = path.split(|&byte| byte == b'/').rfind(|word| !word.is_empty())?;
    let word = word.strip_suffix(b"s").unwrap_or(word).to_ascii_lowercase();
    let meant = match &word[..] {
        b"trace" | b"span" => Signal::Traces,
        b"metric" => Signal::Metrics,
        b"log" => Signal::Logs,
        b"profile" => Signal::Profiles,
        _ => return None,
    };
    Some(format!("send {} to {}", meant.name(), meant.http_path()))
}

/// The OTLP path at the end of this one, after what comes before it. Slashes after it are ignored.
fn ends_with(path: &[u8], of: fn(Signal) -> &'static str) -> Option<(&[u8], &'static str)> {
    let end = path.iter().rposition(|&byte| byte != b'/')? + 1;
    let path = path.get(..end)?;
    Signal::ALL.into_iter().map(of).find_map(|own| Some((path.strip_suffix(own.as_bytes())?, own)))
}

/// The hint for an OTLP path with something before or after it.
fn prefixed(before: &[u8], of: &str) -> String {
    if before.is_empty() {
        return format!("remove the slash at the end of {of}");
    }
    if before.iter().all(|&byte| byte == b'/') {
        return format!("{of} begins with one slash: remove the slash at the end of the endpoint");
    }
    if ends_with(before, Signal::http_path).is_some() || ends_with(before, Signal::grpc_path).is_some() {
        let hint = "the exporter adds this path to an endpoint that has it already: configure the endpoint without a path";
        return hint.to_owned();
    }
    format!(
        "the prefix {} is not supported: remove it from the exporter's endpoint, or in the proxy that adds it",
        printable(before, MAX_SHOWN)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(path: &str, content_type: &str) -> String {
        let headers: [(&[u8], &[u8]); 3] =
            [(b":method", b"POST"), (b":path", path.as_bytes()), (b"content-type", content_type.as_bytes())];
        let (_, reason) = super::super::Head::read(&headers).unwrap_err();
        assert_eq!(reason.label(), "not_otlp", "{path}");
        reason.to_string()
    }

    const PROTOBUF: &str = "application/x-protobuf";
    const GRPC: &str = "application/grpc";

    #[test]
    fn usual_mistakes_have_a_hint() {
        let traces = Signal::Traces.grpc_path();
        for (path, content_type, hint) in [
            ("/v1/traces/v1/traces", PROTOBUF, "to an endpoint that has it already"),
            ("/v1/traces/v1/logs/", PROTOBUF, "to an endpoint that has it already"),
            ("/v1/traces//v1/traces", "application/json", "to an endpoint that has it already"),
            ("/v1/traces/", PROTOBUF, "remove the slash at the end of /v1/traces"),
            ("//v1/traces", PROTOBUF, "begins with one slash"),
            ("/otlp/v1/metrics?x=y", PROTOBUF, "the prefix \"/otlp\" is not supported"),
            ("/v1/v1/logs", PROTOBUF, "the prefix \"/v1\" is not supported"),
            ("/V1/Traces", PROTOBUF, "paths are case-sensitive, use /v1/traces"),
            ("/", PROTOBUF, "needs the signal's path"),
            ("/traces", PROTOBUF, "send traces to /v1/traces"),
            ("/v1/log", PROTOBUF, "send logs to /v1/logs"),
            ("/api/v2/spans", PROTOBUF, "send traces to /v1/traces"),
            ("/v1/profiles", PROTOBUF, "send profiles to /v1development/profiles"),
            (traces, PROTOBUF, "of OTLP/gRPC, which needs the content type application/grpc instead"),
            (traces, "application/grpc-web+proto", "gRPC-Web is not supported"),
            (traces, "Application/gRPC", "in lower case and without parameters"),
            (HEALTH_CHECK, PROTOBUF, "of OTLP/gRPC, which needs the content type application/grpc instead"),
            ("/v1/traces", GRPC, "/v1/traces is a path of OTLP/HTTP"),
            (&format!("/otlp{traces}"), GRPC, "the prefix \"/otlp\" is not supported"),
            (&format!("{traces}/"), GRPC, "remove the slash at the end"),
            (&format!("{traces}s"), GRPC, "the only method of this service is Export"),
            (
                "/opentelemetry.proto.experimental.arrow.v1.ArrowTracesService/ArrowTraces",
                GRPC,
                "Arrow is not supported",
            ),
            ("/grpc.health.v1.Health/List", GRPC, "call Check or Watch"),
        ] {
            let message = message(path, content_type);
            assert!(message.contains(hint) && message.contains("hint: "), "{path} {content_type}: {message}");
        }
    }

    #[test]
    fn the_path_and_the_supported_ones_are_named_within_bounds() {
        assert_eq!(
            message("/x", PROTOBUF),
            concat!(
                "not an OTLP export: \"/x\" is not an OTLP/HTTP path; ",
                "supported: /v1/traces, /v1/metrics, /v1/logs, /v1development/profiles"
            )
        );
        let long = message(&format!("/{}", "\u{fc}\n".repeat(10_000)), GRPC);
        assert!(long.is_ascii() && !long.contains('\n') && long.len() < 800, "{}", long.len());
        for signal in Signal::ALL {
            assert!(long.contains(signal.grpc_path()));
        }
        let twice = message(&format!("/{}/v1/traces", "x".repeat(10_000)), PROTOBUF);
        assert!(twice.len() < 800 && twice.contains("..."), "{twice}");
    }
}
