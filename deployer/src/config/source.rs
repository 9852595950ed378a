//! The config file's text, and the way from it to a config.

use std::cell::LazyCell;
use std::io::{self, ErrorKind, Read};
use std::path;
use std::{fs, str};

use otlp_gate_core::policy::{ConfigPath, Policy, Problem};

use super::position::Positions;
use super::validate::{LABEL, is_label};
use super::{Config, Finding, Report, Severity, parse, validate};
use crate::error::Error;
use crate::file;

/// A config file's text.
#[derive(Debug, Clone)]
pub struct Source {
    /// What to call it: the file's path, or `<stdin>`.
    pub name: String,
    /// The text.
    pub text: String,
}

/// A config without mistakes.
#[derive(Debug)]
pub struct Loaded {
    /// What the file says.
    pub config: Config,
    /// Its policy, ready to say who is who.
    pub policy: Policy,
    /// What is allowed and yet looks like a mistake.
    pub warnings: Report,
    source: Source,
}

impl Source {
    /// Reads a file, or standard input if the file is `-`.
    pub fn read(file: &path::Path) -> Result<Self, Error> {
        if file.as_os_str() == "-" {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut bytes);
            return Source::new("<stdin>".to_owned(), read.map(|_| bytes));
        }
        Source::read_file(file)
    }

    /// Reads a file.
    pub fn read_file(path: &path::Path) -> Result<Self, Error> {
        Source::new(path.display().to_string(), fs::read(path))
    }

    fn new(name: String, bytes: io::Result<Vec<u8>>) -> Result<Self, Error> {
        let bytes = bytes.map_err(|e| cannot_read(&name, &e))?;
        let text = str::from_utf8(&bytes).map_err(|e| {
            let line = bytes.iter().take(e.valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
            Error::failed(format_args!("{name}:{line}: not UTF-8 text"))
        })?;
        // A byte order mark is no part of the text, and would shift what the parser says about places.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        Ok(Source { name, text })
    }

    /// The config that it is.
    ///
    /// # Errors
    /// Everything that is wrong with it, mistakes and warnings. Of text that is no YAML or does not have the config's
    /// shape, the first mistake only.
    pub fn load(&self) -> Result<Loaded, Report> {
        let config = parse::parse(&self.text).map_err(|finding| Report::new(self, vec![finding]))?;
        let checked = validate::validate(&config);
        let warnings = Report::new(self, self.locate(checked.problems));
        match checked.policy {
            Some(policy) if !warnings.has_errors() => {
                Ok(Loaded { config, policy, warnings, source: self.clone() })
            }
            _ => Err(warnings),
        }
    }

    /// Reads the text once more, for where things are, but only where there is something to show.
    fn locate(&self, problems: Vec<(Severity, Problem)>) -> Vec<Finding> {
        let positions = LazyCell::new(|| Positions::of(&self.text));
        let finding = |(severity, problem): (Severity, Problem)| Finding {
            severity,
            path: problem.path.to_string(),
            span: positions.span(&problem.path),
            message: problem.message,
            hint: problem.hint,
        };
        problems.into_iter().map(finding).collect()
    }
}

impl Loaded {
    /// Reads and loads a file, or standard input if the file is `-`. `namespace` replaces `gateway.namespace`.
    pub fn read(file: &path::Path, namespace: Option<&str>) -> Result<Self, Error> {
        let mut loaded = Source::read(file)?.load()?;
        if let Some(namespace) = namespace {
            check_namespace(namespace)?;
            namespace.clone_into(&mut loaded.config.gateway.namespace);
        }
        Ok(loaded)
    }

    /// The lines of the file, from 1, in which these places are.
    pub fn lines<'a>(&self, places: impl Iterator<Item = &'a ConfigPath>) -> Vec<Option<usize>> {
        let text = &self.source.text;
        let positions = LazyCell::new(|| Positions::of(text));
        let line_of = |start: usize| text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
        places.map(|place| positions.span(place).map(|span| line_of(span.start))).collect()
    }
}

/// Whether what `--namespace` gives can be one's name.
pub fn check_namespace(name: &str) -> Result<(), Error> {
    if is_label(name) {
        return Ok(());
    }
    Err(Error::usage(format_args!("`{}` cannot be a namespace's name", name.escape_debug())).hint(LABEL))
}

fn cannot_read(name: &str, error: &io::Error) -> Error {
    let failed = file::cannot_read(name, error);
    match error.kind() {
        ErrorKind::NotFound => failed.hint("`otlp-gate init` writes one; `-f FILE` names another"),
        _ => failed,
    }
}
