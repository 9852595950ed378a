//! The JSON Schema of the config, and the list of all its keys, both from its types.

use otlp_gate_core::policy::{ConfigPath, PathStep};
use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::{Map, Value};

use super::Config;

/// The JSON Schema, draft 2020-12.
pub(crate) fn json_schema() -> Schema {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>();
    RecursiveTransform(join_lines).transform(&mut schema);
    schema
}

/// A key of the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// Such as `clients[].match.spiffe`; a key that the user chooses is in capitals: `quotas.tiers.NAME.items`.
    pub(crate) path: String,
    /// What its value is.
    pub(crate) kind: String,
    /// Its default value; empty if it has none, or if the description states it.
    pub(crate) default: String,
    /// What it means.
    pub(crate) meaning: String,
}

/// Every key, sorted; a key comes before those inside it.
pub(crate) fn keys() -> Vec<Key> {
    let schema = json_schema();
    let mut keys = Keys { definitions: schema.get("$defs").and_then(Value::as_object), keys: Vec::new() };
    keys.visit("", schema.as_value());
    keys.keys
}

/// What the value at this place is, in words; `None` for what is not a key.
pub(super) fn kind_of(path: &ConfigPath) -> Option<String> {
    keys().into_iter().find(|key| key.is_at(path)).map(|key| key.kind)
}

/// The keys inside the one at this place.
pub(super) fn keys_of(path: &ConfigPath) -> Vec<String> {
    let keys = keys();
    let Some(parent) = keys.iter().find(|key| key.is_at(path)) else { return Vec::new() };
    let inside = keys.iter().filter_map(|key| key.path.strip_prefix(&parent.path)?.strip_prefix('.'));
    inside.filter(|key| !key.contains('.')).map(str::to_owned).collect()
}

/// Joins the lines of descriptions. Doc comments are wrapped for the source; the page and the help wrap them again.
fn join_lines(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.split("\n\n").map(|it| it.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
    }
}

impl Key {
    /// Whether it is the key of this place, be it `clients[].name` for `clients[3].name` or `quotas.tiers.NAME` for
    /// `quotas.tiers.gold`.
    fn is_at(&self, path: &ConfigPath) -> bool {
        let own = self.path.replace("[]", ".[]");
        let mut own = own.split('.').peekable();
        path.0.iter().all(|segment| match segment {
            PathStep::Key(key) => own.next_if(|it| it == key || *it == "NAME").is_some(),
            // what may stand alone or in a list has no `[]` of its own
            PathStep::Index(_) => own.next_if_eq(&"[]").is_some() || own.peek().is_some(),
        }) && own.next().is_none()
    }
}

struct Keys<'a> {
    definitions: Option<&'a Map<String, Value>>,
    keys: Vec<Key>,
}

impl Keys<'_> {
    fn visit(&mut self, path: &str, schema: &Value) {
        let schema = self.resolve(schema).clone();
        let alternatives = ["oneOf", "anyOf"].iter().find_map(|key| schema.get(key)?.as_array());
        match alternatives {
            // A list of what may also stand alone has the same keys.
            Some(some) => {
                some.iter().filter(|it| it.get("items").is_none()).for_each(|it| self.visit(path, it))
            }
            None => self.visit_properties(path, &schema),
        }
        if let Some(items) = schema.get("items") {
            self.visit(&format!("{path}[]"), items);
        }
        if let Some(values @ Value::Object(_)) = schema.get("additionalProperties") {
            self.visit(&format!("{path}.NAME"), values);
        }
    }

    fn visit_properties(&mut self, path: &str, schema: &Value) {
        let required =
            schema.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let only = schema.get("properties").and_then(Value::as_object).is_some_and(|all| all.len() == 1);
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let target = self.resolve(property);
            let text = |key: &str| property.get(key).or_else(|| target.get(key));
            // The only key of an alternative is required by the choice, not by the user.
            let default = match text("default") {
                _ if required.contains(&Value::String(name.clone())) && !only => "required".to_owned(),
                None | Some(Value::Object(_)) => String::new(),
                Some(Value::String(default)) => format!("`{default}`"),
                Some(default) => format!("`{default}`"),
            };
            let meaning = text("description").and_then(Value::as_str).unwrap_or_default().to_owned();
            self.keys.push(Key { path: path.clone(), kind: self.kind(property), default, meaning });
            self.visit(&path, property);
        }
    }

    fn resolve<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix("#/$defs/"));
        let some = schema.get("anyOf").and_then(Value::as_array).and_then(|some| match some.as_slice() {
            [one, null] if null.get("type").and_then(Value::as_str) == Some("null") => Some(one),
            _ => None,
        });
        match (name, some) {
            (Some(name), _) => self.definitions.and_then(|all| all.get(name)).unwrap_or(schema),
            (None, Some(one)) => self.resolve(one),
            (None, None) => schema,
        }
    }

    /// What a value is, in words.
    fn kind(&self, schema: &Value) -> String {
        let schema = self.resolve(schema);
        let list =
            |key: &str| schema.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if let constants @ [_, ..] = list("oneOf") {
            let constants: Vec<_> = constants.iter().filter_map(|it| it.get("const")?.as_str()).collect();
            return if constants.is_empty() {
                "map with one key".to_owned()
            } else {
                format!("`{}`", constants.join("` or `"))
            };
        }
        if let [one, other, ..] = list("anyOf") {
            if let Some(constant) = one.get("const").and_then(Value::as_str) {
                return format!("`{constant}` or {}", self.kind(other));
            }
            let one = self.kind(one);
            return format!("{one} or list of {one}s");
        }
        if schema.get("pattern").is_some() {
            return schema.get("description").and_then(Value::as_str).unwrap_or("text").to_owned();
        }
        let kind = match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
            kind => kind.and_then(Value::as_str),
        };
        match kind {
            Some("object") => match schema.get("additionalProperties") {
                Some(Value::Object(_)) => "map of any keys".to_owned(),
                Some(Value::Bool(true)) => "map of anything".to_owned(),
                _ => "map".to_owned(),
            },
            Some("array") => match schema.get("items").map(|items| self.kind(items)).as_deref() {
                Some("map" | "map of anything") => "list of maps".to_owned(),
                Some(kind) => format!("list of {kind}s"),
                None => "list".to_owned(),
            },
            Some("integer") => "whole number".to_owned(),
            Some("boolean") => "`true` or `false`".to_owned(),
            _ => "text".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_in_the_schema_are_those_that_hold() {
        let tiny = r#"{"apiVersion":"otlp-gate/v1","clients":[],"quotas":{"tiers":{"NAME":{}}}}"#;
        let expected: Config = serde_json::from_str(tiny).unwrap();
        let mut value: Value = serde_json::from_str(tiny).unwrap();
        let mut defaults = 0;
        for key in keys() {
            let default = key.default.trim_matches('`');
            // Of what is not there by default there is no default to compare.
            let absent = ["[]", "service", "certManager", "total", "deploy", "monitoring"]
                .iter()
                .any(|it| key.path.contains(it));
            if absent || matches!(default, "" | "required") {
                continue;
            }
            let default = serde_json::from_str(default).unwrap_or_else(|_| Value::from(default));
            let place = key.path.split('.').fold(&mut value, |value, key| &mut value[key]);
            *place = default;
            defaults += 1;
        }
        assert!(defaults >= 14, "{value}");
        assert_eq!(serde_json::from_value::<Config>(value).unwrap(), expected);
    }

    #[test]
    fn every_key_is_explained() {
        for key in keys() {
            assert!(key.meaning.ends_with('.'), "{key:?}");
        }
    }
}
