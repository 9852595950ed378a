//! Compiles request headers: which names the gate may own, and the templates of their values.

use std::collections::{BTreeMap, BTreeSet};

use super::super::header;
use super::super::problem::{PathRef, Problem};
use super::super::rule::{Rule, Templates};
use super::super::template::{Placeholder, Segment, Template};
use super::attributes::check_subject_key;
use super::captures::CaptureClasses;
use super::{template, unknown_placeholder};
use crate::sort;

/// All names that placeholders of headers may have: parts of certificates, captures of rules, and keys of attributes.
pub(super) struct Scope<'a> {
    pub(super) rules: &'a [Rule],
    /// The captures of each rule.
    pub(super) captures: &'a [CaptureClasses],
    /// The names of all captures.
    pub(super) captured: BTreeSet<&'a str>,
    /// The attributes of every client.
    pub(super) attributes: &'a Templates,
}

impl<'a> Scope<'a> {
    /// Compiles the headers. Their names are in lower case.
    pub(super) fn compile(
        &self,
        headers: &BTreeMap<String, String>,
        problems: &mut Vec<Problem>,
    ) -> Templates {
        let all = self.rules.iter().flat_map(|rule| &rule.attributes).chain(self.attributes);
        let keys = sort::set(all.map(|(key, _)| key.as_str()));
        let mut compiled: BTreeMap<String, Template> = BTreeMap::new();
        let root = PathRef::of("headers");
        for (name, text) in headers {
            let path = root.key(name);
            let lower = name.to_ascii_lowercase();
            if let Some(reason) = header::forbidden(&lower) {
                problems.push(Problem::new(path, format!("this header cannot be set: {reason}")));
            }
            let template = self.value(text, &keys, &path, problems);
            let same = |other: &&String| header::is_spelling(other.as_bytes(), lower.as_bytes());
            if let Some(other) = compiled.keys().find(same) {
                let why = if *other == lower {
                    "case is ignored"
                } else {
                    "backends may treat both spellings as one name"
                };
                problems.push(Problem::new(path, format!("duplicate header: {why}")));
            }
            compiled.insert(lower, template);
        }
        compiled.into_iter().collect()
    }

    fn value(
        &self,
        text: &str,
        keys: &BTreeSet<&str>,
        path: &PathRef<'_>,
        problems: &mut Vec<Problem>,
    ) -> Template {
        let template = template(text, path, problems);
        if template.literal().is_some_and(|value| !header::is_value(value)) || !is_visible(&template) {
            problems.push(Problem::new(path, format!("a header's value must be {}", header::VALUE)));
        }
        for placeholder in template.placeholders() {
            let is_attribute = keys.contains(&*placeholder.name());
            match placeholder {
                Placeholder::Named(name) if !is_attribute && !self.captured.contains(&**name) => {
                    let known = sort::set(self.captured.union(keys).copied());
                    let known = known.into_iter().chain(Placeholder::BUILT_IN);
                    problems.push(unknown_placeholder(placeholder, path, known));
                }
                Placeholder::SubjectKey(key) if !is_attribute => check_subject_key(key, path, problems),
                _ if is_attribute => self.check_attribute(placeholder, path, problems),
                _ => {}
            }
        }
        template
    }

    /// A placeholder that is an attribute's key: the attribute must fit into a header, and where the name means
    /// something else as well, both must have the same value.
    fn check_attribute(&self, placeholder: &Placeholder, path: &PathRef<'_>, problems: &mut Vec<Problem>) {
        let name = placeholder.name();
        let built_in = !matches!(placeholder, Placeholder::Named(_));
        for (rule, captures) in self.captures.iter().enumerate() {
            let Some(attribute) = self.attribute_of(rule, &name) else { continue };
            let ambiguous = (built_in || captures.contains_key(&*name)) && !attribute.is_just(placeholder);
            if ambiguous {
                let what = if built_in { "a part of the certificate" } else { "a capture" };
                let message = format!(
                    "{placeholder} is ambiguous: {what}, and an attribute of clients[{rule}] with another value"
                );
                problems.push(Problem::new(path, message).hint("rename one of them"));
                return;
            }
            if !is_visible(attribute) {
                let message = format!(
                    "{placeholder} of clients[{rule}] cannot be used in a header, whose value must be {}",
                    header::VALUE
                );
                problems.push(Problem::new(path, message));
                return;
            }
        }
    }

    /// The attribute that a rule's clients have under this key.
    fn attribute_of(&self, rule: usize, key: &str) -> Option<&'a Template> {
        let own = &self.rules.get(rule)?.attributes;
        find(own, key).or_else(|| find(self.attributes, key))
    }
}

fn find<'a>(templates: &'a Templates, key: &str) -> Option<&'a Template> {
    let at = templates.binary_search_by(|(own, _)| own.as_str().cmp(key)).ok()?;
    templates.get(at).map(|(_, template)| template)
}

/// Whether its literal texts may be in a header.
fn is_visible(template: &Template) -> bool {
    template.segments().iter().all(|segment| match segment {
        Segment::Text(text) => text.bytes().all(header::is_value_byte),
        Segment::Placeholder(_) => true,
    })
}
