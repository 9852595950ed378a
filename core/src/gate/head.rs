//! The headers of an OTLP export: its protocol, signal and encoding.

use super::headers::{self, Headers, headers_size, is_grpc, media_type, printable, value};
use super::path;
use crate::response::{Protocol, Reason};
use otlp_gate_wire::otlp::Signal;

/// The headers of an OTLP export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The protocol.
    pub protocol: Protocol,
    /// The signal.
    pub signal: Signal,
    /// The compression of its message (for gRPC: of a message whose flag is set).
    pub encoding: Encoding,
    /// The length of its body by `content-length`, in bytes. It may be wrong.
    pub length: Option<u64>,
    /// The size of all headers by [`headers_size`], in bytes.
    pub headers: u64,
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
    /// zlib's format, for HTTP only.
    Deflate,
}

impl Head {
    /// Reads the headers of a request.
    ///
    /// # Errors
    /// Why it is rejected, and in which protocol.
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
        let reject = |reason| Err((protocol, reason));

        let signal = match protocol {
            Protocol::Grpc => headers::grpc_signal(headers),
            Protocol::HttpProtobuf | Protocol::HttpJson => headers::http_signal(headers),
        };
        let Some(signal) = signal else {
            return reject(path::unknown(headers, protocol));
        };
        if let Some(reason) = Head::method(headers) {
            return reject(reason);
        }
        match (&content_type[..], protocol) {
            (b"application/grpc" | b"application/grpc+proto", Protocol::Grpc)
            | (b"application/x-protobuf" | b"application/json", _) => {}
            (other, _) => return reject(unknown_content_type(other, protocol)),
        }
        let encoding = match Encoding::read(headers, protocol) {
            Ok(encoding) => encoding,
            Err(reason) => return reject(reason),
        };
        // The backend might read a second value instead.
        for name in ["content-type", Encoding::header(protocol)] {
            if headers.iter().filter(|(header, _)| *header == name.as_bytes()).count() > 1 {
                return reject(Reason::Unsupported(format!("more than one {name}; hint: send it once")));
            }
        }
        let length = value(headers, b"content-length").and_then(|it| str::from_utf8(it).ok()?.parse().ok());
        Ok(Head { protocol, signal, encoding, length, headers: headers_size(headers) })
    }

    /// The reason to reject a method other than POST.
    pub(super) fn method(headers: &Headers) -> Option<Reason> {
        let method = value(headers, b":method").unwrap_or_default();
        (method != b"POST").then(|| Reason::Method(printable(method, 64)))
    }
}

impl Encoding {
    /// Reads the compression of a request's message.
    pub(super) fn read(headers: &Headers, protocol: Protocol) -> Result<Encoding, Reason> {
        let name = value(headers, Encoding::header(protocol).as_bytes()).unwrap_or_default();
        match (name.to_ascii_lowercase().as_slice(), protocol) {
            (b"" | b"identity", _) => Ok(Encoding::Identity),
            (b"gzip", _) => Ok(Encoding::Gzip),
            (b"zstd", _) => Ok(Encoding::Zstd),
            (b"deflate" | b"zlib", Protocol::HttpProtobuf | Protocol::HttpJson) => Ok(Encoding::Deflate),
            _ => Err(Reason::Unsupported(format!(
                "{} {}; hint: use one of {}",
                Encoding::header(protocol),
                printable(name, 64),
                protocol.encodings()
            ))),
        }
    }

    fn header(protocol: Protocol) -> &'static str {
        if protocol == Protocol::Grpc { "grpc-encoding" } else { "content-encoding" }
    }
}

