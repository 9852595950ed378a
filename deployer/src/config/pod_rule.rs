//! Rules of the node-local gateway, compiled.

use std::collections::BTreeSet;

use otlp_gate_core::policy::{
    ConfigPath, Pattern, Placeholder, Problem, Separator, Template, VERIFY_ATTRIBUTE,
};

use super::PodRule;

/// The placeholders of attributes that do not depend on a rule.
const BUILT_IN: [&str; 2] = ["name", "namespace"];

/// A compiled [`PodRule`]: its patterns, and the templates of what its pods get.
#[derive(Debug, Default)]
pub(crate) struct CompiledPodRule {
    /// What pods must match.
    pub(crate) patterns: Vec<(PodField, Pattern)>,
    /// The client's name.
    pub(crate) name: Template,
    /// Resource attributes, by key.
    pub(crate) attributes: Vec<(String, Template)>,
}

/// A part of a pod that patterns match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PodField {
    /// Its namespace.
    Namespace,
    /// The value of the label with this key.
    Label(String),
}

impl CompiledPodRule {
    /// Checks and compiles a rule. A pattern or template that has an error is left out.
    pub(crate) fn compile(rule: &PodRule, path: &ConfigPath, problems: &mut Vec<Problem>) -> Self {
        let mut compiler = Compiler { rule: CompiledPodRule::default(), captures: BTreeSet::new(), problems };
        let (namespace, labels) = (&rule.matches.namespace, &rule.matches.labels);
        let match_path = path.key("match");
        if namespace.is_none() && labels.is_empty() {
            compiler.problem(&match_path, "the match is empty", "set `namespace`, `labels` or both");
        }
        if let Some(text) = namespace {
            compiler.pattern(PodField::Namespace, text, &match_path.key("namespace"));
        }
        for (key, text) in labels {
            compiler.pattern(PodField::Label(key.clone()), text, &match_path.key("labels").key(key));
        }
        compiler.name(&rule.name, &path.key("name"));
        for (key, text) in &rule.attributes {
            compiler.attribute(key, text, &path.key("attributes").key(key));
        }
        compiler.rule
    }
}

struct Compiler<'a> {
    rule: CompiledPodRule,
    captures: BTreeSet<String>,
    problems: &'a mut Vec<Problem>,
}

impl Compiler<'_> {
    fn problem(&mut self, path: &ConfigPath, message: impl ToString, hint: &str) {
        self.problems.push(Problem::new(path.clone(), message.to_string()).hint(hint));
    }

    fn pattern(&mut self, field: PodField, text: &str, path: &ConfigPath) {
        let separator = match field {
            PodField::Namespace => Separator::Dns,
            PodField::Label(_) => Separator::Subject,
        };
        let pattern = match Pattern::parse(text, separator) {
            Ok(pattern) => pattern,
            Err(error) => {
                let hint = "`*` matches a part, `{name}` captures it";
                return self.problem(path, error, hint);
            }
        };
        for name in pattern.captures() {
            let taken =
                BUILT_IN.contains(&name) || !matches!(Placeholder::parse(name), Placeholder::Named(_));
            if taken || !self.captures.insert(name.to_owned()) {
                let message = format!("{{{name}}} is already defined");
                self.problem(path, message, "rename the capture");
            }
        }
        self.rule.patterns.push((field, pattern));
    }

    fn name(&mut self, text: &str, path: &ConfigPath) {
        self.rule.name = self.template(text, &["namespace"], path);
        let plain = text.chars().all(|it| it.is_ascii_alphanumeric() || "._-{}".contains(it));
        if text.is_empty() || !plain {
            self.problem(
                path,
                "a name can only contain A-Z a-z 0-9 . _ - and captures",
                "use a name such as `team-{team}`",
            );
        }
    }

    fn attribute(&mut self, key: &str, text: &str, path: &ConfigPath) {
        if key.is_empty() || key == VERIFY_ATTRIBUTE || key.contains(['{', '}']) {
            let hint = "use plain text, other than `otlp_gate.verify`";
            self.problem(path, "invalid key", hint);
        }
        let template = self.template(text, &BUILT_IN, path);
        self.rule.attributes.push((key.to_owned(), template));
    }

    fn template(&mut self, text: &str, built_in: &[&str], path: &ConfigPath) -> Template {
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(error) => {
                self.problem(path, error, "write placeholders as {name}");
                return Template::default();
            }
        };
        for name in template.placeholders().map(Placeholder::name) {
            if !self.captures.contains(&*name) && !built_in.contains(&&*name) {
                let message = format!("unknown placeholder {{{name}}}");
                let hint = "available placeholders: {name} (in attributes), {namespace}, and the captures of `match`";
                self.problem(path, message, hint);
            }
        }
        template
    }
}
