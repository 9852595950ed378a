//! Names in certificates, as the command line takes them. The error of each check says what is wrong with the text.

use std::net::IpAddr;

/// A name of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A DNS name.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
}

/// A DNS name or an IP address.
pub fn host(text: &str) -> Result<Host, String> {
    text.parse().map(Host::Ip).or_else(|_| dns_name(text).map(Host::Dns))
}

/// A SPIFFE ID with a path (SPIFFE-ID section 2).
pub fn spiffe_id(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("spiffe://").ok_or("it does not start with spiffe://")?;
    let (domain, path) = rest.split_once('/').ok_or("it has no path after the trust domain")?;
    let in_domain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    let in_path = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if domain.is_empty() || !domain.bytes().all(in_domain) {
        return Err(format!("`{domain}` is no trust domain: it is made of a-z 0-9 . - _"));
    }
    if let Some(wrong) = path.split('/').find(|it| it.is_empty() || matches!(*it, "." | "..")) {
        return Err(format!("a segment of its path cannot be `{wrong}`"));
    }
    if let Some(wrong) = path.split('/').find(|it| !it.bytes().all(in_path)) {
        return Err(format!("`{wrong}` is no segment of its path: it is made of A-Z a-z 0-9 . - _"));
    }
    if text.len() > 2048 {
        return Err("it is longer than 2048 bytes".to_owned());
    }
    Ok(text.to_owned())
}

/// A DNS name, optionally with `*` as its first label.
pub fn dns_name(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match text.strip_prefix("*.").unwrap_or(text).split('.').find(|it| !is_label(it)) {
        _ if text.len() > 253 => Err("a DNS name is at most 253 characters".to_owned()),
        Some("") => Err("a label of it is empty".to_owned()),
        Some(wrong) => Err(format!("`{wrong}` is no label of a DNS name")),
        None => Ok(text.to_owned()),
    }
}

/// A client's name, which is also the stem of its file names.
pub fn client_name(text: &str) -> Result<String, String> {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:@".contains(&byte);
    if text.is_empty() || text.starts_with('.') || text.len() > 200 || !text.bytes().all(inside) {
        return Err(
            "a client's name is made of A-Z a-z 0-9 . _ - : @ and does not start with a dot".to_owned()
        );
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_spiffe_id_is_refused_with_its_reason() {
        assert!(spiffe_id("spiffe://acme.example/edge/Zurich_1").is_ok());
        for (text, reason) in [
            ("acme.example/edge", "it does not start with spiffe://"),
            ("https://acme.example/edge", "it does not start with spiffe://"),
            ("spiffe://acme.example", "it has no path after the trust domain"),
            ("spiffe:///edge", "`` is no trust domain: it is made of a-z 0-9 . - _"),
            ("spiffe://Acme/edge", "`Acme` is no trust domain: it is made of a-z 0-9 . - _"),
            ("spiffe://acme/", "a segment of its path cannot be ``"),
            ("spiffe://acme/a/../b", "a segment of its path cannot be `..`"),
            ("spiffe://acme/a b", "`a b` is no segment of its path: it is made of A-Z a-z 0-9 . - _"),
            ("spiffe://acme/*", "`*` is no segment of its path: it is made of A-Z a-z 0-9 . - _"),
        ] {
            assert_eq!(spiffe_id(text).unwrap_err(), reason, "{text}");
        }
    }

    #[test]
    fn what_is_no_dns_name_is_refused_with_its_reason() {
        for text in ["localhost", "a.B-c.example", "*.example.com", "_x.example"] {
            assert_eq!(dns_name(text).as_deref(), Ok(text));
        }
        for (text, reason) in [
            ("", "a label of it is empty"),
            ("a..b", "a label of it is empty"),
            ("a.b.", "a label of it is empty"),
            ("a.*.b", "`*` is no label of a DNS name"),
            ("-a.b", "`-a` is no label of a DNS name"),
            ("a b", "`a b` is no label of a DNS name"),
            ("zürich.ch", "`zürich` is no label of a DNS name"),
        ] {
            assert_eq!(dns_name(text).unwrap_err(), reason, "{text}");
        }
    }

    #[test]
    fn a_clients_name_stays_inside_its_folder() {
        for name in ["a", "acme-edge", "zurich.globex", "A_1"] {
            assert_eq!(client_name(name).as_deref(), Ok(name));
        }
        for name in ["", ".", "..", ".hidden", "a/b", "../server", "a b", "ä", "a\0"] {
            assert!(client_name(name).is_err(), "{name}");
        }
    }
}
