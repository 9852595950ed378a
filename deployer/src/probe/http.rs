//! OTLP over HTTP.

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use prost::Message as _;
use tokio::time::timeout;

use super::{Answer, Credentials, Fate, Message, PATIENCE, Signal};

/// Sends a message in protobuf to `host:port`, on a connection of its own.
pub async fn post(to: &str, credentials: &Credentials, signal: Signal, message: Message<'_>) -> Answer {
    let (path, body) = match signal {
        Signal::Traces => ("/v1/traces", message.traces().encode_to_vec()),
        Signal::Metrics => ("/v1/metrics", message.metrics().encode_to_vec()),
        Signal::Logs => ("/v1/logs", message.logs().encode_to_vec()),
    };
    match timeout(PATIENCE, exchange(to, credentials, path, body)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Answer::no_connection(&*error),
        Err(_) => {
            let words = format!("no answer within {} s", PATIENCE.as_secs());
            Answer { fate: Fate::NoConnection, words }
        }
    }
}

async fn exchange(
    to: &str,
    credentials: &Credentials,
    path: &str,
    body: Vec<u8>,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let stream = credentials.connect(to, b"http/1.1").await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::post(path)
        .header("host", &credentials.server_name)
        .header("content-type", "application/x-protobuf")
        .body(Full::new(Bytes::from(body)))?;
    let answered = sender.send_request(request).await;
    let answer = match answered {
        Ok(response) if response.status().is_success() => Answer::accepted(),
        Ok(response) => {
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            Answer { fate: Fate::HttpRefused(status), words: told(&body) }
        }
        Err(error) => {
            connection.abort();
            return Err(error.into());
        }
    };
    connection.abort();
    Ok(answer)
}

/// The message of a `google.rpc.Status` in protobuf, which OTLP's errors carry ("OTLP/HTTP Response").
fn told(body: &[u8]) -> String {
    #[derive(prost::Message)]
    struct Status {
        #[prost(string, tag = "2")]
        message: String,
    }
    Status::decode(body).map(|status| status.message).unwrap_or_default()
}
