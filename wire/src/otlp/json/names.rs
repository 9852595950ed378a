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
}

/// One step down to the items: fields of which each holds messages.
pub(super) enum Level {
    /// An array of them.
    Many(Fields),
    /// One.
    One(Fields),
}

pub(super) const RESOURCE: usize = 0;
/// Lists of scopes among [`Names::container`].
pub(super) const SCOPES: usize = 1;
pub(super) const OLD_SCOPES: usize = 2;

/// Of a KeyValue.
pub(super) const KEY_VALUE: Fields = &[&["key"], &["value"], &["keyStrindex", "key_strindex"]];
pub(super) const KEY: usize = 0;
pub(super) const VALUE: usize = 1;

/// Of an AnyValue.
pub(super) const ANY_VALUE: Fields = &[
    &["arrayValue", "array_value"],
    &["kvlistValue", "kvlist_value"],
    &["stringValue", "string_value"],
    &["boolValue", "bool_value"],
    &["intValue", "int_value"],
    &["doubleValue", "double_value"],
    &["bytesValue", "bytes_value"],
    &["stringValueStrindex", "string_value_strindex"],
];
pub(super) const LIST: usize = 0;
pub(super) const MAP: usize = 1;
/// Of ArrayValue and KeyValueList.
pub(super) const VALUES: Fields = &[&["values"]];

/// Of a Resource. Entity references name attributes of it, and are none.
pub(super) const ATTRIBUTES: Fields = &[&["attributes"]];
/// Of ProfilesDictionary.
pub(super) const STRING_TABLE: Fields = &[&["stringTable", "string_table"]];
/// Where the dictionary stands among [`Names::request`] of profiles.
pub(super) const DICTIONARY: usize = 1;

impl Names {
    pub(super) fn of(signal: Signal) -> Names {
        match signal {
            Signal::Traces => Names {
                request: &[&["resourceSpans", "resource_spans"]],
                container: &[
                    &["resource"],
                    &["scopeSpans", "scope_spans"],
                    &["deprecatedScopeSpans", "deprecated_scope_spans"],
                ],
                items: &[Level::Many(&[&["spans"]])],
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
            },
            Signal::Logs => Names {
                request: &[&["resourceLogs", "resource_logs"]],
                container: &[
                    &["resource"],
                    &["scopeLogs", "scope_logs"],
                    &["deprecatedScopeLogs", "deprecated_scope_logs"],
                ],
                items: &[Level::Many(&[&["logRecords", "log_records"]])],
            },
            Signal::Profiles => Names {
                request: &[&["resourceProfiles", "resource_profiles"], &["dictionary"]],
                container: &[&["resource"], &["scopeProfiles", "scope_profiles"]],
                items: &[Level::Many(&[&["profiles"]]), Level::Many(&[&["samples"]])],
            },
        }
    }
}
