//! OTLP export requests to send.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
};
use opentelemetry_proto::tonic::profiles::v1development::{Profile, ResourceProfiles, Sample, ScopeProfiles};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

/// Content of a request, of any signal: one Resource with a number of items.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Telemetry<'a> {
    /// The resource attributes. All values are strings.
    pub(crate) attributes: &'a [(&'a str, &'a str)],
    /// How many spans, gauge data points, log records or profile samples.
    pub(crate) items: usize,
}

impl Telemetry<'_> {
    pub(super) fn traces(&self) -> ExportTraceServiceRequest {
        let span = |number: usize| {
            let mut span_id = number.to_be_bytes().to_vec();
            span_id.resize(8, 1);
            Span { trace_id: vec![7; 16], span_id, name: format!("span {number}"), ..Span::default() }
        };
        let scope = ScopeSpans { spans: (0..self.items).map(span).collect(), ..ScopeSpans::default() };
        let entry =
            ResourceSpans { resource: self.resource(), scope_spans: vec![scope], ..ResourceSpans::default() };
        ExportTraceServiceRequest { resource_spans: vec![entry] }
    }

    pub(super) fn metrics(&self) -> ExportMetricsServiceRequest {
        let gauge = Gauge { data_points: vec![NumberDataPoint::default(); self.items] };
        let metric = Metric { name: "probe".to_owned(), data: Some(Data::Gauge(gauge)), ..Metric::default() };
        let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
        let entry = ResourceMetrics {
            resource: self.resource(),
            scope_metrics: vec![scope],
            ..ResourceMetrics::default()
        };
        ExportMetricsServiceRequest { resource_metrics: vec![entry] }
    }

    pub(super) fn logs(&self) -> ExportLogsServiceRequest {
        let scope = ScopeLogs { log_records: vec![LogRecord::default(); self.items], ..ScopeLogs::default() };
        let entry =
            ResourceLogs { resource: self.resource(), scope_logs: vec![scope], ..ResourceLogs::default() };
        ExportLogsServiceRequest { resource_logs: vec![entry] }
    }

    pub(super) fn profiles(&self) -> ExportProfilesServiceRequest {
        let profile = Profile { samples: vec![Sample::default(); self.items], ..Profile::default() };
        let scope = ScopeProfiles { profiles: vec![profile], ..ScopeProfiles::default() };
        let entry = ResourceProfiles {
            resource: self.resource(),
            scope_profiles: vec![scope],
            ..ResourceProfiles::default()
        };
        ExportProfilesServiceRequest { resource_profiles: vec![entry], dictionary: None }
    }

    fn resource(&self) -> Option<Resource> {
        let attributes = self.attributes.iter().map(|(key, value)| {
            let value = AnyValue { value: Some(Value::StringValue((*value).to_owned())) };
            KeyValue { key: (*key).to_owned(), value: Some(value), ..KeyValue::default() }
        });
        Some(Resource { attributes: attributes.collect(), ..Resource::default() })
    }
}
