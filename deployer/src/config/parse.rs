//! Parses the text of a config, and rewrites the parser's errors.

use otlp_gate_core::policy::{ConfigPath, nearest};
use serde_saphyr::{Error as YamlError, MessageFormatter, UserMessageFormatter};

use super::position::{Positions, budget, span};
use super::{Config, Finding, Severity, schema};

/// The config, or the first error.
pub(super) fn parse(text: &str) -> Result<Config, Finding> {
    // As in the JSON Schema and YAML 1.2: 42 is not a string, and yes is not a boolean.
    let options = serde_saphyr::options! { no_schema: true, strict_booleans: true, budget: budget() };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| finding(text, &error))
}

fn finding(text: &str, error: &YamlError) -> Finding {
    let error = innermost(error);
    let mut span = error.location().and_then(|location| span(text, &location));
    let mut path = ConfigPath::default();
    if let Some(at) = &span {
        let positions = Positions::of(text);
        path = positions.path_at(at.start);
        match error {
            YamlError::SerdeMissingField { .. } => {
                path.0.pop();
            }
            YamlError::SerdeUnknownField { .. } | YamlError::DuplicateMappingKey { .. } => {}
            // The parser points at the key in some cases, but the value is wrong.
            _ => span = positions.span(&path).filter(|it| it.start >= at.start).or(span),
        }
    }
    let found = span.as_ref().and_then(|span| text.get(span.clone())).unwrap_or_default();
    let (message, hint) = message(text, found, &path, error);
    Finding { severity: Severity::Error, path: path.to_string(), span, message, hint }
}

/// The error without the parser's context.
fn innermost(error: &YamlError) -> &YamlError {
    match error {
        YamlError::WithSnippet { error, .. } | YamlError::AliasError { error, .. } => innermost(error),
        error => error,
    }
}

/// The message and the hint for an error about the text `found`.
fn message(text: &str, found: &str, path: &ConfigPath, error: &YamlError) -> (String, Option<String>) {
    match error {
        YamlError::Eof { .. } if has_no_content(text) => {
            ("the file is empty".to_owned(), Some("run `otlp-gate init` to create one".to_owned()))
        }
        YamlError::SerdeUnknownField { field, expected, .. } => (
            format!("unknown key `{field}`, expected {}", one_of(expected)),
            did_you_mean(field, expected).or_else(|| belongs_to(field)),
        ),
        YamlError::SerdeUnknownVariant { variant, expected, .. } => {
            (format!("`{variant}` is not {}", one_of(expected)), did_you_mean(variant, expected))
        }
        YamlError::SerdeMissingField { field, .. } => {
            (format!("missing key `{field}`"), example(path, field))
        }
        YamlError::SerdeInvalidType { expected, .. } | YamlError::SerdeInvalidValue { expected, .. } => {
            mismatch(expected, found)
        }
        YamlError::InvalidScalar { ty: expected, .. } | YamlError::Unexpected { expected, .. } => {
            mismatch(expected, found)
        }
        YamlError::InvalidBooleanStrict { .. } => {
            (format!("expected `true` or `false`, found {}", kind(found)), None)
        }
        YamlError::QuotingRequired { .. } => match schema::kind_of(path) {
            Some(kind) if kind != "text" => (format!("expected {kind}, found `{found}`"), None),
            _ => (format!("expected a string, found `{found}`"), Some(format!("write \"{found}\""))),
        },
        YamlError::ExpectedStringKeyForExternallyTaggedEnum { .. } => {
            let keys = schema::keys_of(path);
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            (format!("expected a map with {}", one_of(&keys)), None)
        }
        YamlError::NullIntoString { .. } => ("expected a string, found nothing".to_owned(), None),
        YamlError::DuplicateMappingKey { key: Some(key), .. } => (format!("duplicate key `{key}`"), None),
        YamlError::ExpectedMappingEndAfterEnumVariantValue { .. } => {
            ("expected one key, found a second one".to_owned(), Some("remove one of them".to_owned()))
        }
        YamlError::MultipleDocuments { .. } => {
            ("expected one YAML document, found a second one".to_owned(), Some("remove the `---`".to_owned()))
        }
        YamlError::Message { msg, .. } | YamlError::ExternalMessage { msg, .. } => {
            (msg.clone(), msg.starts_with("tabs ").then(|| "indent with spaces".to_owned()))
        }
        other => (UserMessageFormatter.format_message(other).into_owned(), None),
    }
}

