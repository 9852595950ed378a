//! Sending spans over gRPC, as a client with these or those credentials, and what comes back.

use std::error::Error as _;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};

use super::cast::Credentials;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What became of a request, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The backend took it.
    Accepted,
    /// A gRPC status other than OK, and whether it says when to try again.
    Refused { code: Code, retry: bool },
    /// It never got as far as a request.
    NoConnection,
}

/// What became of a request, and the words that came with it.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) fate: Fate,
    pub(super) words: String,
}

/// A client with one connection.
#[derive(Debug)]
pub(super) struct Sender {
    client: TraceServiceClient<Channel>,
}

impl Sender {
    /// Connects over TLS, or without where there are no credentials.
    pub(super) async fn connect(to: SocketAddr, credentials: Option<Credentials>) -> Result<Self, Answer> {
        let scheme = if credentials.is_some() { "https" } else { "http" };
        let no_connection = |error: tonic::transport::Error| Answer::no_connection(&error);
        let mut endpoint =
            Endpoint::from_shared(format!("{scheme}://{to}")).map_err(no_connection)?.timeout(PATIENCE);
        if let Some(credentials) = credentials {
            let mut tls = ClientTlsConfig::new()
                .domain_name("localhost")
                .ca_certificate(Certificate::from_pem(credentials.ca));
            if let Some((certificate, key)) = credentials.own {
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            endpoint = endpoint.tls_config(tls).map_err(no_connection)?;
        }
        let channel = endpoint.connect().await.map_err(no_connection)?;
        Ok(Sender { client: TraceServiceClient::new(channel) })
    }

    /// Sends so many spans of one Resource.
    pub(super) async fn send(&mut self, attributes: &[(&str, &str)], spans: usize) -> Answer {
        let scope_spans = ScopeSpans { spans: (0..spans).map(span).collect(), ..ScopeSpans::default() };
        let resource = Resource {
            attributes: attributes.iter().map(|(key, value)| attribute(key, value)).collect(),
            ..Resource::default()
        };
        let entry = ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![scope_spans],
            ..ResourceSpans::default()
        };
        match self.client.export(ExportTraceServiceRequest { resource_spans: vec![entry] }).await {
            Ok(_) => Answer { fate: Fate::Accepted, words: String::new() },
            Err(status) => Answer::refused(&status),
        }
    }
}

impl Answer {
    fn refused(status: &Status) -> Self {
        // A status that came over the wire has no source; one that stands for a broken connection has.
        if let Some(source) = status.source() {
            return Answer::no_connection(source);
        }
        let retry = status.metadata().get_bin("google.rpc.retryinfo-bin").is_some();
        let fate = Fate::Refused { code: status.code(), retry };
        Answer { fate, words: status.message().to_owned() }
    }

    fn no_connection(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut innermost = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        Answer { fate: Fate::NoConnection, words: innermost.to_string() }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self {
            Fate::Accepted => return f.write_str("accepted"),
            Fate::NoConnection => return f.write_str("no connection"),
            Fate::Refused { code, .. } => code,
        };
        // Written as in the gRPC specification: PERMISSION_DENIED (7).
        for (position, letter) in format!("{code:?}").chars().enumerate() {
            if position > 0 && letter.is_uppercase() {
                f.write_str("_")?;
            }
            write!(f, "{}", letter.to_ascii_uppercase())?;
        }
        write!(f, " ({})", *code as i32)?;
        if matches!(self, Fate::Refused { retry: true, .. }) {
            f.write_str(", try again")?;
        }
        Ok(())
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn span(number: usize) -> Span {
    let mut span_id = number.to_be_bytes().to_vec();
    span_id.resize(8, 1);
    Span { trace_id: vec![7; 16], span_id, name: format!("span {number}"), ..Span::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_written_as_the_specification_does() {
        let over = Fate::Refused { code: Code::ResourceExhausted, retry: true };
        assert_eq!(over.to_string(), "RESOURCE_EXHAUSTED (8), try again");
        let denied = Fate::Refused { code: Code::PermissionDenied, retry: false };
        assert_eq!(denied.to_string(), "PERMISSION_DENIED (7)");
    }
}
