//! A client rule: which certificates it matches, and what is set for their clients.

use core::fmt;
use std::collections::BTreeMap;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::unique_keys;

/// A rule for one client, or for many clients whose names are made of captures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClientRule {
    /// The client's name, of `A-Z a-z 0-9 . _ -` and captures of `match`: `acme-edge`, or `{site}.{org}`. No two rules
    /// may give the same name to different clients. Put a character between captures that they cannot hold: a capture
    /// of a DNS label has no `.`.
    pub name: String,
    /// Which certificates the rule matches: one match, or a list of matches of which any must hold.
    #[serde(rename = "match")]
    pub matches: Matches,
    /// What captures may hold, by name: `{id: {max: 64}}`. By default a capture holds 1 to 63 characters of `A-Z a-z
    /// 0-9 . _ -`. The rule does not match a certificate with a value that a capture may not hold.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub words: BTreeMap<String, CaptureConfig>,
    /// Resource attributes of this client, such as `tenant.id: acme`. They replace those of the same key under the
    /// top-level `attributes`, and have the same placeholders. The rule does not match a certificate that lacks a value
    /// for a placeholder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub attributes: BTreeMap<String, String>,
    /// The tier of the client's quota, a key of `quotas.tiers`. Default: the tier `default`; without such a tier there
    /// is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<String>,
    /// Which clients of the rule share a token bucket: those with the same values of these placeholders, such as
    /// `{org}`. Text without a placeholder makes one bucket for the whole rule. Default: each client has its own
    /// bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_per: Option<String>,
}

