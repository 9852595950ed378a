//! What to tell a client whose request goes to no path of OTLP: which one came, which are taken, and what most likely went
//! wrong on its side.

use super::headers::{self, Headers, media_type, printable, value};
use crate::response::{Protocol, Reason};
use otlp_gate_wire::otlp::Signal;

/// The path of gRPC's health service, with the slash before its methods.
const HEALTH_SERVICE: &str = "/grpc.health.v1.Health/";
/// The path of the health service's method that answers once.
pub(super) const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
/// The path of the health service's method that answers with every change.
pub(super) const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Paths are shown up to this length, in bytes.
const LONGEST: usize = 128;

/// OpenTelemetry Arrow's services; its exporter goes on with OTLP where they are refused.
const ARROW: &[u8] = b"/opentelemetry.proto.experimental.arrow.";

/// Why a request to this path is refused.
#[cold]
pub(super) fn unknown(headers: &Headers, protocol: Protocol) -> Reason {
    let path = headers::path(headers).unwrap_or_default();
    let (what, cure, taken) = match protocol {
        Protocol::Grpc => ("call of OTLP/gRPC", grpc(path), grpc_paths()),
        Protocol::HttpProtobuf | Protocol::HttpJson => {
            let content_type = media_type(value(headers, b"content-type").unwrap_or_default());
            ("path of OTLP/HTTP", http(path, &content_type), http_paths())
        }
    };
    let cure = cure.map(|cure| format!("; hint: {cure}")).unwrap_or_default();
    Reason::UnknownPath(format!("{} is no {what}{cure}; taken are {taken}", printable(path, LONGEST)))
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
            "{of} is of OTLP/HTTP: give the exporter an endpoint without a path, or set its protocol to http/protobuf"
        ));
    }
    if let Some((before, of)) = ends_with(path, Signal::grpc_path) {
        return Some(prefixed(before, of));
    }
    if path.starts_with(ARROW) {
        return Some("OpenTelemetry Arrow is not taken, plain OTLP is".to_owned());
    }
    if is_health(path) {
        return Some("health is asked by Check or Watch".to_owned());
    }
    let service = |signal: &Signal| signal.grpc_path().trim_end_matches("Export");
    let of = Signal::ALL.iter().find(|signal| path.starts_with(service(signal).as_bytes()));
    of.map(|_| "the only method of this service is Export".to_owned())
}

