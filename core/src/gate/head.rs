//! What a request's headers say: is it an OTLP export, of which signal, how is it encoded.

use crate::reply::{Protocol, Reason};
use otlp_gate_wire::otlp::Signal;

/// Headers as the proxy has them: names in lower case, values of any bytes, in any number.
pub type Headers<'a> = [(&'a [u8], &'a [u8])];

/// An OTLP export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What the client speaks.
    pub protocol: Protocol,
    /// What it sends.
    pub signal: Signal,
    /// How its message is compressed (for gRPC: if the message's flag says so).
    pub encoding: Encoding,
    /// How long its body is, where it says so, in bytes. Nothing but a hint.
    pub length: Option<u64>,
}

/// A compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// None.
    Identity,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Head {
    /// Reads the headers of a request; or says how to refuse it, and in which protocol.
    pub fn read(headers: &Headers) -> Result<Head, (Protocol, Reason)> {
        let raw = value(headers, b"content-type").unwrap_or_default();
        let content_type = media_type(raw);
        let protocol = if is_grpc(raw) {
            Protocol::Grpc
        } else if content_type == b"application/json" {
            Protocol::HttpJson
        } else {
            Protocol::HttpProtobuf
        };
        let refuse = |reason| Err((protocol, reason));

        let signal = match protocol {
            Protocol::Grpc => signal(headers, Signal::grpc_path),
            Protocol::HttpProtobuf | Protocol::HttpJson => http_signal(headers),
        };
        let Some(signal) = signal else {
            return refuse(Reason::UnknownPath);
        };
        if value(headers, b":method") != Some(b"POST") {
            return refuse(Reason::Method);
        }
        match (&content_type[..], protocol) {
            (b"application/grpc" | b"application/grpc+proto", Protocol::Grpc)
            | (b"application/x-protobuf" | b"application/json", _) => {}
            (other, _) => return refuse(Reason::Unsupported(format!("content type {}", printable(other)))),
        }
        let name: &[u8] = if protocol == Protocol::Grpc { b"grpc-encoding" } else { b"content-encoding" };
        let encoding = match value(headers, name).unwrap_or_default().to_ascii_lowercase().as_slice() {
            b"" | b"identity" => Encoding::Identity,
            b"gzip" => Encoding::Gzip,
            b"zstd" => Encoding::Zstd,
            other => return refuse(Reason::Unsupported(format!("encoding {}", printable(other)))),
        };
        // A second value could be the one that the backend reads.
        for name in [&b"content-type"[..], name] {
            if headers.iter().filter(|(header, _)| *header == name).count() > 1 {
                return refuse(Reason::Unsupported(format!("more than one {}", printable(name))));
            }
        }
        let length = value(headers, b"content-length").and_then(|it| str::from_utf8(it).ok()?.parse().ok());
        Ok(Head { protocol, signal, encoding, length })
    }
}

/// The signal that a request over plain HTTP is about, by its path.
pub(super) fn http_signal(headers: &Headers) -> Option<Signal> {
    signal(headers, Signal::http_path)
}

fn signal(headers: &Headers, path_of: fn(Signal) -> &'static str) -> Option<Signal> {
    let path = value(headers, b":path")?.split(|&byte| byte == b'?').next()?;
    Signal::ALL.into_iter().find(|signal| path_of(*signal).as_bytes() == path)
}

/// The first value of a header.
pub(super) fn value<'a>(headers: &Headers<'a>, name: &[u8]) -> Option<&'a [u8]> {
    headers.iter().find(|(header, _)| *header == name).map(|(_, value)| *value)
}

/// Whether Envoy takes it for gRPC, to the letter. Of all else it writes refusals as plain HTTP: for a request that looks
/// like gRPC to the gate alone that would be a 200.
fn is_grpc(content_type: &[u8]) -> bool {
    content_type.strip_prefix(b"application/grpc").is_some_and(|more| matches!(more, [] | [b'+', ..]))
}

/// A media type without its parameters, in lower case.
fn media_type(value: &[u8]) -> Vec<u8> {
    value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase()
}

