//! `completions`: a completion script for a shell.

use clap_complete::Shell;

use crate::error::Error;
use crate::output;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate completions bash > ~/.local/share/bash-completion/completions/otlp-gate
  otlp-gate completions zsh > \"${fpath[1]}/_otlp-gate\"")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub(super) fn run(args: &Args, cli: &mut clap::Command) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, cli, "otlp-gate", &mut script);
    output::print_text(&String::from_utf8_lossy(&script))
}
