//! Requests from web pages. A browser sends a request to another origin only if a preflight response allows it, and
//! shows the response to the page only if its headers allow that too (Fetch standard, "CORS protocol").

use super::edits::HeaderEdits;
use super::headers::{Headers, http_signal, value};
use super::load::Gate;
use crate::response::Response;

/// How long a browser may cache a preflight response, in seconds. Chromium caches for at most two hours.
const MAX_AGE: &str = "7200";

/// The longest `access-control-request-headers` that is read, in bytes.
const LONGEST_LIST: usize = 1024;

/// The origin of a web page, which the policy allows to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedOrigin(String);

impl Gate {
    /// The origin of a request, if it has one and the policy allows it. It does not identify the client.
    pub fn allowed_origin(&self, headers: &Headers) -> Option<AllowedOrigin> {
        let mut origins = headers.iter().filter(|(name, _)| *name == b"origin");
        let (Some((_, origin)), None) = (origins.next(), origins.next()) else { return None };
        let origin = core::str::from_utf8(origin).ok()?;
        self.policy.allows_origin(origin).then(|| AllowedOrigin(origin.to_owned()))
    }
}

impl AllowedOrigin {
    /// The response to a preflight request, which a browser sends before an export from a page. `None` for any other
    /// request.
    pub fn preflight(&self, headers: &Headers) -> Option<Response> {
        let is_preflight = value(headers, b":method") == Some(b"OPTIONS")
            && value(headers, b"access-control-request-method").is_some()
            && http_signal(headers).is_some();
        if !is_preflight {
            return None;
        }
        let mut allow = vec![
            ("access-control-allow-methods", "POST".to_owned()),
            ("access-control-max-age", MAX_AGE.to_owned()),
        ];
        // Any header that an exporter is configured to add is allowed: the gate removes those that the client must not
        // set.
        let requested = value(headers, b"access-control-request-headers").and_then(list);
        allow.extend(requested.map(|list| ("access-control-allow-headers", list)));
        Some(Response { http_status: 204, grpc_status: None, headers: allow, body: Vec::new() })
    }

    /// The header edits that let a page of this origin read a response; the backend's own headers of that kind are
    /// replaced. The client's certificate is a credential.
    pub fn edits(&self) -> HeaderEdits<'_> {
        let ours = [
            ("access-control-allow-origin", self.0.as_str()),
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", "retry-after"),
        ];
        let mut add = ours.to_vec();
        add.push(("vary", "origin"));
        HeaderEdits { remove: ours.map(|(name, _)| name.as_bytes()).to_vec(), add }
    }
}

/// A list of header names as received; `None` if it is not one.
fn list(value: &[u8]) -> Option<String> {
    let fits = value.len() <= LONGEST_LIST
        && value.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"-_, ".contains(&byte));
    let text = fits.then(|| core::str::from_utf8(value).ok()).flatten()?;
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gate() -> Gate {
        let origins = r#"["https://shop.example.com","https://*.acme.example","http://localhost:*"]"#;
        Gate::load(format!("{{\"corsOrigins\":{origins}}}").as_bytes()).unwrap()
    }

    fn bytes<'a>(headers: &[(&'a str, &'a str)]) -> Vec<(&'a [u8], &'a [u8])> {
        headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
    }

    const ORIGIN: (&str, &str) = ("origin", "https://shop.example.com");
    const ASKS: (&str, &str) = ("access-control-request-method", "POST");

    #[test]
    fn only_origins_of_the_policy_are_allowed() {
        let gate = gate();
        for (origin, may) in [
            ("https://shop.example.com", true),
            ("https://a.acme.example", true),
            ("http://localhost:8080", true),
            ("http://shop.example.com", false),
            ("https://shop.example.com:8443", false),
            ("https://shop.example.com.evil.example", false),
            ("https://evil.example/https://shop.example.com", false),
            ("https://a.b.acme.example", false),
            ("https://evil.example/.acme.example", false),
            ("https://acme.example", false),
            ("https://Shop.example.com", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(gate.allowed_origin(&bytes(&[("origin", origin)])).is_some(), may, "{origin}");
        }
        assert_eq!(gate.allowed_origin(&bytes(&[ORIGIN, ORIGIN])), None);
        assert_eq!(gate.allowed_origin(&[(b"origin", b"https://\xff.acme.example")]), None);
        assert_eq!(Gate::load(b"{}").unwrap().allowed_origin(&bytes(&[ORIGIN])), None);
    }

    #[test]
    fn only_a_preflight_of_an_export_is_answered() {
        let origin = gate().allowed_origin(&bytes(&[ORIGIN])).unwrap();
        let preflight = |method, path, more: &[(&'static str, &'static str)]| {
            let headers = [&[(":method", method), (":path", path)][..], more].concat();
            origin.preflight(&bytes(&headers))
        };
        let asks = [ASKS, ("access-control-request-headers", "content-encoding, content-type,x_y")];
        let response = preflight("OPTIONS", "/v1/traces?x", &asks).unwrap();
        assert_eq!((response.http_status, response.grpc_status, response.body.len()), (204, None, 0));
        let headers: Vec<_> = response.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let want = [
            ("access-control-allow-methods", "POST"),
            ("access-control-max-age", "7200"),
            ("access-control-allow-headers", "content-encoding, content-type,x_y"),
        ];
        assert_eq!(headers, want);
        for signal in otlp_gate_wire::otlp::Signal::ALL {
            assert!(preflight("OPTIONS", signal.http_path(), &[ASKS]).is_some());
            assert!(preflight("OPTIONS", signal.grpc_path(), &[ASKS]).is_none());
        }
        for (method, path, more) in
            [("OPTIONS", "/v1/traces", &[][..]), ("OPTIONS", "/", &[ASKS]), ("POST", "/v1/traces", &[ASKS])]
        {
            assert_eq!(preflight(method, path, more), None, "{method} {path}");
        }
        for odd in ["content-type\r\nx: y", "a;b", "ü"] {
            let response = preflight("OPTIONS", "/v1/logs", &[ASKS, ("access-control-request-headers", odd)]);
            assert_eq!(response.unwrap().headers.len(), 2, "{odd:?}");
        }
    }

    #[test]
    fn responses_name_the_origin_of_the_request() {
        let origin = gate().allowed_origin(&bytes(&[ORIGIN])).unwrap();
        let edits = origin.edits();
        assert!(edits.add.starts_with(&[("access-control-allow-origin", "https://shop.example.com")]));
        assert!(edits.add.contains(&("vary", "origin")));
        for name in &edits.remove {
            assert!(edits.add.iter().any(|(added, _)| added.as_bytes() == *name), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn no_request_header_can_inject_response_headers(origin in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = gate().allowed_origin(&[(b"origin", &origin)]);
            let mut headers = bytes(&[(":method", "OPTIONS"), (":path", "/v1/logs"), ASKS]);
            headers.push((b"access-control-request-headers", &origin));
            let response = gate().allowed_origin(&bytes(&[ORIGIN])).unwrap().preflight(&headers).unwrap();
            prop_assert!(response.headers.iter().all(|(_, value)| !value.contains(['\r', '\n', '\0'])));
        }
    }
}
