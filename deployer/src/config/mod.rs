//! `otlp-gate.yaml`: the only file a user edits. Manifests, certificates and the filter's policy follow from it.

mod backend;
mod certificates;
mod gateway;
mod node_local;
mod parse;
mod position;
mod report;
pub mod schema;
mod source;
mod validate;

use std::collections::BTreeMap;

use otlp_gate_core::config::{
    ClientRule, Limits, Match, OwnedSpellings, PolicyConfig, Quotas, Unknown, unique_keys,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use backend::{Backend, Collector, Service};
pub use certificates::{CertManager, Certificates, IssuerKind, IssuerRef};
pub use gateway::{Gateway, Listeners, Module, Provider};
pub use node_local::{
    Acknowledge, Export, MeshMode, NodeLocal, PodMatch, PodRule, Queue, RemoteGate, UnknownSenders,
};
pub use report::{Finding, Report, Severity};
pub use source::{Loaded, Source, check_namespace};

/// The gate: where it stands, what is behind it, who may send, what their data is stamped with, and how much they
/// may send.
// The policy's fields are repeated here, since serde's `flatten` would let unknown keys pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "otlp-gate.yaml")]
pub struct Config {
    /// The version of this file's format.
    pub api_version: ApiVersion,
    /// The gateway that clients connect to.
    #[serde(default)]
    pub gateway: Gateway,
    /// Who makes the certificates: by default `otlp-gate certs`.
    #[serde(default, skip_serializing_if = "Certificates::is_default")]
    pub certificates: Certificates,
    /// Where accepted telemetry goes: a Collector that otlp-gate deploys, or a service that is there.
    #[serde(default)]
    pub backend: Backend,
    /// A gateway on every node, for plain-text OTLP from the node's own pods.
    #[serde(default)]
    pub node_local: NodeLocal,
    /// Who may send. The first rule that matches a certificate decides; only the validated certificate counts.
    pub clients: Vec<ClientRule>,
    /// Proxies in front that may say who their own clients are, by their certificates: matches as those of clients. A request by
    /// one of them is its client's, by what the nearest element of `x-forwarded-client-cert` says, or nobody's. By default
    /// none may, and the header counts for nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_hops: Vec<Match>,
    /// What happens to a certificate that no rule matches: `reject`, or the name of a tier. With a tier, each certificate is
    /// a client of its own, named `unknown-` and the first 12 hex digits of the SHA-256 of its signed part.
    #[serde(default, skip_serializing_if = "Unknown::is_reject")]
    pub unknown: Unknown,
    /// Resource attributes that the gate owns, for every client. What a client writes under these keys is removed, and
    /// these values are set. Placeholders: `{name}` `{spiffe}` `{dns}` `{subject}` `{subject.CN}` `{sha256}` and the words
    /// that the client's rule captures. `{subject.CN}` is there where the subject has that key exactly once. An attribute whose
    /// placeholder a client lacks is not set for it. Write `{{` for a brace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub attributes: BTreeMap<String, String>,
    /// Which keys are an owned one. `folded`: all that backends take for the same name, whatever the case of their letters and
    /// what stands between their words (`tenant.id`, `tenant_id`, `TENANT-ID`), and maps through which a path spells it
    /// (`tenant: {id: x}`). `exact`: only the key itself.
    #[serde(default, skip_serializing_if = "OwnedSpellings::is_folded")]
    #[schemars(extend("default" = "folded"))]
    pub owned_spellings: OwnedSpellings,
    /// Request headers that the gate owns: never taken from the client, set for the backend. Placeholders are those of
    /// `attributes` and the client's attributes, such as `{tenant.id}`. A header whose placeholder a client lacks
    /// is not set for it. A rule is not for a certificate of which a header would get anything but 1 to 4096 characters
    /// of visible ASCII.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub headers: BTreeMap<String, String>,
    /// Clients that are refused whatever the rules say, also on open connections: `sha256:` and a certificate's fingerprint in 64
    /// hex digits, `serial:` and its serial number in hex, `key:` and the SHA-256 of its public key, or `name:` and the client's
    /// name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
    /// Web pages that may send from a browser, by OTLP/HTTP (CORS): patterns for their origins, such as
    /// `https://shop.example.com` or `https://*.example.com`, where `*` is one or more characters of one label of the host. By
    /// default none may. It says nothing about who sends: that is for the certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cors_origins: Vec<String>,
    /// How much a client may send.
    #[serde(default, skip_serializing_if = "Quotas::is_default")]
    pub quotas: Quotas,
    /// How large a message may be, and how much of them the gate holds at once.
    #[serde(default, skip_serializing_if = "Limits::is_default")]
    pub limits: Limits,
}

/// The versions of the file's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The first.
    #[serde(rename = "otlp-gate/v1")]
    V1,
}

impl Config {
    /// Whether there is a gateway whose certificates come from a folder, and not from cert-manager.
    pub fn takes_certificates(&self) -> bool {
        self.gateway.enabled && self.certificates.cert_manager.is_none()
    }

    /// What the filter is sent: who may send, what is stamped, and how much.
    pub fn policy(&self) -> PolicyConfig {
        PolicyConfig {
            gate: format!("{}/{}", self.gateway.namespace, self.gateway.name),
            revision: String::new(),
            verify: true,
            clients: self.clients.clone(),
            trusted_hops: self.trusted_hops.clone(),
            unknown: self.unknown.clone(),
            attributes: self.attributes.clone(),
            owned_spellings: self.owned_spellings,
            owned: self.node_local.owned(),
            headers: self.headers.clone(),
            deny: self.deny.clone(),
            cors_origins: self.cors_origins.clone(),
            quotas: self.quotas.clone(),
            limits: self.limits.clone(),
        }
    }
}
