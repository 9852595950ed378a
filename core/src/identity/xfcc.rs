//! `x-forwarded-client-cert`: what a proxy in front says of its own client's certificate.
//!
//! Grammar (Envoy, "HTTP header manipulation"): elements with commas between them, each of one proxy, the last one of the proxy
//! nearest; in an element `Key=value` pairs with semicolons between them. A value that holds `,`, `;` or `=` is in double
//! quotes, with a backslash before a quote. Keys may come in either case and, as `URI` and `DNS` do, several times.

use super::{Fingerprint, Identity};

/// The longest header that is looked at, in bytes. Envoy's own limit for all headers together is 60 KiB.
const LONGEST: usize = 32 * 1024;

/// The element that speaks of the client, as it came.
///
/// The nearest proxy wrote the last one; those before it are what its client told it, which nobody vouches for. Where the gate's own
/// Envoy has put one behind it, about that proxy itself, its `Hash` is the proxy's own and it does not count.
pub fn nearest(header: &[u8], proxy: Option<[u8; 32]>) -> Option<&str> {
    if header.len() > LONGEST {
        return None;
    }
    let mut elements = split(core::str::from_utf8(header).ok()?, b',')?;
    let last = elements.pop()?;
    let of_proxy = proxy.is_some() && Element::read(last)?.sha256 == proxy;
    let element = if of_proxy { elements.pop()? } else { last };
    Some(element.trim()).filter(|element| !element.is_empty())
}

/// What an element says. `None` where it is malformed, or says a thing twice that a certificate has once.
pub fn identity(element: &str) -> Option<Identity> {
    let Element { uri, dns, subject, sha256 } = Element::read(element)?;
    let [uri, dns, subject] = [uri, dns, subject].map(|text| text.map(str::as_bytes));
    Some(Identity { sha256, ..Identity::from_parts(uri, dns, subject, None) })
}

/// What an element says, as it came.
#[derive(Default)]
struct Element<'a> {
    uri: Option<&'a str>,
    dns: Option<&'a str>,
    subject: Option<&'a str>,
    sha256: Option<[u8; 32]>,
}

impl<'a> Element<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let mut element = Element::default();
        for pair in split(text, b';')? {
            let (key, value) = pair.split_once('=')?;
            let (key, value) = (key.trim(), unquoted(value.trim())?);
            let is = |name: &str| key.eq_ignore_ascii_case(name);
            // `By`, `Cert`, `Chain`, and what later versions add, say nothing here.
            if is("uri") {
                // Of several, the first is the one that Envoy shows of its own clients, too.
                element.uri.get_or_insert(value);
            } else if is("dns") {
                element.dns.get_or_insert(value);
            } else if is("subject") {
                if element.subject.replace(value).is_some() {
                    return None;
                }
            } else if is("hash") {
                // A hash that is none is not one that is missing.
                let Fingerprint(digest) = Fingerprint::parse(value).ok()?;
                if element.sha256.replace(digest).is_some() {
                    return None;
                }
            }
        }
        Some(element)
    }
}

/// Splits outside of quotes; `None` where a quote does not end.
fn split(text: &str, separator: u8) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut quoted) = (Vec::new(), 0, false);
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        if byte == b'"' {
            quoted = !quoted;
        } else if quoted && byte == b'\\' {
            // What is escaped; of a longer character, the rest is nothing that matters here.
            bytes.next();
        } else if byte == separator && !quoted {
            parts.push(text.get(start..at)?);
            start = at + 1;
        }
    }
    parts.push(text.get(start..)?);
    (!quoted).then_some(parts)
}

/// A value without its quotes; `None` where there are some elsewhere than around it. What is inside stays as it is: Envoy puts the
/// subject there as RFC 2253 text, whose own backslashes are what keeps its quotes from ending the value.
fn unquoted(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(inside) => inside.strip_suffix('"').filter(|inside| !has_bare_quote(inside)),
        None => Some(value).filter(|value| !value.contains('"')),
    }
}

