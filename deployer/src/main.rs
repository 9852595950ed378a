//! The `otlp-gate` command.

use std::process::ExitCode;

use clap::Parser;
use otlp_gate::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.global.choose_color();
    match otlp_gate::commands::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
