//! The table of a sample: its columns, their order, and texts that are safe for a terminal.

use std::cmp::Ordering;
use std::fmt::Write as _;

use clap::ValueEnum;
use unicode_width::UnicodeWidthChar as _;

use super::sample::{ClientRates, Sample};

/// A column by which clients are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Column {
    Client,
    Traces,
    Metrics,
    Logs,
    Profiles,
    Items,
    Bytes,
    Requests,
    Throttled,
    Rejected,
    Failed,
    Forged,
    Quota,
}

impl Column {
    /// All, in the order of the table.
    const ALL: [Column; 13] = [
        Column::Client,
        Column::Traces,
        Column::Metrics,
        Column::Logs,
        Column::Profiles,
        Column::Items,
        Column::Bytes,
        Column::Requests,
        Column::Throttled,
        Column::Rejected,
        Column::Failed,
        Column::Forged,
        Column::Quota,
    ];

    fn title(self) -> &'static str {
        match self {
            Column::Client => "CLIENT",
            Column::Traces => "TRACES/S",
            Column::Metrics => "METRICS/S",
            Column::Logs => "LOGS/S",
            Column::Profiles => "PROFILES/S",
            Column::Items => "ITEMS/S",
            Column::Bytes => "BYTES/S",
            Column::Requests => "REQUESTS/S",
            Column::Throttled => "THROTTLED/S",
            Column::Rejected => "REJECTED/S",
            Column::Failed => "FAILED/S",
            Column::Forged => "FORGED/S",
            Column::Quota => "QUOTA",
        }
    }

    fn number(self, client: &ClientRates) -> f64 {
        let items = |signal| client.items.get(signal).copied().unwrap_or_default();
        match self {
            Column::Client => 0.0,
            Column::Traces => items("traces"),
            Column::Metrics => items("metrics"),
            Column::Logs => items("logs"),
            Column::Profiles => items("profiles"),
            Column::Items => client.all_items(),
            Column::Bytes => client.bytes,
            Column::Requests => client.accepted(),
            Column::Throttled => client.throttled(),
            Column::Rejected => client.rejected(),
            Column::Failed => client.failed(),
            Column::Forged => client.forged_attributes,
            Column::Quota => client.quota.as_ref().map_or(-1.0, |quota| quota.percent),
        }
    }

    fn cell(self, client: &ClientRates) -> String {
        match self {
            Column::Client => client.client.as_deref().map_or_else(|| "(unknown)".to_owned(), printable),
            Column::Bytes => bytes(client.bytes),
            Column::Quota => client.quota.as_ref().map_or_else(
                || "-".to_owned(),
                |quota| format!("{} % {}", quota.percent.round(), quota.limit),
            ),
            other => rate(other.number(client)),
        }
    }
}

/// What of a sample is shown, and in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) sort: Column,
    pub(crate) reverse: bool,
    /// Only clients whose names contain it, in any case.
    pub(crate) filter: String,
}

impl View {
    /// Sorts by the next column to the right or to the left.
    pub(super) fn move_sort(&mut self, sample: &Sample, by: isize) {
        let columns = columns(sample);
        let at = columns.iter().position(|it| *it == self.sort).unwrap_or_default();
        let next = at.saturating_add_signed(by).min(columns.len().saturating_sub(1));
        if let Some(column) = columns.get(next) {
            self.sort = *column;
        }
    }

    /// The clients that are shown, in order: large numbers come first, and names from A to Z.
    pub(super) fn clients<'a>(&self, sample: &'a Sample) -> Vec<&'a ClientRates> {
        let filter = self.filter.to_lowercase();
        let name = |client: &ClientRates| client.client.clone().unwrap_or_default();
        let is_shown = |client: &&ClientRates| name(client).to_lowercase().contains(&filter);
        let mut clients: Vec<_> = sample.clients.iter().filter(is_shown).collect();
        clients.sort_by(|a, b| {
            let by_number = self.sort.number(b).total_cmp(&self.sort.number(a));
            // Requests of unknown clients are last.
            let by_name = (a.client.is_none(), name(a)).cmp(&(b.client.is_none(), name(b)));
            let order = if by_number == Ordering::Equal { by_name } else { by_number };
            if self.reverse { order.reverse() } else { order }
        });
        clients
    }

    /// The sample with the clients that are shown, in order.
    pub(crate) fn of(&self, sample: &Sample) -> Sample {
        let clients = self.clients(sample).into_iter().cloned().collect();
        Sample { clients, ..sample.clone() }
    }

    /// The table: its header and a row for each client.
    pub(super) fn table(&self, sample: &Sample) -> Vec<Vec<String>> {
        let columns = columns(sample);
        let mark = |column: &Column| match *column == self.sort {
            true => format!("{}{}", column.title(), if self.reverse { "^" } else { "v" }),
            false => column.title().to_owned(),
        };
        let mut rows = vec![columns.iter().map(mark).chain(["RESULTS".to_owned()]).collect::<Vec<_>>()];
        rows.extend(self.clients(sample).into_iter().map(|client| {
            let reasons = client.reasons().into_iter().map(printable).collect::<Vec<_>>().join(",");
            columns.iter().map(|column| column.cell(client)).chain([reasons]).collect()
        }));
        rows
    }

    /// The whole text where there is no terminal.
    pub(crate) fn text(&self, sample: &Sample) -> String {
        let mut text = aligned(&self.table(sample)).join("\n");
        text.push('\n');
        for replica in &sample.replicas {
            if let Some(error) = &replica.error {
                let _ = writeln!(text, "{}: {}", printable(&replica.name), printable(error));
            }
        }
        text
    }
}

