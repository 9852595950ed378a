//! Client for OTLP/HTTP with protobuf bodies.

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use otlp_gate_wire::otlp::Signal;
use prost::Message as _;
use tokio::time::timeout;

use super::{Credentials, Outcome, ProbeResult, REQUEST_TIMEOUT, Telemetry};

/// Sends one request to `host:port` on a new connection.
pub(crate) async fn export_http(
    address: &str,
    credentials: &Credentials,
    signal: Signal,
    telemetry: Telemetry<'_>,
) -> ProbeResult {
    let body = match signal {
        Signal::Traces => telemetry.traces().encode_to_vec(),
        Signal::Metrics => telemetry.metrics().encode_to_vec(),
        Signal::Logs => telemetry.logs().encode_to_vec(),
        Signal::Profiles => telemetry.profiles().encode_to_vec(),
    };
    match timeout(REQUEST_TIMEOUT, exchange(address, credentials, signal.http_path(), body)).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => ProbeResult::no_connection(&*error),
        Err(_) => {
            let message = format!("no response within {} s", REQUEST_TIMEOUT.as_secs());
            ProbeResult { outcome: Outcome::NoConnection, message }
        }
    }
}

async fn exchange(
    address: &str,
    credentials: &Credentials,
    path: &str,
    body: Vec<u8>,
) -> Result<ProbeResult, Box<dyn std::error::Error + Send + Sync>> {
    let stream = credentials.connect(address, b"http/1.1").await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::post(path)
        .header("host", &credentials.server_name)
        .header("content-type", "application/x-protobuf")
        .body(Full::new(Bytes::from(body)))?;
    let response = sender.send_request(request).await;
    let result = match response {
        Ok(response) if response.status().is_success() => ProbeResult::accepted(),
        Ok(response) => {
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            ProbeResult { outcome: Outcome::HttpRejected(status), message: status_message(&body) }
        }
        Err(error) => {
            connection.abort();
            return Err(error.into());
        }
    };
    connection.abort();
    Ok(result)
}

/// The message of a protobuf `google.rpc.Status`, which is the body of OTLP/HTTP errors (OTLP specification,
/// "OTLP/HTTP Response").
fn status_message(body: &[u8]) -> String {
    #[derive(prost::Message)]
    struct Status {
        #[prost(string, tag = "2")]
        message: String,
    }
    Status::decode(body).map(|status| status.message).unwrap_or_default()
}