/// Defines [`Match`], and [`HopConfig`] with the same keys and one of its own.
///
/// serde's `flatten` would accept unknown keys and lose the positions of errors.
macro_rules! match_keys {
    (
        $(#[$struct:meta])*
        pub struct Match {
            $($(#[$field:meta])* pub $key:ident: $type:ty,)*
        }
    ) => {
        $(#[$struct])*
        pub struct Match {
            $($(#[$field])* pub $key: $type,)*
        }

        /// A proxy in front of the gateway: what its own certificate must have, and where it forwards its client's.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub struct HopConfig {
            $($(#[$field])* pub $key: $type,)*
            /// The header in which the proxy forwards its client's certificate, such as `ssl-client-cert`, in PEM (also
            /// URL-encoded or folded into one line) or as base64 of DER. It is removed from all requests. Default:
            /// Envoy's `x-forwarded-client-cert`, in Envoy's own form.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub header: Option<String>,
        }

        impl HopConfig {
            /// What the proxy's own certificate must have.
            pub fn certificate(&self) -> Match {
                Match { $($key: self.$key.clone(),)* }
            }
        }
    };
}

match_keys! {
    /// What a certificate must have; all keys that are given must match. A certificate may have several names of one
    /// kind and several values of one subject key. Any of them may match, in any order; if several match and give
    /// different captures, the match does not hold. In patterns, `*` is one or more characters of one segment: a DNS
    /// label, a part of a URI between `/`, a part of an e-mail address between `.` and `@`, or a part of a subject's
    /// value between `.` and `/`. `{capture}` is a `*` whose value is kept for templates. `**` is one or more
    /// characters across segments.
    #[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    pub struct Match {
        /// Pattern for a URI SAN, of any scheme: `spiffe://acme.example/edge/*`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub spiffe: Option<String>,
        /// Pattern for a DNS SAN: `{site}.{org}.partners.example`. Case is ignored; captures are in lower case.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub dns: Option<String>,
        /// Pattern for an e-mail SAN: `*@acme.example`, or `**@acme.example` if there may be a `.` before the `@`. Case
        /// is ignored after the last `@`, where captures are in lower case, and counts before it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub email: Option<String>,
        /// An address that an IP SAN must have, or a network in which it must be: `192.0.2.7`, `10.0.0.0/8`,
        /// `2001:db8::/32`. An IPv4 address that a certificate has in IPv6 form (`::ffff:10.0.0.1`) is an IPv6 address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub ip: Option<String>,
        /// Patterns for values of the subject, by key (`CN`, `O`, `OU`, or a dotted OID): `{O: Acme, CN: "{host}"}`. If
        /// a subject has a key several times, one of its values must match. All patterns of a list must match: `OU:
        /// [Canary, "{team}"]`. A value that equals a pattern of the list is not matched with others.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
        pub subject: BTreeMap<String, Patterns>,
        /// What the certificate says about its issuer, and the key that signed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub issuer: Option<Box<IssuerMatch>>,
        /// The name of the client CA that signed the certificate, as in `clientCAs`. Its signature is verified.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub ca: Option<String>,
        /// Extended key usages that the certificate must list, all of them: `clientAuth`, or a list. Each is a name
        /// (`serverAuth`, `clientAuth`, `codeSigning`, `emailProtection`, `timeStamping`, `OCSPSigning`,
        /// `anyExtendedKeyUsage`) or a dotted OID. `anyExtendedKeyUsage` in a certificate does not stand for the
        /// others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub extended_key_usage: Option<Patterns>,
        /// The certificate's SHA-256 fingerprint: 64 hex digits, with or without colons.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub sha256: Option<String>,
    }
}

/// What a certificate must have of its issuer; all keys that are given must match. Every CA of the gate can write any
/// `subject` and `keyId` into the certificates that it issues: to restrict a rule to one CA, use `key`, or `ca` beside
/// `issuer`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct IssuerMatch {
    /// Patterns for values of the issuer's name, by key, with captures as in the subject of the match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub subject: BTreeMap<String, Patterns>,
    /// The identifier of the issuer's key that the certificate has (extension authorityKeyIdentifier): hex digits, with
    /// or without colons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// The SHA-256 of the key that signed the certificate (its SubjectPublicKeyInfo): 64 hex digits, with or without
    /// colons. The signature is verified, with the keys of `clientCAs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What a capture may hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CaptureConfig {
    /// The most characters that it may have, 1 to 255.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = 63)))]
    pub max: Option<u32>,
    /// Characters that it may hold besides `A-Z a-z 0-9 _ -`: any of `.`, `:` and `@`, such as `":@"`. In a URI, `.`
    /// is always allowed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub allow: String,
}

/// One text, or several that must all match.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Patterns {
    /// `OU: Canary`
    One(String),
    /// `OU: [Canary, "{team}"]`
    All(Vec<String>),
}

impl Patterns {
    /// The patterns as a list.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Patterns::One(one) => core::slice::from_ref(one),
            Patterns::All(all) => all,
        }
    }
}

// By hand, for the same reason as `Matches`.
impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PatternsVisitor)
    }
}

struct PatternsVisitor;

impl<'de> Visitor<'de> for PatternsVisitor {
    type Value = Patterns;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Patterns, E> {
        Ok(Patterns::One(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Patterns, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Patterns::All)
    }
}

/// One match, or several of which any must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Matches {
    /// `match: {dns: ..}`
    One(Match),
    /// `match: [{dns: ..}, {spiffe: ..}]`
    Any(Vec<Match>),
}

impl Matches {
    /// The matches as a list.
    pub fn as_slice(&self) -> &[Match] {
        match self {
            Matches::One(one) => core::slice::from_ref(one),
            Matches::Any(any) => any,
        }
    }
}

impl Default for Matches {
    fn default() -> Self {
        Matches::One(Match::default())
    }
}

// By hand: serde's untagged enums lose the position of an error and the field that it is about.
impl<'de> Deserialize<'de> for Matches {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MatchesVisitor)
    }
}

struct MatchesVisitor;

impl<'de> Visitor<'de> for MatchesVisitor {
    type Value = Matches;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a match or a list of matches")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Matches, A::Error> {
        Match::deserialize(MapAccessDeserializer::new(map)).map(Matches::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Matches, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Matches::Any)
    }
}
