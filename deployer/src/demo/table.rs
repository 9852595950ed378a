//! The outcome for people.

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};
use comfy_table::presets::UTF8_NO_BORDERS;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};

use super::{ClientOutcome, Outcome};

/// The widest that a table gets, in columns.
const WIDEST: u16 = 120;
const TITLE: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// What arrived and what did not, as two tables. With colours; whoever prints them elsewhere than to a terminal strips
/// those.
pub fn render(outcome: &Outcome) -> String {
    let (arrived, refused) = (arrived(outcome), refused(outcome));
    let (removed, forged) = (outcome.forged_attributes_removed, outcome.forged);
    let color = if removed == forged { GOOD } else { BAD };
    format!(
        "{TITLE}What arrived, stamped with what the certificate says{TITLE:#}\n{arrived}\n\n\
         {TITLE}What was refused{TITLE:#}\n{refused}\n\n\
         {color}{removed} of {forged} forged attributes removed{color:#}, "
    )
}

fn arrived(outcome: &Outcome) -> Table {
    let mut table = table(["CLIENT", "WROTE", "ARRIVED AS", "SPANS"]);
    for client in &outcome.clients {
        let ClientOutcome { name, identity, sent, accepted, rejected, .. } = client;
        let spans = Cell::new(format!("{sent} sent\n{accepted} accepted\n{rejected} refused"));
        table.add_row([
            Cell::new(format!("{name}\n{identity}")).add_attribute(Attribute::Bold),
            Cell::new(lines(&client.written)),
            colored(client.ok, lines(&client.attributes)),
            if *rejected > 0 { spans.fg(Color::Yellow) } else { spans },
        ]);
    }
    table
}

fn refused(outcome: &Outcome) -> Table {
    let mut table = table(["WHO", "REFUSED WITH"]);
    for refusal in &outcome.refused {
        let mut seen = refusal.seen.clone();
        if !refusal.ok {
            seen.push_str("\nEXPECTED: ");
            seen.push_str(&refusal.expected);
        }
        table.add_row([Cell::new(&refusal.case).add_attribute(Attribute::Bold), colored(refusal.ok, seen)]);
    }
    table
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_NO_BORDERS).set_content_arrangement(ContentArrangement::Dynamic).enforce_styling();
    table.set_width(width(table.width()));
    table.set_header(header.map(|words| Cell::new(words).add_attribute(Attribute::Dim)));
    table
}

/// As wide as the terminal, but no wider than is read with ease. One that was not told its size says 0.
fn width(terminal: Option<u16>) -> u16 {
    terminal.filter(|width| *width > 0).map_or(WIDEST, |width| width.min(WIDEST))
}

fn colored(ok: bool, words: String) -> Cell {
    Cell::new(words).fg(if ok { Color::Green } else { Color::Red })
}

/// One attribute a line.
fn lines(attributes: &BTreeMap<String, String>) -> String {
    let lines: Vec<String> = attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_width_whatever_the_terminal_says() {
        assert_eq!([None, Some(0), Some(80), Some(500)].map(width), [WIDEST, WIDEST, 80, WIDEST]);
    }
}
