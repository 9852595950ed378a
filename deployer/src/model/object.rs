//! A Kubernetes object, ready to be sent or written.

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;

/// A Kubernetes object as the JSON that the API server receives, made from a typed value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object {
    /// The kind, such as `ConfigMap`.
    pub(crate) kind: String,
    /// The namespace; none for a cluster-scoped object.
    pub(crate) namespace: Option<String>,
    /// `metadata.name`.
    pub(crate) name: String,
    /// The whole object.
    pub(crate) value: Value,
}

impl Object {
    /// An object of a kind that Kubernetes itself defines.
    pub(crate) fn builtin<T>(object: &T) -> Result<Self, Error>
    where
        T: k8s_openapi::Resource + Metadata<Ty = ObjectMeta> + Serialize,
    {
        Object::new(T::KIND, object.metadata(), object)
    }

    /// An object of a custom resource, made from its spec.
    pub(crate) fn custom(
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

    /// `apiVersion`: group and version, or only the version for the core group.
    pub(crate) fn api_version(&self) -> &str {
        self.value.get("apiVersion").and_then(Value::as_str).unwrap_or_default()
    }

    /// Kind, name and namespace as messages show them: `service/a in b`.
    pub(crate) fn title(&self) -> String {
        title(&self.kind, self.namespace.as_deref(), &self.name)
    }

    /// Kind and name as kubectl writes them: `service/a`.
    pub(crate) fn short_title(&self) -> String {
        title(&self.kind, None, &self.name)
    }

    /// The name of the object's file. No two objects of a gate have the same.
    pub(crate) fn file_name(&self) -> String {
        format!("{}-{}.yaml", self.kind.to_lowercase(), self.name)
    }

    /// The object as YAML, with sorted keys.
    pub(crate) fn to_yaml(&self) -> Result<String, Error> {
        yaml(&self.value)
    }
}

/// Kind, name and namespace of an object as messages show them: `service/a in b`.
pub(crate) fn title(kind: &str, namespace: Option<&str>, name: &str) -> String {
    let kind = kind.to_lowercase();
    namespace.map_or_else(|| format!("{kind}/{name}"), |namespace| format!("{kind}/{name} in {namespace}"))
}

/// A value as YAML that ends with a newline.
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
