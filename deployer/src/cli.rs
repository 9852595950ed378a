//! The command line as a whole. The options of every command are in [`crate::global`], the arguments of each command
//! are in [`crate::commands`].

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::commands::{self, Command};
use crate::global::Global;

/// The maximum width of help texts, in columns.
const WIDTH: usize = 100;

/// Authenticate, attribute and rate-limit OTLP per tenant at an Istio or Envoy Gateway
///
/// otlp-gate deploys a gateway in front of an OpenTelemetry Collector. A filter in the gateway's Envoy identifies
/// clients by their certificates, sets the resource attributes of their tenant on everything they send, and enforces
/// their quotas. One file, otlp-gate.yaml, configures all of it.
#[derive(Debug, Parser)]
#[command(
    name = "otlp-gate",
    version,
    max_term_width = WIDTH,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "Examples:
  otlp-gate demo                      show a gate at work on this machine
  otlp-gate init                      write a commented otlp-gate.yaml
  otlp-gate check                     check it
  otlp-gate certs init                create the CAs and the server's certificate
  otlp-gate apply                     deploy the gate to a Kubernetes cluster
  otlp-gate client-config acme-edge   print what a client needs to send through the gate
  otlp-gate -f - check < gate.yaml    read the configuration from standard input")]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    /// Runs the command, prints its error if it fails, and gives the exit code: 0 for success, 1 for a failure, 2 for a
    /// command that was called wrongly.
    pub fn run(&self) -> ExitCode {
        self.global.choose_color();
        match commands::run(&self.command, &self.global, Cli::command) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => error.report(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_has_an_argument_with_the_name_of_a_global_option() {
        fn visit(command: &clap::Command, global: &[&clap::Id]) {
            for argument in command.get_arguments() {
                assert!(!global.contains(&argument.get_id()), "{}: {argument}", command.get_name());
            }
            command.get_subcommands().for_each(|sub| visit(sub, global));
        }
        let cli = Cli::command();
        let global: Vec<_> =
            cli.get_arguments().filter(|it| it.is_global_set()).map(clap::Arg::get_id).collect();
        assert_eq!(global.len(), 5);
        cli.get_subcommands().for_each(|sub| visit(sub, &global));
    }

    #[test]
    fn every_command_has_examples_that_parse() {
        fn visit(path: &str, command: &clap::Command, wrong: &mut Vec<String>) {
            let path = format!("{path} {}", command.get_name());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = examples(&help);
            if examples.is_empty() || !help.contains("Examples:\n  ") {
                wrong.push(format!("{path}: no example in {help:?}"));
            }
            // A longer line is wrapped, and its second half looks like another command.
            let long = help.lines().filter(|line| line.len() > WIDTH);
            wrong.extend(long.map(|line| format!("{path}: too long: {line}")));
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

    /// The commands in the examples of a help text, without explanations, pipes and redirections.
    fn examples(help: &str) -> Vec<String> {
        let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
        let calls = lines.filter_map(|line| Some(&line[line.find("otlp-gate ")?..]));
        let end = |call: &str| {
            ["   ", " && ", " | ", " > ", " < ", ")\""].iter().filter_map(|it| call.find(it)).min()
        };
        calls.map(|call| call[..end(call).unwrap_or(call.len())].to_owned()).collect()
    }
}
