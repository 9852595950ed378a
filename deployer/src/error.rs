//! The error of every command: what failed, and a hint what to do about it.

use std::fmt;
use std::io;
use std::io::Write;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

const ERROR: Style = AnsiColor::Red.on_default().bold();
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// Why a command fails. The text is lower case and has no full stop.
#[derive(Debug)]
pub(crate) struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Failed,
    Usage,
    /// The message is printed as it is.
    Formatted,
    /// The command has printed everything.
    Reported,
    /// The reader of standard output has gone.
    StdoutClosed,
}

impl Error {
    /// The command failed: exit code 1. `message` says what happened, to what, and where.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Error { kind: Kind::Failed, message: message.to_string(), hint: None }
    }

    /// The arguments are wrong: exit code 2.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Error { kind: Kind::Usage, ..Error::failed(message) }
    }

    /// Several failures, each with its own hint: exit code 1.
    pub(crate) fn all(errors: Vec<Self>) -> Self {
        let mut texts: Vec<String> = errors
            .iter()
            .map(|error| {
                let mut text = Vec::new();
                // Writing to a vector cannot fail.
                let _ = error.write(&mut text);
                String::from_utf8_lossy(&text).trim_end().to_owned()
            })
            .collect();
        // A failure that all of them have in common is printed once.
        texts.dedup();
        Error::formatted(texts.join("\n"))
    }

    /// A failure whose text is formatted already, and may have colour: exit code 1.
    pub(crate) fn formatted(text: String) -> Self {
        Error { kind: Kind::Formatted, ..Error::failed(text) }
    }

    /// A failure that the command has already printed: exit code 1.
    pub(crate) fn reported() -> Self {
        Error { kind: Kind::Reported, ..Error::failed("") }
    }

    /// The command was interrupted by a signal: exit code 1.
    pub(crate) fn interrupted() -> Self {
        Error::failed("interrupted")
    }

    /// Standard output cannot be written. If its reader has gone, as with `head`, the exit code is 0.
    pub(crate) fn stdout(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Error { kind: Kind::StdoutClosed, ..Error::failed("") }
        } else {
            Error::failed(format_args!("cannot write to standard output: {error}"))
        }
    }

    /// Adds a hint: what to do about the failure.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// The hint: what to do about the failure.
    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Adds a line to the message.
    #[must_use]
    pub(crate) fn and(mut self, more: impl fmt::Display) -> Self {
        self.message = format!("{}\n{more}", self.message);
        self
    }

    /// Prints the error to standard error as a warning, for a finding that does not stop the command.
    pub(crate) fn warn(&self) {
        // Standard error may be closed.
        let _ = self.write_warning(&mut anstream::stderr().lock());
    }

    /// Prints the error to standard error, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if matches!(self.kind, Kind::Failed | Kind::Usage | Kind::Formatted) {
            // Standard error may be closed.
            let _ = self.write(&mut anstream::stderr().lock());
        }
        match self.kind {
            Kind::Failed | Kind::Formatted | Kind::Reported => ExitCode::from(1),
            Kind::Usage => ExitCode::from(2),
            Kind::StdoutClosed => ExitCode::SUCCESS,
        }
    }

    fn write_warning(&self, to: &mut impl Write) -> io::Result<()> {
        writeln!(to, "{WARNING}warning{WARNING:#}: {}", self.message)?;
        self.write_hint(to)?;
        writeln!(to)
    }

    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        if self.kind == Kind::Formatted {
            return writeln!(to, "{}", self.message);
        }
        writeln!(to, "{ERROR}error{ERROR:#}: {}", self.message)?;
        self.write_hint(to)
    }

    fn write_hint(&self, to: &mut impl Write) -> io::Result<()> {
        match &self.hint {
            Some(hint) => writeln!(to, "\n{HINT}hint{HINT:#}: {hint}"),
            None => Ok(()),
        }
    }
}

/// The text of an error with the texts of its sources, leaving out repetitions.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        cause = inner.source();
    }
    words
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
