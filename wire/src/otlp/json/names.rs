//! The member names that the filter reads in OTLP/JSON. Decoders take lowerCamelCase and the names in the proto files.
//! Source: OTLP specification, "JSON Protobuf Encoding"; protobuf's "ProtoJSON Format"; opentelemetry-proto 1.10.

use super::scanner::Fields;
use crate::otlp::Signal;

/// The names from a request down to its items.
pub(super) struct Names {
    /// Members of the request. The first is the list of entries: ResourceSpans and the like.
    pub(super) request: Fields,
    /// Members of an entry: [`RESOURCE`], and lists of scopes. If the first list is empty, the Collector takes the
    /// second (its `MigrateTraces` and the like).
    pub(super) entry: Fields,
    /// From ScopeSpans and the like down to the items, level by level.
    pub(super) items: &'static [Level],
}

/// One level of the way down to the items: members that hold messages.
pub(super) enum Level {
    /// An array of messages.
    Many(Fields),
    /// One message.
    One(Fields),
}

/// The Resource in [`Names::entry`].
pub(super) const RESOURCE: usize = 0;
/// The lists of scopes in [`Names::entry`].
pub(super) const SCOPES: usize = 1;
pub(super) const DEPRECATED_SCOPES: usize = 2;

/// Members of a KeyValue.
pub(super) const KEY_VALUE: Fields = &[&["key"], &["value"], &["keyStrindex", "key_strindex"]];
pub(super) const KEY: usize = 0;
pub(super) const VALUE: usize = 1;

/// Members of an AnyValue.
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
/// Members of an ArrayValue and a KeyValueList.
pub(super) const VALUES: Fields = &[&["values"]];

/// Members of a Resource. Its entity references name attributes and hold none.
pub(super) const ATTRIBUTES: Fields = &[&["attributes"]];
/// Members of a ProfilesDictionary.
pub(super) const STRING_TABLE: Fields = &[&["stringTable", "string_table"]];
/// The dictionary in [`Names::request`] of profiles.
pub(super) const DICTIONARY: usize = 1;

impl Names {
    /// The names of a signal.
    pub(super) fn of(signal: Signal) -> Names {
        match signal {
            Signal::Traces => Names {
                request: &[&["resourceSpans", "resource_spans"]],
                entry: &[
                    &["resource"],
                    &["scopeSpans", "scope_spans"],
                    &["deprecatedScopeSpans", "deprecated_scope_spans"],
                ],
                items: &[Level::Many(&[&["spans"]])],
            },
            Signal::Metrics => Names {
                request: &[&["resourceMetrics", "resource_metrics"]],
                entry: &[
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
                entry: &[
                    &["resource"],
                    &["scopeLogs", "scope_logs"],
                    &["deprecatedScopeLogs", "deprecated_scope_logs"],
                ],
                items: &[Level::Many(&[&["logRecords", "log_records"]])],
            },
            Signal::Profiles => Names {
                request: &[&["resourceProfiles", "resource_profiles"], &["dictionary"]],
                entry: &[&["resource"], &["scopeProfiles", "scope_profiles"]],
                items: &[Level::Many(&[&["profiles"]]), Level::Many(&[&["samples"]])],
            },
        }
    }
}
