//! Quotas and tiers.

use core::fmt;
use std::collections::BTreeMap;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Burst, Rate, unique_keys};
use crate::quota::Dimension;

/// How much clients may send.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Quotas {
    /// `enforce` refuses what is over quota; `shadow` counts and reports it, and refuses nothing.
    #[serde(skip_serializing_if = "Mode::is_enforce")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = "enforce")))]
    pub mode: Mode,
    /// What all clients together may send, by one bucket for the whole gateway (and each of its replicas). Every client is charged
    /// to its own bucket and to this one, or to neither. Without it there is no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<TierConfig>,
    /// Tiers by name. `default` is for clients that name none; without it those have no limit.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub tiers: BTreeMap<String, TierConfig>,
}

impl Quotas {
    /// Whether nothing is said about quotas.
    pub fn is_default(&self) -> bool {
        *self == Quotas::default()
    }
}

/// Whether quotas act.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Mode {
    /// What is over quota is refused.
    #[default]
    Enforce,
    /// What is over quota is counted and reported, and let through.
    Shadow,
}

impl Mode {
    fn is_enforce(&self) -> bool {
        *self == Mode::Enforce
    }
}

/// The limits of a class of clients, each for every bucket and every replica of the gateway. What is not given is not
/// limited; tiers do not inherit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TierConfig {
    /// Export requests per second, whatever becomes of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Rate>,
    /// Bytes of inflated messages per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Rate>,
    /// Spans, data points, log records and samples per second, together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Rate>,
    /// Spans per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spans: Option<Rate>,
    /// Metric data points per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_points: Option<Rate>,
    /// Log records per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_records: Option<Rate>,
    /// Profile samples per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<Rate>,
    /// How many seconds' worth may be sent at once. A message larger than rate x burst never fits.
    #[serde(skip_serializing_if = "Burst::is_default")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = "4s")))]
    pub burst: Burst,
}

impl TierConfig {
    /// The rate of one dimension.
    pub fn rate(&self, dimension: Dimension) -> Option<Rate> {
        match dimension {
            Dimension::Requests => self.requests,
            Dimension::Bytes => self.bytes,
            Dimension::Items => self.items,
            Dimension::Spans => self.spans,
            Dimension::DataPoints => self.data_points,
            Dimension::LogRecords => self.log_records,
            Dimension::Samples => self.samples,
        }
    }
}

/// What happens to a certificate that no rule matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Unknown {
    /// It is refused.
    #[default]
    Reject,
    /// It is a client of its own in the tier of this name.
    Tier(String),
}

impl Unknown {
    const REJECT: &str = "reject";

    /// Whether such certificates are refused.
    pub fn is_reject(&self) -> bool {
        *self == Unknown::Reject
    }

    /// `reject` or the tier's name.
    pub fn as_str(&self) -> &str {
        match self {
            Unknown::Reject => Unknown::REJECT,
            Unknown::Tier(tier) => tier,
        }
    }
}

impl Serialize for Unknown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Unknown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(UnknownVisitor)
    }
}

struct UnknownVisitor;

impl Visitor<'_> for UnknownVisitor {
    type Value = Unknown;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`reject` or the name of a tier")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Unknown, E> {
        match text {
            Unknown::REJECT => Ok(Unknown::Reject),
            "" => Err(E::invalid_value(Unexpected::Str(text), &self)),
            tier => Ok(Unknown::Tier(tier.to_owned())),
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Unknown {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Unknown".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "minLength": 1, "default": Unknown::REJECT})
    }
}
