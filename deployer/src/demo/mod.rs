//! The demo: a local gate, valid and invalid test clients, and a backend that records what it receives.

mod result;
mod scenario;
mod sink;
mod table;
mod workspace;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;
use std::path::PathBuf;

use crate::envoy::{Addresses, LogLevel};
use crate::error::Error;
use crate::local::{LocalGate, Options};
use sink::Sink;
use workspace::Workspace;

pub(crate) use result::{ClientResult, DemoResult};
pub(crate) use table::render;

/// A demo whose Envoy and backend are running. On drop, processes and files are removed.
#[derive(Debug)]
pub(crate) struct Demo {
    // Fields are dropped in this order: Envoy must end before the folder with its certificates is removed.
    gate: LocalGate,
    sink: Sink,
    workspace: Workspace,
}

impl Demo {
    /// Creates certificates, and starts the backend and the gate. `progress` receives the name of each step.
    pub(crate) async fn start(envoy: Option<PathBuf>, progress: &impl Fn(&str)) -> Result<Self, Error> {
        progress("creating CAs and certificates");
        let workspace = Workspace::create()?;
        progress("starting the backend and Envoy");
        let sink = Sink::start().await?;
        let free_port = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let gate = LocalGate::start(Options {
            config: workspace.config(),
            grpc: free_port,
            http: free_port,
            backend: sink.address().into(),
            backend_http: sink.address().into(),
            engine: None,
            access_log: None,
            certs: workspace.certs_path(),
            envoy,
            replicas: NonZeroU8::MIN,
            native: None,
            concurrency: Some(2),
            log_level: LogLevel::Error,
            verbose: false,
        })
        .await?;
        Ok(Demo { gate, sink, workspace })
    }

    /// Sends the test clients' requests and returns what happened to them.
    pub(crate) async fn run(&mut self, progress: &impl Fn(&str)) -> Result<DemoResult, Error> {
        let (addresses, admin) = (self.gate.addresses(), self.gate.admin().clone());
        let scenario = scenario::run(addresses, &admin, &self.workspace, &self.sink, progress);
        tokio::select! {
            error = self.gate.serve() => Err(error),
            result = scenario => result,
        }
    }

    /// Keeps the gate running until Envoy ends, which is an error. Prints received telemetry and reloads.
    pub(crate) async fn keep(&mut self) -> Error {
        self.sink.print_received();
        self.gate.set_verbose();
        self.gate.serve().await
    }

    /// Text for `--keep`: how to send to the gate, and what can be changed.
    pub(crate) fn instructions(&self) -> String {
        let Addresses { grpc, admin, .. } = self.gate.addresses();
        let (certificates, config) = (self.workspace.certs_path(), self.workspace.config());
        let (certificates, config, port) = (certificates.display(), config.display(), grpc.port());
        format!(
            "\
The gate keeps running. To send to it as client acme from any OpenTelemetry SDK:

  export OTEL_EXPORTER_OTLP_PROTOCOL=grpc
  export OTEL_EXPORTER_OTLP_ENDPOINT=https://localhost:{port}
  export OTEL_EXPORTER_OTLP_CERTIFICATE={certificates}/server-ca.crt
  export OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE={certificates}/clients/acme.crt
  export OTEL_EXPORTER_OTLP_CLIENT_KEY={certificates}/clients/acme.key

Telemetry that reaches the backend is printed here.
Configuration, reloaded on change: {config}
Metrics: http://{admin}/stats/prometheus?filter=otlp_gate
Press Ctrl-C to stop.
"
        )
    }

    /// Stops Envoy.
    pub(crate) async fn stop(self) {
        self.gate.stop().await;
    }
}
