//! Processors that may change owned attributes after the gateway has set them.

use otlp_gate_core::policy::{ConfigPath, Policy, Problem};
use serde_json::Value;

use super::at;
use crate::config::{Collector, kind};

/// Statements of the transform processor, by key.
const STATEMENTS: [&str; 4] =
    ["trace_statements", "metric_statements", "log_statements", "profile_statements"];
/// Functions of OTTL that change many attributes of a map at once.
const OF_MAPS: [&str; 11] = [
    "set",
    "keep_keys",
    "keep_matching_keys",
    "delete_matching_keys",
    "delete_keys",
    "limit",
    "truncate_all",
    "replace_all_matches",
    "replace_all_patterns",
    "merge_maps",
    "flatten",
];
/// Attributes that resource detectors set, by their first word.
const DETECTED: [&str; 10] =
    ["aws", "azure", "cloud", "container", "faas", "gcp", "host", "k8s", "os", "service"];

/// The warnings about all processors.
pub(super) fn warnings(collector: &Collector, policy: &Policy) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, settings) in &collector.processors {
        let check = Check { policy, path: at("processors").key(name) };
        problems.extend(match kind(name) {
            "resource" => check.actions(settings, "attributes", true),
            "attributes" => check.actions(settings, "actions", false),
            "transform" => check.statements(settings),
            "redaction" => check.redaction(settings),
            "groupbyattrs" => check.keys(settings),
            "resourcedetection" | "resource_detection" => check.detection(settings),
            _ => Vec::new(),
        });
    }
    problems
}

struct Check<'a> {
    policy: &'a Policy,
    path: ConfigPath,
}

impl Check<'_> {
    fn owns(&self, key: &str) -> bool {
        self.policy.owned().owns(key)
    }

    fn changes(&self, path: ConfigPath, key: &str) -> Problem {
        let message = format!("it changes `{key}`, which only the gateway may set");
        Problem::new(path, message).hint("use another key, or read the attribute without changing it")
    }

    fn may_change(&self, path: ConfigPath, hint: &str) -> Problem {
        Problem::new(path, "it may change attributes that only the gateway may set").hint(hint)
    }

    /// The actions of the resource and attributes processors.
    fn actions(&self, settings: &Value, key: &str, of_resource: bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (index, action) in items(settings, key).enumerate() {
            let path = self.path.key(key).index(index);
            let text = |key: &str| action.get(key).and_then(Value::as_str);
            if let Some(key) = text("key").filter(|key| self.owns(key) && text("action") != Some("extract")) {
                problems.push(self.changes(path.key("key"), key));
            }
            if let Some(pattern) = text("pattern") {
                if text("action") == Some("extract") {
                    let captures = pattern.split("(?P<").skip(1).filter_map(|it| it.split('>').next());
                    let owned = captures.filter(|capture| self.owns(capture));
                    problems.extend(owned.map(|capture| self.changes(path.key("pattern"), capture)));
                } else if of_resource {
                    let hint = "write the keys out, under `key`";
                    problems.push(self.may_change(path.key("pattern"), hint));
                }
            }
        }
        problems
    }

    /// The statements of the transform processor: plain texts, or groups with a context.
    fn statements(&self, settings: &Value) -> Vec<Problem> {
        let mut problems = Vec::new();
        for key in STATEMENTS {
            for (index, entry) in items(settings, key).enumerate() {
                let path = self.path.key(key).index(index);
                if let Some(text) = entry.as_str() {
                    problems.extend(self.statement(text, false, &path));
                    continue;
                }
                let of_resource = entry.get("context").and_then(Value::as_str) == Some("resource");
                for (index, text) in items(entry, "statements").enumerate() {
                    let path = path.key("statements").index(index);
                    problems.extend(text.as_str().and_then(|it| self.statement(it, of_resource, &path)));
                }
            }
        }
        problems
    }

    /// A statement, such as `set(resource.attributes["a"], "b") where ..`: only the function's first argument is
    /// changed.
    fn statement(&self, text: &str, of_resource: bool, path: &ConfigPath) -> Option<Problem> {
        let (function, arguments) = text.trim().split_once('(')?;
        let (first, rest) = first_argument(arguments);
        let of_resource = of_resource && first.starts_with("attributes");
        let target = first.strip_prefix("resource.").filter(|it| it.starts_with("attributes"));
        let target = target.or(of_resource.then_some(first))?;
        let function = function.trim();
        match target.strip_prefix("attributes")?.trim() {
            "" if function == "delete_key" => {
                let key = quoted(rest).next().filter(|key| self.owns(key))?;
                Some(self.changes(path.clone(), &key))
            }
            "" if OF_MAPS.contains(&function) => {
                let hint = "name the attributes one by one, as in `delete_key(resource.attributes, \"key\")`";
                Some(self.may_change(path.clone(), hint))
            }
            "" => None,
            key => {
                let key = quoted(key).collect::<Vec<_>>().join(".");
                self.owns(&key).then(|| self.changes(path.clone(), &key))
            }
        }
    }

    /// The redaction processor deletes what it does not allow, also of Resources.
    fn redaction(&self, settings: &Value) -> Vec<Problem> {
        let hint = "set `allow_all_keys: true`, and add the owned attributes to `ignored_keys`";
        let allows = settings.get("allow_all_keys").and_then(Value::as_bool) == Some(true);
        if !allows {
            return vec![self.may_change(self.path.clone(), hint)];
        }
        let masks = ["blocked_values", "blocked_key_patterns"];
        let masks = masks.into_iter().filter(|key| items(settings, key).next().is_some());
        let ignored = items(settings, "ignored_keys").next().is_some();
        masks.filter(|_| !ignored).map(|key| self.may_change(self.path.key(key), hint)).collect()
    }

    /// The groupbyattrs processor makes attributes of items, which clients choose, attributes of the Resource.
    fn keys(&self, settings: &Value) -> Vec<Problem> {
        let keys = items(settings, "keys").enumerate();
        let owned = keys.filter_map(|(index, key)| {
            let key = key.as_str().filter(|key| self.owns(key))?;
            let message = format!("items' own `{key}` would replace the one that the gateway has set");
            let problem = Problem::new(self.path.key("keys").index(index), message);
            Some(problem.hint("remove it: the Resource has the attribute already"))
        });
        owned.collect()
    }

    /// The resourcedetection processor replaces attributes unless `override` is false.
    fn detection(&self, settings: &Value) -> Vec<Problem> {
        if settings.get("override").and_then(Value::as_bool) == Some(false) {
            return Vec::new();
        }
        let owned = self.policy.owned_attributes().iter();
        let detected =
            owned.filter(|key| DETECTED.iter().any(|word| key.split(['.', '_']).next() == Some(word)));
        detected.map(|key| self.changes(self.path.clone(), key).hint("set `override: false`")).collect()
    }
}

/// The items of a list under this key.
fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// The first argument of a function and what follows it, of the text after the function's `(`.
fn first_argument(text: &str) -> (&str, &str) {
    let (mut quote, mut escaped) = (false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quote => escaped = true,
            '"' => quote = !quote,
            ',' | ')' if !quote => {
                let (first, rest) = text.split_at(at);
                return (first.trim(), rest);
            }
            _ => {}
        }
    }
    (text.trim(), "")
}

/// The texts in quotes.
fn quoted(text: &str) -> impl Iterator<Item = String> {
    text.split('"').skip(1).step_by(2).map(str::to_owned)
}