fn has_bare_quote(inside: &str) -> bool {
    let mut escaped = false;
    for character in inside.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return true,
            _ => {}
        }
    }
    // Then the closing quote is none.
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    const HOP: &str = "0000000000000000000000000000000000000000000000000000000000000001";

    fn hop() -> Option<[u8; 32]> {
        Fingerprint::parse(HOP).ok().map(|it| it.0)
    }

    #[test]
    fn an_element_says_what_a_certificate_does() {
        let text = format!(
            r#"By=spiffe://hop;Hash={HEX};Subject="O=Acme\, Inc.,CN=a\"b=d";URI=spiffe://acme/1;URI=spiffe://acme/2;DNS=A.example"#
        );
        let found = identity(&text).unwrap();
        assert_eq!(found.spiffe.as_deref(), Some("spiffe://acme/1"));
        assert_eq!(found.dns.as_deref(), Some("a.example"));
        assert_eq!(found.sha256_hex().as_deref(), Some(HEX));
        let subject = found.subject.unwrap();
        assert_eq!((subject.get("O"), subject.get("CN")), (Some("Acme, Inc."), Some("a\"b=d")));
    }

    #[test]
    fn keys_come_in_either_case_and_others_are_passed_over() {
        let found = identity(&format!("cert=\"-----BEGIN\";HASH={HEX};uri=spiffe://a;New=1")).unwrap();
        assert_eq!((found.spiffe.as_deref(), found.sha256.is_some()), (Some("spiffe://a"), true));
    }

    #[test]
    fn what_is_malformed_or_said_twice_says_nothing() {
        for element in [
            "Hash",
            "Hash=00",
            r#"Subject="CN=a"#,
            r#"Subject="CN=a" b"#,
            r#"Subject=a"b"#,
            r#"Subject="CN=a\""#,
            &format!("Hash={HEX};Hash={HEX}"),
            r#"Subject="CN=a";Subject="CN=b""#,
            "",
        ] {
            assert_eq!(identity(element), None, "{element}");
        }
    }

    #[test]
    fn the_nearest_proxys_element_counts() {
        let of = |hash: &str, uri: &str| format!("Hash={hash};URI={uri}");
        let (forged, client, own) =
            (of(HEX, "spiffe://victim"), of(HEX, "spiffe://acme"), of(HOP, "spiffe://hop"));
        for (header, expected) in [
            (client.clone(), Some(&client)),
            (format!("{forged},{client}"), Some(&client)),
            (format!("{forged}, {client},{own}"), Some(&client)),
            (own.clone(), None),
            (format!("{client},"), None),
            (String::new(), None),
            (format!("{forged},Subject=\"a"), None),
        ] {
            assert_eq!(nearest(header.as_bytes(), hop()), expected.map(String::as_str), "{header}");
        }
        assert_eq!(nearest(b"URI=\xff", hop()), None);
        let comma = format!(r#"Hash={HEX};Subject="O=a\,b,CN=x""#);
        assert_eq!(nearest(comma.as_bytes(), hop()), Some(comma.as_str()));
        let escaped = format!(r#"Hash={HEX};Subject="O=\ü,b\"c,d""#);
        assert_eq!(nearest(format!("{comma},{escaped}").as_bytes(), hop()), Some(escaped.as_str()));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(header in proptest::collection::vec(any::<u8>(), 0..200), text in r#"[,;="\\aUHRI]{0,40}"#) {
            for header in [&header[..], text.as_bytes()] {
                let _ = nearest(header, hop()).and_then(identity);
            }
        }

        #[test]
        fn what_comes_before_the_last_element_changes_nothing(before in r#"[a-zA-Z=;.:/]{0,40}"#) {
            let client = format!("Hash={HEX};URI=spiffe://acme");
            let header = format!("{before},{client}");
            prop_assert_eq!(nearest(header.as_bytes(), hop()), Some(client.as_str()));
        }
    }
}
