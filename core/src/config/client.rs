//! A client rule: which certificates it is for, and what they get.

use core::fmt;
use std::collections::BTreeMap;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::unique_keys;

/// One client, or any number of clients that are named from what matched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClientRule {
    /// The client's name, from `A-Z a-z 0-9 . _ -`, with `{word}` for what `match` captured (which may hold `:` and `@` as
    /// well where `words` allows it). No two rules may give the
    /// same name to different clients. Where several words make up the name, put something between them that they
    /// cannot hold: a DNS label has no `.`.
    pub name: String,
    /// Which certificates this rule is for: one match, or a list of which any must hold.
    #[serde(rename = "match")]
    pub matches: Matches,
    /// What captured words may be beyond 1 to 63 of `A-Z a-z 0-9 . _ -`, by word: `{id: {max: 64}}`. A word that a certificate does not
    /// keep to is no match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub words: BTreeMap<String, Word>,
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
    /// Patterns for values of the subject, by key (`CN`, `O`, `OU`, or a dotted OID). Where a subject has a key several times,
    /// one of its values must match; if several match and capture different words, none does. A list of patterns must hold
    /// whole: `OU: [Canary, "{team}"]`, where a value that is in the list word for word counts for nothing else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub subject: BTreeMap<String, Patterns>,
    /// The certificate's SHA-256 fingerprint: 64 hex digits, with or without colons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// What a captured word may be. Of what is not given, the default holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Word {
    /// How many characters it may have: 1 to 255.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = 63)))]
    pub max: Option<u32>,
    /// Which characters it may hold besides: any of `.`, `:` and `@`, such as `\":@\"`. A word in a URI may hold `.` in any case.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub allow: String,
}

/// One pattern, or several that must all hold.
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
    /// The patterns, be it one or a list.
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
        f.write_str("a text or a list of texts")
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
