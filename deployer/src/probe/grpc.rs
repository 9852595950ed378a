//! Client for OTLP/gRPC.

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::profiles::v1development::profiles_service_client::ProfilesServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use otlp_gate_wire::otlp::Signal;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::{Credentials, ProbeResult, REQUEST_TIMEOUT, Telemetry};

/// Sends one request to `host:port` on a new connection: over TLS, or in plain text where `credentials` is `None`.
pub(crate) async fn export_grpc(
    address: &str,
    credentials: Option<&Credentials>,
    signal: Signal,
    telemetry: Telemetry<'_>,
) -> ProbeResult {
    match GrpcClient::connect(address, credentials).await {
        Ok(client) => client.export(signal, telemetry).await,
        Err(result) => result,
    }
}

/// A client with one connection.
#[derive(Debug, Clone)]
pub(crate) struct GrpcClient {
    channel: Channel,
}

impl GrpcClient {
    /// Connects to `host:port`: over TLS, or in plain text where `credentials` is `None`.
    ///
    /// # Errors
    /// The connection failed: a result with [`super::Outcome::NoConnection`].
    pub(crate) async fn connect(
        address: &str,
        credentials: Option<&Credentials>,
    ) -> Result<Self, ProbeResult> {
        let scheme = if credentials.is_some() { "https" } else { "http" };
        let no_connection = |error: tonic::transport::Error| ProbeResult::no_connection(&error);
        let invalid_name = |error: hyper::http::uri::InvalidUri| ProbeResult::no_connection(&error);
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(no_connection)?
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(REQUEST_TIMEOUT);
        if let Some(credentials) = credentials {
            let mut tls = ClientTlsConfig::new()
                .domain_name(&credentials.server_name)
                .ca_certificate(Certificate::from_pem(&credentials.server_ca));
            if let Some((certificate, key)) = &credentials.client_certificate {
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            // A gateway routes by `:authority`, which must be its hostname even where we connect to an IP address.
            let origin = format!("https://{}", credentials.server_name).parse().map_err(invalid_name)?;
            endpoint = endpoint.tls_config(tls).map_err(no_connection)?.origin(origin);
        }
        Ok(GrpcClient { channel: endpoint.connect().await.map_err(no_connection)? })
    }

    /// Sends a request without any telemetry: what the gate answers to the client, and nothing for the backend.
    pub(crate) async fn export_nothing(&self) -> ProbeResult {
        let request = ExportTraceServiceRequest::default();
        let rejected = TraceServiceClient::new(self.channel.clone()).export(request).await.err();
        rejected.map_or_else(ProbeResult::accepted, |status| ProbeResult::rejected(&status))
    }

    /// Sends one request.
    pub(crate) async fn export(&self, signal: Signal, telemetry: Telemetry<'_>) -> ProbeResult {
        let channel = self.channel.clone();
        let rejected = match signal {
            Signal::Traces => TraceServiceClient::new(channel).export(telemetry.traces()).await.err(),
            Signal::Metrics => MetricsServiceClient::new(channel).export(telemetry.metrics()).await.err(),
            Signal::Logs => LogsServiceClient::new(channel).export(telemetry.logs()).await.err(),
            Signal::Profiles => ProfilesServiceClient::new(channel).export(telemetry.profiles()).await.err(),
        };
        rejected.map_or_else(ProbeResult::accepted, |status| ProbeResult::rejected(&status))
    }
}
