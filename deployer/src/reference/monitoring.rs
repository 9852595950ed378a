//! The generated parts of docs/guides/monitoring.md: panels and alarms.

use std::fmt::Write;
use std::path::Path;

use super::{assert_page, wrap};
use crate::monitoring::{Alarm, Group, alarms, dashboards, recordings};

/// The lines between which a part is generated.
fn markers(part: &str) -> [String; 2] {
    [
        format!("<!-- {part}: generated from deployer/src/monitoring -->\n"),
        format!("<!-- end of {part} -->\n"),
    ]
}

/// The page with this part replaced.
fn replaced(page: &str, part: &str, generated: &str) -> String {
    let [begin, end] = markers(part);
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no line `{begin}`"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no line `{end}`"));
    format!("{before}{begin}\n{generated}\n{end}{after}")
}

fn panels() -> String {
    let mut text = String::new();
    for dashboard in dashboards() {
        let _ = write!(text, "**{}**\n\n| Panel | PromQL |\n|---|---|\n", dashboard.title);
        for panel in dashboard.panels {
            for (expression, legend) in &panel.queries {
                let expression = without_gate(expression).replace('|', "\\|");
                let series = match panel.queries.len() {
                    1 => String::new(),
                    _ => format!(
                        " ({})",
                        legend.rsplit("}}").next().unwrap_or_default().trim_start_matches(": ")
                    ),
                };
                let _ = writeln!(text, "| {}{series} | `{expression}` |", panel.title);
            }
        }
        text.push('\n');
    }
    text.trim_end().to_owned() + "\n"
}

/// A panel's query as a person types it, without the dashboard's variables.
fn without_gate(expression: &str) -> String {
    let all = expression.replace("{gate=~\"$gate\",", "{").replace("{gate=~\"$gate\"}", "");
    all.replace("$__rate_interval", "5m")
}

fn alarm(alarm: &Alarm) -> String {
    let lasting = match alarm.minutes {
        0 => "at once".to_owned(),
        minutes => format!("after {minutes} min"),
    };
    format!(
        "#### {}\n\n{}\n```text\n{}\n```\n\n{}",
        alarm.name,
        wrap(
            "",
            &format!(
                "{} ({}, {lasting}).",
                upper(&alarm.summary.replace(['{', '}'], "`")),
                alarm.urgency.name()
            )
        ),
        alarm.expression.replace(" or ", "\n  or "),
        wrap("", alarm.action)
    )
}

fn upper(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|it| it.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

fn all_alarms() -> String {
    let all = alarms();
    let mut parts = Vec::new();
    for group in Group::ALL {
        parts.push(format!("### {}\n", group.title()));
        parts.extend(all.iter().filter(|it| it.group == group).map(alarm));
    }
    parts.join("\n")
}

fn usage() -> String {
    let mut text = "| Metric | Meaning |\n|---|---|\n".to_owned();
    for it in recordings() {
        let _ = writeln!(text, "| `{}` | {} |", it.name, it.meaning);
    }
    text
}

#[test]
fn the_guide_has_all_panels_and_alarms() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guides/monitoring.md");
    let page = std::fs::read_to_string(path).unwrap();
    let page = replaced(&page, "panels", &panels());
    let page = replaced(&page, "usage", &usage());
    assert_page("docs/guides", "monitoring.md", &replaced(&page, "alarms", &all_alarms()));
}
