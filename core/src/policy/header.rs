//! Which request headers a gate may own, and what it may write into them.

/// Longer values would crowd out the rest of the request's headers (Envoy allows 60 KiB for all).
const MAX_VALUE: usize = 4096;

/// What a value may be, see [`is_value`].
pub(super) const VALUE: &str = "1 to 4096 characters of visible ASCII, with spaces only inside";

/// What is wrong with owning a header of this name (in lower case), if anything.
pub(super) fn refusal(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("a header needs a name");
    }
    if name.starts_with(':') {
        return Some("it is a pseudo header: the request's own line");
    }
    if !name.bytes().all(is_token) {
        return Some("it is no header name: use letters, digits and `-`");
    }
    if HOP_BY_HOP.contains(&name) || name.starts_with("proxy-") {
        return Some("it is for one connection only (RFC 9110 section 7.6.1) and never reaches the backend");
    }
    if name == "host" {
        return Some("it says where the request goes");
    }
    if name.starts_with("content-") {
        return Some("it describes the body, which the gate rewrites");
    }
    if name.starts_with("grpc-") {
        return Some("it belongs to the gRPC protocol");
    }
    if name.ends_with("-bin") {
        return Some("gRPC takes headers that end with `-bin` for base64");
    }
    if name == "x-forwarded-client-cert" || name.starts_with("x-envoy-") {
        return Some("it belongs to the proxy");
    }
    None
}

/// Whether a value may be sent: not empty, visible ASCII with spaces inside, at most 4 KiB.
pub(super) fn is_value(value: &str) -> bool {
    let spaced = value.starts_with(' ') || value.ends_with(' ');
    !value.is_empty() && value.len() <= MAX_VALUE && !spaced && value.bytes().all(is_value_byte)
}

/// Whether a byte may be inside a value.
pub(super) fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

// RFC 9110 section 7.6.1, with `expect`, which Envoy answers itself.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "expect",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_are_not_the_gates_are_refused() {
        for name in [
            "",
            ":path",
            "x y",
            "x:y",
            "ü",
            "te",
            "connection",
            "upgrade",
            "proxy-authorization",
            "host",
            "content-length",
            "content-type",
            "grpc-timeout",
            "trace-bin",
            "x-forwarded-client-cert",
            "x-envoy-internal",
        ] {
            assert!(refusal(name).is_some(), "{name}");
        }
        for name in ["x-scope-orgid", "authorization", "x-tenant", "team"] {
            assert_eq!(refusal(name), None, "{name}");
        }
    }

    #[test]
    fn values_are_visible_ascii() {
        for (value, fits) in [
            ("acme", true),
            ("O=Acme\\, Inc.", true),
            ("", false),
            (" a", false),
            ("a ", false),
            ("a\r\nx: y", false),
            ("ü", false),
            ("\u{7f}", false),
        ] {
            assert_eq!(is_value(value), fits, "{value:?}");
        }
        assert!(is_value(&"x".repeat(4096)) && !is_value(&"x".repeat(4097)));
    }
}
