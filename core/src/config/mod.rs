//! The policy's keys in `otlp-gate.yaml`. The reader of the file, its JSON Schema, the reference in the docs, and the
//! JSON that the filter is sent are all made from these types.
//!
//! The types hold what the file says. [`crate::policy::Policy::compile`] checks it.

mod client;
mod client_ca;
mod limits;
mod map;
mod metrics;
mod quantity;
mod quota;
mod spellings;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use client::{CaptureConfig, ClientRule, HopConfig, IssuerMatch, Match, Matches, Patterns};
pub use client_ca::{AuthorityKey, ClientCa};
pub use limits::Limits;
pub use map::unique_keys;
pub use metrics::MetricsConfig;
pub use quantity::{Burst, QuantityError, Rate, Size};
pub use quota::{Away, Mode, QuotaEngine, Quotas, Scope, TierConfig, Unknown};
pub use spellings::OwnedSpellings;

/// Defines a struct with the keys of a policy and keys of its own: [`PolicyConfig`] and the deployer's
/// `otlp-gate.yaml`.
///
/// serde's `flatten` would accept unknown keys and lose the positions of errors. The caller imports `BTreeMap` and the
/// types of this module. `then` lists keys that come after `ownedSpellings`: the order of a policy's JSON is part of
/// its revision.
#[macro_export]
macro_rules! with_policy_keys {
    (
        $(#[$struct:meta])*
        $visibility:vis struct $name:ident { $($own:tt)* }
        $(then { $($then:tt)* })?
    ) => {
        $(#[$struct])*
        $visibility struct $name {
            $($own)*
            /// Client rules, in order: the first rule that matches a certificate decides. Only the validated
            /// certificate counts, never what the client sends. Example: `[{name: acme, match: {spiffe:
            /// "spiffe://acme.example/edge/*"}}]`.
            #[serde(skip_serializing_if = "Vec::is_empty")]
            pub clients: Vec<ClientRule>,
            /// Proxies in front of the gateway that may forward the identities of their clients. Each entry matches
            /// certificates of such proxies, with the keys of a client's `match`; the first that matches decides. A
            /// request from a trusted hop belongs to the client in the nearest element of its
            /// `x-forwarded-client-cert` header, or to the certificate in the entry's `header`, and is rejected if
            /// there is none. Default: no proxy is trusted, and the header is ignored.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub trusted_hops: Vec<HopConfig>,
            /// What happens to a certificate that no rule matches. `reject` rejects its requests. The name of a tier
            /// makes each such certificate a client of its own in that tier, named `unknown-` and the first 12 hex
            /// digits of the SHA-256 of the certificate's signed part.
            #[serde(default, skip_serializing_if = "Unknown::is_reject")]
            pub unknown: Unknown,
            /// Resource attributes that are set for every client, such as `otlp_gate.client: "{name}"`. The keys are
            /// owned: values that clients send under them are removed. Placeholders: `{name}`, `{spiffe}`, `{dns}`,
            /// `{email}`, `{ip}`, `{subject}`, `{subject.CN}`, `{issuer}`, `{ca}`, `{serial}`, `{sha256}` and the
            /// captures of the client's rule. `{spiffe}`, `{dns}`, `{email}` and `{ip}` are the value that the rule's
            /// pattern matched, or the first one that the certificate has. `{subject.CN}` has a value if the subject
            /// has that key exactly once. An attribute is not set for a client that lacks a value for a placeholder.
            /// Write `{{` and `}}` for braces.
            #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
            pub attributes: BTreeMap<String, String>,
            /// Which spellings of an owned key are removed. `folded`: all that backends may store under the same name:
            /// in any case, with other separators (`tenant.id`, `tenant_id`, `TENANT-ID`), and as maps whose path
            /// spells the key (`tenant: {id: x}`). `exact`: only the key itself.
            #[serde(default, skip_serializing_if = "OwnedSpellings::is_folded")]
            pub owned_spellings: OwnedSpellings,
            $($($then)*)?
            /// Request headers that are set for the backend, such as `X-Scope-OrgID: "{tenant.id}"`. The names are
            /// owned: values that clients send are removed. Placeholders are those of `attributes`, and the keys of the
            /// client's attributes. A header is not set for a client that lacks a value for a placeholder. A rule does
            /// not match a certificate for which a header would not be 1 to 4096 characters of visible ASCII.
            #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
            pub headers: BTreeMap<String, String>,
            /// Certificates and clients that are rejected whatever the rules are, also on open connections. An entry is
            /// `sha256:` and a certificate's fingerprint (64 hex digits), `signed:` and the SHA-256 of its signed part,
            /// `serial:` and its serial number in hex, for one CA with `@` and the CA's name in `clientCAs`
            /// (`serial:0a1b@partners`), `key:` and the SHA-256 of its public key, or `name:` and the name of a client.
            /// `otlp-gate whoami CERT` shows all of them.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub deny: Vec<String>,
            /// Origins of web pages that may send from a browser, by OTLP/HTTP (CORS): `https://shop.example.com`, or
            /// `https://*.example.com`, where `*` is one or more characters of one label of the host. The page's user
            /// still needs a client certificate. Default: no origin.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub cors_origins: Vec<String>,
            /// Rate limits of clients.
            #[serde(default, skip_serializing_if = "Quotas::is_default")]
            pub quotas: Quotas,
            /// Limits on the size of messages and headers, and on the memory for them.
            #[serde(default, skip_serializing_if = "Limits::is_default")]
            pub limits: Limits,
            /// What metrics show.
            #[serde(default, skip_serializing_if = "MetricsConfig::is_default")]
            pub metrics: MetricsConfig,
        }

        impl $name {
            /// The keys of the policy alone; all others are left at their defaults.
            pub fn policy_keys(&self) -> PolicyConfig {
                PolicyConfig {
                    clients: self.clients.clone(),
                    trusted_hops: self.trusted_hops.clone(),
                    unknown: self.unknown.clone(),
                    attributes: self.attributes.clone(),
                    owned_spellings: self.owned_spellings,
                    headers: self.headers.clone(),
                    deny: self.deny.clone(),
                    cors_origins: self.cors_origins.clone(),
                    quotas: self.quotas.policy_keys(),
                    limits: self.limits.clone(),
                    metrics: self.metrics.clone(),
                    ..PolicyConfig::default()
                }
            }
        }
    };
}

with_policy_keys! {
    /// A policy as the filter is sent it, as JSON: which clients may send, the attributes and headers that are set for
    /// them, and their quotas.
    #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
    pub struct PolicyConfig {
        /// The gate's `namespace/name`. It separates the quotas of several gates in one proxy.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub gate: String,
        /// The policy's revision, up to 12 hex digits. The filter reports it as a number in the metric
        /// `otlp_gate_policy_revision`.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub revision: String,
        /// Whether `otlp-gate verify` may send, as a reserved client with a small quota, whose certificate has the URI
        /// `spiffe://otlp-gate/verify`.
        #[serde(skip_serializing_if = "core::ops::Not::not")]
        pub verify: bool,
    }
    then {
        /// Whether profiles are rejected, because the backend takes none.
        #[serde(skip_serializing_if = "core::ops::Not::not")]
        pub no_profiles: bool,
        /// More owned attributes, which another gateway sets: values that clients send under these keys are removed.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub owned: Vec<String>,
        /// The client CAs of the gate, with their keys. [`ClientCa::name`] of one entry may be empty.
        #[serde(rename = "clientCAs", skip_serializing_if = "Vec::is_empty")]
        pub client_cas: Vec<ClientCa>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_policy_is_two_characters() {
        assert_eq!(serde_json::to_string(&PolicyConfig::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<PolicyConfig>("{}").unwrap(), PolicyConfig::default());
    }

    #[test]
    fn what_is_read_is_written_again() {
        let text = concat!(
            r#"{"gate":"otel/gate","clients":[{"name":"a","match":{"spiffe":"spiffe://a/*","subject":{"CN":"x"}},"#,
            r#""attributes":{"tenant.id":"a"},"quota":"gold"},"#,
            r#"{"name":"{o}","match":[{"dns":"{o}.x"},{"sha256":"00"}],"quotaPer":"{o}"}],"unknown":"gold","#,
            r#""attributes":{"k":"{name}"},"ownedSpellings":"exact","headers":{"X-Scope-OrgID":"{tenant.id}"},"deny":["sha256:00"],"#,
            r#""corsOrigins":["https://a.example"],"quotas":{"mode":"shadow","tiers":{"gold":{"requests":"200/s","bytes":"8MiB/s","dataPoints":"50k/s","#,
            r#""burst":"500ms"}}},"limits":{"wire":"4MiB"}}"#
        );
        let config: PolicyConfig = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&config).unwrap(), text);
    }

    #[test]
    fn errors_have_a_position_and_what_was_expected() {
        for (text, message) in [
            (r#"{"client":[]}"#, "unknown field `client`, expected one of `gate`, `revision`, `verify`"),
            (
                r#"{"clients":[{"name":"a","match":{"spifee":"x"}}]}"#,
                "unknown field `spifee`, expected one of `spiffe`",
            ),
            (
                r#"{"clients":[{"name":"a","match":[{"spifee":"x"}]}]}"#,
                "unknown field `spifee`, expected one of `spiffe`",
            ),
            (r#"{"trustedHops":[{"spifee":"x"}]}"#, "unknown field `spifee`, expected one of `spiffe`"),
            (
                r#"{"clients":[{"name":"a","match":{"issuer":{"CN":"x"}}}]}"#,
                "unknown field `CN`, expected one of `subject`, `keyId`, `key`",
            ),
            (
                r#"{"clients":[{"name":"a","match":"x"}]}"#,
                "invalid type: string \"x\", expected a match or a list of",
            ),
            (r#"{"clients":[{"name":"a"}]}"#, "missing field `match`"),
            (r#"{"attributes":{"a":"1","a":"2"}}"#, "duplicate key `a`"),
            (r#"{"attributes":{"a":1}}"#, "invalid type: integer `1`, expected a string"),
            (r#"{"quotas":{"mode":"shadows"}}"#, "unknown variant `shadows`, expected `enforce` or `shadow`"),
            (r#"{"quotas":{"tiers":{"a":{},"a":{}}}}"#, "duplicate key `a`"),
            (r#"{"quotas":{"tiers":{"a":{"items":"5"}}}}"#, "`5` is not a rate"),
            (r#"{"quotas":{"tiers":{"a":{"items":5}}}}"#, "expected a rate such as"),
            (r#"{"limits":{"wire":"4MB"}}"#, "`MB` is not a unit"),
            (r#"{"unknown":""}"#, "expected `reject` or the name of a tier"),
        ] {
            let error = serde_json::from_str::<PolicyConfig>(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
            assert!(error.contains("line 1 column"), "{text}: {error}");
        }
    }
}
