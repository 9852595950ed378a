//! Output: results to standard output, everything else to standard error.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::iter;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use unicode_width::UnicodeWidthStr;

use crate::error::{Error, WARNING};

/// The format of results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A table for people
    #[default]
    Table,
    /// One JSON object on one line
    Json,
    /// YAML
    Yaml,
}

/// Prints a result: `value` as JSON or YAML, or `table()`.
pub(crate) fn print<T: Serialize>(
    format: Format,
    value: &T,
    table: impl FnOnce() -> String,
) -> Result<(), Error> {
    match format {
        Format::Table => print_text(&table()),
        Format::Json => {
            let json = serde_json::to_string(value)
                .map_err(|e| Error::failed(format_args!("cannot write JSON: {e}")))?;
            print_text(&without_controls(&json))
        }
        Format::Yaml => {
            let yaml = serde_saphyr::to_string(value)
                .map_err(|e| Error::failed(format_args!("cannot write YAML: {e}")))?;
            print_text(&yaml)
        }
    }
}

/// JSON without control characters, which could steer a terminal: names come from certificates. All of them are inside
/// of strings, and JSON itself demands escapes only for those below U+0020.
fn without_controls(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_control() {
            let _ = write!(text, "\\u{:04x}", u32::from(character));
        } else {
            text.push(character);
        }
    }
    text
}

/// Prints text to standard output, and a newline if the text does not end with one.
pub(crate) fn print_text(text: &str) -> Result<(), Error> {
    let mut out = anstream::stdout().lock();
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    write!(out, "{text}{end}").and_then(|()| out.flush()).map_err(Error::stdout)
}

/// Prints a line to standard error, which may be closed.
pub(crate) fn say(text: impl fmt::Display) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Prints a warning to standard error: a finding that does not stop the command.
pub(crate) fn warn(text: impl fmt::Display) {
    say(format_args!("{WARNING}warning{WARNING:#}: {text}"));
}

/// A spinner on standard error with the current step, shown at a terminal only.
pub(crate) fn progress() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(80));
    bar
}

/// A table as kubectl prints it: a header in capitals, no lines. Cells may have colour.
pub(crate) fn columns<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    align(iter::once(header.map(str::to_owned)).chain(rows))
}

/// Rows with aligned cells. Cells may have colour.
pub(crate) fn align<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> String {
    const GAP: usize = 3;
    let rows: Vec<[String; N]> = rows.into_iter().collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = shown_width(cell).max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut pending = 0;
        for (cell, width) in row.iter().zip(widths).filter(|(_, width)| *width > 0) {
            let shown = shown_width(cell);
            if shown > 0 {
                text.extend(iter::repeat_n(' ', pending));
                text.push_str(cell);
                pending = 0;
            }
            pending += width - shown + GAP;
        }
        text.push('\n');
    }
    text
}

fn shown_width(cell: &str) -> usize {
    anstream::adapter::strip_str(cell).map(UnicodeWidthStr::width).sum()
}

/// A duration in its largest unit, such as `3 h`.
pub(crate) fn duration(duration: time::Duration) -> String {
    match duration.whole_seconds() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86400),
    }
}

/// A time in whole seconds (RFC 3339).
pub(crate) fn rfc3339(time: OffsetDateTime) -> String {
    // RFC 3339 has no years above 9999, and neither has X.509.
    time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both are names of clients that come from certificates.
    const STEERING: [&str; 2] = ["\u{9b}31m", "a\u{7f}\u{1b}b"];

    #[test]
    fn json_steers_no_terminal() {
        let json = without_controls(&serde_json::to_string(&STEERING).unwrap());
        assert!(!json.chars().any(char::is_control), "{json:?}");
        assert_eq!(serde_json::from_str::<[String; 2]>(&json).unwrap(), STEERING);
    }

    #[test]
    fn yaml_steers_no_terminal() {
        let yaml = serde_saphyr::to_string(&STEERING).unwrap();
        assert!(!yaml.chars().any(|it| it.is_control() && it != '\n'), "{yaml:?}");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "\x1b[1mlong\x1b[0m", "x"], ["\u{fc}n\u{ef}", "", "y"], ["b", "", ""]];
        assert_eq!(
            columns(["NAME", "X", "Y"], rows.map(|row| row.map(str::to_owned))),
            "NAME   X      Y\na      \x1b[1mlong\x1b[0m   x\n\u{fc}n\u{ef}           y\nb\n"
        );
    }
}
