//! Compiles resource attributes: their keys, and the templates of their values.

use std::collections::{BTreeMap, BTreeSet};

use super::super::probe_client::VERIFY_ATTRIBUTE;
use super::super::problem::{PathRef, Problem};
use super::super::rule::Templates;
use super::super::template::{Placeholder, Template};
use super::captures::CaptureClasses;
use super::{template, unknown_placeholder};
use crate::identity::is_subject_key;
use crate::sort;

const MAX_KEY: usize = 256;

/// The attributes of a rule's own, which may use its captures.
pub(super) fn of_rule(
    attributes: &BTreeMap<String, String>,
    captures: &CaptureClasses,
    path: &PathRef<'_>,
    problems: &mut Vec<Problem>,
) -> Templates {
    compile(attributes, &sort::set(captures.keys().map(String::as_str)), path, problems)
}

/// Attributes whose templates may use these captures.
pub(super) fn compile(
    attributes: &BTreeMap<String, String>,
    captures: &BTreeSet<&str>,
    path: &PathRef<'_>,
    problems: &mut Vec<Problem>,
) -> Templates {
    let attributes = attributes.iter();
    attributes
        .map(|(key, text)| (key.clone(), attribute(key, text, captures, &path.key(key), problems)))
        .collect()
}

fn attribute(
    key: &str,
    text: &str,
    captures: &BTreeSet<&str>,
    path: &PathRef<'_>,
    problems: &mut Vec<Problem>,
) -> Template {
    if key.is_empty() {
        problems.push(Problem::new(path, "the key is empty"));
    } else if key.len() > MAX_KEY || key.contains(char::is_control) {
        let message = format!("a key is at most {MAX_KEY} bytes, without control characters");
        problems.push(Problem::new(path, message));
    }
    if key == VERIFY_ATTRIBUTE {
        problems.push(Problem::new(path, "this key is reserved for `otlp-gate verify`"));
    }
    if key.contains(['{', '}']) {
        let message = "a key cannot contain `{` or `}`";
        problems.push(Problem::new(path, message).hint("use placeholders in the value"));
    }
    let template = template(text, path, problems);
    for placeholder in template.placeholders() {
        match placeholder {
            Placeholder::Named(name) if !captures.contains(&**name) => {
                let known = captures.iter().copied().chain(Placeholder::BUILT_IN);
                problems.push(unknown_placeholder(placeholder, path, known));
            }
            Placeholder::SubjectKey(key) => check_subject_key(key, path, problems),
            _ => {}
        }
    }
    template
}

/// Finds a placeholder such as `{subject.C N}`.
pub(super) fn check_subject_key(key: &str, path: &PathRef<'_>, problems: &mut Vec<Problem>) {
    if !is_subject_key(key) {
        let message = format!("`{}` is not a key of a subject", key.escape_debug());
        problems.push(Problem::new(path, message).hint("write a key such as {subject.CN}, or a dotted OID"));
    }
}
