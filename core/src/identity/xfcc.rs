//! `x-forwarded-client-cert`: what a proxy forwards about its client's certificate.
//!
//! Grammar (Envoy, "HTTP header manipulation"): elements separated by commas, each added by one proxy, the last one by
//! the nearest. An element has `Key=value` pairs separated by semicolons. A value with `,`, `;` or `=` is in double
//! quotes, with a backslash before a quote. Keys may be in either case, and `URI` and `DNS` may occur several times.

use core::fmt;

use super::certificate_header::{pem, percent_decoded};
use super::{Fingerprint, Identity, MAX_NAMES, sha256};

/// The header's name.
pub const HEADER: &str = "x-forwarded-client-cert";

/// The longest header that is read, in bytes. Envoy's own limit for all headers together is 60 KiB.
pub(super) const MAX_LEN: usize = 32 * 1024;

/// Why the header does not identify the client. It has nothing of the header itself, which may be about other clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The header is missing or empty.
    Missing,
    /// The header is longer than is read.
    TooLong,
    /// Not UTF-8.
    NotText,
    /// A quote does not end, or is inside of a value.
    Quote,
    /// The last element is empty.
    Empty,
    /// The only element is the one that the gateway's own proxy added about the hop.
    OnlyHop,
    /// A part of an element is not `Key=value`.
    NoValue,
    /// A hash is not a SHA-256 in hex.
    Hash,
    /// The element has no hash.
    NoHash,
    /// A certificate cannot be read.
    Certificate,
    /// A certificate has another hash than its element.
    OtherCertificate,
    /// The element has more names than are read.
    Names,
    /// A key that may occur once occurs twice.
    Twice(&'static str),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("x-forwarded-client-cert ")?;
        f.write_str(match self {
            Problem::Missing => "is missing; hint: configure the hop to set it (Envoy: SANITIZE_SET)",
            Problem::TooLong => "is longer than 32 KiB; hint: SANITIZE_SET on the hop drops earlier elements",
            Problem::NotText => "is not UTF-8",
            Problem::Quote => "has a quote that does not end, or is not around a whole value",
            Problem::Empty => "ends with an empty element",
            Problem::OnlyHop => {
                "has only the element about the hop itself; hint: configure the hop to set it (Envoy: SANITIZE_SET)"
            }
            Problem::NoValue => "has a part that is not Key=value",
            Problem::Hash => "has a Hash that is not a SHA-256 in hex",
            Problem::NoHash => "has an element without Hash; hint: the client may have no certificate",
            Problem::Certificate => "has a Cert that is not a certificate in URL-encoded PEM",
            Problem::OtherCertificate => "has a Cert whose SHA-256 is not its Hash",
            Problem::Names => return write!(f, "has more than {MAX_NAMES} names in one element"),
            Problem::Twice(key) => return write!(f, "has {key} twice in one element"),
        })
    }
}

/// The element about the client, as received.
///
/// The nearest proxy adds the last element; earlier ones come from its client and are not trusted. The gateway's own
/// Envoy may add another element after it, about that proxy. Its `Hash` is that of the proxy's certificate, and it is
/// skipped.
///
/// # Errors
/// Why there is no such element.
pub fn nearest(header: &[u8], proxy: Option<[u8; 32]>) -> Result<&str, Problem> {
    if header.len() > MAX_LEN {
        return Err(Problem::TooLong);
    }
    let header = core::str::from_utf8(header).map_err(|_| Problem::NotText)?;
    if header.trim().is_empty() {
        return Err(Problem::Missing);
    }
    let mut elements = split(header, b',')?;
    let last = elements.pop().ok_or(Problem::Missing)?;
    let of_proxy = proxy.is_some() && Element::read(last)?.sha256 == proxy;
    let element = if of_proxy { elements.pop().ok_or(Problem::OnlyHop)? } else { last };
    Some(element.trim()).filter(|element| !element.is_empty()).ok_or(Problem::Empty)
}

/// Whether the header is the one element that the gateway's own proxy writes about this certificate (Envoy:
/// `SANITIZE_SET`). Envoy does not quote a URI, so the parts of one with commas follow; no such part has a `Hash`.
pub fn is_proxys_alone(header: &[u8], fingerprint: &[u8; 32]) -> bool {
    let text = core::str::from_utf8(header).unwrap_or_default();
    let hash = |element: &str| Element::read(element).ok().and_then(|element| element.sha256);
    split(text, b',').is_ok_and(|elements| match elements.as_slice() {
        [own, rest @ ..] => hash(own) == Some(*fingerprint) && rest.iter().all(|part| hash(part).is_none()),
        [] => false,
    })
}

