//! The name by which clients reach the gateway: what the Gateway API takes for a listener's hostname (RFC 1123, in
//! lower case, perhaps with `*` for its first label), and why a text is none.

use std::net::IpAddr;

use super::is_label;

/// The hint for an IP address.
const BY_ADDRESS: &str = "use a DNS name such as `otel.example.com`; clients can still connect to the address: `client-config --address` configures them, and `certs init --hostname NAME --hostname ADDRESS` creates a certificate for both";
const LIKE: &str =
    "use labels in lower case with dots between them, as in `otel.example.com` or `*.example.com`";

/// The error of a hostname and a hint, if it has one.
pub(super) fn error(hostname: &str) -> Option<(String, String)> {
    let labels = hostname.strip_prefix("*.").unwrap_or(hostname);
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    if hostname.len() <= 253
        && labels.split('.').all(is_label)
        && !labels.rsplit('.').next().is_some_and(is_number)
    {
        return None;
    }
    let shown: String = hostname.chars().take(80).collect();
    let (why, hint) = why(hostname);
    Some((
        format!("`{}` is not a DNS name: {why}", shown.escape_debug()),
        hint.unwrap_or_else(|| LIKE.to_owned()),
    ))
}

fn why(hostname: &str) -> (String, Option<String>) {
    let say = |why: &str, hint: Option<String>| (why.to_owned(), hint);
    let instead = |text: &str| error(text).is_none().then(|| format!("write `{text}`"));
    if hostname.is_empty() {
        return say(
            "it is empty",
            Some("use the name that clients connect to, or leave the key out for `localhost`".to_owned()),
        );
    }
    if is_address(hostname) {
        return say("it is an IP address, and listeners need a name", Some(BY_ADDRESS.to_owned()));
    }
    if let Some((_, rest)) = hostname.split_once("://") {
        let host = rest.split(['/', ':']).next().unwrap_or(rest);
        return say("it is a URL", instead(host).or_else(|| Some("write the host only".to_owned())));
    }
    if let Some((host, port)) = hostname.rsplit_once(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        let hint = if is_address(host) { Some(BY_ADDRESS.to_owned()) } else { instead(host) };
        let ports = "set ports under `gateway.listeners`";
        return say(
            "it has a port",
            Some(hint.map_or_else(|| ports.to_owned(), |hint| format!("{hint}; {ports}"))),
        );
    }
    if let Some(host) = hostname.strip_suffix('.') {
        return say("it ends with a dot", instead(host));
    }
    if hostname.len() > 253 {
        return (format!("it has {} characters, more than 253", hostname.len()), None);
    }
    if hostname.bytes().any(|byte| byte.is_ascii_uppercase())
        && error(&hostname.to_ascii_lowercase()).is_none()
    {
        return say("it is not in lower case", instead(&hostname.to_ascii_lowercase()));
    }
    if let Some(rest) = hostname.strip_prefix('*')
        && !hostname.strip_prefix("*.").unwrap_or_default().contains('*')
        && !rest.starts_with('.')
    {
        return say("`*` must be the whole first label", Some("write it as in `*.example.com`".to_owned()));
    }
    if hostname.strip_prefix("*.").unwrap_or(hostname).contains('*') {
        return say(
            "`*` is allowed as the first label only",
            Some("write it as in `*.example.com`".to_owned()),
        );
    }
    let labels = hostname.strip_prefix("*.").unwrap_or(hostname);
    if labels.split('.').any(str::is_empty) {
        return say("it has an empty label", None);
    }
    if let Some(long) = labels.split('.').find(|label| label.len() > 63) {
        return (format!("it has a label of {} characters, more than 63", long.len()), None);
    }
    if let Some(wrong) = labels.chars().find(|it| !(it.is_ascii_alphanumeric() || matches!(it, '-' | '.'))) {
        let hint = (!wrong.is_ascii()).then(|| "write its `xn--` form".to_owned());
        return (format!("it contains `{}`", wrong.escape_debug()), hint);
    }
    if labels.split('.').any(|label| label.starts_with('-') || label.ends_with('-')) {
        return say("it has a label that starts or ends with `-`", None);
    }
    say("its last label is a number", None)
}

/// Whether a text is an IP address, also with brackets, a zone or a prefix length.
fn is_address(text: &str) -> bool {
    let inside =
        text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(text, |(inside, _)| inside);
    let inside = inside.split(['%', '/']).next().unwrap_or(inside);
    let dotted = |text: &str| {
        text.split('.').count() == 4
            && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    inside.parse::<IpAddr>().is_ok() || dotted(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_gateway_api_accepts_are_valid() {
        for name in [
            "localhost",
            "otel.example.com",
            "*.example.com",
            "a-1.b",
            "1a.2b",
            "xn--bcher-kva.example",
            "10.0.0.5.nip.io",
        ] {
            assert_eq!(error(name), None, "{name}");
        }
        let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        assert_eq!(error(&longest), None);
    }

    #[test]
    fn invalid_names_get_a_reason_and_a_hint() {
        let by_address = BY_ADDRESS;
        let long = "a".repeat(64);
        let too_long = format!("{}a", "abcdefg.".repeat(32));
        for (name, why, hint) in [
            ("", "it is empty", "use the name that clients connect to, or leave the key out for `localhost`"),
            ("10.0.0.5", "it is an IP address, and listeners need a name", by_address),
            ("::1", "it is an IP address, and listeners need a name", by_address),
            ("[2001:db8::1]", "it is an IP address, and listeners need a name", by_address),
            ("[2001:db8::1]:4317", "it is an IP address, and listeners need a name", by_address),
            ("fe80::1%eth0", "it is an IP address, and listeners need a name", by_address),
            ("10.0.0.0/8", "it is an IP address, and listeners need a name", by_address),
            ("300.1.1.1", "it is an IP address, and listeners need a name", by_address),
            (
                "otel.example.com:4317",
                "it has a port",
                "write `otel.example.com`; set ports under `gateway.listeners`",
            ),
            ("https://otel.example.com:4317/v1", "it is a URL", "write `otel.example.com`"),
            ("otel.example.com.", "it ends with a dot", "write `otel.example.com`"),
            ("Otel.Example.com", "it is not in lower case", "write `otel.example.com`"),
            ("*", "`*` must be the whole first label", "write it as in `*.example.com`"),
            ("*otel.example.com", "`*` must be the whole first label", "write it as in `*.example.com`"),
            ("otel.*.com", "`*` is allowed as the first label only", "write it as in `*.example.com`"),
            ("*.*.com", "`*` is allowed as the first label only", "write it as in `*.example.com`"),
            ("otel..com", "it has an empty label", LIKE),
            (".com", "it has an empty label", LIKE),
            (&long, "it has a label of 64 characters, more than 63", LIKE),
            (&too_long, "it has 257 characters, more than 253", LIKE),
            ("otel_gw.example.com", "it contains `_`", LIKE),
            ("otel gw", "it contains ` `", LIKE),
            ("bücher.example", "it contains `ü`", "write its `xn--` form"),
            ("-otel.example.com", "it has a label that starts or ends with `-`", LIKE),
            ("otel.example.1", "its last label is a number", LIKE),
        ] {
            let (message, said) = error(name).unwrap_or_else(|| panic!("{name}"));
            assert!(message.ends_with(&format!("` is not a DNS name: {why}")), "{name}: {message}");
            assert_eq!(said, hint, "{name}");
        }
    }
}
