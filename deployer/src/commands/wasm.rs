//! `wasm`: the filter's module, which this command carries.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Subcommand;

use crate::error::Error;
use crate::file::{Access, Existing, Staged};
use crate::{module, output};

/// What can be done with the module.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  otlp-gate wasm export                      write otlp-gate.wasm")]
pub enum Wasm {
    /// Write the module to a file
    Export(Export),
}

/// Arguments of `wasm export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate wasm export                      write otlp-gate.wasm
  otlp-gate wasm export - | sha256sum        its digest, as Envoy's configuration wants it")]
pub struct Export {
    /// The file, which is overwritten; `-` is standard output
    #[arg(value_name = "FILE", default_value = "otlp-gate.wasm")]
    file: PathBuf,
}

/// Does it.
pub(super) fn run(command: &Wasm) -> Result<(), Error> {
    let Wasm::Export(Export { file }) = command;
    if file.as_os_str() == "-" {
        let mut out = io::stdout().lock();
        return out.write_all(module::bytes()).and_then(|()| out.flush()).map_err(Error::stdout);
    }
    Staged::new(file, module::bytes(), Access::Public)?.commit(Existing::Replace)?;
    output::say(format_args!("wrote {}, sha256 {}", file.display(), module::sha256()));
    Ok(())
}
