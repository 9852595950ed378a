//! The one error of the command line: what failed, where it can be seen, and the cure.

use std::fmt;
use std::io;
use std::io::Write;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

const ERROR: Style = AnsiColor::Red.on_default().bold();
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// Why a command ends without success.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Failed,
    Usage,
    /// The message is all that is to be said, as it is.
    Shown,
    /// All that is to be said has been said.
    Reported,
    /// Nobody reads what we write.
    Unread,
}

impl Error {
    /// It failed or was refused: exit code 1. `message` says what was done, to what, and what went wrong: lower case,
    /// no full stop.
    pub fn failed(message: impl fmt::Display) -> Self {
        Error { kind: Kind::Failed, message: message.to_string(), hint: None }
    }

    /// The command was called wrongly: exit code 2.
    pub fn usage(message: impl fmt::Display) -> Self {
        Error { kind: Kind::Usage, ..Error::failed(message) }
    }

    /// Several things failed, each told with its own cure: exit code 1.
    pub fn all(errors: Vec<Self>) -> Self {
        let mut texts: Vec<String> = errors
            .iter()
            .map(|error| {
                let mut text = Vec::new();
                // a vector takes all that is written
                let _ = error.write(&mut text);
                String::from_utf8_lossy(&text).trim_end().to_owned()
            })
            .collect();
        // What is wrong with all of them is said once.
        texts.dedup();
        Error::shown(texts.join("\n"))
    }

    /// It failed, and `text`, which may have colour, says so on its own: exit code 1.
    pub fn shown(text: String) -> Self {
        Error { kind: Kind::Shown, ..Error::failed(text) }
    }

    /// The command has already printed why: exit code 1 and nothing more.
    pub fn reported() -> Self {
        Error { kind: Kind::Reported, ..Error::failed("") }
    }

    /// Somebody asked the command to end before it had done what it is for: exit code 1.
    pub fn interrupted() -> Self {
        Error::failed("interrupted")
    }

    /// Standard output did not take what was written. That its reader went away, as `head` does, is no failure.
    pub fn stdout(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Error { kind: Kind::Unread, ..Error::failed("") }
        } else {
            Error::failed(format_args!("cannot write to standard output: {error}"))
        }
    }

    /// Adds the cure.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// What to do about it.
    pub fn cure(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Adds a line to the message: how far it came.
    #[must_use]
    pub fn and(mut self, more: impl fmt::Display) -> Self {
        self.message = format!("{}\n{more}", self.message);
        self
    }

    /// Prints the error to standard error as a warning, for a finding that does not stop the command.
    pub fn warn(&self) {
        // Standard error may be closed.
        let _ = self.write_warning(&mut anstream::stderr().lock());
    }

    /// Tells standard error, and gives the exit code.
    pub fn report(&self) -> ExitCode {
        if matches!(self.kind, Kind::Failed | Kind::Usage | Kind::Shown) {
            // where standard error is closed there is nobody to tell
            let _ = self.write(&mut anstream::stderr().lock());
        }
        match self.kind {
            Kind::Failed | Kind::Shown | Kind::Reported => ExitCode::from(1),
            Kind::Usage => ExitCode::from(2),
            Kind::Unread => ExitCode::SUCCESS,
        }
    }

    fn write_warning(&self, to: &mut impl Write) -> io::Result<()> {
        writeln!(to, "{WARNING}warning{WARNING:#}: {}", self.message)?;
        self.write_hint(to)?;
        writeln!(to)
    }

    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        if self.kind == Kind::Shown {
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

/// What an error says, and what the errors behind it say that it does not.
pub fn with_causes(error: &dyn std::error::Error) -> String {
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