/// The header without the last element, if the gateway's own proxy added that about a hop with this fingerprint: for a
/// hop that has another value in this header than Envoy's elements.
///
/// # Errors
/// A quote does not end.
pub fn without_proxy<'a>(header: &'a str, proxy: &[u8; 32]) -> Result<&'a str, Problem> {
    let last = split(header, b',')?.pop().unwrap_or_default();
    let of_proxy = Element::read(last).is_ok_and(|element| element.sha256 == Some(*proxy));
    let end = header.len() - if of_proxy { last.len() } else { 0 };
    let rest = header.get(..end).unwrap_or_default();
    Ok(if of_proxy { rest.strip_suffix(',').unwrap_or(rest) } else { rest })
}

/// The identity in an element: that of its certificate, or without one, that of its texts.
///
/// # Errors
/// The element is malformed, has a key twice that may occur once, or has a certificate that cannot be read or does not
/// match its `Hash`.
pub fn identity(element: &str) -> Result<Identity, Problem> {
    let Element { uris, dns, subject, sha256: hash, cert, chain } = Element::read(element)?;
    let Some(cert) = cert else {
        let hash = hash.ok_or(Problem::NoHash)?;
        return Ok(Identity::from_texts(&uris, &dns, subject, Some(hash)));
    };
    let der = decoded(cert.as_bytes()).ok_or(Problem::Certificate)?;
    if hash.is_some_and(|hash| hash != sha256(&der)) {
        return Err(Problem::OtherCertificate);
    }
    let identity = Identity::from_der(&der).ok_or(Problem::Certificate)?;
    Ok(Identity { chain: chain.map(|text| chain_of(text.as_bytes())).unwrap_or_default(), ..identity })
}

/// How many `Cert` values of one header are tried.
const MAX_TRIED: usize = 8;

/// The DER of the certificate with this fingerprint, anywhere in a header, and of the chain that follows it.
///
/// So it does not matter who set the header: the proxy reports the fingerprint of the certificate that it has
/// validated, and no other bytes have it. The gateway's own element is the last, so the search begins at the end.
pub fn certificate(header: &[u8], fingerprint: &[u8; 32]) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    const KEY: &[u8] = b"Cert=\"";
    let header = header.get(header.len().saturating_sub(MAX_LEN)..)?;
    let mut end = header.len();
    for _ in 0..MAX_TRIED {
        let before = header.get(..end)?;
        let start = before.windows(KEY.len()).rposition(|window| window == KEY)?;
        end = start;
        let mut texts = header.get(start + KEY.len()..)?.splitn(3, |byte| *byte == b'"');
        let text = texts.next()?;
        if let Some(der) = decoded(text).filter(|der| sha256(der) == *fingerprint) {
            let chain = texts.next().filter(|between| *between == b";Chain=").and(texts.next());
            let chain = chain.and_then(|text| text.split(|byte| *byte == b'"').next());
            return Some((der, chain.map(chain_of).unwrap_or_default()));
        }
    }
    None
}

/// The DER of the certificates in a `Chain`; none of a chain that is too long or malformed. A chain is only a hint where
/// to look for issuers, so it does not matter who wrote it.
fn chain_of(text: &[u8]) -> Vec<Vec<u8>> {
    percent_decoded(text).and_then(|text| pem(text.trim_ascii())).unwrap_or_default()
}

/// The DER in a URL-encoded PEM block.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut all = pem(percent_decoded(text)?.trim_ascii())?;
    all.pop().filter(|_| all.is_empty())
}

/// The elements of a header, the nearest proxy's last.
///
/// # Errors
/// The header is missing or too long, or a quote does not end.
pub fn elements(header: &str) -> Result<Vec<&str>, Problem> {
    if header.len() > MAX_LEN {
        return Err(Problem::TooLong);
    }
    if header.trim().is_empty() {
        return Err(Problem::Missing);
    }
    Ok(split(header, b',')?.into_iter().map(str::trim).collect())
}

/// An element as received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element<'a> {
    /// The values of `URI`.
    pub uris: Vec<&'a str>,
    /// The values of `DNS`.
    pub dns: Vec<&'a str>,
    /// The value of `Subject`, without its quotes.
    pub subject: Option<&'a str>,
    /// The value of `Hash`.
    pub sha256: Option<[u8; 32]>,
    /// The value of `Cert`, without its quotes.
    pub cert: Option<&'a str>,
    /// The value of `Chain`, without its quotes.
    pub chain: Option<&'a str>,
}

