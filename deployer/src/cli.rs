//! The command line as a whole. What holds for every command is in [`crate::global`], each command's own arguments beside
//! it in [`crate::commands`].

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::commands::{self, Command};
use crate::global::Global;

/// The most columns of help.
const WIDTH: usize = 100;

/// Puts a trustworthy OTLP door in front of an OpenTelemetry Collector: what a client's certificate says is what its
/// data says, and each client gets its share.
#[derive(Debug, Parser)]
#[command(
    name = "otlp-gate",
    version,
    max_term_width = WIDTH,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "Examples:
  otlp-gate init                      write a commented otlp-gate.yaml
  otlp-gate check                     say what is wrong with it, and where
  otlp-gate -f - check < gate.yaml    the same for a file on standard input")]
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
    fn no_command_takes_what_is_said_to_all_for_its_own() {
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
    fn every_command_shows_examples_that_can_be_typed() {
        fn visit(path: &str, command: &clap::Command, wrong: &mut Vec<String>) {
            let path = format!("{path} {}", command.get_name());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = examples(&help);
            if examples.is_empty() || !help.contains("Examples:\n  ") {
                wrong.push(format!("{path}: no example in {help:?}"));
            }
            // Longer ones are broken in two, and the second half reads like another command.
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
