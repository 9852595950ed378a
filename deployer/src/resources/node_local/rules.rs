//! Rules for pods as statements of the Collector's transform processor (OTTL).

use std::collections::{BTreeMap, BTreeSet};

use otlp_gate_core::policy::{ConfigPath, Placeholder, Segment, Template, owned_attributes};

use super::super::ottl::text;
use crate::config::{CompiledPodRule, Config, PodField, PodRule};

/// The attribute with the pod's namespace, set by the Collector.
const NAMESPACE: &str = "k8s.namespace.name";
/// The prefix of attributes that hold the pod's labels until the rules have read them.
const LABEL: &str = "otlp_gate.label/";

/// The attributes that identify a pod, set by the Collector. Values that pods send are removed first: the Collector
/// does not replace existing ones.
pub(super) const POD_ATTRIBUTES: [&str; 8] = [
    "k8s.daemonset.name",
    "k8s.deployment.name",
    "k8s.job.name",
    NAMESPACE,
    "k8s.node.name",
    "k8s.pod.name",
    "k8s.pod.uid",
    "k8s.statefulset.name",
];

/// The labels that rules match, each with the attribute that holds it meanwhile.
pub(super) fn labels(rules: &[PodRule]) -> BTreeMap<&str, String> {
    let keys = rules.iter().flat_map(|rule| rule.matches.labels.keys());
    keys.map(|key| (key.as_str(), format!("{LABEL}{key}"))).collect()
}

/// Removes owned attributes that pods send, however often they occur.
pub(super) fn remove_owned(config: &Config) -> Vec<String> {
    let owned = owned_attributes(&config.policy());
    let owned: BTreeSet<&str> = owned.iter().map(String::as_str).chain(POD_ATTRIBUTES).collect();
    let folded = config.owned_spellings.is_folded();
    let mut keys: Vec<String> =
        owned.into_iter().map(|key| if folded { any_spelling(key) } else { literally(key) }).collect();
    keys.push(format!("{}.*", literally(LABEL)));
    // By a pattern: `delete_key` removes only the first attribute of a key.
    vec![format!("delete_matching_keys(resource.attributes, {})", text(&format!("^(?:{})$", keys.join("|"))))]
}

/// Rejects telemetry from an address that no pod has. The statement fails on purpose: no processor of the Collector
/// rejects by a condition, and a dropped export would be answered with success. The sender gets the message, and may
/// retry.
pub(super) fn reject_unknown_senders() -> String {
    let message = "the sender's address belongs to no running pod of this node; hint: send to the gateway's Service, \
                   or set nodeLocal.unknownSenders: accept";
    format!(
        "set(resource.cache[\"unknown\"], ParseJSON({})) where resource.attributes[\"k8s.pod.uid\"] == nil",
        text(message)
    )
}

/// A regular expression for all keys that backends may store under this name; see `wire/src/otlp/owned.rs`.
fn any_spelling(key: &str) -> String {
    let words = key.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words = words.collect::<Vec<_>>().join("[^a-z0-9]+");
    if words.is_empty() { literally(key) } else { format!("(?i:[^a-z0-9]*{words}[^a-z0-9]*)") }
}

/// Sets the attributes of the first rule that matches.
pub(super) fn set_attributes(config: &Config) -> Vec<String> {
    let rules = &config.node_local.clients;
    let parse = |(key, text): (&String, &String)| Some((key.clone(), Template::parse(text).ok()?));
    let shared: Vec<(String, Template)> = config.attributes.iter().filter_map(parse).collect();
    let mut statements = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        // A loaded config has no errors.
        let rule = CompiledPodRule::compile(rule, &ConfigPath::default(), &mut Vec::new());
        let expressions = Rule::new(&rule);
        let holds = expressions.conditions.join(" and ");
        statements.push(format!(
            "set(resource.cache[\"rule\"], {number}) where resource.cache[\"rule\"] == nil and {holds}"
        ));
        let is_own = |key: &str| rule.attributes.iter().any(|(own, _)| own == key);
        let shared = shared.iter().filter(|(key, _)| !is_own(key));
        for (key, template) in rule.attributes.iter().chain(shared) {
            if let Some(value) = expressions.value(template) {
                let key = text(key);
                statements.push(format!(
                    "set(resource.attributes[{key}], {value}) where resource.cache[\"rule\"] == {number}"
                ));
            }
        }
    }
    if !labels(rules).is_empty() {
        let held = text(&format!("^{}.*$", literally(LABEL)));
        statements.push(format!("delete_matching_keys(resource.attributes, {held})"));
    }
    statements
}

/// A rule as OTTL expressions.
struct Rule {
    conditions: Vec<String>,
    captures: BTreeMap<String, String>,
    name: Template,
}

