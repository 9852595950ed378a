//! The name by which clients reach the gateway: what the Gateway API takes for a listener's hostname (RFC 1123, in lower case, perhaps with
//! `*` for its first label), and why a text is none.

use std::net::IpAddr;

use super::is_label;

/// What else to do where an address was written.
const BY_ADDRESS: &str = "give a DNS name such as otel.example.com; clients may still dial the address: `client-config --address` tells \
                          them so, and `certs init --hostname NAME --hostname ADDRESS` makes a certificate for both";
const LIKE: &str = "use lower-case labels with dots between them, such as otel.example.com, or *.example.com";

/// What is wrong with a hostname, and what to do.
pub(super) fn mistake(hostname: &str) -> Option<(String, String)> {
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
    let instead = |text: &str| mistake(text).is_none().then(|| format!("write `{text}`"));
    if hostname.is_empty() {
        return say(
            "it is empty",
            Some("give the name that clients dial, or leave the key out for `localhost`".to_owned()),
        );
    }
    if is_address(hostname) {
        return say("it is an IP address, and a gateway's listeners go by name", Some(BY_ADDRESS.to_owned()));
    }
    if let Some((_, rest)) = hostname.split_once("://") {
        let host = rest.split(['/', ':']).next().unwrap_or(rest);
        return say("it is a URL", instead(host).or_else(|| Some("write the host alone".to_owned())));
    }
    if let Some((host, port)) = hostname.rsplit_once(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        let hint = if is_address(host) { Some(BY_ADDRESS.to_owned()) } else { instead(host) };
        let ports = "ports go under `gateway.listeners`";
        return say(
            "it has a port",
            Some(hint.map_or_else(|| ports.to_owned(), |hint| format!("{hint}; {ports}"))),
        );
    }
    if let Some(host) = hostname.strip_suffix('.') {
        return say("it ends with a dot", instead(host));
    }
    if hostname.len() > 253 {
        return (format!("it has {} characters, and 253 is the most", hostname.len()), None);
    }
    if hostname.bytes().any(|byte| byte.is_ascii_uppercase())
        && mistake(&hostname.to_ascii_lowercase()).is_none()
    {
        return say("it is not in lower case", instead(&hostname.to_ascii_lowercase()));
    }
    if let Some(rest) = hostname.strip_prefix('*')
        && !hostname.strip_prefix("*.").unwrap_or_default().contains('*')
        && !rest.starts_with('.')
    {
        return say("`*` stands for the whole first label", Some("write it like *.example.com".to_owned()));
    }
    if hostname.strip_prefix("*.").unwrap_or(hostname).contains('*') {
        return say("`*` stands for the first label only", Some("write it like *.example.com".to_owned()));
    }
    let labels = hostname.strip_prefix("*.").unwrap_or(hostname);
    if labels.split('.').any(str::is_empty) {
        return say("a label of it is empty", None);
    }
    if let Some(long) = labels.split('.').find(|label| label.len() > 63) {
        return (format!("a label of it has {} characters, and 63 is the most", long.len()), None);
    }
    if let Some(wrong) = labels.chars().find(|it| !(it.is_ascii_alphanumeric() || matches!(it, '-' | '.'))) {
        let hint = (!wrong.is_ascii()).then(|| "write its `xn--` form".to_owned());
        return (format!("it holds `{}`, which no hostname does", wrong.escape_debug()), hint);
    }
    if labels.split('.').any(|label| label.starts_with('-') || label.ends_with('-')) {
        return say("a label of it begins or ends with `-`", None);
    }
    say("its last label is a number", None)
}

/// Whether it is an address, be it with brackets, a zone or a prefix's length.
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
    fn names_that_a_gateway_takes_are_right() {
        for name in [
            "localhost",
            "otel.example.com",
            "*.example.com",
            "a-1.b",
            "1a.2b",
            "xn--bcher-kva.example",
            "10.0.0.5.nip.io",
        ] {
            assert_eq!(mistake(name), None, "{name}");
        }
        let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        assert_eq!(mistake(&longest), None);
    }

    #[test]
    fn what_is_no_name_is_told_why_and_what_to_write() {
        let by_address = BY_ADDRESS;
        let long = "a".repeat(64);
        let too_long = format!("{}a", "abcdefg.".repeat(32));
        for (name, why, hint) in [
            ("", "it is empty", "give the name that clients dial, or leave the key out for `localhost`"),
            ("10.0.0.5", "it is an IP address, and a gateway's listeners go by name", by_address),
            ("::1", "it is an IP address, and a gateway's listeners go by name", by_address),
            ("[2001:db8::1]", "it is an IP address, and a gateway's listeners go by name", by_address),
            ("[2001:db8::1]:4317", "it is an IP address, and a gateway's listeners go by name", by_address),
            ("fe80::1%eth0", "it is an IP address, and a gateway's listeners go by name", by_address),
            ("10.0.0.0/8", "it is an IP address, and a gateway's listeners go by name", by_address),
            ("300.1.1.1", "it is an IP address, and a gateway's listeners go by name", by_address),
            (
                "otel.example.com:4317",
                "it has a port",
                "write `otel.example.com`; ports go under `gateway.listeners`",
            ),
            ("https://otel.example.com:4317/v1", "it is a URL", "write `otel.example.com`"),
            ("otel.example.com.", "it ends with a dot", "write `otel.example.com`"),
            ("Otel.Example.com", "it is not in lower case", "write `otel.example.com`"),
            ("*", "`*` stands for the whole first label", "write it like *.example.com"),
            ("*otel.example.com", "`*` stands for the whole first label", "write it like *.example.com"),
            ("otel.*.com", "`*` stands for the first label only", "write it like *.example.com"),
            ("*.*.com", "`*` stands for the first label only", "write it like *.example.com"),
            ("otel..com", "a label of it is empty", LIKE),
            (".com", "a label of it is empty", LIKE),
            (&long, "a label of it has 64 characters, and 63 is the most", LIKE),
            (&too_long, "it has 257 characters, and 253 is the most", LIKE),
            ("otel_gw.example.com", "it holds `_`, which no hostname does", LIKE),
            ("otel gw", "it holds ` `, which no hostname does", LIKE),
            ("bücher.example", "it holds `ü`, which no hostname does", "write its `xn--` form"),
            ("-otel.example.com", "a label of it begins or ends with `-`", LIKE),
            ("otel.example.1", "its last label is a number", LIKE),
        ] {
            let (message, said) = mistake(name).unwrap_or_else(|| panic!("{name}"));
            assert!(message.ends_with(&format!("` is not a DNS name: {why}")), "{name}: {message}");
            assert_eq!(said, hint, "{name}");
        }
    }
}