impl<'a> Element<'a> {
    /// Reads an element.
    ///
    /// # Errors
    /// It is malformed, or has a key twice that may occur once.
    pub fn read(text: &'a str) -> Result<Self, Problem> {
        let mut element = Element::default();
        if text.trim().is_empty() {
            return Err(Problem::Empty);
        }
        for pair in split(text, b';')? {
            let (key, value) = pair.split_once('=').ok_or(Problem::NoValue)?;
            let (key, value) = (key.trim(), unquoted(value.trim()).ok_or(Problem::Quote)?);
            let is = |name: &str| key.eq_ignore_ascii_case(name);
            // `By` and keys of later versions are ignored.
            if is("uri") {
                element.uris.push(value);
            } else if is("dns") {
                element.dns.push(value);
            } else if is("subject") {
                if element.subject.replace(value).is_some() {
                    return Err(Problem::Twice("Subject"));
                }
            } else if is("cert") {
                if element.cert.replace(value).is_some() {
                    return Err(Problem::Twice("Cert"));
                }
            } else if is("chain") {
                element.chain = Some(value);
            } else if is("hash") {
                // A malformed hash is an error, not a missing one.
                let Fingerprint(digest) = Fingerprint::parse(value).map_err(|_| Problem::Hash)?;
                if element.sha256.replace(digest).is_some() {
                    return Err(Problem::Twice("Hash"));
                }
            }
        }
        if element.uris.len() + element.dns.len() > MAX_NAMES {
            return Err(Problem::Names);
        }
        Ok(element)
    }
}

/// Splits at separators outside of quotes.
///
/// # Errors
/// A quote does not end.
fn split(text: &str, separator: u8) -> Result<Vec<&str>, Problem> {
    let (mut parts, mut start, mut quoted) = (Vec::new(), 0, false);
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        if byte == b'"' {
            quoted = !quoted;
        } else if quoted && byte == b'\\' {
            // Skips the escaped byte. Further bytes of a longer character are neither quotes nor separators.
            bytes.next();
        } else if byte == separator && !quoted {
            parts.push(text.get(start..at).ok_or(Problem::Quote)?);
            start = at + 1;
        }
    }
    parts.push(text.get(start..).ok_or(Problem::Quote)?);
    if quoted { Err(Problem::Quote) } else { Ok(parts) }
}

