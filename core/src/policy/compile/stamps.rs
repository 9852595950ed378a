//! Compiles attributes and headers: what the gate writes, and from what.

use std::collections::{BTreeMap, BTreeSet};

use super::super::header;
use super::super::problem::{Place, Problem};
use super::super::rule::{Rule, Stamps};
use super::super::template::{Part, Placeholder, Template};
use super::super::verify::VERIFY_ATTRIBUTE;
use super::matching::{Words, is_subject_key};
use super::{template, unknown_placeholder};
use crate::config::PolicyConfig;
use crate::sort;

const MAX_KEY: usize = 256;

/// A client's own attributes, which may use what its rule captures.
pub(super) fn own(
    attributes: &BTreeMap<String, String>,
    words: &Words,
    path: &Place<'_>,
    problems: &mut Vec<Problem>,
) -> Stamps {
    let words = sort::set(words.keys().map(String::as_str));
    attributes.iter().map(|(key, text)| (key.clone(), attribute(key, text, &words, path, problems))).collect()
}

/// The attributes and headers of every client.
pub(super) fn general(
    config: &PolicyConfig,
    rules: &[Rule],
    words: &[Words],
    problems: &mut Vec<Problem>,
) -> (Stamps, Stamps) {
    let captured = sort::set(words.iter().flat_map(BTreeMap::keys).map(String::as_str));
    let path = Place::of("attributes");
    let stamp =
        |(key, text): (&String, &String)| (key.clone(), attribute(key, text, &captured, &path, problems));
    let attributes: Stamps = config.attributes.iter().map(stamp).collect();

    let all = rules.iter().flat_map(|rule| &rule.attributes).chain(&attributes);
    let keys = sort::set(all.map(|(key, _)| key.as_str()));
    let scope = Scope { rules, words, captured, general: &attributes, keys };
    let mut headers: BTreeMap<String, Template> = BTreeMap::new();
    let place = Place::of("headers");
    for (name, text) in &config.headers {
        let path = place.key(name);
        let lower = name.to_ascii_lowercase();
        if let Some(refusal) = header::refusal(&lower) {
            problems.push(Problem::new(path, format!("the gate cannot own this header: {refusal}")));
        }
        let template = scope.header(text, &path, problems);
        let same = |other: &&String| header::is_spelling(other.as_bytes(), lower.as_bytes());
        if let Some(other) = headers.keys().find(same) {
            let how = if *other == lower { "case" } else { "spellings that backends take for one name" };
            problems.push(Problem::new(path, format!("the header is given twice, in different {how}")));
        }
        headers.insert(lower, template);
    }
    let headers = headers.into_iter().collect();
    (attributes, headers)
}

fn attribute(
    key: &str,
    text: &str,
    words: &BTreeSet<&str>,
    path: &Place<'_>,
    problems: &mut Vec<Problem>,
) -> Template {
    let path = path.key(key);
    if key.is_empty() {
        problems.push(Problem::new(path, "an attribute needs a key"));
    } else if key.len() > MAX_KEY || key.contains(char::is_control) {
        let message = format!("an attribute's key is at most {MAX_KEY} bytes, without control characters");
        problems.push(Problem::new(path, message));
    }
    if key == VERIFY_ATTRIBUTE {
        problems.push(Problem::new(path, "this key is reserved for `otlp-gate verify`"));
    }
    if key.contains(['{', '}']) {
        let message = "a key is plain text, so that the gate knows which attributes it owns";
        problems.push(Problem::new(path, message).hint("placeholders go into the value"));
    }
    let template = template(text, &path, problems);
    for placeholder in template.placeholders() {
        match placeholder {
            Placeholder::Other(word) if !words.contains(&**word) => {
                let known = words.iter().copied().chain(Placeholder::BUILT_IN);
                problems.push(unknown_placeholder(placeholder, &path, known));
            }
            Placeholder::SubjectKey(key) => subject_key(key, &path, problems),
            _ => {}
        }
    }
    template
}

fn subject_key(key: &str, path: &Place<'_>, problems: &mut Vec<Problem>) {
    if !is_subject_key(key) {
        let message = format!("`{}` is no key of a subject", key.escape_debug());
        problems.push(Problem::new(path, message).hint("write {subject.CN}, or a dotted OID"));
    }
}

/// What placeholders of headers can mean: what certificates have, what rules capture, and the clients' attributes.
struct Scope<'a> {
    rules: &'a [Rule],
    words: &'a [Words],
    captured: BTreeSet<&'a str>,
    general: &'a Stamps,
    /// The keys of all attributes.
    keys: BTreeSet<&'a str>,
}

impl<'a> Scope<'a> {
    fn header(&self, text: &str, path: &Place<'_>, problems: &mut Vec<Problem>) -> Template {
        let template = template(text, path, problems);
        if template.literal().is_some_and(|value| !header::is_value(value)) || !is_visible(&template) {
            problems.push(Problem::new(path, format!("a header's value is {}", header::VALUE)));
        }
        for placeholder in template.placeholders() {
            let word = placeholder.word();
            let is_attribute = self.keys.contains(&*word);
            match placeholder {
                Placeholder::Other(word) if !is_attribute && !self.captured.contains(&**word) => {
                    let known = sort::set(self.captured.union(&self.keys).copied());
                    let known = known.into_iter().chain(Placeholder::BUILT_IN);
                    problems.push(unknown_placeholder(placeholder, path, known));
                }
                Placeholder::SubjectKey(key) if !is_attribute => subject_key(key, path, problems),
                _ if is_attribute => self.attribute_in_header(placeholder, path, problems),
                _ => {}
            }
        }
        template
    }

    /// A placeholder that is an attribute's key: it must be able to stand in a header, and where it is also
    /// something else, it must mean the same either way.
    fn attribute_in_header(&self, placeholder: &Placeholder, path: &Place<'_>, problems: &mut Vec<Problem>) {
        let word = placeholder.word();
        let built_in = !matches!(placeholder, Placeholder::Other(_));
        for (rule, words) in self.words.iter().enumerate() {
            let Some(attribute) = self.attribute_of(rule, &word) else { continue };
            let ambiguous = (built_in || words.contains_key(&*word)) && !attribute.is_just(placeholder);
            if ambiguous {
                let what = if built_in { "a part of the certificate" } else { "a captured word" };
                let message =
                    format!("{placeholder} is {what}, and an attribute of clients[{rule}] of another value");
                problems.push(Problem::new(path, message).hint("give the two different names"));
                return;
            }
            if !is_visible(attribute) {
                let message = format!(
                    "{placeholder} of clients[{rule}] does not fit into a header, whose value is {}",
                    header::VALUE
                );
                problems.push(Problem::new(path, message));
                return;
            }
        }
    }

    /// What a rule's clients have under this key.
    fn attribute_of(&self, rule: usize, key: &str) -> Option<&'a Template> {
        let own = &self.rules.get(rule)?.attributes;
        find(own, key).or_else(|| find(self.general, key))
    }
}

fn find<'a>(stamps: &'a Stamps, key: &str) -> Option<&'a Template> {
    let at = stamps.binary_search_by(|(own, _)| own.as_str().cmp(key)).ok()?;
    stamps.get(at).map(|(_, template)| template)
}

/// Whether its plain text may stand in a header.
fn is_visible(template: &Template) -> bool {
    template.parts().iter().all(|part| match part {
        Part::Text(text) => text.bytes().all(header::is_value_byte),
        Part::Placeholder(_) => true,
    })
}
