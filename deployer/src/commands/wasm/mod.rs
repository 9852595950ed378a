//! `wasm`: the filter's module, which the command contains.

mod push;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Subcommand;

use crate::error::Error;
use crate::file::{Access, Existing, Staged};
use crate::global::Global;
use crate::{module, output};

/// The commands of `wasm`.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  otlp-gate wasm export                      write otlp-gate.wasm
  otlp-gate wasm push registry.example/otlp-gate:0.1.0")]
pub(crate) enum Wasm {
    /// Write the module to a file
    Export(Export),
    /// Push the module to a registry, as an image for Istio and Envoy Gateway
    Push(push::Args),
}

/// Arguments of `wasm export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate wasm export                      write otlp-gate.wasm
  otlp-gate wasm export - | sha256sum        its digest, as Envoy's configuration has it")]
pub(crate) struct Export {
    /// The file to write, which is overwritten; `-` is standard output
    // Not named `file`, which is the identifier of the global option --file.
    #[arg(value_name = "FILE", default_value = "otlp-gate.wasm")]
    output_file: PathBuf,
}

pub(super) fn run(command: &Wasm, global: &Global) -> Result<(), Error> {
    match command {
        Wasm::Export(args) => export(args),
        Wasm::Push(args) => push::run(args, global),
    }
}

fn export(Export { output_file }: &Export) -> Result<(), Error> {
    if output_file.as_os_str() == "-" {
        let mut out = io::stdout().lock();
        return out.write_all(module::bytes()).and_then(|()| out.flush()).map_err(Error::stdout);
    }
    Staged::new(output_file, module::bytes(), Access::Public)?.commit(Existing::Replace)?;
    output::say(format_args!("wrote {}, sha256 {}", output_file.display(), module::sha256()));
    Ok(())
}
