//! The client CAs as the filter is sent them.

use serde::{Deserialize, Serialize};

/// A trust domain: CAs whose clients a rule may be limited to, with `match: {ca: NAME}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientCa {
    /// Its name in `clientCAs`; empty for the CAs of the certificates' folder that no entry names.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Whether only its CAs issue the certificate of `otlp-gate verify`.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub verify: bool,
    /// The keys of its CAs. Without any, no certificate is of this CA.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<AuthorityKey>,
}

/// The key of one CA, and the certificates that this CA has revoked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorityKey {
    /// The SubjectPublicKeyInfo, in base64 of its DER.
    pub key: String,
    /// The CA's subjectKeyIdentifier in hex, if it has one. A certificate that names another one is not of this key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The serial numbers of revoked certificates, in hex.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
}

impl ClientCa {
    /// Whether a text may be the name of an entry of `clientCAs`: 1 to 63 characters of `a-z 0-9 -`.
    pub fn is_name(text: &str) -> bool {
        let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&text.len()) && text.bytes().all(inside)
    }
}
