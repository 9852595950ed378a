//! Running programs, with errors that contain the command line.

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a program to its end. Its standard output goes to standard error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("{}", failure(command, status));
    }
    Ok(())
}

/// Runs a program to its end like [`run`], and returns how it ended.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    let status = command.stdin(Stdio::null()).stdout(io::stderr()).status();
    status.with_context(|| format!("could not start `{}`", shown(command)))
}

/// The message that a program failed.
pub(crate) fn failure(command: &Command, status: ExitStatus) -> String {
    format!("`{}` failed ({status})", shown(command))
}

/// Runs a program to its end, with its data on our standard output.
pub(crate) fn run_with_stdout(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("could not start `{}`", shown(command)))?;
    if !status.success() {
        bail!("{}", failure(command, status));
    }
    Ok(())
}

/// Runs a program to its end and returns its standard output, without white space at the end.
pub(crate) fn stdout(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("could not start `{}`", shown(command)))?;
    if !output.status.success() {
        bail!("{}", failure(command, output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// The path of a program on `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Go, which builds programs for some of the tests.
pub(crate) fn go() -> Result<Command> {
    if find("go").is_none() {
        bail!(
            "go is not on PATH; it builds programs for some of the tests\n\nhint: see https://go.dev/doc/install"
        );
    }
    Ok(Command::new("go"))
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> Result<bool> {
    Ok(stdout(Command::new("id").arg("-u"))? == "0")
}

/// The command line, cut after 200 characters.
fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(command.get_args().map(|word| word.to_string_lossy()));
    let line = words.join(" ");
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or(&line)),
        None => line,
    }
}