/// A value without its quotes; `None` where there are quotes elsewhere than around it. The inside is not changed: Envoy
/// writes the subject as RFC 2253 text, and its own backslashes keep quotes in it from ending the value.
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
    // An escaped closing quote does not close the value.
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
    fn an_element_has_the_identity_of_a_certificate() {
        let text = format!(
            r#"By=spiffe://hop;Hash={HEX};Subject="O=Acme\, Inc.,CN=a\"b=d";URI=spiffe://acme/1;URI=spiffe://acme/2;DNS=A.example"#
        );
        let found = identity(&text).unwrap();
        assert_eq!(found.uri(), Some("spiffe://acme/1"));
        assert_eq!(found.dns_name(), Some("a.example"));
        assert_eq!(found.sha256_hex().as_deref(), Some(HEX));
        let subject = found.subject.unwrap();
        assert_eq!((subject.get("O"), subject.get("CN")), (Some("Acme, Inc."), Some("a\"b=d")));
    }

    #[test]
    fn keys_may_be_in_either_case_and_unknown_ones_are_ignored() {
        let found = identity(&format!("chain=\"-----BEGIN\";HASH={HEX};uri=spiffe://a;New=1")).unwrap();
        assert_eq!((found.uri(), found.sha256.is_some()), (Some("spiffe://a"), true));
    }

    #[test]
    fn malformed_elements_and_repeated_keys_are_errors() {
        for (element, problem) in [
            ("Hash", Problem::NoValue),
            ("Hash=00", Problem::Hash),
            ("URI=spiffe://a", Problem::NoHash),
            (r#"Subject="CN=a"#, Problem::Quote),
            (r#"Subject="CN=a" b"#, Problem::Quote),
            (r#"Subject=a"b"#, Problem::Quote),
            (r#"Subject="CN=a\""#, Problem::Quote),
            (&format!("Hash={HEX};Hash={HEX}"), Problem::Twice("Hash")),
            (r#"Subject="CN=a";Subject="CN=b""#, Problem::Twice("Subject")),
            ("", Problem::Empty),
        ] {
            assert_eq!(identity(element), Err(problem), "{element}");
            assert!(problem.to_string().starts_with("x-forwarded-client-cert "));
        }
    }

    const PEM: &str = include_str!("testdata/p256.pem");

    fn encoded(pem: &str) -> String {
        pem.replace('\n', "%0A")
            .replace(' ', "%20")
            .replace('+', "%2B")
            .replace('/', "%2f")
            .replace('=', "%3D")
    }

    #[test]
    fn a_forwarded_certificate_must_match_its_hash() {
        let der = decoded(PEM.as_bytes()).unwrap();
        let hash = Fingerprint(sha256(&der)).hex();
        let cert = encoded(PEM);
        for text in [format!("Cert=\"{cert}\""), format!("Hash={hash};Cert=\"{cert}\";URI=spiffe://a")] {
            let found = identity(&text).unwrap();
            assert_eq!(found.sha256, Some(sha256(&der)));
            assert_eq!(Some(found), Identity::from_der(&der));
        }
        let cut = encoded(&PEM.replace("MII", "MIA"));
        for text in [
            format!("Hash={HEX};Cert=\"{cert}\""),
            format!("Hash={hash};Cert=\"{cert}\";Cert=\"{cert}\""),
            format!("Cert=\"{cut}\""),
            format!("Hash={hash};Cert=\"%2\""),
            format!("Hash={hash};Cert=\"\""),
        ] {
            assert!(identity(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_certificate_of_a_fingerprint_is_found_anywhere_and_no_other_is() {
        let der = decoded(PEM.as_bytes()).unwrap();
        let fingerprint = sha256(&der);
        let (cert, other) = (encoded(PEM), encoded(include_str!("testdata/rsa.pem")));
        let own = format!("By=spiffe://gate;Hash=00;Cert=\"{cert}\";Subject=\"\";URI=spiffe://a");
        for header in [
            own.clone(),
            format!("Cert=\"{other}\",{own}"),
            format!("{own};Cert=\"{other}\""),
            format!("x=\"unfinished,{own};Cert=\""),
        ] {
            assert_eq!(
                certificate(header.as_bytes(), &fingerprint),
                Some((der.clone(), Vec::new())),
                "{header}"
            );
        }
        for header in [
            String::new(),
            format!("Cert=\"{other}\""),
            format!("Cert={cert}"),
            format!("{own}{}", ";Cert=\"\"".repeat(MAX_TRIED)),
            format!("{own}{}", " ".repeat(MAX_LEN)),
        ] {
            assert_eq!(certificate(header.as_bytes(), &fingerprint), None, "{header}");
        }
    }

    #[test]
    fn the_nearest_proxys_element_counts() {
        let of = |hash: &str, uri: &str| format!("Hash={hash};URI={uri}");
        let (forged, client, own) =
            (of(HEX, "spiffe://victim"), of(HEX, "spiffe://acme"), of(HOP, "spiffe://hop"));
        for (header, expected) in [
            (client.clone(), Ok(&*client)),
            (format!("{forged},{client}"), Ok(&client)),
            (format!("{forged}, {client},{own}"), Ok(&client)),
            (own.clone(), Err(Problem::OnlyHop)),
            (format!("{client},"), Err(Problem::Empty)),
            (format!("{client},,{own}"), Err(Problem::Empty)),
            (String::new(), Err(Problem::Missing)),
            (format!("{forged},Subject=\"a"), Err(Problem::Quote)),
            ("x".repeat(MAX_LEN + 1), Err(Problem::TooLong)),
        ] {
            assert_eq!(nearest(header.as_bytes(), hop()), expected, "{header}");
        }
        assert_eq!(nearest(b"URI=\xff", hop()), Err(Problem::NotText));
        let comma = format!(r#"Hash={HEX};Subject="O=a\,b,CN=x""#);
        assert_eq!(nearest(comma.as_bytes(), hop()), Ok(comma.as_str()));
        let escaped = format!(r#"Hash={HEX};Subject="O=\ü,b\"c,d""#);
        assert_eq!(nearest(format!("{comma},{escaped}").as_bytes(), hop()), Ok(escaped.as_str()));
    }

    #[test]
    fn the_proxys_element_alone_is_told_from_all_else() {
        let own: [u8; 32] = Fingerprint::parse(HEX).unwrap().0;
        let element = format!("By=spiffe://gate;Hash={HEX};Subject=\"CN=a,Hash={HOP}\"");
        for (header, alone) in [
            (element.clone(), true),
            (format!("{element};URI=https://a,b;c"), true),
            (format!("{element};URI=https://a,b,c"), true),
            (format!("{element};URI=https://a,Hash={HOP}"), false),
            (format!("URI=spiffe://victim,{element}"), false),
            (format!("{element},{element}"), false),
            (format!("Hash={HOP}"), false),
            (format!("x,{element}"), false),
            ("x".to_owned(), false),
            ("Subject=\"".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(is_proxys_alone(header.as_bytes(), &own), alone, "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(header in proptest::collection::vec(any::<u8>(), 0..200), text in r#"[,;="\\aUHRI]{0,40}"#) {
            for header in [&header[..], text.as_bytes()] {
                let _ = nearest(header, hop()).and_then(identity);
            }
        }

        #[test]
        fn earlier_elements_make_no_difference(before in r#"[a-zA-Z=;.:/]{0,40}"#) {
            let client = format!("Hash={HEX};URI=spiffe://acme");
            let header = format!("{before},{client}");
            prop_assert_eq!(nearest(header.as_bytes(), hop()), Ok(client.as_str()));
        }
    }
}