/// The columns that have something to show.
fn columns(sample: &Sample) -> Vec<Column> {
    let has_profiles = sample.clients.iter().any(|client| Column::Profiles.number(client) > 0.0);
    Column::ALL.into_iter().filter(|column| *column != Column::Profiles || has_profiles).collect()
}

/// Lines with aligned cells: names and results to the left, numbers to the right.
pub(super) fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    const GAP: &str = "  ";
    let number = rows.first().map_or(0, Vec::len);
    let width =
        |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| width(cell)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..number).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width.saturating_sub(self::width(cell)));
            let is_text = at == 0 || at + 1 == number;
            let (before, after) = if is_text { ("", padding.as_str()) } else { (padding.as_str(), "") };
            line.push_str(if at == 0 { "" } else { GAP });
            line.push_str(before);
            line.push_str(cell);
            line.push_str(after);
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// A text without anything that a terminal would obey or not show: such characters are written as `\u{1b}`.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        // Marks that have no width, such as those that change the direction of a text, are not shown either.
        match character.width() {
            Some(1..) if !character.is_control() => shown.push(character),
            _ => shown.extend(character.escape_unicode()),
        }
    }
    shown
}

/// The first `columns` columns of a printable text.
pub(super) fn cut(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, character)| {
        used += character.width().unwrap_or(0);
        used > columns
    });
    end.and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

fn width(text: &str) -> usize {
    text.chars().filter_map(char::width).sum()
}

fn rate(number: f64) -> String {
    match number {
        ..0.005 => "0".to_owned(),
        0.005..10.0 => format!("{number:.1}"),
        10.0..100_000.0 => format!("{number:.0}"),
        100_000.0..10_000_000.0 => format!("{:.0}k", number / 1e3),
        _ => format!("{:.0}M", number / 1e6),
    }
}

fn bytes(number: f64) -> String {
    match number {
        ..0.5 => "0".to_owned(),
        0.5..1024.0 => format!("{number:.0}"),
        1024.0..1_048_576.0 => format!("{:.1}Ki", number / 1024.0),
        1_048_576.0..1_073_741_824.0 => format!("{:.1}Mi", number / 1_048_576.0),
        _ => format!("{:.1}Gi", number / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::top::sample::Replica;

    fn client(name: Option<&str>, logs: f64, throttled: f64) -> ClientRates {
        ClientRates {
            client: name.map(str::to_owned),
            items: BTreeMap::from([("logs", logs)]),
            bytes: logs * 100.0,
            requests: BTreeMap::from([("over_quota".to_owned(), throttled)]),
            ..ClientRates::default()
        }
    }

    fn sample() -> Sample {
        let clients = vec![
            client(Some("acme"), 5.0, 0.0),
            client(Some("bad\u{1b}[2J\u{202e}\n"), 12.25, 3.0),
            client(None, 0.0, 0.0),
            client(Some("Globex"), 200_000.0, 0.5),
        ];
        let replicas = vec![Replica { name: "pod-1".to_owned(), error: Some("gone\u{7}".to_owned()) }];
        Sample { seconds: 2.0, replicas, clients }
    }

    fn names(view: &View) -> Vec<String> {
        let sample = sample();
        view.clients(&sample).iter().map(|client| client.client.clone().unwrap_or_default()).collect()
    }

    fn view(sort: Column) -> View {
        View { sort, reverse: false, filter: String::new() }
    }

    #[test]
    fn clients_are_sorted_and_filtered() {
        let bad = "bad\u{1b}[2J\u{202e}\n";
        assert_eq!(names(&view(Column::Items)), ["Globex", bad, "acme", ""]);
        assert_eq!(names(&view(Column::Throttled)), [bad, "Globex", "acme", ""]);
        assert_eq!(names(&view(Column::Client)), ["Globex", "acme", bad, ""]);
        assert_eq!(names(&View { reverse: true, ..view(Column::Items) }), ["", "acme", bad, "Globex"]);
        assert_eq!(names(&View { filter: "GLOB".to_owned(), ..view(Column::Items) }), ["Globex"]);
    }

    #[test]
    fn nothing_that_a_name_contains_reaches_the_terminal() {
        let text = view(Column::Items).text(&sample());
        assert!(text.contains("bad\\u{1b}[2J\\u{202e}\\u{a}"), "{text}");
        assert!(text.contains("pod-1: gone\\u{7}"), "{text}");
        assert!(text.chars().all(|it| it == '\n' || !it.is_control()), "{text:?}");
        assert_eq!(printable("a\u{300}\u{200d}ü漢"), "a\\u{300}\\u{200d}ü漢");
    }

    #[test]
    fn columns_are_aligned_and_those_without_content_are_left_out() {
        let text = view(Column::Bytes).text(&sample());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("CLIENT ") && lines[0].contains(" BYTES/Sv "), "{text}");
        assert!(!text.contains("PROFILES"), "{text}");
        assert!(
            lines[1].starts_with("Globex ") && lines[1].contains(" 19.1Mi ") && lines[1].contains(" 200k "),
            "{text}"
        );
        assert_eq!(lines[0].find("LOGS/S").unwrap() + 6, lines[1].find("200k").unwrap() + 4, "{text}");
        assert!(lines[4].starts_with("(unknown)"), "{text}");
    }

    #[test]
    fn the_sort_moves_over_the_columns_that_are_shown() {
        let mut view = view(Column::Logs);
        view.move_sort(&sample(), 1);
        assert_eq!(view.sort, Column::Items);
        view.move_sort(&sample(), -100);
        assert_eq!(view.sort, Column::Client);
        view.move_sort(&sample(), 100);
        assert_eq!(view.sort, Column::Quota);
    }

    #[test]
    fn a_line_is_cut_by_its_width() {
        assert_eq!((cut("abc", 2), cut("abc", 3), cut("漢字", 3)), ("ab", "abc", "漢"));
    }
}
