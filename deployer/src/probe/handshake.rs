//! Only the beginning of a connection: what TLS says to a client that it does not let in.
//!
//! Clients of whole protocols are told that too, but often report no more than that the connection ended.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::{Answer, Credentials, Fate};

/// How long the server has to refuse: its verdict on a client's certificate comes after the client's handshake is over
/// (TLS 1.3, RFC 8446 section 4.4.2.4).
const VERDICT: Duration = Duration::from_secs(2);

/// Connects to `host:port`, and waits for the server to refuse. [`Fate::Accepted`] if it does not. `protocol` is what is
/// to be spoken, by its ALPN name.
pub async fn attempt(to: &str, credentials: &Credentials, protocol: &[u8]) -> Answer {
    match timeout(VERDICT, refusal(to, credentials, protocol)).await {
        Err(_) => Answer { fate: Fate::Accepted, words: "let in".to_owned() },
        Ok(error) => Answer { fate: Fate::NoConnection, words: error.to_string() },
    }
}

/// Whether there is a server of that name at `host:port`, whatever it thinks of the client: in TLS 1.3 its certificate is
/// known before its verdict.
pub async fn reaches(to: &str, credentials: &Credentials, protocol: &[u8]) -> bool {
    matches!(timeout(VERDICT, credentials.connect(to, protocol)).await, Ok(Ok(_)))
}

async fn refusal(to: &str, credentials: &Credentials, protocol: &[u8]) -> io::Error {
    let connect = async {
        let mut stream = credentials.connect(to, protocol).await?;
        stream.read_u8().await
    };
    match connect.await {
        Err(error) => error,
        // It says something else than a refusal.
        Ok(_) => std::future::pending().await,
    }
}
