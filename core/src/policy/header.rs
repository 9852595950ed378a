//! Which request headers may be set, and the values that they may have.

use crate::identity::xfcc;

/// The longest value, in bytes. Envoy allows 60 KiB for all headers of a request.
const MAX_VALUE: usize = 4096;

/// The form of a value, see [`is_value`].
pub(super) const VALUE: &str = "1 to 4096 characters of visible ASCII, with spaces only inside";

/// Whether a backend may treat two header names as one: the case of letters is ignored, and all characters other than
/// letters and digits are the same.
pub(crate) fn is_spelling(name: &[u8], own: &[u8]) -> bool {
    let fold = |byte: u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    name.len() == own.len() && name.iter().zip(own).all(|(&a, &b)| fold(a) == fold(b))
}

/// Why a header of this name (in lower case) cannot be set, if it cannot.
pub(super) fn forbidden(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("the name is empty");
    }
    if name.starts_with(':') {
        return Some("it is a pseudo header");
    }
    if !name.bytes().all(is_token) {
        return Some("it is not a header name: use letters, digits and `-`");
    }
    // The name as some backends fold it, see `is_spelling`.
    let name = &*name.replace(|character: char| !character.is_ascii_alphanumeric(), "-");
    if HOP_BY_HOP.contains(&name) || name.starts_with("proxy-") {
        return Some("it is for one connection (RFC 9110, section 7.6.1) and does not reach the backend");
    }
    if name == "host" {
        return Some("it selects the destination of the request");
    }
    if name.starts_with("content-") {
        return Some("it describes the body, which the filter rewrites");
    }
    if name.starts_with("grpc-") {
        return Some("it is part of the gRPC protocol");
    }
    if name.ends_with("-bin") {
        return Some("gRPC decodes headers that end with `-bin` as base64");
    }
    if name == xfcc::HEADER || name.starts_with("x-envoy-") {
        return Some("it is reserved for the proxy");
    }
    None
}

/// Whether a value may be sent: 1 to 4096 bytes of visible ASCII, with spaces only inside.
pub(super) fn is_value(value: &str) -> bool {
    let spaced = value.starts_with(' ') || value.ends_with(' ');
    !value.is_empty() && value.len() <= MAX_VALUE && !spaced && value.bytes().all(is_value_byte)
}

/// Whether a byte may occur in a value.
pub(super) fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

// RFC 9110, section 7.6.1; and `expect`, which Envoy answers itself.
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

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As Apache's httpd makes variables for CGI of names.
    fn cgi(name: &[u8]) -> Vec<u8> {
        let fold = |byte: &u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_uppercase() } else { b'_' };
        name.iter().map(fold).collect()
    }

    #[test]
    fn spellings_that_a_backend_may_treat_as_one_name_are_one() {
        for name in ["x-scope-orgid", "x_scope_orgid", "X_Scope-OrgID", "x.scope.orgid", "x scope~orgid"] {
            assert!(is_spelling(name.as_bytes(), b"x-scope-orgid"), "{name}");
            assert!(is_spelling(name.as_bytes(), b"x_scope_orgid"), "{name}");
        }
        for name in ["x-scope-orgids", "xscope-orgid", "x--scope-orgid", "x-scope-org1d", ""] {
            assert!(!is_spelling(name.as_bytes(), b"x-scope-orgid"), "{name}");
        }
    }

    proptest! {
        #[test]
        fn spellings_that_cgi_treats_as_one_name_are_one(name in "[a-cA-C_.~-]{0,4}", own in "[a-c_-]{0,4}") {
            let one = cgi(name.as_bytes()) == cgi(own.as_bytes());
            prop_assert_eq!(is_spelling(name.as_bytes(), own.as_bytes()), one);
        }
    }

    #[test]
    fn headers_that_cannot_be_set_are_rejected() {
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
            "content_type",
            "grpc.timeout",
            "x_forwarded_client_cert",
        ] {
            assert!(forbidden(name).is_some(), "{name}");
        }
        for name in ["x-scope-orgid", "authorization", "x-tenant", "team", "x_scope_orgid"] {
            assert_eq!(forbidden(name), None, "{name}");
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