/// A client's own words, short and safe to send back.
fn printable(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(64).map(|&byte| if byte.is_ascii_graphic() { byte as char } else { '?' });
    format!("\"{}\"", shown.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, more: &[(&str, &str)]) -> Result<Head, (Protocol, Reason)> {
        let mut headers: Vec<(&[u8], &[u8])> = vec![(b":method", b"POST"), (b":path", path.as_bytes())];
        headers.extend(more.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        Head::read(&headers)
    }

    const GRPC: (&str, &str) = ("content-type", "application/grpc");
    const GRPC_WEB: (&str, &str) = ("content-type", "application/grpc-web+proto");
    const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
    const JSON: (&str, &str) = ("content-type", "application/json");

    #[test]
    fn knows_every_export() {
        for signal in Signal::ALL {
            let plain = Head { protocol: Protocol::Grpc, signal, encoding: Encoding::Identity, length: None };
            assert_eq!(read(signal.grpc_path(), &[GRPC]), Ok(plain));
            let gzip = Head { encoding: Encoding::Gzip, ..plain };
            assert_eq!(read(signal.grpc_path(), &[GRPC, ("grpc-encoding", "gzip")]), Ok(gzip));
            let zstd = Head { encoding: Encoding::Zstd, ..plain };
            assert_eq!(read(signal.grpc_path(), &[GRPC, ("grpc-encoding", "Zstd")]), Ok(zstd));
            let http = Head { protocol: Protocol::HttpProtobuf, ..plain };
            assert_eq!(read(signal.http_path(), &[PROTOBUF]), Ok(http));
            let json = Head { protocol: Protocol::HttpJson, encoding: Encoding::Gzip, ..plain };
            let headers = [("content-type", "application/json; charset=utf-8"), ("content-encoding", "gzip")];
            assert_eq!(read(signal.http_path(), &headers), Ok(json));
            let query = format!("{}?x=/v1/logs", signal.http_path());
            assert_eq!(read(&query, &[("content-type", "Application/X-Protobuf; charset=x")]), Ok(http));
        }
    }

    #[test]
    fn refuses_all_else_in_the_clients_protocol() {
        let traces = Signal::Traces;
        for (path, headers, protocol, label) in [
            (traces.http_path(), vec![GRPC], Protocol::Grpc, "not_otlp"),
            (traces.grpc_path(), vec![PROTOBUF], Protocol::HttpProtobuf, "not_otlp"),
            (traces.grpc_path(), vec![JSON], Protocol::HttpJson, "not_otlp"),
            ("/v1/traces", vec![JSON, PROTOBUF], Protocol::HttpJson, "unsupported"),
            (
                "/v1/traces",
                vec![("content-type", "application/jsonl")],
                Protocol::HttpProtobuf,
                "unsupported",
            ),
            ("/v1/traces/", vec![PROTOBUF], Protocol::HttpProtobuf, "not_otlp"),
            ("/V1/traces", vec![PROTOBUF], Protocol::HttpProtobuf, "not_otlp"),
            ("//v1/traces", vec![PROTOBUF], Protocol::HttpProtobuf, "not_otlp"),
            ("/v1/traces", vec![], Protocol::HttpProtobuf, "unsupported"),
            ("/v1/traces", vec![("content-type", "text/plain")], Protocol::HttpProtobuf, "unsupported"),
            (
                traces.grpc_path(),
                vec![("content-type", "application/grpc+json")],
                Protocol::Grpc,
                "unsupported",
            ),
            (traces.grpc_path(), vec![GRPC, ("grpc-encoding", "br")], Protocol::Grpc, "unsupported"),
            // What Envoy does not answer as gRPC is not gRPC.
            (traces.grpc_path(), vec![GRPC_WEB], Protocol::HttpProtobuf, "not_otlp"),
            (
                traces.grpc_path(),
                vec![("content-type", "application/grpc;x=y")],
                Protocol::HttpProtobuf,
                "not_otlp",
            ),
            (
                traces.grpc_path(),
                vec![("content-type", "Application/gRPC")],
                Protocol::HttpProtobuf,
                "not_otlp",
            ),
            (traces.http_path(), vec![GRPC_WEB], Protocol::HttpProtobuf, "unsupported"),
            (
                "/v1/logs",
                vec![PROTOBUF, ("content-encoding", "gzip, gzip")],
                Protocol::HttpProtobuf,
                "unsupported",
            ),
            (
                "/v1/logs",
                vec![PROTOBUF, ("content-encoding", "identity"), ("content-encoding", "gzip")],
                Protocol::HttpProtobuf,
                "unsupported",
            ),
        ] {
            let (seen, reason) = read(path, &headers).unwrap_err();
            assert_eq!((seen, reason.label()), (protocol, label), "{path} {headers:?}");
        }
        let get: [(&[u8], &[u8]); 3] =
            [(b":method", b"GET"), (b":path", b"/v1/logs"), (b"content-type", b"application/x-protobuf")];
        assert_eq!(Head::read(&get), Err((Protocol::HttpProtobuf, Reason::Method)));
    }
}
