//! A client's certificate in a header of a proxy that does not send Envoy's `x-forwarded-client-cert`.
//!
//! The value tells which form it has:
//!
//! - **PEM in one line.** nginx's `$ssl_client_cert` has a tab after each line break (ngx_http_ssl_module), and an
//!   HTTP/1.1 server replaces such a break with spaces (RFC 9112, section 5.2). Apache's `%{SSL_CLIENT_CERT}s` has
//!   spaces.
//! - **PEM, URL-encoded.** nginx's `$ssl_client_escaped_cert` encodes all but unreserved characters. The `+`, `=` and `/`
//!   of AWS ALB's `X-Amzn-Mtls-Clientcert` and `X-Amzn-Mtls-Clientcert-Leaf` are not encoded (Elastic Load Balancing,
//!   "Mutual authentication with TLS in Application Load Balancer"), so a `+` is always a plus.
//! - **Base64 of DER.** gorouter's `X-Forwarded-Client-Cert` (handlers/clientcert.go), HAProxy's `%[ssl_c_der,base64]`,
//!   also in the double quotes of `%{+Q}`, and `Client-Cert` of RFC 9440 between colons. Traefik's
//!   `X-Forwarded-Tls-Client-Cert` (passTLSClientCert) has the whole chain, separated by commas; its version 2 encodes
//!   that as in a URL.

use core::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::X509;
use super::xfcc::MAX_LEN;

/// The most certificates of a chain that are read.
const MAX_CHAIN: usize = 8;

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

/// Why a header does not identify the client. It has nothing of the header's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The header is missing or empty.
    Missing,
    /// The header occurs more than once.
    Repeated,
    /// The value is longer than is read.
    TooLong,
    /// The value has none of the forms.
    Form,
    /// There are certificates after the first that are not its issuers.
    NoChain,
    /// The certificate is not DER as RFC 5280 requires.
    Certificate,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Problem::Missing => {
                "is missing; hint: configure the hop to set it, and to require a client certificate"
            }
            Problem::Repeated => "occurs twice; hint: configure the hop to replace the header of its client",
            Problem::TooLong => "is longer than 32 KiB",
            Problem::Form => "is not a certificate in PEM, URL-encoded PEM, or base64 of DER",
            Problem::NoChain => {
                "has certificates that do not issue one another; hint: configure the hop to replace the header of its \
                 client"
            }
            Problem::Certificate => "has a certificate that cannot be read",
        })
    }
}

/// The DER of the certificates in a header's value: the client's, and the CAs that issued it, each by the next.
///
/// Where a proxy appends to what its client sent, the client's own text is the first. It has no certificates of CAs that
/// issued one another up to the certificate that the proxy has validated, because that is not a CA's.
///
/// # Errors
/// The value is empty, too long, has none of the forms, or is not a chain.
pub fn chain(value: &[u8]) -> Result<Vec<Vec<u8>>, Problem> {
    let all = certificates(value)?;
    let is_issued = |pair: &[Vec<u8>]| {
        let [one, next] = pair else { return None };
        let (one, next) = (X509::read(one)?, X509::read(next)?);
        let is_ca = next.extensions.basic_constraints.is_some_and(|constraints| constraints.ca);
        (is_ca && one.issuer == next.subject).then_some(())
    };
    if all.windows(2).all(|pair| is_issued(pair).is_some()) { Ok(all) } else { Err(Problem::NoChain) }
}

/// The DER of all certificates in a value.
fn certificates(value: &[u8]) -> Result<Vec<Vec<u8>>, Problem> {
    if value.len() > MAX_LEN {
        return Err(Problem::TooLong);
    }
    let value = value.trim_ascii();
    let decoded;
    let value = match value.contains(&b'%') {
        true => {
            decoded = percent_decoded(value).ok_or(Problem::Form)?;
            decoded.trim_ascii()
        }
        false => value,
    };
    if value.is_empty() {
        return Err(Problem::Missing);
    }
    let read = if value.starts_with(b"-----") { pem(value) } else { base64_list(value) };
    read.ok_or(Problem::Form)
}

/// The DER of PEM blocks that have only white space between them.
pub(super) fn pem(mut text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    while !text.is_empty() {
        let rest = text.strip_prefix(BEGIN)?;
        let end = rest.windows(END.len()).position(|window| window == END)?;
        let mut base64 = rest.get(..end)?.to_vec();
        base64.retain(|byte| !byte.is_ascii_whitespace());
        push(&mut all, &base64)?;
        text = rest.get(end + END.len()..)?.trim_ascii_start();
    }
    Some(all)
}

fn base64_list(value: &[u8]) -> Option<Vec<Vec<u8>>> {
    let inside = |mark: &[u8]| value.strip_prefix(mark)?.strip_suffix(mark);
    let value = inside(b"\"").or_else(|| inside(b":")).unwrap_or(value);
    let mut all = Vec::new();
    for text in value.split(|byte| *byte == b',') {
        push(&mut all, text)?;
    }
    Some(all)
}

