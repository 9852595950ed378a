//! The policy part of `otlp-gate.yaml`: the one definition from which the file's reader, the JSON Schema, the docs'
//! key table and what the filter is sent all follow.
//!
//! These types hold what the file says. [`crate::policy::Policy::compile`] checks what it means.

mod client;
mod limits;
mod map;
mod quantity;
mod quota;
mod spellings;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use client::{ClientRule, Match, Matches, Patterns, Word};
pub use limits::Limits;
pub use map::unique_keys;
pub use quantity::{Burst, QuantityError, Rate, Size};
pub use quota::{Mode, Quotas, TierConfig, Unknown};
pub use spellings::OwnedSpellings;

/// Who may send telemetry, what it is stamped with, and how much of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyConfig {
    /// The gate that this policy belongs to, as `namespace/name`. It keeps the quotas of gates in one proxy apart.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub gate: String,
    /// Which policy this is, in up to 12 hex digits: the deployer's word for it, which the filter shows as a number in the
    /// metric `otlp_gate_policy_revision`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// Whether `otlp-gate verify` may send, as a client of its own with a tiny quota, whose certificate has the URI
    /// `spiffe://otlp-gate/verify`.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub verify: bool,
    /// Who may send. The first rule that matches a certificate decides; only the validated certificate counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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
    #[cfg_attr(feature = "schema", schemars(extend("default" = "folded")))]
    pub owned_spellings: OwnedSpellings,
    /// Resource attributes that the gate owns besides, since somebody else sets them: what a client writes there is removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owned: Vec<String>,
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
    fn mistakes_are_told_with_their_place_and_what_was_expected() {
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
            (
                r#"{"clients":[{"name":"a","match":"x"}]}"#,
                "invalid type: string \"x\", expected a match or a list of",
            ),
            (r#"{"clients":[{"name":"a"}]}"#, "missing field `match`"),
            (r#"{"attributes":{"a":"1","a":"2"}}"#, "the key `a` occurs twice"),
            (r#"{"attributes":{"a":1}}"#, "invalid type: integer `1`, expected a string"),
            (r#"{"quotas":{"mode":"shadows"}}"#, "unknown variant `shadows`, expected `enforce` or `shadow`"),
            (r#"{"quotas":{"tiers":{"a":{},"a":{}}}}"#, "the key `a` occurs twice"),
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
