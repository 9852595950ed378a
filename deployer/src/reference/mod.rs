//! The generated pages of docs/reference: the config file's keys and its JSON Schema, and the commands.
//!
//! `OTLP_GATE_UPDATE_DOCS=1 cargo test -p otlp-gate --lib reference` writes them.

mod commands;
mod config;
mod monitoring;

use std::path::Path;

/// The most columns of a line of text.
const WIDTH: usize = 120;

/// Compares a generated page with the file in docs/reference, or writes the file if `OTLP_GATE_UPDATE_DOCS` is set.
fn assert_current(file: &str, generated: &str) {
    assert_page("docs/reference", file, generated);
}

/// The same with a file in another folder of the repository.
fn assert_page(folder: &str, file: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder).join(file);
    if std::env::var_os("OTLP_GATE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, generated).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == generated,
        "{folder}/{file} is not current: \
         run `OTLP_GATE_UPDATE_DOCS=1 cargo test -p otlp-gate --lib reference`"
    );
}

/// Breaks text into lines of at most [`WIDTH`] columns, but not inside of backquotes. The first line starts with
/// `first`, the others with as many spaces.
fn wrap(first: &str, text: &str) -> String {
    let indent = " ".repeat(first.chars().count());
    let (mut lines, mut line) = (String::new(), first.to_owned());
    let mut words = text.split_whitespace();
    let mut is_first = true;
    while let Some(word) = words.next() {
        let mut word = word.to_owned();
        while word.matches('`').count() % 2 == 1
            && let Some(next) = words.next()
        {
            word.push(' ');
            word.push_str(next);
        }
        if !is_first && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            line.clone_from(&indent);
        } else if !is_first {
            line.push(' ');
        }
        is_first = false;
        line.push_str(&word);
    }
    lines + &line + "\n"
}

/// The first sentence of a text, and the others. A full stop inside of backquotes or parentheses ends no sentence.
fn first_sentence(text: &str) -> (&str, &str) {
    let (mut quoted, mut depth) = (false, 0);
    for (index, character) in text.char_indices() {
        match character {
            '`' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            '.' if !quoted && depth == 0 => {
                let (sentence, rest) = text.split_at(index + 1);
                let next = rest.trim_start().chars().next();
                if rest.starts_with(char::is_whitespace)
                    && next.is_some_and(|it| it.is_uppercase() || it == '`')
                {
                    return (sentence, rest.trim_start());
                }
            }
            _ => {}
        }
    }
    (text, "")
}

#[test]
fn a_sentence_does_not_end_inside_of_code() {
    assert_eq!(first_sentence("From `A-Z . _`. `x` is."), ("From `A-Z . _`.", "`x` is."));
    assert_eq!(first_sentence("One (a. B) two."), ("One (a. B) two.", ""));
}

#[test]
fn wrapped_lines_are_indented_below_the_first() {
    let long = "word ".repeat(30);
    let lines: Vec<_> = wrap("- ", &long).lines().map(str::to_owned).collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("- word") && lines[1].starts_with("  word"),
        "{lines:?}"
    );
}
