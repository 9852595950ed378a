//! The errors and warnings of a config, shown with their positions.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use anstyle::{AnsiColor, Style};
use serde::{Serialize, Serializer};

use super::Source;
use super::position::lines_and_columns;
use crate::error::Error;

const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// The most findings that are shown. Rendering each one reads the whole file.
const SHOWN: usize = 50;

/// All errors and warnings of a config file.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    source: Source,
    /// In the order of the file.
    pub(crate) findings: Vec<Finding>,
}

/// An error or a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Error or warning.
    pub(crate) severity: Severity,
    /// The path in the config, such as `clients[3].match`; empty for the whole file.
    pub(crate) path: String,
    /// The bytes of the text to point at.
    pub(crate) span: Option<Range<usize>>,
    /// What is wrong: lower case, no full stop.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

/// Error or warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// The config cannot be used.
    Error,
    /// The config can be used, but is probably a mistake.
    Warning,
}

impl Report {
    pub(super) fn new(source: &Source, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| finding.span.as_ref().map(|span| span.start));
        Report { source: source.clone(), findings }
    }

    /// Whether there are errors.
    pub(crate) fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// `2 errors and 1 warning in otlp-gate.yaml`
    pub(crate) fn summary(&self) -> String {
        let count = |severity, what: &str| {
            let number = self.findings.iter().filter(|finding| finding.severity == severity).count();
            (number > 0).then(|| format!("{number} {what}{}", if number == 1 { "" } else { "s" }))
        };
        let counts: Vec<String> = [count(Severity::Error, "error"), count(Severity::Warning, "warning")]
            .into_iter()
            .flatten()
            .collect();
        format!("{} in {}", counts.join(" and "), self.source.name)
    }

    fn render(&self, finding: &Finding) -> String {
        let level = match finding.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(&*finding.message));
        if let Some(span) = &finding.span {
            let label = (!finding.path.is_empty()).then_some(&*finding.path);
            let annotation = AnnotationKind::Primary.span(span.clone()).label(label);
            group = group
                .element(Snippet::source(&*self.source.text).path(&*self.source.name).annotation(annotation));
        }
        let report = [group];
        Renderer::styled().render(&report)
    }
}

/// In colour. Writers to anything other than a terminal strip it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in self.findings.iter().take(SHOWN) {
            writeln!(f, "{}", self.render(finding))?;
            if let Some(hint) = &finding.hint {
                writeln!(f, "\n{HINT}hint{HINT:#}: {hint}")?;
            }
            writeln!(f)?;
        }
        if let more @ 1.. = self.findings.len().saturating_sub(SHOWN) {
            writeln!(f, "and {more} more: `otlp-gate check -o json` lists all\n")?;
        }
        f.write_str(&self.summary())
    }
}

/// The findings as a list of maps; `line` and `column` are from 1.
impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Row<'a> {
            severity: Severity,
            path: &'a str,
            line: Option<usize>,
            column: Option<usize>,
            message: &'a str,
            hint: Option<&'a str>,
        }
        let starts = self.findings.iter().filter_map(|finding| finding.span.as_ref()).map(|span| span.start);
        let mut positions = lines_and_columns(self.source.text.char_indices(), starts);
        serializer.collect_seq(self.findings.iter().map(|finding| {
            let position = finding.span.as_ref().and_then(|_| positions.next());
            Row {
                severity: finding.severity,
                path: &finding.path,
                line: position.map(|it| it.0),
                column: position.map(|it| it.1),
                message: &finding.message,
                hint: finding.hint.as_deref(),
            }
        }))
    }
}

impl From<Report> for Error {
    fn from(report: Report) -> Self {
        Error::formatted(report.to_string())
    }
}
