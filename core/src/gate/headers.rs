//! Request headers as the proxy passes them, and how single values are read.

use crate::identity::xfcc;
use otlp_gate_wire::otlp::Signal;

/// Headers as the proxy passes them: names in lower case, values of any bytes, names may repeat.
pub type Headers<'a> = [(&'a [u8], &'a [u8])];

/// The header in which Envoy passes a client's certificate to the filter, and in which a trusted hop forwards the
/// identity of its client. No client may set it, and the backend never receives it.
pub(super) const FORWARDED_CERTIFICATE: &str = xfcc::HEADER;

/// Bytes of [`FORWARDED_CERTIFICATE`] that do not count towards a request's headers: the gateway itself adds them.
const OWN_CERTIFICATE: usize = 8 << 10;

/// The size of headers as HTTP/2 counts it (RFC 9113, 6.5.2): names and values, and 32 bytes for each of them, without
/// the certificate that the gateway itself adds.
pub fn headers_size(headers: &Headers) -> u64 {
    let own = |(name, value): &(&[u8], &[u8])| {
        if *name == FORWARDED_CERTIFICATE.as_bytes() { value.len().min(OWN_CERTIFICATE) } else { 0 }
    };
    let own = headers.iter().map(own).max().unwrap_or_default();
    let all: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
    (all - own) as u64
}

/// The first value of a header.
pub(super) fn value<'a>(headers: &Headers<'a>, name: &[u8]) -> Option<&'a [u8]> {
    headers.iter().find(|(header, _)| *header == name).map(|(_, value)| *value)
}

/// The path of a request without its query.
pub(super) fn path<'a>(headers: &Headers<'a>) -> Option<&'a [u8]> {
    value(headers, b":path")?.split(|&byte| byte == b'?').next()
}

/// The signal of an export over OTLP/HTTP, by its path.
pub(super) fn http_signal(headers: &Headers) -> Option<Signal> {
    signal(headers, Signal::http_path)
}

/// The signal of an export over OTLP/gRPC, by its path.
pub(super) fn grpc_signal(headers: &Headers) -> Option<Signal> {
    signal(headers, Signal::grpc_path)
}

fn signal(headers: &Headers, path_of: fn(Signal) -> &'static str) -> Option<Signal> {
    let path = path(headers)?;
    Signal::ALL.into_iter().find(|signal| path_of(*signal).as_bytes() == path)
}

/// Whether Envoy treats a request with this content type as gRPC, by the same rule as Envoy. To all others Envoy sends
/// local responses as plain HTTP: a request that only the gate took for gRPC would be answered 200.
pub(super) fn is_grpc(content_type: &[u8]) -> bool {
    content_type.strip_prefix(b"application/grpc").is_some_and(|more| matches!(more, [] | [b'+', ..]))
}

/// A media type without its parameters, in lower case.
pub(super) fn media_type(value: &[u8]) -> Vec<u8> {
    value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase()
}

/// Bytes from a client in quotes, for a message to it: at most `longest` of them, all but printable ASCII replaced by
/// `?`.
pub(super) fn printable(bytes: &[u8], longest: usize) -> String {
    let shown =
        bytes.iter().take(longest).map(|&byte| if matches!(byte, b' '..=b'~') { byte as char } else { '?' });
    let more = if bytes.len() > longest { "..." } else { "" };
    format!("\"{}{more}\"", shown.collect::<String>())
}
