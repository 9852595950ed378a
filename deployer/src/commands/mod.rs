//! The commands, one per file: its arguments and what it does.

mod check;
mod completions;
mod init;
mod local;
mod schema;

use clap::Subcommand;

use crate::cli::Cli;
use crate::error::Error;

/// What `otlp-gate` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented otlp-gate.yaml to start from
    Init(init::Args),
    /// Say what is wrong with the configuration, and where; or what it comes to
    Check(check::Args),
    /// Print the JSON Schema of the configuration
    Schema(schema::Args),
    /// Run the gate on this machine, without Kubernetes: a real Envoy with the filter
    Local(local::Args),
    /// Print a script that completes otlp-gate's commands in a shell
    Completions(completions::Args),
}

/// Runs the command.
pub fn run(cli: &Cli) -> Result<(), Error> {
    match &cli.command {
        Command::Init(args) => init::run(args, &cli.global),
        Command::Check(args) => check::run(args, &cli.global),
        Command::Schema(args) => schema::run(args),
        Command::Local(args) => local::run(args, &cli.global),
        Command::Completions(args) => completions::run(args),
    }
}
