//! OTLP over gRPC.

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::{Answer, Credentials, Message, PATIENCE, Signal};

/// Sends a message to `host:port`, on a connection of its own: over TLS, or without where there are no credentials.
pub async fn export(
    to: &str,
    credentials: Option<&Credentials>,
    signal: Signal,
    message: Message<'_>,
) -> Answer {
    match Sender::connect(to, credentials).await {
        Ok(sender) => sender.send(signal, message).await,
        Err(answer) => answer,
    }
}

/// A client with one connection.
#[derive(Debug, Clone)]
pub struct Sender {
    channel: Channel,
}

impl Sender {
    /// Connects to `host:port` over TLS, or without where there are no credentials.
    ///
    /// # Errors
    /// There is no connection; [`super::Fate::NoConnection`].
    pub async fn connect(to: &str, credentials: Option<&Credentials>) -> Result<Self, Answer> {
        let scheme = if credentials.is_some() { "https" } else { "http" };
        let no_connection = |error: tonic::transport::Error| Answer::no_connection(&error);
        let no_name = |error: hyper::http::uri::InvalidUri| Answer::no_connection(&error);
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{to}"))
            .map_err(no_connection)?
            .timeout(PATIENCE)
            .connect_timeout(PATIENCE);
        if let Some(credentials) = credentials {
            let mut tls = ClientTlsConfig::new()
                .domain_name(&credentials.server_name)
                .ca_certificate(Certificate::from_pem(&credentials.ca));
            if let Some((certificate, key)) = &credentials.own {
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            // A gateway chooses by the name that a client calls, not by the address that it was found at.
            let origin = format!("https://{}", credentials.server_name).parse().map_err(no_name)?;
            endpoint = endpoint.tls_config(tls).map_err(no_connection)?.origin(origin);
        }
        Ok(Sender { channel: endpoint.connect().await.map_err(no_connection)? })
    }

    /// Sends a message.
    pub async fn send(&self, signal: Signal, message: Message<'_>) -> Answer {
        let channel = self.channel.clone();
        let refused = match signal {
            Signal::Traces => TraceServiceClient::new(channel).export(message.traces()).await.err(),
            Signal::Metrics => MetricsServiceClient::new(channel).export(message.metrics()).await.err(),
            Signal::Logs => LogsServiceClient::new(channel).export(message.logs()).await.err(),
        };
        refused.map_or_else(Answer::accepted, |status| Answer::refused(&status))
    }
}
