//! Requests from web pages. A browser sends one to another origin only after it was told that the page may, and shows the
//! page an answer only if that says so again (Fetch standard, "CORS protocol").

use super::head::{Headers, http_signal, value};
use super::{Gate, HeaderEdits};
use crate::response::Response;

/// How many seconds a browser may remember that a page may send. Chromium takes no more than two hours.
const MAX_AGE: &str = "7200";

/// The longest list of headers that is read, in bytes.
const LONGEST_LIST: usize = 1024;

/// The origin of a web page that may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Gate {
    /// The origin of a request, where there is one and its pages may send. It says nothing about who sends.
    pub fn origin(&self, headers: &Headers) -> Option<Origin> {
        let mut origins = headers.iter().filter(|(name, _)| *name == b"origin");
        let (Some((_, origin)), None) = (origins.next(), origins.next()) else { return None };
        let origin = core::str::from_utf8(origin).ok()?;
        self.policy.allows_origin(origin).then(|| Origin(origin.to_owned()))
    }
}

impl Origin {
    /// The answer to a preflight request: what a browser asks before it sends what a page wants to send. Such a request has no
    /// body and is no export. What else it may ask is for [`super::Head::read`] to refuse.
    pub fn preflight(&self, headers: &Headers) -> Option<Response> {
        let asks = value(headers, b":method") == Some(b"OPTIONS")
            && value(headers, b"access-control-request-method").is_some()
            && http_signal(headers).is_some();
        if !asks {
            return None;
        }
        let mut answer = vec![
            ("access-control-allow-methods", "POST".to_owned()),
            ("access-control-max-age", MAX_AGE.to_owned()),
        ];
        // Whatever headers an exporter is told to add do no harm: the gate removes those that are not the client's to say.
        let asked = value(headers, b"access-control-request-headers").and_then(list);
        answer.extend(asked.map(|list| ("access-control-allow-headers", list)));
        Some(Response { http_status: 204, grpc_status: None, headers: answer, body: Vec::new() })
    }

    /// What lets a page of this origin read an answer, in place of what the backend may say of that. The client's certificate is
    /// a credential.
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

/// A list of headers' names as it came, if it is one.
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
    fn only_pages_of_the_policys_origins_may_send() {
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
            assert_eq!(gate.origin(&bytes(&[("origin", origin)])).is_some(), may, "{origin}");
        }
        assert_eq!(gate.origin(&bytes(&[ORIGIN, ORIGIN])), None);
        assert_eq!(gate.origin(&[(b"origin", b"https://\xff.acme.example")]), None);
        assert_eq!(Gate::load(b"{}").unwrap().origin(&bytes(&[ORIGIN])), None);
    }

    #[test]
    fn a_preflight_of_an_export_is_answered_and_nothing_else_is() {
        let origin = gate().origin(&bytes(&[ORIGIN])).unwrap();
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
    fn answers_are_for_that_page_and_no_other() {
        let origin = gate().origin(&bytes(&[ORIGIN])).unwrap();
        let edits = origin.edits();
        assert!(edits.add.starts_with(&[("access-control-allow-origin", "https://shop.example.com")]));
        assert!(edits.add.contains(&("vary", "origin")));
        for name in &edits.remove {
            assert!(edits.add.iter().any(|(added, _)| added.as_bytes() == *name), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn no_header_breaks_out_of_an_answer(origin in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = gate().origin(&[(b"origin", &origin)]);
            let mut headers = bytes(&[(":method", "OPTIONS"), (":path", "/v1/logs"), ASKS]);
            headers.push((b"access-control-request-headers", &origin));
            let response = gate().origin(&bytes(&[ORIGIN])).unwrap().preflight(&headers).unwrap();
            prop_assert!(response.headers.iter().all(|(_, value)| !value.contains(['\r', '\n', '\0'])));
        }
    }
}
