//! What a match requires of a certificate besides patterns for its names.

use super::network::Network;
use super::problem::ConfigPath;
use crate::identity::{Fingerprint, Identity, extended_key_usage_name, hex};

/// One thing that a certificate has or has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Fact<'a> {
    /// Its fingerprint.
    Sha256([u8; 32]),
    /// The name of the client CA that signed it.
    Ca(&'a str),
    /// An IP address of the certificate is in this network.
    Ip(Network),
    /// The identifier of its issuer's key, as it says.
    IssuerKeyId(&'a [u8]),
    /// The SHA-256 of the key that signed it.
    IssuerKey([u8; 32]),
    /// It lists this extended key usage, a dotted OID.
    Usage(&'a str),
}

impl Fact<'_> {
    /// Whether it is true of a certificate.
    pub(super) fn is_of(self, identity: &Identity) -> bool {
        match self {
            Fact::Sha256(digest) => identity.has_fingerprint(&digest),
            Fact::Ca(name) => identity.ca_name() == Some(name),
            Fact::Ip(network) => identity.ips.iter().any(|address| network.contains(*address)),
            Fact::IssuerKeyId(id) => identity.issuer_key_id() == Some(id),
            Fact::IssuerKey(key) => identity.issuer_key() == Some(key),
            Fact::Usage(usage) => identity.extended_key_usage().iter().any(|own| own == usage),
        }
    }

    /// All that are true of a certificate. A network is that of one address.
    pub(super) fn all_of(identity: &Identity) -> impl Iterator<Item = Fact<'_>> {
        let fingerprints = identity.fingerprints().map(Fact::Sha256);
        let cas = identity.ca_name().map(Fact::Ca);
        let addresses = identity.ips.iter().map(|address| Fact::Ip(Network::of(*address, u8::MAX)));
        let key_id = identity.issuer_key_id().map(Fact::IssuerKeyId);
        let key = identity.issuer_key().map(Fact::IssuerKey);
        let usages = identity.extended_key_usage().iter().map(|usage| Fact::Usage(usage));
        fingerprints.chain(cas).chain(addresses).chain(key_id).chain(key).chain(usages)
    }

    /// Whether it is true of every certificate of which the other is true.
    pub(super) fn covers(self, other: Fact<'_>) -> bool {
        match (self, other) {
            (Fact::Ip(own), Fact::Ip(other)) => own.covers(other),
            _ => self == other,
        }
    }

    /// Its key in a match.
    pub(super) fn key(self) -> &'static str {
        match self {
            Fact::Sha256(_) => "sha256",
            Fact::Ca(_) => "ca",
            Fact::Ip(_) => "ip",
            Fact::IssuerKeyId(_) => "issuer.keyId",
            Fact::IssuerKey(_) => "issuer.key",
            Fact::Usage(_) => "extendedKeyUsage",
        }
    }

    /// Its place in the config, in the match at `path`.
    pub(super) fn place(self, path: &ConfigPath) -> ConfigPath {
        self.key().split('.').fold(path.clone(), |path, key| path.key(key))
    }

    /// The value of a certificate of which it is true, as text.
    pub(super) fn value_in(self, identity: &Identity) -> String {
        match self {
            Fact::Sha256(digest) | Fact::IssuerKey(digest) => Fingerprint(digest).hex(),
            Fact::Ca(name) => name.to_owned(),
            Fact::Ip(network) => {
                let found = identity.ips.iter().find(|address| network.contains(**address));
                found.map(ToString::to_string).unwrap_or_default()
            }
            Fact::IssuerKeyId(id) => hex(id),
            Fact::Usage(usage) => extended_key_usage_name(usage).to_owned(),
        }
    }
}
