//! The demo's result as tables for a terminal.

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};
use comfy_table::presets::UTF8_NO_BORDERS;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};

use super::{ClientResult, DemoResult};

/// Largest width of a table, in columns.
const MAX_WIDTH: u16 = 120;
const TITLE: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Renders two tables, of accepted and of rejected telemetry, and a line about forged attributes that the caller
/// completes. The text has colours; a caller that does not print to a terminal strips them.
pub(crate) fn render(result: &DemoResult) -> String {
    let (removed, sent) = (result.forged_attributes_removed, result.forged_attributes_sent);
    let color = if removed == sent { GOOD } else { BAD };
    format!(
        "{TITLE}Valid clients: the certificate decides the tenant, the quota limits the volume{TITLE:#}\n{}\n\n\
         {TITLE}Rejected{TITLE:#}\n{}\n\n\
         {color}{removed} of {sent} forged attributes removed{color:#}",
        clients(result),
        rejected(result)
    )
}

fn clients(result: &DemoResult) -> Table {
    let mut table = table(["CLIENT", "SENT", "RECEIVED BY BACKEND", "SPANS"]);
    for client in &result.clients {
        let ClientResult { name, identity, sent, accepted, rejected, .. } = client;
        let spans = Cell::new(format!("{sent} sent\n{accepted} accepted\n{rejected} throttled"));
        table.add_row([
            Cell::new(format!("{name}\n{identity}")).add_attribute(Attribute::Bold),
            Cell::new(lines(&client.sent_attributes)),
            colored(client.ok, lines(&client.attributes)),
            if *rejected > 0 { spans.fg(Color::Yellow) } else { spans },
        ]);
    }
    table
}

fn rejected(result: &DemoResult) -> Table {
    let mut table = table(["CASE", "RESPONSE"]);
    for case in &result.rejected {
        let mut seen = case.seen.clone();
        if !case.ok {
            seen.push_str("\nEXPECTED: ");
            seen.push_str(&case.expected);
        }
        table.add_row([Cell::new(&case.case).add_attribute(Attribute::Bold), colored(case.ok, seen)]);
    }
    table
}

fn table<const N: usize>(headings: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_NO_BORDERS).set_content_arrangement(ContentArrangement::Dynamic).enforce_styling();
    table.set_width(width(table.width()));
    table.set_header(headings.map(|heading| Cell::new(heading).add_attribute(Attribute::Dim)));
    table
}

/// Width of the terminal, at most [`MAX_WIDTH`]. A terminal whose size was never set reports 0.
fn width(terminal: Option<u16>) -> u16 {
    terminal.filter(|width| *width > 0).map_or(MAX_WIDTH, |width| width.min(MAX_WIDTH))
}

fn colored(ok: bool, text: String) -> Cell {
    Cell::new(text).fg(if ok { Color::Green } else { Color::Red })
}

/// `key=value`, one per line.
fn lines(attributes: &BTreeMap<String, String>) -> String {
    let lines: Vec<String> = attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_fits_the_terminal_and_its_largest_width() {
        assert_eq!([None, Some(0), Some(80), Some(500)].map(width), [MAX_WIDTH, MAX_WIDTH, 80, MAX_WIDTH]);
    }
}
