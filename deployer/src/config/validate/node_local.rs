//! What the config says of the gateway on every node.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use otlp_gate_core::policy::{
    Path, Pattern, Placeholder, Problem, Segment, Separator, Template, VERIFY_ATTRIBUTE,
};

use super::{is_label, problem};
use crate::config::{Acknowledge, Config, Export, PodRule, Queue};

/// What every pod has beside what its rule captures.
const BUILT_IN: [&str; 2] = ["name", "namespace"];

pub(super) fn mistakes(config: &Config) -> Vec<Problem> {
    let node = &config.node_local;
    let mut problems = Vec::new();
    if !config.gateway.enabled {
        let message = "without a gateway there is nothing that telemetry could go to or through".to_owned();
        if !node.enabled {
            let hint = "set `nodeLocal.enabled: true`, or leave `enabled` out";
            problems.push(problem(&["gateway", "enabled"], message, hint));
        } else if node.export.is_none() {
            let hint = "say where it sends with `nodeLocal.export`";
            problems.push(problem(&["gateway", "enabled"], message, hint));
        }
    }
    let mut name = |keys: &[&str], name: &str| {
        let message = format!("`{}` cannot be a name in Kubernetes", name.escape_debug());
        let hint = "use a-z 0-9 -, with a letter or digit at both ends, at most 63 characters";
        problems.extend((!is_label(name)).then(|| problem(keys, message, hint)));
    };
    if let Some(namespace) = &node.namespace {
        name(&["nodeLocal", "namespace"], namespace);
    }
    match &node.export {
        Some(Export::Gate(remote)) => {
            name(&["nodeLocal", "export", "gate", "clientSecret"], &remote.client_secret);
            let port = remote.endpoint.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            if remote.endpoint.contains('/') || port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
                let message = format!("`{}` is not a host and a port", remote.endpoint.escape_debug());
                let hint = "write it like otel-gateway.example.com:4317";
                problems.push(problem(&["nodeLocal", "export", "gate", "endpoint"], message, hint));
            }
        }
        Some(Export::Exporters(exporters)) if exporters.is_empty() => {
            let hint = "name at least one, or leave `export` out to send to this gate's backend";
            problems.push(problem(&["nodeLocal", "export", "exporters"], "there is none".to_owned(), hint));
        }
        _ => {}
    }
    if node.namespace.as_ref() == Some(&config.gateway.namespace) {
        let message =
            "it is the gateway's, whose pods must not have the rights that these may need".to_owned();
        problems.push(problem(&["nodeLocal", "namespace"], message, "give it one of its own"));
    }
    if node.queue == Queue::Durable && node.acknowledge == Acknowledge::Delivered {
        let message =
            "a durable queue answers when it has written, and loses nothing that was answered".to_owned();
        problems.push(problem(
            &["nodeLocal", "acknowledge"],
            message,
            "leave it out, or set `queue: memory`",
        ));
    }
    for (index, client) in node.clients.iter().enumerate() {
        rule(client, Place(index), &mut problems);
    }
    problems
}

pub(super) fn warnings(config: &Config) -> Vec<Problem> {
    let node = &config.node_local;
    let owned = config.clients.iter().map(|client| &client.attributes).chain([&config.attributes]);
    let nobodys = node.enabled && node.clients.is_empty() && owned.flat_map(BTreeMap::keys).next().is_some();
    let message = "no rule says whose pods are, so that their telemetry has none of the gate's attributes";
    let hint = "write rules such as {name: acme, match: {namespace: acme}, attributes: {tenant.id: acme}}";
    nobodys.then(|| problem(&["nodeLocal", "clients"], message.to_owned(), hint)).into_iter().collect()
}

/// One rule's place.
#[derive(Clone, Copy)]
struct Place(usize);

impl Place {
    fn problem(self, keys: &[&str], message: impl fmt::Display, hint: &str) -> Problem {
        let mut path = vec![Segment::Key("nodeLocal".to_owned()), Segment::Key("clients".to_owned())];
        path.push(Segment::Index(self.0));
        path.extend(keys.iter().map(|key| Segment::Key((*key).to_owned())));
        Problem { path: Path(path), message: message.to_string(), hint: Some(hint.to_owned()) }
    }
}

fn rule(rule: &PodRule, place: Place, problems: &mut Vec<Problem>) {
    let matches = &rule.matches;
    if matches.namespace.is_none() && matches.labels.is_empty() {
        let hint = "give `namespace`, or `labels` as well";
        problems.push(place.problem(&["match"], "an empty match", hint));
    }
    let namespace =
        matches.namespace.iter().map(|pattern| (vec!["match", "namespace"], pattern, Separator::Dns));
    let labels = matches.labels.iter();
    let labels =
        labels.map(|(key, pattern)| (vec!["match", "labels", key.as_str()], pattern, Separator::Subject));
    let mut words = BTreeSet::new();
    for (keys, pattern, separator) in namespace.chain(labels) {
        match Pattern::parse(pattern, separator) {
            Err(error) => {
                problems.push(place.problem(
                    &keys,
                    error,
                    "`*` is part of a word, `{word}` one that is remembered",
                ));
            }
            Ok(pattern) => {
                for word in pattern.words() {
                    let taken = BUILT_IN.contains(&word)
                        || !matches!(Placeholder::named(word), Placeholder::Other(_));
                    if taken || !words.insert(word.to_owned()) {
                        let message = format!("{{{word}}} already means something else here");
                        problems.push(place.problem(&keys, message, "give it another name"));
                    }
                }
            }
        }
    }
    let captured = |word: &str| words.contains(word);
    let in_name = |word: &str| captured(word) || word == "namespace";
    template(&rule.name, place, &["name"], &in_name, problems);
    let plain = rule.name.chars().all(|it| it.is_ascii_alphanumeric() || "._-{}".contains(it));
    if rule.name.is_empty() || !plain {
        problems.push(place.problem(&["name"], "a name is made of A-Z a-z 0-9 . _ -", "write another one"));
    }
    for (key, text) in &rule.attributes {
        if key.is_empty() || key == VERIFY_ATTRIBUTE || key.contains(['{', '}']) {
            let hint = "a key is plain text, and not one of the gate's own";
            problems.push(place.problem(&["attributes", key], "this cannot be a key", hint));
        }
        template(
            text,
            place,
            &["attributes", key],
            &|word| captured(word) || BUILT_IN.contains(&word),
            problems,
        );
    }
}

fn template(
    text: &str,
    place: Place,
    keys: &[&str],
    known: &dyn Fn(&str) -> bool,
    problems: &mut Vec<Problem>,
) {
    match Template::parse(text) {
        Err(error) => problems.push(place.problem(keys, error, "placeholders look like {word}")),
        Ok(template) => {
            for word in template.placeholders().map(Placeholder::word).filter(|word| !known(word)) {
                let message = format!("nothing is called {{{word}}} here");
                let hint = "there are {name} in attributes, {namespace}, and what `match` captures";
                problems.push(place.problem(keys, message, hint));
            }
        }
    }
}

#[cfg(test)]
mod tests;
