//! What the gate reads of OTLP/JSON, by name. Decoders take lowerCamelCase and the proto's own names.
//! Source: OTLP specification, "JSON Protobuf Encoding"; protobuf's "ProtoJSON Format"; opentelemetry-proto 1.10.

use super::scanner::Fields;
use crate::otlp::Signal;

/// The names on the way from a request to its items.
pub(super) struct Names {
    /// Of the request; the first is the list of ResourceSpans and its like.
    pub(super) request: Fields,
    /// Of ResourceSpans and its like: [`RESOURCE`], and lists of scopes. Where the first list is empty, the Collector takes the
    /// second (its `MigrateTraces` and the like).
    pub(super) container: Fields,
    /// From ScopeSpans and its like down to the items, level by level.
    pub(super) items: &'static [Level],
    /// Of a KeyValue: [`KEY`] and, in profiles, [`KEY_INDEX`].
    pub(super) key_value: Fields,
}

/// One step down to the items: fields of which each holds messages.
pub(super) enum Level {
    /// An array of them.
    Many(Fields),
    /// One.
    One(Fields),
}

pub(super) const RESOURCE: usize = 0;
pub(super) const KEY: usize = 0;
pub(super) const KEY_INDEX: usize = 1;

/// Of a Resource. Entity references name attributes of it, and are none.
pub(super) const ATTRIBUTES: Fields = &[&["attributes"]];
/// Of ProfilesDictionary.
pub(super) const STRING_TABLE: Fields = &[&["stringTable", "string_table"]];
/// Where the dictionary stands among [`Names::request`] of profiles.
pub(super) const DICTIONARY: usize = 1;

impl Names {
    pub(super) fn of(signal: Signal) -> Names {
        let key_value: Fields = &[&["key"]];
        match signal {
            Signal::Traces => Names {
                request: &[&["resourceSpans", "resource_spans"]],
                container: &[
                    &["resource"],
                    &["scopeSpans", "scope_spans"],
                    &["deprecatedScopeSpans", "deprecated_scope_spans"],
                ],
                items: &[Level::Many(&[&["spans"]])],
                key_value,
            },
            Signal::Metrics => Names {
                request: &[&["resourceMetrics", "resource_metrics"]],
                container: &[
                    &["resource"],
                    &["scopeMetrics", "scope_metrics"],
                    &["deprecatedScopeMetrics", "deprecated_scope_metrics"],
                ],
                items: &[
                    Level::Many(&[&["metrics"]]),
                    Level::One(&[
                        &["gauge"],
                        &["sum"],
                        &["histogram"],
                        &["exponentialHistogram", "exponential_histogram"],
                        &["summary"],
                    ]),
                    Level::Many(&[&["dataPoints", "data_points"]]),
                ],
                key_value,
            },
            Signal::Logs => Names {
                request: &[&["resourceLogs", "resource_logs"]],
                container: &[
                    &["resource"],
                    &["scopeLogs", "scope_logs"],
                    &["deprecatedScopeLogs", "deprecated_scope_logs"],
                ],
                items: &[Level::Many(&[&["logRecords", "log_records"]])],
                key_value,
            },
            Signal::Profiles => Names {
                request: &[&["resourceProfiles", "resource_profiles"], &["dictionary"]],
                container: &[&["resource"], &["scopeProfiles", "scope_profiles"]],
                items: &[Level::Many(&[&["profiles"]]), Level::Many(&[&["samples"]])],
                key_value: &[&["key"], &["keyStrindex", "key_strindex"]],
            },
        }
    }
}
