//! The demo's backend: an OTLP/gRPC server that records or prints what it receives.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server as logs_server;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server as metrics_server;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::profiles::v1development::profiles_service_server as profiles_server;
use opentelemetry_proto::tonic::collector::profiles::v1development::{
    ExportProfilesServiceRequest, ExportProfilesServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server as trace_server;
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

/// Resource attributes.
pub(super) type Attributes = BTreeMap<String, String>;

/// The server. Clones share what was received.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    address: SocketAddr,
    received: Arc<Mutex<Vec<ReceivedResource>>>,
    prints: Arc<AtomicBool>,
}

/// A received Resource, and how many spans, metrics, log records or profiles came with it.
#[derive(Debug, Clone)]
pub(super) struct ReceivedResource {
    pub(super) attributes: Attributes,
    pub(super) items: usize,
}

impl Sink {
    /// Starts the server on a free loopback port. It ends with the runtime.
    pub(super) async fn start() -> Result<Self, Error> {
        let failed = |error| Error::failed(format_args!("cannot start the demo's backend: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let sink = Sink { address, received: Arc::default(), prints: Arc::default() };
        let server = Server::builder()
            .add_service(trace_server::TraceServiceServer::new(sink.clone()))
            .add_service(metrics_server::MetricsServiceServer::new(sink.clone()))
            .add_service(logs_server::LogsServiceServer::new(sink.clone()))
            .add_service(profiles_server::ProfilesServiceServer::new(sink.clone()));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        Ok(sink)
    }

    /// The address that it listens on.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything received so far.
    pub(super) fn received(&self) -> Vec<ReceivedResource> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on prints what it receives, and no longer records it.
    pub(super) fn print_received(&self) {
        self.prints.store(true, Ordering::Relaxed);
    }

    fn receive(&self, resource: Option<Resource>, items: usize, unit: &str) {
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
        if self.prints.load(Ordering::Relaxed) {
            let pairs: Vec<String> = attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
            say(format_args!("received: {items} {unit}, resource attributes: {}", pairs.join(" ")));
        } else {
            let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
            received.push(ReceivedResource { attributes, items });
        }
    }
}

/// Implements a gRPC service per signal, each with the path of fields to its items.
macro_rules! services {
    ($(
        $service:path: $request:ident => $response:ident,
        $entries:ident.$scopes:ident.$items:ident, $unit:literal;
    )*) => {$(
        #[tonic::async_trait]
        impl $service for Sink {
            async fn export(&self, request: Request<$request>) -> Result<Response<$response>, Status> {
                for entry in request.into_inner().$entries {
                    let items = entry.$scopes.iter().map(|scope| scope.$items.len()).sum();
                    self.receive(entry.resource, items, $unit);
                }
                Ok(Response::new($response::default()))
            }
        }
    )*};
}

services! {
    trace_server::TraceService: ExportTraceServiceRequest => ExportTraceServiceResponse,
        resource_spans.scope_spans.spans, "spans";
    metrics_server::MetricsService: ExportMetricsServiceRequest => ExportMetricsServiceResponse,
        resource_metrics.scope_metrics.metrics, "metrics";
    logs_server::LogsService: ExportLogsServiceRequest => ExportLogsServiceResponse,
        resource_logs.scope_logs.log_records, "log records";
    profiles_server::ProfilesService: ExportProfilesServiceRequest => ExportProfilesServiceResponse,
        resource_profiles.scope_profiles.profiles, "profiles";
}
