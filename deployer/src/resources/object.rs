//! One Kubernetes object, and how it is written.

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;

/// A Kubernetes object: what was typed is now the JSON that the API server is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its kind.
    pub kind: String,
    /// Its namespace, unless it is in none.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// All of it.
    pub value: Value,
}

impl Object {
    /// An object of Kubernetes' own API.
    pub fn builtin<T>(object: &T) -> Result<Self, Error>
    where
        T: k8s_openapi::Resource + Metadata<Ty = ObjectMeta> + Serialize,
    {
        Object::new(T::KIND, object.metadata(), object)
    }

    /// An object of a custom resource, from its spec.
    pub fn custom(
        api_version: &str,
        kind: &str,
        metadata: ObjectMeta,
        spec: impl Serialize,
    ) -> Result<Self, Error> {
        let object = Custom { api_version, kind, metadata, spec };
        Object::new(kind, &object.metadata, &object)
    }

    fn new(kind: &str, metadata: &ObjectMeta, object: &impl Serialize) -> Result<Self, Error> {
        let name = metadata.name.clone().unwrap_or_default();
        let value = serde_json::to_value(object)
            .map_err(|e| Error::failed(format_args!("cannot write {kind} {name} as JSON: {e}")))?;
        Ok(Object { kind: kind.to_owned(), namespace: metadata.namespace.clone(), name, value })
    }

    /// Its API version: group and version, or the version alone for Kubernetes' core.
    pub fn api_version(&self) -> &str {
        self.value.get("apiVersion").and_then(Value::as_str).unwrap_or_default()
    }

    /// The name of the file that holds it, which no other object of the gate has.
    pub fn file_name(&self) -> String {
        format!("{}-{}.yaml", self.kind.to_lowercase(), self.name)
    }

    /// As YAML, with its keys sorted.
    pub fn to_yaml(&self) -> Result<String, Error> {
        yaml(&self.value)
    }
}

/// Any value as YAML that ends with a newline.
pub(crate) fn yaml(value: &impl Serialize) -> Result<String, Error> {
    let mut text =
        serde_saphyr::to_string(value).map_err(|e| Error::failed(format_args!("cannot write YAML: {e}")))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Custom<'a, S> {
    api_version: &'a str,
    kind: &'a str,
    metadata: ObjectMeta,
    spec: S,
}
