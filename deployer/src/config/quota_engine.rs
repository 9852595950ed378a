//! The engine of quotas over several replicas.

use std::borrow::Cow;
use std::fmt;

use otlp_gate_core::config as policy;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::pod::Pod;

/// The default image of the engine that otlp-gate deploys.
const IMAGE: &str = "docker.io/valkey/valkey:9.1.4";

/// The quotas, with all that the config says of their engine.
pub(crate) type Quotas = policy::Quotas<QuotaEngine>;

/// A Valkey or Redis that adds up what all replicas charge: `deploy`, or the `address` of one that exists.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct QuotaEngine {
    /// With `scope: shared`, the gates that have this name and this engine share their quotas. With `scope: gateway`, it
    /// keeps gates apart that have the same name and namespace in several clusters.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// Deploys a Valkey for this gate alone, beside the gateway: `{}`, or with settings. It keeps nothing on disk, and
    /// accepts only the gateway's proxies, by certificates of the internal CA. It excludes `address`, `tls`,
    /// `credentials` and `scope: shared`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deploy: Option<DeployedEngine>,
    /// The host and port of a Valkey or Redis that exists: `valkey.example.com:6379`. It must be the primary: a replica is
    /// read-only. A name is resolved every 5 s, and the first address is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    /// TLS from the gateway to the engine: `off`, or how the gateway authenticates the engine. `otlp-gate local` can
    /// only connect with `off`. Default: with TLS, by the public CAs.
    #[serde(skip_serializing_if = "EngineTls::is_default")]
    pub(crate) tls: EngineTls,
    /// The user that the gateway is to the engine. Default: none; the engine must then take commands without a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credentials: Option<EngineCredentials>,
}

/// A Valkey that otlp-gate deploys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct DeployedEngine {
    /// Its image: Valkey 8 or later with TLS, such as the official one. It must have a shell.
    pub(crate) image: String,
    /// Settings of its pod. Three quarters of the memory limit, by default `256Mi`, are for quotas.
    #[serde(skip_serializing_if = "Pod::is_default")]
    pub(crate) pod: Pod,
}

/// The user of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct EngineCredentials {
    /// The Secret with the key `password` and, for another user than the engine's default one, `username`. It must be in
    /// the namespace of the gateway's proxies: with Istio `gateway.namespace`, with Envoy Gateway its own, by default
    /// `envoy-gateway-system`. The proxies read it when they start: restart them after a change.
    pub(crate) secret: String,
}

/// How the gateway connects to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EngineTls {
    /// In plain text.
    Off,
    /// With TLS.
    On(EngineCertificates),
}

/// The certificates of TLS to the engine. The objects must be in the namespace of the gateway's proxies, as the Secret in
/// `credentials`. The proxies follow changes of their content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct EngineCertificates {
    /// The ConfigMap with the CA of the engine's certificate in `ca.crt`. Default: the public CAs in the proxies' image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca_config_map: Option<String>,
    /// The Secret with that CA in `ca.crt`, instead of a ConfigMap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca_secret: Option<String>,
    /// The Secret with the client certificate that the gateway presents, in `tls.crt` and `tls.key`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_secret: Option<String>,
    /// The DNS name that the engine's certificate must have. Default: the host of `address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_name: Option<String>,
}

/// What the filter needs to know.
impl From<QuotaEngine> for policy::QuotaEngine {
    fn from(engine: QuotaEngine) -> Self {
        policy::QuotaEngine { name: engine.name }
    }
}

impl Default for DeployedEngine {
    fn default() -> Self {
        DeployedEngine { image: IMAGE.to_owned(), pod: Pod::default() }
    }
}

impl EngineTls {
    const OFF: &str = "off";

    /// Whether it is the default.
    pub(super) fn is_default(&self) -> bool {
        *self == EngineTls::default()
    }
}

impl Default for EngineTls {
    fn default() -> Self {
        EngineTls::On(EngineCertificates::default())
    }
}

impl Serialize for EngineTls {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            EngineTls::Off => serializer.serialize_str(EngineTls::OFF),
            EngineTls::On(certificates) => certificates.serialize(serializer),
        }
    }
}

// By hand, because errors of an untagged enum have neither a position nor the keys that were expected.
impl<'de> Deserialize<'de> for EngineTls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EngineTlsVisitor)
    }
}

struct EngineTlsVisitor;

impl<'de> Visitor<'de> for EngineTlsVisitor {
    type Value = EngineTls;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`off` or a map")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<EngineTls, E> {
        match text {
            EngineTls::OFF => Ok(EngineTls::Off),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EngineTls, A::Error> {
        EngineCertificates::deserialize(MapAccessDeserializer::new(map)).map(EngineTls::On)
    }
}

impl JsonSchema for EngineTls {
    fn schema_name() -> Cow<'static, str> {
        "EngineTls".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let certificates = generator.subschema_for::<EngineCertificates>();
        json_schema!({"anyOf": [{"type": "string", "const": EngineTls::OFF}, certificates]})
    }
}
