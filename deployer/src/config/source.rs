//! Reads and loads a config file.

use std::cell::{Cell, LazyCell};
use std::io::{self, ErrorKind, Read};
use std::path;
use std::{fs, str};

use otlp_gate_core::identity::{Examination, Identity, Signature, is_valid_signature};
use otlp_gate_core::policy::{ConfigPath, Policy, Problem};
use otlp_gate_core::time::Timestamp;
use time::OffsetDateTime;

use super::position::Positions;
use super::validate::{LABEL, is_label};
use super::{Config, Finding, Report, Severity, parse, validate};
use crate::error::Error;
use crate::file;

/// A config file's text.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Its name in messages: the file's path, or `<stdin>`.
    pub(crate) name: String,
    /// The text.
    pub(crate) text: String,
}

/// A config without errors.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The config.
    pub(crate) config: Config,
    /// Its compiled policy, without the keys of client CAs, unless [`ClientTrust::complete`] has added them.
    ///
    /// [`ClientTrust::complete`]: crate::certs::ClientTrust::complete
    pub(crate) policy: Policy,
    /// Its warnings.
    pub(crate) warnings: Report,
    source: Source,
}

impl Source {
    /// Reads a file, or standard input if the file is `-`.
    pub(crate) fn read(file: &path::Path) -> Result<Self, Error> {
        if file.as_os_str() == "-" {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut bytes);
            return Source::new("<stdin>".to_owned(), read.map(|_| bytes));
        }
        Source::read_file(file)
    }

    /// Reads a file.
    pub(crate) fn read_file(path: &path::Path) -> Result<Self, Error> {
        Source::new(path.display().to_string(), fs::read(path))
    }

    fn new(name: String, bytes: io::Result<Vec<u8>>) -> Result<Self, Error> {
        let bytes = bytes.map_err(|e| cannot_read(&name, &e))?;
        let text = str::from_utf8(&bytes).map_err(|e| {
            let line = bytes.iter().take(e.valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
            Error::failed(format_args!("{name}:{line}: not UTF-8 text"))
        })?;
        // A byte order mark would shift the positions that the parser reports.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        Ok(Source { name, text })
    }

    /// Parses and checks the config.
    ///
    /// # Errors
    /// All errors and warnings; for text that is not YAML or does not have the config's structure, the first error
    /// only.
    pub(crate) fn load(&self) -> Result<Loaded, Report> {
        self.load_with(|_| {})
    }

    /// Parses the config, changes it by options of the command, and checks it.
    pub(crate) fn load_with(&self, change: impl FnOnce(&mut Config)) -> Result<Loaded, Report> {
        let mut config = parse::parse(&self.text).map_err(|finding| Report::new(self, vec![finding]))?;
        change(&mut config);
        // `<stdin>` has no folder: its paths are relative to the working directory.
        let folder = path::Path::new(&self.name).parent().unwrap_or(path::Path::new(""));
        config.client_cas.iter_mut().for_each(|entry| entry.resolve(folder));
        let checked = validate::validate(&config);
        let warnings = Report::new(self, self.locate(checked.problems));
        match checked.policy {
            Some(policy) if !warnings.has_errors() => {
                Ok(Loaded { config, policy, warnings, source: self.clone() })
            }
            _ => Err(warnings),
        }
    }

    /// Parses and checks the config. `namespace` replaces `gateway.namespace`.
    pub(crate) fn load_in(&self, namespace: Option<&str>) -> Result<Loaded, Error> {
        let mut loaded = self.load()?;
        if let Some(namespace) = namespace {
            check_namespace(namespace)?;
            namespace.clone_into(&mut loaded.config.gateway.namespace);
        }
        Ok(loaded)
    }

    /// Adds positions. Parses the text once more for them, only if there are problems.
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
    pub(crate) fn read(file: &path::Path, namespace: Option<&str>) -> Result<Self, Error> {
        Source::read(file)?.load_in(namespace)
    }

    /// Errors that are found after the config was loaded, with their positions.
    pub(crate) fn errors(&self, problems: impl IntoIterator<Item = Problem>) -> Report {
        let problems = problems.into_iter().map(|it| (Severity::Error, it)).collect();
        Report::new(&self.source, self.source.locate(problems))
    }

    /// Fills in what the filter finds out about the certificate of an identity: the client CA that signed it, and
    /// whether that has revoked it. The keys of the CAs are those of the [policy](Self::policy). Warns of a signature
    /// that only the filter can verify.
    pub(crate) fn examine(&self, identity: &mut Identity) {
        let unknown = Cell::new(false);
        let verify = |signature: &Signature<'_>| {
            let valid = is_valid_signature(signature);
            unknown.set(unknown.get() || valid.is_none());
            valid == Some(true)
        };
        let now = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap_or_default();
        self.policy.examine(identity, Examination { now: Timestamp::from_secs(now), verify: &verify });
        if unknown.get() && identity.ca.is_none() {
            Error::failed("the filter may find the CA of the certificate: its signature is of a kind that it verifies, and this command does not")
                .warn();
        }
    }

    /// The lines of the file, from 1, of these paths.
    pub(crate) fn lines<'a>(&self, paths: impl Iterator<Item = &'a ConfigPath>) -> Vec<Option<usize>> {
        let text = &self.source.text;
        let positions = LazyCell::new(|| Positions::of(text));
        let line_of = |start: usize| text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
        paths.map(|path| positions.span(path).map(|span| line_of(span.start))).collect()
    }
}

/// Checks the name that `--namespace` gives.
pub(crate) fn check_namespace(name: &str) -> Result<(), Error> {
    if is_label(name) {
        return Ok(());
    }
    Err(Error::usage(format_args!("`{}` is not a valid namespace", name.escape_debug())).hint(LABEL))
}

fn cannot_read(name: &str, error: &io::Error) -> Error {
    let failed = file::cannot_read(name, error);
    match error.kind() {
        ErrorKind::NotFound => {
            failed.hint("run `otlp-gate init` to create it, or name another with `-f FILE`")
        }
        _ => failed,
    }
}
