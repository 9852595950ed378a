//! Only the beginning of a connection: what TLS says to a client that it does not let in.
//!
//! Clients of whole protocols are told that too, but often report no more than that the connection ended.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::cast::Credentials;
use super::telemetry::{Answer, Fate};

/// How long the server has to refuse: its verdict on a client's certificate comes after the client's handshake is over
/// (TLS 1.3, RFC 8446 section 4.4.2.4).
const VERDICT: Duration = Duration::from_secs(2);

/// Connects, and waits for the server to refuse. [`Fate::Accepted`] if it does not.
pub(super) async fn attempt(to: SocketAddr, credentials: &Credentials) -> Answer {
    match timeout(VERDICT, refusal(to, credentials)).await {
        Err(_) => Answer { fate: Fate::Accepted, words: "let in".to_owned() },
        Ok(error) => Answer { fate: Fate::NoConnection, words: error.to_string() },
    }
}

async fn refusal(to: SocketAddr, credentials: &Credentials) -> io::Error {
    let connect = async {
        let config = config(credentials)?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let mut stream =
            TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(to).await?).await?;
        stream.read_u8().await
    };
    match connect.await {
        Err(error) => error,
        // It says something else than a refusal.
        Ok(_) => std::future::pending().await,
    }
}

fn config(credentials: &Credentials) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(credentials.ca.as_bytes()) {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(io::Error::other)?.with_root_certificates(roots);
    let mut config = match &credentials.own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(io::Error::other)?;
            let chain = chain.map_err(io::Error::other)?;
            builder.with_client_auth_cert(chain, key).map_err(io::Error::other)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
