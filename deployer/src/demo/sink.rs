//! The demo's backend: an OTLP/gRPC receiver that remembers what arrived.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::error::Error;
use crate::output::say;

/// The attributes of a Resource.
pub(super) type Attributes = BTreeMap<String, String>;

/// The receiver. Its clones are one.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    address: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrival>>>,
    talks: Arc<AtomicBool>,
}

/// A Resource that arrived, and how many spans, metrics or log records it came with.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) attributes: Attributes,
    pub(super) items: usize,
}

impl Sink {
    /// Starts it on a free port of this machine. It ends with the runtime.
    pub(super) async fn start() -> Result<Self, Error> {
        let cannot = |error| Error::failed(format_args!("cannot start the backend: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let sink = Sink { address, arrived: Arc::default(), talks: Arc::default() };
        let server = Server::builder()
            .add_service(TraceServiceServer::new(sink.clone()))
            .add_service(MetricsServiceServer::new(sink.clone()))
            .add_service(LogsServiceServer::new(sink.clone()));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        Ok(sink)
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All that has arrived.
    pub(super) fn arrived(&self) -> Vec<Arrival> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From here on it tells what arrives instead of remembering it.
    pub(super) fn talk(&self) {
        self.talks.store(true, Ordering::Relaxed);
    }

    fn take(&self, resource: Option<Resource>, items: usize, what: &str) {
        let attributes: Attributes = resource
            .into_iter()
            .flat_map(|resource| resource.attributes)
            .map(|attribute| {
                let value = match attribute.value.and_then(|value| value.value) {
                    Some(Value::StringValue(text)) => text,
                    other => format!("{other:?}"),
                };
                (attribute.key, value)
            })
            .collect();
        if self.talks.load(Ordering::Relaxed) {
            let words: Vec<String> = attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
            say(format_args!("arrived: {items} {what} of {}", words.join(" ")));
        } else {
            let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
            arrived.push(Arrival { attributes, items });
        }
    }
}

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for entry in request.into_inner().resource_spans {
            let spans = entry.scope_spans.iter().map(|scope| scope.spans.len()).sum();
            self.take(entry.resource, spans, "spans");
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Sink {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        for entry in request.into_inner().resource_metrics {
            let metrics = entry.scope_metrics.iter().map(|scope| scope.metrics.len()).sum();
            self.take(entry.resource, metrics, "metrics");
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Sink {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        for entry in request.into_inner().resource_logs {
            let records = entry.scope_logs.iter().map(|scope| scope.log_records.len()).sum();
            self.take(entry.resource, records, "log records");
        }
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}