fn mismatch(expected: &str, found: &str) -> (String, Option<String>) {
    if matches!(expected, "u32" | "u64" | "a nonzero u32") && found.parse().is_ok_and(|it: u128| it > 0) {
        return (format!("`{found}` is too large"), None);
    }
    let text = found;
    let found = kind(text);
    let hint = match expected {
        _ if found == NOTHING => Some("give the key a value, or remove it".to_owned()),
        "a string or a list of strings" if found.starts_with('`') => Some(format!("write \"{text}\"")),
        _ => None,
    };
    (format!("expected {}, found {found}", plain(expected)), hint)
}

fn has_no_content(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

const NOTHING: &str = "nothing";

/// Names of types for users, from those of serde and the parser.
fn plain(kind: &str) -> &str {
    match kind {
        "mapping" | "map" | "mapping start" | "any map" => "a map",
        "a sequence" | "sequence" | "sequence start" => "a list",
        "string scalar" | "string" | "str" | "a string" => "a string",
        "bool" | "boolean" | "a boolean" => "`true` or `false`",
        "u32" | "u64" => "a whole number",
        "a nonzero u32" => "a whole number above 0",
        "u16" | "a nonzero u16" => "a port, 1 to 65535",
        _ if kind.starts_with("struct ") => "a map",
        other => other,
    }
}

/// The type of a piece of YAML.
fn kind(found: &str) -> String {
    match found.chars().next() {
        None | Some('~') => NOTHING.to_owned(),
        Some('{') => "a map".to_owned(),
        Some('[') => "a list".to_owned(),
        Some(_) if found == "null" => NOTHING.to_owned(),
        Some(_) => format!("`{found}`"),
    }
}

fn one_of(names: &[&str]) -> String {
    match names {
        [only] => format!("`{only}`"),
        names => format!("one of `{}`", names.join("`, `")),
    }
}

fn did_you_mean(name: &str, known: &[&str]) -> Option<String> {
    nearest(name, known.iter().copied()).map(|nearest| format!("did you mean `{nearest}`?"))
}

/// The hint for a key that belongs elsewhere.
fn belongs_to(key: &str) -> Option<String> {
    let keys = schema::keys();
    let place = keys.iter().map(|it| &it.path).find(|path| path.rsplit('.').next() == Some(key))?;
    Some(format!("did you mean `{place}`?"))
}

/// The hint for a missing key.
fn example(path: &ConfigPath, key: &str) -> Option<String> {
    let example = match (path.0.len(), key) {
        (0, "apiVersion") => "apiVersion: otlp-gate/v1",
        (0, "clients") => "clients: [{name: acme, match: {spiffe: \"spiffe://acme.example/edge\"}}]",
        (2, "match") => "match: {spiffe: \"spiffe://acme.example/edge\"}",
        _ => return None,
    };
    Some(format!("add `{example}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_clients_and_many_that_share_an_anchor_are_read() {
        let head = "apiVersion: otlp-gate/v1\nclients:\n";
        let shared = "  - &a {name: a, match: {dns: a.b}, attributes: {tenant.id: a}}\n";
        let text = format!("{head}{shared}{}", "  - {<<: *a, name: b}\n".repeat(12_000));
        assert_eq!(parse(&text).unwrap().clients.len(), 12_001);
        let text = format!("{head}  []\ndeny:\n{}", "  - x\n".repeat(300_000));
        assert_eq!(parse(&text).unwrap().deny.len(), 300_000);
    }
}
