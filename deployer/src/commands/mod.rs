//! The commands, one per file: its arguments and what it does.

mod completions;

use clap::Subcommand;

use crate::cli::Cli;
use crate::error::Error;

/// What `otlp-gate` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a script that completes otlp-gate's commands in a shell
    Completions(completions::Args),
}

/// Runs the command.
pub fn run(cli: &Cli) -> Result<(), Error> {
    match &cli.command {
        Command::Completions(args) => completions::run(args),
    }
}