#[cold]
fn unknown_content_type(content_type: &[u8], protocol: Protocol) -> Reason {
    let supported = match protocol {
        Protocol::Grpc => "application/grpc or application/grpc+proto",
        Protocol::HttpProtobuf | Protocol::HttpJson => "application/x-protobuf or application/json",
    };
    Reason::Unsupported(match content_type {
        b"" => format!("a request without a content type; hint: use {supported}"),
        // gRPC-Web has other frames, and its responses another form.
        grpc if grpc.starts_with(b"application/grpc-web") => {
            format!("gRPC-Web; hint: send OTLP/HTTP from web pages, as {supported}")
        }
        other => format!("content type {}; hint: use {supported}", printable(other, 64)),
    })
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
    fn reads_every_export() {
        for signal in Signal::ALL {
            let plain = Head {
                protocol: Protocol::Grpc,
                signal,
                encoding: Encoding::Identity,
                length: None,
                headers: 0,
            };
            // The size has a test of its own.
            let read =
                |path: &str, more: &[(&str, &str)]| read(path, more).map(|head| Head { headers: 0, ..head });
            assert_eq!(read(signal.grpc_path(), &[GRPC]), Ok(plain));
            let gzip = Head { encoding: Encoding::Gzip, ..plain };
            assert_eq!(read(signal.grpc_path(), &[GRPC, ("grpc-encoding", "gzip")]), Ok(gzip));
            let zstd = Head { encoding: Encoding::Zstd, ..plain };
            assert_eq!(read(signal.grpc_path(), &[GRPC, ("grpc-encoding", "Zstd")]), Ok(zstd));
            let http = Head { protocol: Protocol::HttpProtobuf, ..plain };
            assert_eq!(read(signal.http_path(), &[PROTOBUF]), Ok(http));
            for name in ["deflate", "zlib", "Deflate"] {
                let zlib = Head { encoding: Encoding::Deflate, ..http };
                assert_eq!(read(signal.http_path(), &[PROTOBUF, ("content-encoding", name)]), Ok(zlib));
            }
            let json = Head { protocol: Protocol::HttpJson, encoding: Encoding::Gzip, ..plain };
            let headers = [("content-type", "application/json; charset=utf-8"), ("content-encoding", "gzip")];
            assert_eq!(read(signal.http_path(), &headers), Ok(json));
            let query = format!("{}?x=/v1/logs", signal.http_path());
            assert_eq!(read(&query, &[("content-type", "Application/X-Protobuf; charset=x")]), Ok(http));
        }
    }

    #[test]
    fn the_size_of_headers_includes_all() {
        let head = read("/v1/logs", &[PROTOBUF, ("x", "yy")]).unwrap();
        let sizes = [":method".len() + "POST".len(), ":path".len() + "/v1/logs".len(), 12 + 22, 3];
        assert_eq!(head.headers, sizes.iter().map(|size| *size as u64 + 32).sum::<u64>());
    }

    #[test]
    fn rejects_all_else_in_the_clients_protocol() {
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
            (traces.grpc_path(), vec![GRPC, ("grpc-encoding", "deflate")], Protocol::Grpc, "unsupported"),
            // A content type to which Envoy does not respond as gRPC is not gRPC.
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
        assert_eq!(Head::read(&get), Err((Protocol::HttpProtobuf, Reason::Method("\"GET\"".into()))));
    }

    #[test]
    fn unsupported_values_are_named_with_the_supported_ones() {
        let (known, grpc) =
            ("application/x-protobuf or application/json", "application/grpc or application/grpc+proto");
        for (path, headers, said) in [
            ("/v1/logs", vec![], format!("a request without a content type; hint: use {known}")),
            (
                "/v1/logs",
                vec![("content-type", "text/plain; charset=utf-8")],
                format!("content type \"text/plain\"; hint: use {known}"),
            ),
            (
                "/v1/logs",
                vec![GRPC_WEB],
                format!("gRPC-Web; hint: send OTLP/HTTP from web pages, as {known}"),
            ),
            (
                Signal::Logs.grpc_path(),
                vec![("content-type", "application/grpc+json")],
                format!("content type \"application/grpc+json\"; hint: use {grpc}"),
            ),
            ("/v1/logs", vec![JSON, JSON], "more than one content-type; hint: send it once".to_owned()),
            (
                "/v1/logs",
                vec![JSON, ("content-encoding", "gzip, br")],
                "content-encoding \"gzip, br\"; hint: use one of identity,gzip,zstd,deflate".to_owned(),
            ),
            (
                Signal::Logs.grpc_path(),
                vec![GRPC, ("grpc-encoding", "snappy")],
                "grpc-encoding \"snappy\"; hint: use one of identity,gzip,zstd".to_owned(),
            ),
        ] {
            let (_, reason) = read(path, &headers).unwrap_err();
            assert_eq!(reason.to_string(), format!("not supported: {said}"));
        }
    }
}
