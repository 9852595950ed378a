//! A client rule: which certificates it is for, and what they get.

use core::fmt;
use std::collections::BTreeMap;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::unique_keys;

/// One client, or any number of clients that are named from what matched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClientRule {
    /// The client's name, from `A-Z a-z 0-9 . _ -`, with `{word}` for what `match` captured. No two rules may give the
    /// same name to different clients. Where several words make up the name, put something between them that they
    /// cannot hold: a DNS label has no `.`.
    pub name: String,
    /// Which certificates this rule is for: one match, or a list of which any must hold.
    #[serde(rename = "match")]
    pub matches: Matches,
    /// Resource attributes of this client. They come before those of the same key for every client. The rule is only
    /// for certificates that have all that these attributes use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub attributes: BTreeMap<String, String>,
    /// The tier of this client's quota. Without one it is `default`, and where there is no such tier, no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<String>,
    /// What makes one bucket, such as `{org}`. By default every client has its own: one per rule and all that it
    /// captures. Text without a placeholder makes one bucket for the whole rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_per: Option<String>,
}

/// What a certificate must show. All that is given must hold. `*` is one or more characters of one DNS label, URI path
/// segment, or part of a subject's value between `.` and `/`; `{word}` is a `*` that is remembered; `**` is one
/// or more characters of any kind. Envoy shows the first URI and the first DNS name of a certificate only.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Match {
    /// Pattern for the first URI SAN, of whatever scheme, such as `spiffe://acme.example/edge/*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spiffe: Option<String>,
    /// Pattern for the first DNS SAN, such as `{site}.{org}.partners.example`. Case makes no difference, and captures are
    /// in lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<String>,
    /// Patterns for values of the subject, by key (`CN`, `O`, `OU`, or a dotted OID). A subject that has a key twice
    /// does not match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub subject: BTreeMap<String, String>,
    /// The certificate's SHA-256 fingerprint: 64 hex digits, with or without colons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
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
    /// The matches, be it one or a list.
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

// By hand, since serde's untagged enums lose the place of an error and which field it was about.
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
