//! Test clients for a gate: they send OTLP/gRPC or OTLP/HTTP, or only try a TLS handshake, with given credentials.

mod grpc;
mod handshake;
mod http;
mod outcome;
mod roots;
mod telemetry;
mod tls_failure;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) use grpc::{GrpcClient, export_grpc};
pub(crate) use handshake::{handshake, rejection_of, server_answers};
pub(crate) use http::export_http;
pub(crate) use outcome::{Outcome, ProbeResult};
pub(crate) use roots::system_roots;
pub(crate) use telemetry::Telemetry;
pub(crate) use tls_failure::TlsFailure;

/// How long a request may take, and how long a connection may take to open.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// TLS settings of a client.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    /// The CA certificates that the server's certificate must chain to, in PEM.
    pub(crate) server_ca: String,
    /// The DNS name that the server's certificate must have, also sent as SNI.
    pub(crate) server_name: String,
    /// The client's certificate chain and key, both in PEM; `None` to connect without a client certificate.
    pub(crate) client_certificate: Option<(String, String)>,
}

impl Credentials {
    /// Connects to `host:port` and completes the client's side of the TLS handshake. `alpn` is the protocol to offer.
    async fn connect(&self, address: &str, alpn: &[u8]) -> io::Result<TlsStream<TcpStream>> {
        let config = self.config(alpn)?;
        let name = ServerName::try_from(self.server_name.clone()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await
    }

    fn config(&self, alpn: &[u8]) -> io::Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.server_ca.as_bytes()) {
            roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(io::Error::other)?.with_root_certificates(roots);
        let mut config = match &self.client_certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(io::Error::other)?;
                let chain = chain.map_err(io::Error::other)?;
                builder.with_client_auth_cert(chain, key).map_err(io::Error::other)?
            }
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(config)
    }
}