fn http(path: &[u8], content_type: &[u8]) -> Option<String> {
    if content_type.starts_with(b"application/grpc-web") {
        return Some("gRPC-Web is not taken: pages send by OTLP/HTTP".to_owned());
    }
    if content_type.starts_with(b"application/grpc") {
        let said = "gRPC's content type is application/grpc, in lower case and with nothing behind it";
        return Some(said.to_owned());
    }
    if ends_with(path, Signal::grpc_path).is_some() || is_health(path) {
        return Some(format!(
            "this path is of OTLP/gRPC, with the content type application/grpc instead of {}",
            printable(content_type, 64)
        ));
    }
    if let Some((before, of)) = ends_with(path, Signal::http_path) {
        return Some(prefixed(before, of));
    }
    if let Some(signal) = Signal::ALL.iter().find(|it| path.eq_ignore_ascii_case(it.http_path().as_bytes())) {
        return Some(format!("{} is in lower case", signal.http_path()));
    }
    if path.iter().all(|&byte| byte == b'/') {
        return Some(
            "an endpoint of one signal (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and its like) needs its path, such as /v1/traces"
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
    Some(format!("{} go to {}", meant.name(), meant.http_path()))
}

/// What is before a path of OTLP that this one ends with, and that path. Slashes behind it do not count.
fn ends_with(path: &[u8], of: fn(Signal) -> &'static str) -> Option<(&[u8], &'static str)> {
    let end = path.iter().rposition(|&byte| byte != b'/')? + 1;
    let path = path.get(..end)?;
    Signal::ALL.into_iter().map(of).find_map(|own| Some((path.strip_suffix(own.as_bytes())?, own)))
}

/// What to do about a path that has something before or behind it.
fn prefixed(before: &[u8], of: &str) -> String {
    if before.is_empty() {
        return format!("{of} has no slash at its end");
    }
    if before.iter().all(|&byte| byte == b'/') {
        return format!("{of} begins with one slash: the endpoint ends with one too many");
    }
    if ends_with(before, Signal::http_path).is_some() || ends_with(before, Signal::grpc_path).is_some() {
        let said = "the endpoint has this path already and the exporter adds it: give it the endpoint without a path";
        return said.to_owned();
    }
    format!(
        "the prefix {} is not taken: give the exporter an endpoint without it, or have the proxy that adds it remove it",
        printable(before, LONGEST)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: &str, content_type: &str) -> String {
        let headers: [(&[u8], &[u8]); 3] =
            [(b":method", b"POST"), (b":path", path.as_bytes()), (b"content-type", content_type.as_bytes())];
        let (_, reason) = super::super::Head::read(&headers).unwrap_err();
        assert_eq!(reason.label(), "not_otlp", "{path}");
        reason.to_string()
    }

    const PROTOBUF: &str = "application/x-protobuf";
    const GRPC: &str = "application/grpc";

    #[test]
    fn usual_mistakes_are_named_with_what_to_do() {
        let traces = Signal::Traces.grpc_path();
        for (path, content_type, cure) in [
            ("/v1/traces/v1/traces", PROTOBUF, "the endpoint has this path already"),
            ("/v1/traces/v1/logs/", PROTOBUF, "the endpoint has this path already"),
            ("/v1/traces//v1/traces", "application/json", "the endpoint has this path already"),
            ("/v1/traces/", PROTOBUF, "/v1/traces has no slash at its end"),
            ("//v1/traces", PROTOBUF, "begins with one slash"),
            ("/otlp/v1/metrics?x=y", PROTOBUF, "the prefix \"/otlp\" is not taken"),
            ("/v1/v1/logs", PROTOBUF, "the prefix \"/v1\" is not taken"),
            ("/V1/Traces", PROTOBUF, "/v1/traces is in lower case"),
            ("/", PROTOBUF, "needs its path"),
            ("/traces", PROTOBUF, "traces go to /v1/traces"),
            ("/v1/log", PROTOBUF, "logs go to /v1/logs"),
            ("/api/v2/spans", PROTOBUF, "traces go to /v1/traces"),
            ("/v1/profiles", PROTOBUF, "profiles go to /v1development/profiles"),
            (traces, PROTOBUF, "of OTLP/gRPC, with the content type application/grpc instead"),
            (traces, "application/grpc-web+proto", "gRPC-Web is not taken"),
            (traces, "Application/gRPC", "in lower case and with nothing behind it"),
            (HEALTH_CHECK, PROTOBUF, "of OTLP/gRPC, with the content type application/grpc instead"),
            ("/v1/traces", GRPC, "/v1/traces is of OTLP/HTTP"),
            (&format!("/otlp{traces}"), GRPC, "the prefix \"/otlp\" is not taken"),
            (&format!("{traces}/"), GRPC, "has no slash at its end"),
            (&format!("{traces}s"), GRPC, "the only method of this service is Export"),
            (
                "/opentelemetry.proto.experimental.arrow.v1.ArrowTracesService/ArrowTraces",
                GRPC,
                "Arrow is not taken",
            ),
            ("/grpc.health.v1.Health/List", GRPC, "by Check or Watch"),
        ] {
            let said = said(path, content_type);
            assert!(said.contains(cure) && said.contains("hint: "), "{path} {content_type}: {said}");
        }
    }

    #[test]
    fn the_path_and_those_that_are_taken_are_named_within_bounds() {
        assert_eq!(
            said("/x", PROTOBUF),
            concat!(
                "not an OTLP export: \"/x\" is no path of OTLP/HTTP; ",
                "taken are /v1/traces, /v1/metrics, /v1/logs, /v1development/profiles"
            )
        );
        let long = said(&format!("/{}", "\u{fc}\n".repeat(10_000)), GRPC);
        assert!(long.is_ascii() && !long.contains('\n') && long.len() < 800, "{}", long.len());
        for signal in Signal::ALL {
            assert!(long.contains(signal.grpc_path()));
        }
        let twice = said(&format!("/{}/v1/traces", "x".repeat(10_000)), PROTOBUF);
        assert!(twice.len() < 800 && twice.contains("..."), "{twice}");
    }
}
