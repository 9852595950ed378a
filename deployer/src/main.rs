//! The `otlp-gate` command.

use std::process::ExitCode;

use clap::Parser;
use otlp_gate::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
