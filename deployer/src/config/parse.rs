//! From text to a config, and from the parser's errors to words for people.

use serde_saphyr::{Error as YamlError, MessageFormatter, UserMessageFormatter};
use strsim::damerau_levenshtein;

use super::position::{Positions, span};
use super::{Config, Finding, Severity};

/// The config, or the first mistake.
pub(super) fn parse(text: &str) -> Result<Config, Finding> {
    serde_saphyr::from_str(text).map_err(|error| finding(text, &error))
}

fn finding(text: &str, error: &YamlError) -> Finding {
    let error = innermost(error);
    let span = error.location().and_then(|location| span(text, &location));
    let path = span.as_ref().map(|span| Positions::of(text).path_at(span.start)).unwrap_or_default();
    let (message, hint) = words(text, error);
    Finding { severity: Severity::Error, path: path.to_string(), span, message, hint }
}

/// Without what only says how the parser came there.
fn innermost(error: &YamlError) -> &YamlError {
    match error {
        YamlError::WithSnippet { error, .. } | YamlError::AliasError { error, .. } => innermost(error),
        error => error,
    }
}

/// The message, and the hint.
fn words(text: &str, error: &YamlError) -> (String, Option<String>) {
    match error {
        YamlError::Eof { .. } if text.trim().is_empty() => {
            ("the file is empty".to_owned(), Some("`otlp-gate init` writes one to start from".to_owned()))
        }
        YamlError::SerdeUnknownField { field, expected, .. } => {
            (format!("unknown key `{field}`, expected {}", one_of(expected)), did_you_mean(field, expected))
        }
        YamlError::SerdeUnknownVariant { variant, expected, .. } => {
            (format!("`{variant}` is not {}", one_of(expected)), did_you_mean(variant, expected))
        }
        YamlError::SerdeMissingField { field, .. } => (format!("the key `{field}` is missing"), None),
        YamlError::SerdeInvalidType { unexpected, expected, .. }
        | YamlError::SerdeInvalidValue { unexpected, expected, .. } => {
            (format!("expected {}, found {}", plain(expected), plain(unexpected)), None)
        }
        YamlError::InvalidScalar { ty, .. } => (format!("expected {}", plain(ty)), None),
        YamlError::Unexpected { expected, .. } => (format!("expected {}", plain(expected)), None),
        YamlError::NullIntoString { .. } => ("expected a text, found nothing".to_owned(), None),
        YamlError::DuplicateMappingKey { key: Some(key), .. } => {
            (format!("the key `{key}` occurs twice"), None)
        }
        YamlError::ExpectedMappingEndAfterEnumVariantValue { .. } => {
            ("only one of these keys may be given".to_owned(), None)
        }
        YamlError::MultipleDocuments { .. } => (
            "a second YAML document begins here, expected one".to_owned(),
            Some("remove the `---`".to_owned()),
        ),
        YamlError::Message { msg, .. } | YamlError::ExternalMessage { msg, .. } => (msg.clone(), None),
        other => (UserMessageFormatter.format_message(other).into_owned(), None),
    }
}

/// serde's and the parser's names for kinds of values, as people call them.
fn plain(kind: &str) -> String {
    let plain = match kind {
        "mapping" | "map" | "mapping start" => "a map",
        "a sequence" | "sequence" | "sequence start" => "a list",
        "string scalar" | "string" | "a string" => "a text",
        "unit value" | "null" => "nothing",
        _ if kind.starts_with("struct ") => "a map",
        other => other,
    };
    plain.to_owned()
}

fn one_of(names: &[&str]) -> String {
    match names {
        [only] => format!("`{only}`"),
        names => format!("one of `{}`", names.join("`, `")),
    }
}

fn did_you_mean(word: &str, known: &[&str]) -> Option<String> {
    let distance = |known: &&&str| damerau_levenshtein(&word.to_lowercase(), &known.to_lowercase());
    let nearest = known.iter().min_by_key(distance)?;
    let near = distance(&nearest) <= (word.chars().count() / 3).max(1);
    near.then(|| format!("did you mean `{nearest}`?"))
}
