//! Names in certificates, as the command line takes them. The error of each check says what is wrong with the text.

use std::net::IpAddr;

/// A name of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// A DNS name.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
}

/// A DNS name or an IP address.
pub(crate) fn host(text: &str) -> Result<Host, String> {
    text.parse().map(Host::Ip).or_else(|_| dns_name(text).map(Host::Dns))
}

/// A SPIFFE ID with a path (SPIFFE-ID section 2).
pub(crate) fn spiffe_id(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("spiffe://").ok_or("it does not start with spiffe://")?;
    let (domain, path) = rest.split_once('/').ok_or("it has no path after the trust domain")?;
    let in_domain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    let in_path = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if domain.is_empty() || !domain.bytes().all(in_domain) {
        return Err(format!("`{domain}` is not a trust domain: use a-z 0-9 . - _"));
    }
    if let Some(wrong) = path.split('/').find(|it| it.is_empty() || matches!(*it, "." | "..")) {
        return Err(format!("a path segment cannot be `{wrong}`"));
    }
    if let Some(wrong) = path.split('/').find(|it| !it.bytes().all(in_path)) {
        return Err(format!("`{wrong}` is not a path segment: use A-Z a-z 0-9 . - _"));
    }
    if text.len() > 2048 {
        return Err("it is longer than 2048 bytes".to_owned());
    }
    Ok(text.to_owned())
}

/// A DNS name, optionally with `*` as its first label.
pub(crate) fn dns_name(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match text.strip_prefix("*.").unwrap_or(text).split('.').find(|it| !is_label(it)) {
        _ if text.len() > 253 => Err("a DNS name has at most 253 characters".to_owned()),
        Some("") => Err("it has an empty label".to_owned()),
        Some(wrong) => Err(format!("`{wrong}` is not a label of a DNS name")),
        None => Ok(text.to_owned()),
    }
}

/// A client's name, which is also the stem of its file names.
pub(crate) fn client_name(text: &str) -> Result<String, String> {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:@".contains(&byte);
    if text.is_empty() || text.starts_with('.') || text.len() > 200 || !text.bytes().all(inside) {
        return Err(
            "a client's name consists of A-Z a-z 0-9 . _ - : @ and does not start with a dot".to_owned()
        );
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_spiffe_ids_are_rejected_with_a_reason() {
        assert!(spiffe_id("spiffe://acme.example/edge/Zurich_1").is_ok());
        for (text, reason) in [
            ("acme.example/edge", "it does not start with spiffe://"),
            ("https://acme.example/edge", "it does not start with spiffe://"),
            ("spiffe://acme.example", "it has no path after the trust domain"),
            ("spiffe:///edge", "`` is not a trust domain: use a-z 0-9 . - _"),
            ("spiffe://Acme/edge", "`Acme` is not a trust domain: use a-z 0-9 . - _"),
            ("spiffe://acme/", "a path segment cannot be ``"),
            ("spiffe://acme/a/../b", "a path segment cannot be `..`"),
            ("spiffe://acme/a b", "`a b` is not a path segment: use A-Z a-z 0-9 . - _"),
            ("spiffe://acme/*", "`*` is not a path segment: use A-Z a-z 0-9 . - _"),
        ] {
            assert_eq!(spiffe_id(text).unwrap_err(), reason, "{text}");
        }
    }

    #[test]
    fn malformed_dns_names_are_rejected_with_a_reason() {
        for text in ["localhost", "a.B-c.example", "*.example.com", "_x.example"] {
            assert_eq!(dns_name(text).as_deref(), Ok(text));
        }
        for (text, reason) in [
            ("", "it has an empty label"),
            ("a..b", "it has an empty label"),
            ("a.b.", "it has an empty label"),
            ("a.*.b", "`*` is not a label of a DNS name"),
            ("-a.b", "`-a` is not a label of a DNS name"),
            ("a b", "`a b` is not a label of a DNS name"),
            ("zürich.ch", "`zürich` is not a label of a DNS name"),
        ] {
            assert_eq!(dns_name(text).unwrap_err(), reason, "{text}");
        }
    }

    #[test]
    fn a_clients_name_cannot_leave_its_folder() {
        for name in ["a", "acme-edge", "zurich.globex", "A_1"] {
            assert_eq!(client_name(name).as_deref(), Ok(name));
        }
        for name in ["", ".", "..", ".hidden", "a/b", "../server", "a b", "ä", "a\0"] {
            assert!(client_name(name).is_err(), "{name}");
        }
    }
}