impl Rule {
    fn new(rule: &CompiledPodRule) -> Self {
        let mut expressions =
            Rule { conditions: Vec::new(), captures: BTreeMap::new(), name: rule.name.clone() };
        for (field, pattern) in &rule.patterns {
            let attribute = match field {
                PodField::Namespace => text(NAMESPACE),
                PodField::Label(key) => text(&format!("{LABEL}{key}")),
            };
            let regex = text(&pattern.regex());
            expressions.conditions.push(format!("IsMatch(resource.attributes[{attribute}], {regex})"));
            for name in pattern.captures() {
                let value =
                    format!("ExtractPatterns(resource.attributes[{attribute}], {regex})[{}]", text(name));
                expressions.captures.insert(name.to_owned(), value);
            }
        }
        expressions
    }

    /// The expression for a template; `None` if a placeholder is a part of certificates.
    fn value(&self, template: &Template) -> Option<String> {
        let segments: Option<Vec<String>> = template.segments().iter().map(|it| self.segment(it)).collect();
        Some(match segments?.as_slice() {
            [] => text(""),
            [one] => one.clone(),
            all => format!("Concat([{}], \"\")", all.join(", ")),
        })
    }

    fn segment(&self, segment: &Segment) -> Option<String> {
        match segment {
            Segment::Text(plain) => Some(text(plain)),
            Segment::Placeholder(Placeholder::Name) => self.value(&self.name),
            Segment::Placeholder(Placeholder::Named(name)) if &**name == "namespace" => {
                Some(format!("resource.attributes[{}]", text(NAMESPACE)))
            }
            Segment::Placeholder(Placeholder::Named(name)) => self.captures.get(&**name).cloned(),
            Segment::Placeholder(_) => None,
        }
    }
}

/// A regular expression that matches this text only.
fn literally(plain: &str) -> String {
    let special = |character: char| r"\.+*?()|[]{}^$".contains(character);
    plain
        .chars()
        .flat_map(|character| special(character).then_some('\\').into_iter().chain([character]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    fn config(rules: &str) -> Config {
        let text = format!(
            "apiVersion: otlp-gate/v1\nclients: []\nattributes: {{otlp_gate.client: \"{{name}}\", subject: \"{{subject}}\"}}\n\
             nodeLocal: {{enabled: true, clients: {rules}}}"
        );
        let source = Source { name: "test".to_owned(), text };
        source.load().unwrap_or_else(|report| panic!("{report}")).config
    }

    #[test]
    fn the_first_rule_that_matches_sets_its_captures() {
        let config = config(
            r#"[{name: "{team}.x", match: {namespace: "team-{team}", labels: {app: "a*"}}, attributes: {tenant.id: "{team} $1", ns: "{namespace}"}}]"#,
        );
        let namespace = r#"resource.attributes["k8s.namespace.name"]"#;
        let team =
            format!(r#"ExtractPatterns({namespace}, "^team-(?P<team>[A-Za-z0-9_-]{{1,63}}?)$$")["team"]"#);
        let rule = r#"resource.cache["rule"]"#;
        assert_eq!(
            set_attributes(&config),
            [
                format!(
                    r#"set({rule}, 0) where {rule} == nil and IsMatch({namespace}, "^team-(?P<team>[A-Za-z0-9_-]{{1,63}}?)$$") and IsMatch(resource.attributes["otlp_gate.label/app"], "^a[^\\./]+?$$")"#
                ),
                format!(r#"set(resource.attributes["ns"], {namespace}) where {rule} == 0"#),
                format!(
                    r#"set(resource.attributes["tenant.id"], Concat([{team}, " $$1"], "")) where {rule} == 0"#
                ),
                format!(
                    r#"set(resource.attributes["otlp_gate.client"], Concat([{team}, ".x"], "")) where {rule} == 0"#
                ),
                r#"delete_matching_keys(resource.attributes, "^otlp_gate\\.label/.*$$")"#.to_owned(),
            ]
        );
    }

    #[test]
    fn owned_attributes_are_removed_however_often_they_occur() {
        let mut config = config("[]");
        config.owned_spellings = otlp_gate_core::config::OwnedSpellings::Exact;
        let removed = remove_owned(&config);
        let [removed] = removed.as_slice() else { panic!("{removed:?}") };
        assert!(
            removed.starts_with(r#"delete_matching_keys(resource.attributes, "^(?:k8s\\.daemonset\\.name|"#),
            "{removed}"
        );
        for key in [r"otlp_gate\\.client", "subject", r"otlp_gate\\.verify", r"otlp_gate\\.label/.*)$$"] {
            assert!(removed.contains(&format!("|{key}")), "{removed}");
        }
    }

    #[test]
    fn other_spellings_of_owned_attributes_are_removed() {
        let removed = remove_owned(&config("[]"));
        let [removed] = removed.as_slice() else { panic!("{removed:?}") };
        let client = "(?i:[^a-z0-9]*otlp[^a-z0-9]+gate[^a-z0-9]+client[^a-z0-9]*)";
        assert!(removed.contains(client), "{removed}");
        assert!(removed.ends_with(r#"|otlp_gate\\.label/.*)$$")"#), "{removed}");
    }
}
