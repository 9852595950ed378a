//! docs/reference/commands.md: every command with its arguments, defaults and examples, as `--help` has them.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory as _};

use super::{assert_current, wrap};
use crate::cli::Cli;

const INTRODUCTION: &str = "\
# Commands

What `otlp-gate COMMAND --help` prints. Results go to standard output, progress, warnings and errors to standard error.

";

/// The text of docs/reference/commands.md. Writing to a string cannot fail.
fn markdown() -> String {
    let mut root = Cli::command();
    root.build();
    let mut page = INTRODUCTION.to_owned();
    page.push_str("| Command | Description |\n|---|---|\n");
    for command in visible(&root) {
        let name = path(command);
        writeln!(page, "| [`{name}`](#{}) | {} |", name.replace(' ', "-"), about(command)).unwrap();
    }
    page.push_str("\n## Global options\n\nEvery command takes these options.\n\n");
    write_arguments(&mut page, root.get_arguments().filter(|it| it.is_global_set()));
    for command in visible(&root) {
        write_command(&mut page, command);
    }
    page
}

/// The commands below one, each followed by those below it.
fn visible(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help");
    below.flat_map(|it| std::iter::once(it).chain(visible(it))).collect()
}

fn write_command(page: &mut String, command: &Command) {
    write!(page, "\n## {}\n\n", path(command)).unwrap();
    let long = command.get_long_about().map_or_else(|| about(command), ToString::to_string);
    for (index, paragraph) in long.split("\n\n").enumerate() {
        let end = if index == 0 && !paragraph.ends_with('.') { "." } else { "" };
        let gap = if index == 0 { "" } else { "\n" };
        write!(page, "{gap}{}", wrap("", &format!("{paragraph}{end}"))).unwrap();
    }
    let usage = command.clone().render_usage().to_string();
    writeln!(page, "\n```text\n{}\n```", usage.trim_start_matches("Usage: ")).unwrap();
    let own: Vec<_> = command.get_arguments().filter(|it| !it.is_global_set() && !it.is_hide_set()).collect();
    let own: Vec<_> =
        own.into_iter().filter(|it| !matches!(it.get_id().as_str(), "help" | "version")).collect();
    if !own.is_empty() {
        page.push('\n');
        write_arguments(page, own.into_iter());
    }
    if let Some(examples) = command.get_after_help() {
        let examples = examples.to_string();
        let examples = examples.trim_start_matches("Examples:\n").trim_end();
        writeln!(page, "\n```sh\n{}\n```", unindent(examples)).unwrap();
    }
}

/// Removes two columns of indentation. A line without them, and the text after three spaces, explains the examples.
fn unindent(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix("  ") {
        Some(example) => match example.find("   ") {
            Some(end) => {
                let (call, words) = (&example[..end], example[end..].trim_start());
                let column = example.len() - words.len();
                format!("{call:<column$}# {words}")
            }
            None => example.to_owned(),
        },
        None if line.is_empty() => String::new(),
        None => format!("# {line}"),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn write_arguments<'a>(page: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    page.push_str("| Argument | Default | Description |\n|---|---|---|\n");
    for argument in arguments {
        writeln!(page, "| {} | {} | {} |", names(argument), default(argument), help(argument)).unwrap();
    }
}

/// Such as `` `-f`, `--file FILE` ``.
fn names(argument: &Arg) -> String {
    let takes = argument.get_action().takes_values() || argument.is_positional();
    let values = argument.get_value_names().unwrap_or_default().iter().map(ToString::to_string);
    let values = if takes { values.collect::<Vec<_>>().join(" ") } else { String::new() };
    let long = argument.get_long().map(|it| format!("--{it}"));
    let many = if argument.get_num_args().is_some_and(|it| it.max_values() > 1) { "..." } else { "" };
    let last = match long {
        Some(long) if values.is_empty() => long,
        Some(long) => format!("{long} {values}{many}"),
        None => format!("{values}{many}"),
    };
    let last = last.replace('|', "\\|");
    match argument.get_short() {
        Some(short) => format!("`-{short}`, `{last}`"),
        None => format!("`{last}`"),
    }
}

/// The default value, else the text after `[default: ` in the help.
fn default(argument: &Arg) -> String {
    if !argument.get_action().takes_values() || argument.is_hide_default_value_set() {
        return String::new();
    }
    let values = argument.get_default_values().iter().map(|it| it.to_string_lossy().into_owned());
    let values = values.collect::<Vec<_>>().join(" ");
    if values.is_empty() { split_help(argument).1 } else { format!("`{values}`") }
}

fn help(argument: &Arg) -> String {
    let (mut text, _) = split_help(argument);
    if !text.ends_with('.') {
        text.push('.');
    }
    let values = argument.get_possible_values();
    let values: Vec<_> =
        values.iter().filter(|it| !it.is_hide_set()).map(|it| format!("`{}`", it.get_name())).collect();
    if argument.get_action().takes_values() && !values.is_empty() && !argument.is_hide_possible_values_set() {
        write!(text, " One of {}.", values.join(", ")).unwrap();
    }
    if let Some(variable) = argument.get_env() {
        write!(text, " Environment: `{}`.", variable.to_string_lossy()).unwrap();
    }
    text
}

/// The help of an argument, and the default at the end of it.
fn split_help(argument: &Arg) -> (String, String) {
    let text = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let text = text.replace("\n\n", " ").replace('\n', " ").replace('|', "\\|");
    match text.split_once(" [default: ") {
        Some((text, default)) => (text.to_owned(), default.trim_end_matches(['.', ']']).to_owned()),
        None => (text, String::new()),
    }
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default().replace('|', "\\|")
}

/// Such as `otlp-gate certs client`.
fn path(command: &Command) -> String {
    command.get_bin_name().unwrap_or(command.get_name()).to_owned()
}

#[test]
fn the_page_is_current() {
    assert_current("commands.md", &markdown());
}
