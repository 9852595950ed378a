//! Parts of pods in Kubernetes' own words, checked where they are read.

use std::borrow::Cow;

use k8s_openapi::serde::de::DeserializeOwned;
use otlp_gate_core::policy::ConfigPath;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A value as Kubernetes' API defines it. Kubernetes' own types ignore unknown keys; here they are errors.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Kubernetes<T>(pub(crate) T);

impl<'de, T: DeserializeOwned + Serialize> Deserialize<'de> for Kubernetes<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let typed = T::deserialize(&value).map_err(D::Error::custom)?;
        let known = serde_json::to_value(&typed).map_err(D::Error::custom)?;
        match lost(&value, &known, &ConfigPath::default()) {
            Some(path) => Err(D::Error::custom(format_args!("Kubernetes has no key `{path}` here"))),
            None => Ok(Kubernetes(typed)),
        }
    }
}

impl<T: Serialize> Serialize for Kubernetes<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<T> JsonSchema for Kubernetes<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Kubernetes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "additionalProperties": true})
    }
}

/// The place of the first key that a typed value does not have. Empty values may be left out.
fn lost(given: &Value, known: &Value, path: &ConfigPath) -> Option<ConfigPath> {
    match (given, known) {
        (Value::Object(given), _) => given.iter().find_map(|(key, value)| match known.get(key) {
            Some(known) => lost(value, known, &path.key(key)),
            None if is_empty(value) => None,
            None => Some(path.key(key)),
        }),
        (Value::Array(given), Value::Array(known)) => {
            let mut pairs = given.iter().zip(known).enumerate();
            pairs.find_map(|(index, (given, known))| lost(given, known, &path.index(index)))
        }
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Affinity, EnvVar, Toleration};
    use serde_json::json;

    use super::*;

    fn read<T: DeserializeOwned + Serialize>(value: Value) -> Result<Kubernetes<T>, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn what_kubernetes_knows_is_kept() {
        let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "pool", "operator": "In", "values": ["a"]}]}],
        }}});
        assert_eq!(serde_json::to_value(read::<Affinity>(affinity.clone()).unwrap()).unwrap(), affinity);
        assert!(read::<Toleration>(json!({"operator": "Exists", "key": null})).is_ok());
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_errors() {
        for (value, error) in [
            (json!({"operater": "Exists"}), "Kubernetes has no key `operater` here"),
            (json!({"operator": 1}), "invalid type: integer `1`, expected a string"),
        ] {
            assert_eq!(read::<Toleration>(value).unwrap_err(), error);
        }
        let secret =
            json!({"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b", "optinal": true}}});
        assert_eq!(
            read::<EnvVar>(secret).unwrap_err(),
            "Kubernetes has no key `valueFrom.secretKeyRef.optinal` here"
        );
    }
}
