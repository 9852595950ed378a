//! Quotas and tiers.

use core::fmt;
use std::collections::BTreeMap;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Burst, Rate, unique_keys};
use crate::quota::Dimension;

/// Rate limits of clients. `E` is what the reader needs to know of the engine: the filter the name only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[serde(bound(deserialize = "E: Default + Deserialize<'de>"))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Quotas", description = "Rate limits of clients."))]
#[cfg_attr(feature = "schema", schemars(bound = "E: Default + Serialize + schemars::JsonSchema"))]
pub struct Quotas<E = QuotaEngine> {
    /// `enforce` throttles requests over a quota. `shadow` counts and reports them, and forwards them.
    #[serde(skip_serializing_if = "Mode::is_enforce")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = "enforce")))]
    pub mode: Mode,
    /// Over which replicas a quota holds. `replica`: each replica has quotas of its own. `gateway`: over all replicas of
    /// the gateway. `shared`: over all gates with the same `engine.name`, such as those of several clusters. `gateway` and
    /// `shared` need an `engine`. Default: `gateway` if there is an `engine`, else `replica`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The engine of `scope: gateway` and `shared`: a Valkey or Redis that all replicas reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<E>,
    /// What each replica allows while the engine is away. `full`: the whole quota, so that no client is throttled for it,
    /// and N replicas allow up to N times of it. `divide`: the rates divided by the number of replicas that the engine
    /// knew last, and whole bursts. All clients together then stay near their quota, but a client whose requests all go
    /// to one replica, as with gRPC, gets only its part.
    #[serde(skip_serializing_if = "Away::is_full")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = "full")))]
    pub away: Away,
    /// The limit of all clients together, over the replicas of `scope`: one bucket, which every request is charged to
    /// beside the client's own. A request is charged to both or to neither. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<TierConfig>,
    /// Tiers by name: `{gold: {items: 50k/s}}`. The tier `default` is for rules without `quota`; without it their
    /// clients have no limit.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub tiers: BTreeMap<String, TierConfig>,
}

impl<E> Quotas<E> {
    /// Whether there are no quotas.
    pub fn is_default(&self) -> bool
    where
        E: Default + PartialEq,
    {
        *self == Quotas::default()
    }

    /// Over which replicas the quotas hold.
    pub fn effective_scope(&self) -> Scope {
        self.scope.unwrap_or(if self.engine.is_some() { Scope::Gateway } else { Scope::Replica })
    }

    /// The same quotas as the filter is sent them.
    pub fn policy_keys(&self) -> Quotas
    where
        E: Clone + Into<QuotaEngine>,
    {
        Quotas {
            mode: self.mode,
            scope: self.scope,
            engine: self.engine.clone().map(Into::into),
            away: self.away,
            total: self.total.clone(),
            tiers: self.tiers.clone(),
        }
    }
}

/// Over which replicas a quota holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Scope {
    /// Each replica has quotas of its own.
    Replica,
    /// Over all replicas of the gateway.
    Gateway,
    /// Over all gates with the same `engine.name`.
    Shared,
}

/// What each replica allows while the engine is away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Away {
    /// The whole quota.
    #[default]
    Full,
    /// The rates divided by the number of replicas.
    Divide,
}

impl Away {
    fn is_full(&self) -> bool {
        *self == Away::Full
    }
}

/// A Valkey or Redis that adds up what all replicas charge, as far as the filter needs to know it. How the proxy reaches
/// it is in the proxy's own configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct QuotaEngine {
    /// What gates with common quotas have in common.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// Whether quotas are enforced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Mode {
    /// Requests over a quota are throttled.
    #[default]
    Enforce,
    /// Requests over a quota are counted, reported and forwarded.
    Shadow,
}

impl Mode {
    fn is_enforce(&self) -> bool {
        *self == Mode::Enforce
    }
}

/// The limits of a tier. Each holds per bucket, over the replicas of `quotas.scope`. A key that is left out is not limited;
/// tiers do not inherit from each other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TierConfig {
    /// Export requests per second, also those that are rejected: `200/s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Rate>,
    /// Bytes of decompressed messages per second: `8MiB/s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Rate>,
    /// Spans, data points, log records and profile samples per second, together: `50k/s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Rate>,
    /// Spans per second: `20k/s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spans: Option<Rate>,
    /// Metric data points per second: `20k/s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_points: Option<Rate>,
    /// Log records per second: `20k/s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_records: Option<Rate>,
    /// Profile samples per second: `20k/s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<Rate>,
    /// The size of the token buckets, as the time in which they fill up: rate x burst may be sent at once. A larger
    /// message is always throttled.
    #[serde(skip_serializing_if = "Burst::is_default")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = "4s")))]
    pub burst: Burst,
}

impl TierConfig {
    /// The limit of one dimension.
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
    /// Its requests are rejected.
    #[default]
    Reject,
    /// It is a client of its own in the tier of this name.
    Tier(String),
}

impl Unknown {
    const REJECT: &str = "reject";

    /// Whether such certificates are rejected.
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
