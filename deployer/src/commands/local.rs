//! `otlp-gate local`: the gate on this machine, without Kubernetes.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::address::Address;
use crate::envoy::LogLevel;
use crate::error::Error;
use crate::global::Global;
use crate::local::{LocalGate, Options};
use crate::runtime::until_signal;

/// Arguments of `local`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate local --backend 127.0.0.1:14317
  otlp-gate local --backend collector:4317 --backend-http collector:4318
  otlp-gate local --backend 127.0.0.1:14317 --grpc 127.0.0.1:0 --http 127.0.0.1:0     free ports")]
pub struct Args {
    /// The receiver behind the gate, which speaks OTLP/gRPC in plain text
    #[arg(long, value_name = "HOST:PORT")]
    backend: Address,
    /// The receiver of OTLP/HTTP [default: that of --backend]
    #[arg(long, value_name = "HOST:PORT")]
    backend_http: Option<Address>,
    /// Where to listen for OTLP/gRPC; port 0 takes a free one [default: 0.0.0.0 and the config file's port]
    #[arg(long, value_name = "IP:PORT", value_parser = listener)]
    grpc: Option<SocketAddr>,
    /// Where to listen for OTLP/HTTP; port 0 takes a free one [default: 0.0.0.0 and the config file's port]
    #[arg(long, value_name = "IP:PORT", value_parser = listener)]
    http: Option<SocketAddr>,
    /// The folder that holds server.crt, server.key, client-ca.crt and perhaps client.crl
    #[arg(long, value_name = "DIR", default_value = "certs", env = "OTLP_GATE_CERTS")]
    certs: PathBuf,
    /// Envoy's binary [default: from PATH, else from the cache]
    #[arg(long, value_name = "FILE")]
    envoy: Option<PathBuf>,
    /// Envoy's worker threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// How much Envoy logs
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "warn")]
    log_level: LogLevel,
}

fn listener(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected IP:PORT of this machine, as in 127.0.0.1:4317".to_owned())
}

/// Serves until it is told to end (SIGINT, SIGTERM) or Envoy dies, which is an error.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    if global.file_is_stdin() {
        return Err(Error::usage(
            "`local` follows the configuration while it changes, so it cannot be standard input",
        ));
    }
    let options = Options {
        config: global.file.clone(),
        grpc: args.grpc,
        http: args.http,
        backend: args.backend.clone(),
        backend_http: args.backend_http.as_ref().unwrap_or(&args.backend).clone(),
        certs: args.certs.clone(),
        envoy: args.envoy.clone(),
        concurrency: args.concurrency,
        log_level: args.log_level,
        verbose: true,
    };
    // To be told to end is how it ends well.
    until_signal(serve(options)).map(|_| ())
}

/// Ends only when Envoy dies.
async fn serve(options: Options) -> Result<(), Error> {
    let mut gate = LocalGate::start(options).await?;
    let addresses = gate.addresses();
    let (grpc, http, admin) = (addresses.grpc, addresses.http, addresses.admin);
    // An error here means that nobody reads it.
    let _ = writeln!(io::stdout(), "ready grpc={grpc} http={http} admin={admin}");
    Err(gate.serve().await)
}
