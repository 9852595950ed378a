//! TLS handshakes without a request: how a server rejects a client certificate.
//!
//! The gRPC and HTTP clients receive the TLS alert too, but often report only that the connection was closed.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::{Credentials, Outcome, ProbeResult, REQUEST_TIMEOUT, TlsFailure};

/// How long the client waits for an alert before it sends bytes. In TLS 1.3 the alert comes after the client's side of
/// the handshake is complete (RFC 8446, section 4.4.2.4). Bytes that the server has not read when it closes the
/// connection can make the client lose the alert.
const ALERT_TIMEOUT: Duration = Duration::from_secs(2);

/// The connection preface and an empty SETTINGS frame (RFC 9113, section 3.4), which a server answers.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A request that a server answers by any status.
const HTTP1: &[u8] = b"OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Connects to `host:port` and waits for the server to reject the client certificate: [`Outcome::NoConnection`] with
/// the TLS alert, or [`Outcome::Accepted`] if the server sends anything else. `alpn` is the protocol to offer.
pub(crate) async fn handshake(address: &str, credentials: &Credentials, alpn: &[u8]) -> ProbeResult {
    wait_for_answer(address, credentials, alpn, ALERT_TIMEOUT).await
}

/// Why a server and a client do not get to a request, in plain words; `None` if the server sends anything but an alert.
/// `alpn` is the protocol to offer.
pub(crate) async fn rejection_of(
    address: &str,
    credentials: &Credentials,
    alpn: &[u8],
) -> Option<TlsFailure> {
    let error = answer(address, credentials, alpn, ALERT_TIMEOUT).await.err()?;
    Some(TlsFailure::of(&error))
}

/// Whether a server with a valid certificate for this name listens at `host:port`, even if it then rejects the client:
/// in TLS 1.3 the server's certificate comes before the alert.
pub(crate) async fn server_answers(address: &str, credentials: &Credentials, alpn: &[u8]) -> bool {
    matches!(timeout(REQUEST_TIMEOUT, credentials.connect(address, alpn)).await, Ok(Ok(_)))
}

async fn wait_for_answer(
    address: &str,
    credentials: &Credentials,
    alpn: &[u8],
    alert: Duration,
) -> ProbeResult {
    match answer(address, credentials, alpn, alert).await {
        Err(error) => ProbeResult::no_connection(&error),
        Ok(()) => ProbeResult { outcome: Outcome::Accepted, message: "handshake completed".to_owned() },
    }
}

/// Connects, and waits until the server sends anything. A server that sends nothing has not rejected the client.
async fn answer(address: &str, credentials: &Credentials, alpn: &[u8], alert: Duration) -> io::Result<()> {
    let mut stream = timeout(REQUEST_TIMEOUT, credentials.connect(address, alpn)).await??;
    let answer = async {
        if let Ok(answer) = timeout(alert, stream.read_u8()).await {
            return answer;
        }
        stream.write_all(if alpn == b"h2" { HTTP2 } else { HTTP1 }).await?;
        stream.flush().await?;
        stream.read_u8().await
    };
    timeout(REQUEST_TIMEOUT, answer).await.unwrap_or(Ok(0)).map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::thread;

    use rustls::server::WebPkiClientVerifier;
    use rustls::{RootCertStore, ServerConfig, ServerConnection};

    use super::*;

    /// A server that requests a client certificate or not, and what it does with a connection. Returns its address and
    /// a client without a certificate.
    fn server(
        client_certificate: bool,
        serve: impl FnOnce(TcpStream, ServerConnection) + Send + 'static,
    ) -> (String, Credentials) {
        let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(issued.cert.der().clone()).unwrap();
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = if client_certificate {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.unwrap().with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.unwrap().with_no_client_auth()
        };
        let key = issued.signing_key.serialize_der().try_into().unwrap();
        let mut config = builder.with_single_cert(vec![issued.cert.der().clone()], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            serve(listener.accept().unwrap().0, ServerConnection::new(config.into()).unwrap());
        });
        let server_name = "localhost".to_owned();
        (address, Credentials { server_ca: issued.cert.pem(), server_name, client_certificate: None })
    }

    #[tokio::test]
    async fn a_late_rejection_is_a_rejection() {
        let (address, credentials) = server(true, |mut tcp, mut tls| {
            // The client's first message, and the server's answer to it.
            tls.read_tls(&mut tcp).unwrap();
            tls.process_new_packets().unwrap();
            tls.write_tls(&mut tcp).unwrap();
            thread::sleep(Duration::from_millis(300));
            while tls.process_new_packets().is_ok() {
                tls.read_tls(&mut tcp).unwrap();
            }
            tls.write_tls(&mut tcp).unwrap();
            // Keeps the connection open until the client has read the alert.
            let _ = tcp.read(&mut [0]);
        });
        let result = wait_for_answer(&address, &credentials, b"h2", Duration::from_millis(10)).await;
        assert_eq!(result.outcome, Outcome::NoConnection, "{result}");
        assert!(result.message.contains("CertificateRequired"), "{result}");
    }

    #[tokio::test]
    async fn a_server_that_waits_for_the_client_and_answers_it_has_accepted_it() {
        let (address, credentials) = server(false, |mut tcp, mut tls| {
            let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
            let mut first = [0; HTTP2.len()];
            stream.read_exact(&mut first).unwrap();
            assert_eq!(first, HTTP2);
            stream.write_all(&[0]).unwrap();
        });
        let begun = tokio::time::Instant::now();
        let result = wait_for_answer(&address, &credentials, b"h2", Duration::from_millis(10)).await;
        assert_eq!(result.outcome, Outcome::Accepted, "{result}");
        assert!(begun.elapsed() < REQUEST_TIMEOUT, "the client did not wait for its timeout");
    }
}
