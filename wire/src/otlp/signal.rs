//! The four signals, and which fields of their messages hold the items.

/// A kind of telemetry that OTLP exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics, counted by data points.
    Metrics,
    /// Log records.
    Logs,
    /// Profiles (v1development), counted by samples.
    Profiles,
}

impl Signal {
    /// Every signal.
    pub const ALL: [Signal; 4] = [Signal::Traces, Signal::Metrics, Signal::Logs, Signal::Profiles];

    /// The name in Prometheus metrics and error messages.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Metrics => "metrics",
            Signal::Logs => "logs",
            Signal::Profiles => "profiles",
        }
    }

    /// The path of the gRPC method. Source: the services in opentelemetry/proto/collector.
    pub fn grpc_path(self) -> &'static str {
        match self {
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Signal::Profiles => {
                "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"
            }
        }
    }

    /// The gRPC service, whose only method is Export.
    pub fn grpc_service(self) -> &'static str {
        self.grpc_path().trim_start_matches('/').trim_end_matches("/Export")
    }

    /// The path for OTLP/HTTP. Source: OTLP specification, "OTLP/HTTP Request".
    pub fn http_path(self) -> &'static str {
        match self {
            Signal::Traces => "/v1/traces",
            Signal::Metrics => "/v1/metrics",
            Signal::Logs => "/v1/logs",
            Signal::Profiles => "/v1development/profiles",
        }
    }

    /// The numbers of the fields from a scope message (ScopeSpans and the like) down to the items, level by level.
    /// Source: trace.proto, metrics.proto, logs.proto, profiles.proto of opentelemetry-proto 1.10.
    pub(super) fn item_fields(self) -> &'static [&'static [u32]] {
        match self {
            // ScopeSpans.spans, ScopeLogs.log_records
            Signal::Traces | Signal::Logs => &[&[2]],
            // ScopeMetrics.metrics; Metric.{gauge, sum, histogram, exponential_histogram, summary}; their data_points
            Signal::Metrics => &[&[2], &[5, 7, 9, 10, 11], &[1]],
            // ScopeProfiles.profiles, Profile.samples
            Signal::Profiles => &[&[2], &[2]],
        }
    }
}
