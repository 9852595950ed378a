//! TLS handshakes without a request: how a server rejects a client certificate.
//!
//! The gRPC and HTTP clients receive the TLS alert too, but often report only that the connection was closed.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::{Credentials, Outcome, ProbeResult};

/// How long the server has to reject the client certificate. In TLS 1.3 the alert comes after the client's side of the
/// handshake is complete (RFC 8446, section 4.4.2.4).
const REJECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// Connects to `host:port` and waits for the server to reject the client certificate: [`Outcome::NoConnection`] with
/// the TLS alert, or [`Outcome::Accepted`] if the server sends none in time. `alpn` is the protocol to offer.
pub(crate) async fn handshake(address: &str, credentials: &Credentials, alpn: &[u8]) -> ProbeResult {
    match timeout(REJECTION_TIMEOUT, rejection(address, credentials, alpn)).await {
        Err(_) => ProbeResult { outcome: Outcome::Accepted, message: "handshake completed".to_owned() },
        Ok(error) => ProbeResult { outcome: Outcome::NoConnection, message: error.to_string() },
    }
}

/// Whether a server with a valid certificate for this name listens at `host:port`, even if it then rejects the client:
/// in TLS 1.3 the server's certificate comes before the alert.
pub(crate) async fn server_answers(address: &str, credentials: &Credentials, alpn: &[u8]) -> bool {
    matches!(timeout(REJECTION_TIMEOUT, credentials.connect(address, alpn)).await, Ok(Ok(_)))
}

async fn rejection(address: &str, credentials: &Credentials, alpn: &[u8]) -> io::Error {
    let connect = async {
        let mut stream = credentials.connect(address, alpn).await?;
        stream.read_u8().await
    };
    match connect.await {
        Err(error) => error,
        // The server sent application data, so it accepted the certificate.
        Ok(_) => std::future::pending().await,
    }
}
