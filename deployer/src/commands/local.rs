//! `local`: runs the gate on this machine, without Kubernetes.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::path::PathBuf;

use crate::address::Address;
use crate::envoy::LogLevel;
use crate::error::Error;
use crate::global::Global;
use crate::local::{LocalGate, Options};
use crate::module::NativeModule;
use crate::runtime::until_signal;

/// Arguments of `local`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate local --backend 127.0.0.1:14317
  otlp-gate local --backend collector:4317 --backend-http collector:4318
  otlp-gate local --backend 127.0.0.1:14317 --grpc 127.0.0.1:0 --http 127.0.0.1:0     on free ports
  otlp-gate local --backend 127.0.0.1:14317 --access-log -                   log each request
  otlp-gate local --backend 127.0.0.1:14317 --engine 127.0.0.1:6379          quotas of several gates
  otlp-gate local --backend 127.0.0.1:14317 --engine 127.0.0.1:6379 --replicas 3
  otlp-gate local --backend 127.0.0.1:14317 --native --module target/libotlp_gate.so

Changes to the configuration and the certificates take effect while it runs. When it is ready, it
prints one line to standard output: ready grpc=IP:PORT http=IP:PORT admin=IP:PORT
With --replicas, it has the admin addresses of all replicas, separated by commas.")]
pub(crate) struct Args {
    /// Backend for OTLP/gRPC, without TLS
    #[arg(long, value_name = "HOST:PORT")]
    backend: Address,
    /// Backend for OTLP/HTTP, without TLS [default: the same as --backend]
    #[arg(long, value_name = "HOST:PORT")]
    backend_http: Option<Address>,
    /// Valkey or Redis that holds the quotas over all gates that use it [default: `quotas.engine` of the configuration]
    #[arg(long, value_name = "HOST:PORT")]
    engine: Option<Address>,
    /// Listener address for OTLP/gRPC, such as `[::]:4317` for IPv6 and IPv4; port 0 chooses a free port [default: 0.0.0.0 and the configuration's port]
    #[arg(long, value_name = "IP:PORT", value_parser = listener)]
    grpc: Option<SocketAddr>,
    /// Listener address for OTLP/HTTP; port 0 chooses a free port [default: 0.0.0.0 and the configuration's port]
    #[arg(long, value_name = "IP:PORT", value_parser = listener)]
    http: Option<SocketAddr>,
    /// Folder with server.crt, server.key, client-ca.crt and optionally client.crl
    #[arg(long, value_name = "DIR", default_value = "certs", env = "OTLP_GATE_CERTS")]
    certs: PathBuf,
    /// Envoy's binary [default: on PATH, else in the cache of `cargo xtask setup`]
    #[arg(long, value_name = "FILE")]
    envoy: Option<PathBuf>,
    /// Number of Envoys on the same addresses, as the replicas of a gateway: the kernel spreads connections over them
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=16))]
    replicas: u8,
    /// Write an access log in JSON to this file; `-` for standard output. It has all requests, or with `gateway.accessLog: rejected` in the configuration those that were not accepted
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// Run the filter as a dynamic module of Envoy instead of in a Wasm VM: it costs less CPU, and a crash is Envoy's
    #[arg(long)]
    native: bool,
    /// The native module [default: libotlp_gate.so beside the command]
    #[arg(long, value_name = "FILE", requires = "native")]
    module: Option<PathBuf>,
    /// Number of each Envoy's worker threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// Envoy's log level
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "warn")]
    log_level: LogLevel,
}

fn listener(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected IP:PORT, with an address of this machine, as in 127.0.0.1:4317".to_owned())
}

/// Serves until SIGINT, SIGTERM or SIGHUP. If Envoy ends by itself, that is an error.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    if global.file_is_stdin() {
        return Err(Error::usage(
            "`local` watches the configuration for changes, so it cannot read it from standard input",
        ));
    }
    let options = Options {
        config: global.file.clone(),
        grpc: args.grpc,
        http: args.http,
        backend: args.backend.clone(),
        backend_http: args.backend_http.as_ref().unwrap_or(&args.backend).clone(),
        engine: args.engine.clone(),
        access_log: args.access_log.clone(),
        certs: args.certs.clone(),
        envoy: args.envoy.clone(),
        replicas: NonZeroU8::new(args.replicas).unwrap_or(NonZeroU8::MIN),
        native: args.native.then(|| NativeModule::read(args.module.as_deref())).transpose()?,
        concurrency: args.concurrency,
        log_level: args.log_level,
        verbose: true,
    };
    // Ended by a signal: success.
    until_signal(serve(options)).map(|_| ())
}

/// Returns only when Envoy ends by itself.
async fn serve(options: Options) -> Result<(), Error> {
    let mut gate = LocalGate::start(options).await?;
    let addresses = gate.addresses();
    let (grpc, http) = (addresses.grpc, addresses.http);
    let admin = gate.admins().map(|admin| admin.to_string()).collect::<Vec<_>>().join(",");
    // A closed standard output is not an error.
    let _ = writeln!(io::stdout(), "ready grpc={grpc} http={http} admin={admin}");
    Err(gate.serve().await)
}
