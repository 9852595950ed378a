//! The demo: a gate, clients of its own who behave and misbehave, and a backend that shows what arrived.

mod cast;
mod outcome;
mod sink;
mod story;
mod table;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::envoy::{Addresses, LogLevel};
use crate::error::Error;
use crate::local::{Gate, Options};
use cast::Cast;
use sink::Sink;

pub use outcome::{ClientOutcome, Outcome, Refusal};
pub use table::render;

/// A demo on the stage: Envoy serves, nobody has sent anything yet. Dropped, it is gone without a trace.
#[derive(Debug)]
pub struct Demo {
    // Envoy ends before the folder with its certificates goes.
    gate: Gate,
    sink: Sink,
    cast: Cast,
}

impl Demo {
    /// Makes certificates, and starts the backend and the gate. `step` is told what comes next.
    pub async fn start(envoy: Option<PathBuf>, step: &impl Fn(&str)) -> Result<Self, Error> {
        step("making two CAs and certificates");
        let cast = Cast::new()?;
        step("starting a backend and Envoy");
        let sink = Sink::start().await?;
        let free = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let gate = Gate::start(Options {
            config: cast.config(),
            grpc: free,
            http: free,
            backend: sink.address().into(),
            backend_http: sink.address().into(),
            certs: cast.certificates(),
            envoy,
            concurrency: Some(2),
            log_level: LogLevel::Error,
            talk: false,
        })
        .await?;
        Ok(Demo { gate, sink, cast })
    }

    /// Lets the clients send, and gives what became of it.
    pub async fn play(&mut self, step: &impl Fn(&str)) -> Result<Outcome, Error> {
        let (addresses, admin) = (self.gate.addresses(), self.gate.admin().clone());
        let story = story::play(addresses, &admin, &self.cast, &self.sink, step);
        tokio::select! {
            error = self.gate.serve() => Err(error),
            outcome = story => outcome,
        }
    }

    /// Goes on until Envoy dies, and tells what arrives and what happens to the files.
    pub async fn keep(&mut self) -> Error {
        self.sink.talk();
        self.gate.talk();
        self.gate.serve().await
    }

    /// How to send to it and what to play with.
    pub fn invitation(&self) -> String {
        let Addresses { grpc, admin, .. } = self.gate.addresses();
        let (certificates, config) = (self.cast.certificates(), self.cast.config());
        let (certificates, config, port) = (certificates.display(), config.display(), grpc.port());
        format!(
            "\
The gate goes on. To send to it as the client acme with any OpenTelemetry SDK:

  export OTEL_EXPORTER_OTLP_PROTOCOL=grpc
  export OTEL_EXPORTER_OTLP_ENDPOINT=https://localhost:{port}
  export OTEL_EXPORTER_OTLP_CERTIFICATE={certificates}/server-ca.crt
  export OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE={certificates}/clients/acme.crt
  export OTEL_EXPORTER_OTLP_CLIENT_KEY={certificates}/clients/acme.key

What arrives is told here. What you change in {config} acts at once.
Counters: http://{admin}/stats/prometheus?filter=otlp_gate. Ctrl-C ends it.
"
        )
    }

    /// Ends it.
    pub async fn stop(self) {
        self.gate.stop().await;
    }
}
