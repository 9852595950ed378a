//! `wasm`: the filter's module, which this command carries.

mod push;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Subcommand;

use crate::error::Error;
use crate::file::{Access, Existing, Staged};
use crate::global::Global;
use crate::{module, output};

/// What can be done with the module.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  otlp-gate wasm export                      write otlp-gate.wasm
  otlp-gate wasm push registry.example/otlp-gate:0.1.0")]
pub enum Wasm {
    /// Write the module to a file
    Export(Export),
    /// Push the module to a registry, as an image that Istio and Envoy Gateway take
    Push(push::Args),
}

/// Arguments of `wasm export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate wasm export                      write otlp-gate.wasm
  otlp-gate wasm export - | sha256sum        its digest, as Envoy's configuration wants it")]
pub struct Export {
    /// The file, which is overwritten; `-` is standard output
    // Not `file`: clap would take what --file says for it.
    #[arg(value_name = "FILE", default_value = "otlp-gate.wasm")]
    place: PathBuf,
}

/// Does it.
pub(super) fn run(command: &Wasm, global: &Global) -> Result<(), Error> {
    match command {
        Wasm::Export(args) => export(args),
        Wasm::Push(args) => push::run(args, global),
    }
}

fn export(Export { place }: &Export) -> Result<(), Error> {
    if place.as_os_str() == "-" {
        let mut out = io::stdout().lock();
        return out.write_all(module::bytes()).and_then(|()| out.flush()).map_err(Error::stdout);
    }
    Staged::new(place, module::bytes(), Access::Public)?.commit(Existing::Replace)?;
    output::say(format_args!("wrote {}, sha256 {}", place.display(), module::sha256()));
    Ok(())
}