fn push(all: &mut Vec<Vec<u8>>, base64: &[u8]) -> Option<()> {
    let der = STANDARD.decode(base64).ok().filter(|der| !der.is_empty() && all.len() < MAX_CHAIN)?;
    all.push(der);
    Some(())
}

/// Decodes each `%` with two hex digits. A `+` stays.
pub(super) fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(*bytes.next()?).to_digit(16);
                decoded.push((digit()? << 4 | digit()?) as u8);
            }
            _ => decoded.push(byte),
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PEM: &str = include_str!("testdata/p256.pem");
    const OTHER: &str = include_str!("testdata/rsa.pem");

    fn base64(pem: &str) -> String {
        pem.lines().filter(|line| !line.starts_with('-')).collect()
    }

    fn der(pem: &str) -> Vec<u8> {
        STANDARD.decode(base64(pem)).unwrap()
    }

    /// Each byte that is not in `safe` as `%XX`.
    fn encoded(text: &str, safe: &str) -> String {
        let one = |byte: u8| match byte.is_ascii_alphanumeric() || safe.as_bytes().contains(&byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        text.bytes().map(one).collect()
    }

    #[test]
    fn every_form_has_the_same_certificate() {
        let plain = base64(PEM);
        assert!(
            plain.contains('+') && plain.contains('/'),
            "the test certificate has all characters of base64"
        );
        for value in [
            encoded(PEM, "-._~"),
            encoded(PEM, "-._~").replace("%2B", "%2b").replace("%0A", "%0a"),
            encoded(PEM, "-._~+=/"),
            PEM.replace('\n', "\n\t"),
            PEM.replace('\n', " "),
            PEM.replace('\n', "\t "),
            format!(" {} ", PEM.trim().replace('\n', "  ")),
            plain.clone(),
            format!("\"{plain}\""),
            format!(":{plain}:"),
            encoded(&plain, "-._~"),
        ] {
            assert_eq!(certificates(value.as_bytes()), Ok(vec![der(PEM)]), "{value}");
        }
    }

    #[test]
    fn a_chain_has_the_clients_certificate_first() {
        let (one, two) = (base64(PEM), base64(OTHER));
        let both = [PEM, OTHER].concat();
        for value in [
            format!("{one},{two}"),
            encoded(&format!("{one},{two}"), "-._~"),
            encoded(&both, "-._~"),
            encoded(&both, "-._~+=/"),
            both.replace('\n', " "),
        ] {
            assert_eq!(certificates(value.as_bytes()), Ok(vec![der(PEM), der(OTHER)]), "{value}");
        }
        let long = vec![one; MAX_CHAIN + 1].join(",");
        assert_eq!(certificates(long.as_bytes()), Err(Problem::Form));
    }

    #[test]
    fn certificates_that_do_not_issue_one_another_are_no_chain() {
        let (one, two) = (base64(PEM), base64(OTHER));
        for value in
            [format!("{one},{two}"), format!("{two},{one}"), format!("{one},{one}"), format!("{one},AAAA")]
        {
            assert_eq!(chain(value.as_bytes()), Err(Problem::NoChain), "{value}");
        }
        assert_eq!(chain(one.as_bytes()), Ok(vec![der(PEM)]));
    }

    #[test]
    fn anything_else_is_rejected() {
        let plain = base64(PEM);
        for value in ["", " ", "\t"] {
            assert_eq!(certificates(value.as_bytes()), Err(Problem::Missing), "{value:?}");
        }
        for value in [
            format!("{plain},"),
            format!(",{plain}"),
            format!("{plain} {plain}"),
            format!("{plain};{plain}"),
            format!("\"{plain}"),
            format!(":{plain}"),
            format!(":{plain}:, :{plain}:"),
            plain.replace('+', "-").replace('/', "_"),
            plain.replace('+', " "),
            plain.trim_end_matches('=').to_owned() + "A",
            encoded(PEM, "-._~").replace("%20", "+"),
            encoded(&encoded(PEM, "-._~"), "-._~"),
            encoded(PEM, "-._~") + "%",
            encoded(PEM, "-._~") + "%0",
            encoded(PEM, "-._~") + "%zz",
            format!("{} x", PEM.replace('\n', " ")),
            format!("x {}", PEM.replace('\n', " ")),
            format!("{} {plain}", PEM.replace('\n', " ")),
            PEM.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
            PEM.replace("-----END CERTIFICATE-----", ""),
            "-----BEGIN CERTIFICATE----------END CERTIFICATE-----".to_owned(),
            format!("Hash={};Cert=\"{}\"", "ab".repeat(32), encoded(PEM, "-._~")),
            "null".repeat(2) + "x",
        ] {
            assert_eq!(certificates(value.as_bytes()), Err(Problem::Form), "{value}");
        }
        assert_eq!(certificates(&vec![b'A'; MAX_LEN + 1]), Err(Problem::TooLong));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in r#"[-%",: A-Za-z0-9+/=]{0,60}"#) {
            for value in [&bytes[..], text.as_bytes(), &[BEGIN, &bytes, END].concat()] {
                let _ = certificates(value);
            }
        }
    }
}
