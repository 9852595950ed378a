//! Sending as a client does, with good credentials or bad ones or none, and what comes back.

mod answer;
mod grpc;
mod handshake;
mod http;
mod message;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use answer::{Answer, Fate};
pub use grpc::{Sender, export};
pub use handshake::{attempt, reaches};
pub use http::post;
pub use message::{Message, Signal};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a client shows, and whom it trusts.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The CAs of the server, in PEM.
    pub ca: String,
    /// The name that the server's certificate must have.
    pub server_name: String,
    /// The client's certificate and key, in PEM; `None` for one who has none.
    pub own: Option<(String, String)>,
}

impl Credentials {
    /// The beginning of a connection. `to` is `host:port`.
    async fn connect(&self, to: &str, protocol: &[u8]) -> io::Result<TlsStream<TcpStream>> {
        let config = self.config(protocol)?;
        let name = ServerName::try_from(self.server_name.clone()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(to).await?).await
    }

    fn config(&self, protocol: &[u8]) -> io::Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.ca.as_bytes()) {
            roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(io::Error::other)?.with_root_certificates(roots);
        let mut config = match &self.own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(io::Error::other)?;
                let chain = chain.map_err(io::Error::other)?;
                builder.with_client_auth_cert(chain, key).map_err(io::Error::other)?
            }
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(config)
    }
}
