//! Keys and passwords in plain text: the Collector's configuration is in a ConfigMap, which many may read.

use std::collections::BTreeMap;

use otlp_gate_core::policy::{ConfigPath, Problem};
use serde_json::Value;

use super::at;
use crate::config::Collector;

/// What a setting's name has, without case and separators, if its value is secret.
const SECRET: [&str; 15] = [
    "authorization",
    "apikey",
    "accesskey",
    "accountkey",
    "sharedkey",
    "secretkey",
    "licensekey",
    "privatekey",
    "ingestkey",
    "token",
    "password",
    "passwd",
    "secret",
    "credential",
    "connectionstring",
];
/// What it ends with if its value is only where the secret is.
const ELSEWHERE: [&str; 7] = ["file", "path", "url", "endpoint", "name", "header", "type"];
/// What values begin with that are secret whatever their setting is called.
const PREFIXES: [&str; 5] = ["Bearer ", "Basic ", "Token ", "eyJ", "AKIA"];
/// The fewest characters of a header's value that looks random.
const RANDOM: usize = 20;

pub(super) fn warnings(collector: &Collector) -> Vec<Problem> {
    let components = [
        ("exporters", &collector.exporters),
        ("processors", &collector.processors),
        ("connectors", &collector.connectors),
        ("extensions", &collector.extensions),
    ];
    let mut problems: Vec<Problem> =
        components.into_iter().flat_map(|(key, all)| of_components(&at(key), all)).collect();
    for (index, variable) in collector.env.iter().enumerate() {
        let value = variable.0.value.as_deref().unwrap_or_default();
        if is_secret(&variable.0.name, value, false) {
            let hint = "put it into a Secret, and refer to it by `valueFrom: {secretKeyRef: {name: SECRET, key: KEY}}`";
            problems.push(problem(at("env").index(index).key("value"), hint));
        }
    }
    problems
}

/// The warnings about components by name.
pub(super) fn of_components(path: &ConfigPath, components: &BTreeMap<String, Value>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, settings) in components {
        visit(settings, &path.key(name), "", false, &mut problems);
    }
    problems
}

fn visit(value: &Value, path: &ConfigPath, key: &str, header: bool, problems: &mut Vec<Problem>) {
    match value {
        Value::Object(map) => {
            let header = folded(key) == "headers";
            map.iter().for_each(|(key, value)| visit(value, &path.key(key), key, header, problems));
        }
        Value::Array(list) => {
            let items = list.iter().enumerate();
            items.for_each(|(index, value)| visit(value, &path.index(index), key, header, problems));
        }
        Value::String(text) if is_secret(key, text, header) => problems.push(problem(
            path.clone(),
            "put it into a Secret, write `${env:NAME}` here, and add `{name: NAME, valueFrom: {secretKeyRef: {name: \
             SECRET, key: KEY}}}` under `env`",
        )),
        _ => {}
    }
}

fn problem(path: ConfigPath, hint: &str) -> Problem {
    Problem::new(path, "this looks like a key, and would be readable in the cluster's objects").hint(hint)
}

fn is_secret(key: &str, value: &str, header: bool) -> bool {
    // A reference to an environment variable or a file.
    if value.trim().is_empty() || value.contains("${") {
        return false;
    }
    let key = folded(key);
    let by_key = SECRET.iter().any(|it| key.contains(it)) && !ELSEWHERE.iter().any(|it| key.ends_with(it));
    let by_value = PREFIXES.iter().any(|it| value.starts_with(it))
        || value.contains("PRIVATE KEY-----")
        || has_password(value);
    by_key || by_value || (header && is_random(value))
}

/// Whether a URL has a password: `https://user:password@host`.
fn has_password(value: &str) -> bool {
    let authority = value.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
    authority.and_then(|it| it.rsplit_once('@')).is_some_and(|(user, _)| user.contains(':'))
}

/// Whether a header's value looks like a key: long, without spaces, with letters and digits.
fn is_random(value: &str) -> bool {
    value.len() >= RANDOM
        && value
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'=' | b'+' | b'/'))
        && value.bytes().any(|it| it.is_ascii_digit())
        && value.bytes().any(|it| it.is_ascii_alphabetic())
}

fn folded(key: &str) -> String {
    key.chars().filter(char::is_ascii_alphanumeric).map(|it| it.to_ascii_lowercase()).collect()
}
