//! The command line: what holds for every command. Each command's own arguments are beside it in [`crate::commands`].

use std::path::PathBuf;

use clap::{Args, Parser};

use crate::commands::Command;
use crate::output::Format;

/// Puts a trustworthy OTLP door in front of an OpenTelemetry Collector: what a client's certificate says is what its
/// data says, and each client gets its share.
#[derive(Debug, Parser)]
#[command(
    name = "otlp-gate",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "Examples:
  otlp-gate init                      write a commented otlp-gate.yaml
  otlp-gate check                     say what is wrong with it, and where
  otlp-gate -f - check < gate.yaml    the same for a file on standard input")]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The configuration; `-` reads standard input
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        default_value = "otlp-gate.yaml",
        env = "OTLP_GATE_FILE"
    )]
    pub file: PathBuf,
    /// The gate's namespace, instead of the configuration's
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The kubeconfig context to use
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// How results are written to standard output
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
    /// No colour; the same as NO_COLOR=1
    #[arg(long, global = true)]
    pub no_color: bool,
}

impl Global {
    /// Makes `--no-color` hold for everything that is printed from here on. `NO_COLOR` and streams that are no terminal
    /// are recognised without it.
    pub fn choose_color(&self) {
        if self.no_color {
            anstream::ColorChoice::Never.write_global();
        }
    }

    /// Whether the configuration comes from standard input.
    pub fn file_is_stdin(&self) -> bool {
        self.file.as_os_str() == "-"
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples_that_can_be_typed() {
        fn visit(path: &str, command: &clap::Command, wrong: &mut Vec<String>) {
            let path = format!("{path} {}", command.get_name());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = examples(&help);
            if examples.is_empty() || !help.contains("Examples:\n  ") {
                wrong.push(format!("{path}: no example in {help:?}"));
            }
            for example in examples {
                let words = example.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
                if let Err(error) = Cli::try_parse_from(words) {
                    wrong.push(format!("{path}: `{example}`: {error}"));
                }
            }
            command.get_subcommands().for_each(|sub| visit(&path, sub, wrong));
        }
        let mut wrong = Vec::new();
        visit("", &Cli::command(), &mut wrong);
        assert_eq!(wrong, [""; 0]);
    }

    /// The calls of otlp-gate in a help's examples: up to the words that explain them, or to what the shell makes of them.
    fn examples(help: &str) -> Vec<String> {
        let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
        let calls = lines.filter_map(|line| Some(&line[line.find("otlp-gate ")?..]));
        let end = |call: &str| {
            ["   ", " && ", " | ", " > ", " < ", ")\""].iter().filter_map(|it| call.find(it)).min()
        };
        calls.map(|call| call[..end(call).unwrap_or(call.len())].to_owned()).collect()
    }
}
