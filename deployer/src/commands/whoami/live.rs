//! `whoami --address`: what a running gate answers to a client, beside what the config says.

use std::path::PathBuf;

use serde::Serialize;
use tonic::Code;

use super::{Answer, readable};
use crate::address::Address;
use crate::args;
use crate::certs::Folder;
use crate::error::Error;
use crate::file;
use crate::global::Global;
use crate::output::{self, Format};
use crate::probe::{self, Credentials, GrpcClient, ProbeResult};
use crate::runtime::until_signal;

/// The protocol of OTLP/gRPC.
const ALPN: &[u8] = b"h2";

/// Options of `whoami --address`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of a running gate")]
#[group(id = "live")]
pub(super) struct Args {
    /// Ask the gate at this address, by OTLP/gRPC, with an export without telemetry
    #[arg(long, value_name = "HOST:PORT", requires_all = ["cert", "key", "ca"])]
    address: Option<Address>,
    /// The client's certificate, in PEM, with intermediate certificates if it has any
    #[arg(long, value_name = "FILE", requires = "address")]
    cert: Option<PathBuf>,
    /// The client's key, in PEM
    #[arg(long, value_name = "FILE", requires = "address")]
    key: Option<PathBuf>,
    /// The CA of the server's certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "address")]
    ca: Option<PathBuf>,
    /// The name in the server's certificate [default: the configuration's hostname, or the address's host where that is
    /// a wildcard]
    #[arg(long, value_name = "NAME", requires = "address")]
    server_name: Option<String>,
}

/// The output of `-o json`.
#[derive(Debug, Serialize)]
struct Outcome {
    live: Live,
    #[serde(flatten)]
    answer: Answer,
}

/// What the gate answered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Live {
    address: String,
    server_name: String,
    accepted: bool,
    /// The gRPC status, `accepted` or `no connection`.
    answer: String,
    /// The gate's message, or what is wrong with the connection.
    message: String,
    hint: Option<String>,
    /// Whether the config says the same; none where the answer does not tell.
    agrees: Option<bool>,
}

/// Asks the gate, and prints its answer.
pub(super) fn run(args: &Args, folder: &Folder, global: &Global) -> Result<(), Error> {
    let Args { address: Some(address), cert: Some(cert), key: Some(key), ca: Some(ca), server_name } = args
    else {
        return Err(Error::usage("`--address` needs `--cert`, `--key` and `--ca`"));
    };
    let chain = file::read_text(cert)?;
    let certificate = readable(chain.as_bytes(), &cert.display().to_string())?;
    let loaded = args::explaining(global, folder)?;
    let hostname = &loaded.config.gateway.hostname;
    let default = if hostname.starts_with('*') { &address.host } else { hostname };
    let credentials = Credentials {
        server_ca: file::read_text(ca)?,
        server_name: server_name.as_ref().unwrap_or(default).clone(),
        client_certificate: Some((chain, file::read_text(key)?)),
    };
    let answer = Answer::new(&loaded, certificate.identity().clone(), Some(&certificate));
    let asked = until_signal(async { Ok(Live::ask(address, &credentials, &answer).await) })?;
    let outcome = Outcome { live: asked.ok_or_else(Error::interrupted)?, answer };
    output::print(global.output, &outcome, || {
        output::align(outcome.live.rows().into_iter().chain(outcome.answer.rows(&loaded.config)))
    })?;
    if outcome.live.agrees == Some(false) && global.output == Format::Table {
        output::warn("the gate answers otherwise than this config says: `otlp-gate diff` shows what differs");
    }
    outcome.answer.end(global)?;
    if outcome.live.accepted { Ok(()) } else { Err(Error::reported()) }
}

impl Live {
    async fn ask(address: &Address, credentials: &Credentials, answer: &Answer) -> Self {
        let to = address.to_string();
        let result = match GrpcClient::connect(&to, Some(credentials)).await {
            Ok(client) => client.export_nothing().await,
            Err(result) => result,
        };
        let failure = match result.outcome {
            probe::Outcome::NoConnection => probe::rejection_of(&to, credentials, ALPN).await,
            _ => None,
        };
        let (message, hint) = match failure {
            Some(failure) => (failure.message, failure.hint.map(str::to_owned)),
            None => (result.message.clone(), None),
        };
        Live {
            address: to,
            server_name: credentials.server_name.clone(),
            accepted: result.outcome == probe::Outcome::Accepted,
            answer: result.outcome.to_string(),
            message,
            hint,
            agrees: agrees(&result, answer.client.is_some()),
        }
    }

    fn rows(&self) -> Vec<[String; 2]> {
        let separator = if self.message.is_empty() { "" } else { ": " };
        let mut lines = vec![format!("{} answers: {}{separator}{}", self.address, self.answer, self.message)];
        if self.answer == probe::Outcome::NoConnection.to_string() {
            lines = vec![format!("no connection to {}: {}", self.address, self.message)];
        }
        lines.extend(self.hint.iter().map(|hint| format!("  hint: {hint}")));
        let labels = std::iter::once("GATE".to_owned()).chain(std::iter::repeat(String::new()));
        labels.zip(lines).map(|(label, line)| [label, line]).collect()
    }
}

/// Whether the gate's answer is the one that the config leads to, which has a client for the certificate or has none.
/// The gate throttles clients only, and asks the backend for clients only.
fn agrees(result: &ProbeResult, has_client: bool) -> Option<bool> {
    match result.outcome {
        probe::Outcome::Accepted => Some(has_client),
        probe::Outcome::GrpcRejected { code: Code::PermissionDenied, .. } => Some(!has_client),
        probe::Outcome::GrpcRejected { code: Code::ResourceExhausted, .. } => Some(has_client),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_a_gate_is_compared_with_the_config() {
        let result = |outcome| ProbeResult { outcome, message: String::new() };
        let unavailable = probe::Outcome::GrpcRejected { code: Code::Unavailable, retryable: false };
        for (outcome, client, no_client) in [
            (probe::Outcome::Accepted, Some(true), Some(false)),
            (probe::Outcome::PERMISSION_DENIED, Some(false), Some(true)),
            (probe::Outcome::THROTTLED, Some(true), Some(false)),
            (unavailable, None, None),
            (probe::Outcome::NoConnection, None, None),
        ] {
            assert_eq!(agrees(&result(outcome), true), client, "{outcome}");
            assert_eq!(agrees(&result(outcome), false), no_client, "{outcome}");
        }
    }
}
