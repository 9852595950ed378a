//! Client names: their syntax, and that no two rules can give the same name to different clients.

mod index;
mod name_set;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use self::index::NameIndex;
use self::name_set::NameSet;
use super::super::hash_index::duplicates;
use super::super::pattern::is_capture_byte;
use super::super::problem::{ConfigPath, PathRef, Problem};
use super::super::rule::Rule;
use super::super::template::{Placeholder, Segment, Template};
use super::captures::CaptureClasses;
use super::{template, unknown_placeholder};

const MAX_NAME: usize = 128;
/// The name in metrics of all clients that have no series of their own.
const OTHER: &str = "other";
/// The most comparisons of whole names, which take a few milliseconds. Rules whose names start or end differently need
/// none.
const MAX_COMPARISONS: usize = 200_000;

/// Compiles a name: text of `[A-Za-z0-9._-]`, and captures of the rule.
pub(super) fn compile(
    text: &str,
    captures: &CaptureClasses,
    path: &PathRef<'_>,
    problems: &mut Vec<Problem>,
) -> Template {
    let name = template(text, path, problems);
    if text.is_empty() {
        problems.push(Problem::new(path, "the name is empty"));
    }
    if text.len() > MAX_NAME {
        problems.push(Problem::new(path, format!("the name is longer than {MAX_NAME} characters")));
    }
    if text == OTHER {
        problems.push(Problem::new(
            path,
            "`other` is reserved: metrics use it for all clients that have no series of their own",
        ));
    }
    for segment in name.segments() {
        match segment {
            Segment::Text(text) => {
                if let Some(wrong) =
                    text.chars().find(|character| !u8::try_from(*character).is_ok_and(is_capture_byte))
                {
                    let message =
                        format!("a name cannot contain `{}`: use A-Z a-z 0-9 . _ -", wrong.escape_debug());
                    problems.push(Problem::new(path, message));
                }
            }
            Segment::Placeholder(Placeholder::Named(name)) if captures.contains_key(&**name) => {}
            Segment::Placeholder(placeholder @ Placeholder::Named(_)) => {
                problems.push(unknown_placeholder(placeholder, path, captures.keys().map(String::as_str)));
            }
            Segment::Placeholder(placeholder) => {
                let message = format!("{placeholder} cannot be used in a name, which is made of captures");
                let hint = "capture it, as in `match: {subject: {CN: \"{cn}\"}}`, and write {cn}";
                problems.push(Problem::new(path, message).hint(hint));
            }
        }
    }
    name
}

/// Finds rules that could give the same name to different clients. `broken` rules are left out.
pub(super) fn check(
    rules: &[Rule],
    captures: &[CaptureClasses],
    broken: &BTreeSet<usize>,
    unknown_are_clients: bool,
    problems: &mut Vec<Problem>,
) {
    let texts: Vec<&str> = rules.iter().map(|rule| rule.name_text.as_str()).collect();
    let duplicates = duplicates(&texts);
    for (later, first) in &duplicates {
        let message = format!("duplicate name: clients[{first}] has it, too");
        let hint = "use another name, or one rule with a list of matches";
        problems.push(Problem::new(path(*later), message).hint(hint));
    }
    let names = rules.iter().zip(captures).enumerate();
    let mut names: Vec<NameSet<'_>> = names
        .filter(|(rule, _)| !broken.contains(rule))
        .filter(|(rule, _)| duplicates.binary_search_by_key(rule, |(later, _)| *later).is_err())
        .map(|(rule, (compiled, captures))| NameSet::Rule { rule, name: &compiled.name, captures })
        .collect();
    if unknown_are_clients {
        names.push(NameSet::Unknown);
    }
    let index = NameIndex::new(&names);
    let mut comparisons = 0;
    for (at, name) in (0_u32..).zip(names.iter().copied()) {
        for other in index.near(name) {
            let Some(found) = usize::try_from(other).ok().and_then(|other| names.get(other)).copied() else {
                continue;
            };
            // Of two names with captures that start the same, each finds the other. The later one reports it.
            let found_again = other > at && !name.is_literal() && name.start() == found.start();
            if other == at || found_again {
                continue;
            }
            comparisons += 1;
            if comparisons > MAX_COMPARISONS {
                let message = "too many names with captures are too similar to be checked for duplicates";
                let hint =
                    "start each name with a different text, or use one rule with captures for many clients";
                problems.push(Problem::new(PathRef::of("clients"), message).hint(hint));
                return;
            }
            if name.meets(found) {
                problems.push(collision(rules, name, found));
                break;
            }
        }
    }
}

fn path(rule: usize) -> ConfigPath {
    ConfigPath::client(rule).key("name")
}

fn collision(rules: &[Rule], a: NameSet<'_>, b: NameSet<'_>) -> Problem {
    let hint = "start one of them with a different text, or put a character between its captures that the other cannot have there";
    let text = |rule: usize| rules.get(rule).map(|rule| rule.name_text.as_str()).unwrap_or_default();
    let problem = match (a.rule(), b.rule()) {
        (Some(a), Some(b)) => {
            let (first, later) = (a.min(b), a.max(b));
            let message = format!(
                "`{}` and `{}` (clients[{first}]) can give the same name to different clients",
                text(later),
                text(first)
            );
            Problem::new(path(later), message)
        }
        (Some(rule), None) | (None, Some(rule)) => {
            let message = format!(
                "`{}` can give the name of an unknown client: `unknown-` and 12 hex digits",
                text(rule)
            );
            Problem::new(path(rule), message)
        }
        (None, None) => Problem::new(PathRef::of("unknown"), "unknown clients have the same names"),
    };
    problem.hint(hint)
}
