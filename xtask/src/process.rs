//! Running programs, with errors that name them.

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a program to its end; what it prints on stdout goes to stderr. An error if it cannot be started or fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    run_unless(command, 0).map(drop)
}

/// The same, where one exit code is no failure: whether it ended with another one than that.
pub(crate) fn run_unless(command: &mut Command, code: i32) -> Result<bool> {
    let status = command.stdin(Stdio::null()).stdout(io::stderr()).status();
    let status = status.with_context(|| format!("could not start `{}`", shown(command)))?;
    let other = status.code() != Some(code);
    if other && !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    Ok(other)
}

/// Runs a program to its end and gives what it printed on stdout, without white space at the end.
pub(crate) fn stdout(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("could not start `{}`", shown(command)))?;
    if !output.status.success() {
        bail!("`{}` failed ({})", shown(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// The place of a program on `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Go, with which what some tests need is built.
pub(crate) fn go() -> Result<Command> {
    if find("go").is_none() {
        bail!(
            "go is not on PATH, and some of the tests' programs are built with it\n\nhint: https://go.dev/doc/install"
        );
    }
    Ok(Command::new("go"))
}

/// The command as a person would type it, cut where it gets long.
fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(command.get_args().map(|word| word.to_string_lossy()));
    let line = words.join(" ");
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or(&line)),
        None => line,
    }
}
