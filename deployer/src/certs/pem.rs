//! PEM text (RFC 7468) split into its blocks.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::Error;
use crate::x509::Certificate;

/// The line that ends a certificate (RFC 7468 section 5.1).
pub(super) const CERTIFICATE_END: &str = "-----END CERTIFICATE-----";
/// The line that ends a revocation list (RFC 7468 section 6).
pub(super) const CRL_END: &str = "-----END X509 CRL-----";

/// All certificates in PEM text. `file` is where the text is from, for the error.
pub(crate) fn certificates(file: &Path, text: String) -> Result<Vec<Certificate>, Error> {
    let all = blocks(text, CERTIFICATE_END);
    let all = all.iter().map(|block| Certificate::parse(block.as_bytes())).collect::<Result<_, _>>();
    all.map_err(|e| Error::failed(format_args!("{}: {e}", file.display())))
}

/// A certificate in PEM text, from its DER.
pub(crate) fn certificate_pem(der: &[u8]) -> String {
    let mut text = STANDARD.encode(der);
    let mut at = 64;
    while at < text.len() {
        text.insert(at, '\n');
        at += 65;
    }
    format!("-----BEGIN CERTIFICATE-----\n{text}\n{CERTIFICATE_END}\n")
}

/// The blocks that end with `end`. Text without such blocks is returned whole, so that the parser's error describes it.
pub(super) fn blocks(text: String, end: &str) -> Vec<String> {
    let blocks = text.split_inclusive(end).filter(|it| it.contains("-----BEGIN "));
    let blocks: Vec<String> = blocks.map(|it| format!("{}\n", it.trim())).collect();
    if blocks.is_empty() { vec![text] } else { blocks }
}
