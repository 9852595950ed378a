//! Errors of the API server, classified once into a reason that has a message and a hint.
//!
//! A new reason is a variant of [`Reason`], its line in [`Reason::of_request`] or [`Reason::of_rejection`], and its
//! message and hint.

use std::fmt::Display;

use kube::core::Status;

use crate::error::{Error, with_causes};
use crate::model::{Object, SMALLER_POLICY};

/// Why a request to the API server failed.
#[derive(Debug)]
enum Reason<'a> {
    /// There was no response.
    Unreachable,
    /// 401: the credentials are not accepted.
    Unauthorized,
    /// 403: RBAC does not allow the request.
    MissingRights,
    /// 409: another field manager owns fields of the object.
    FieldConflict(&'a Object),
    /// The object is larger than the API server or etcd accepts.
    TooLarge(&'a Object),
    /// The object's namespace is being deleted.
    NamespaceTerminating(&'a str),
    /// The object's namespace does not exist.
    NamespaceNotFound(&'a Object),
    /// The object would exceed a ResourceQuota.
    QuotaExceeded,
    /// The object is a StatefulSet, and would get other volumes.
    VolumesFixed(&'a Object),
    /// An admission webhook does not respond.
    WebhookFailed,
    /// An admission policy or webhook denies the object.
    Denied,
    /// Anything else. Only the API server's message describes it.
    Other,
}

/// The error for a failed request; `doing` says what failed, as in `cannot list pods`.
pub(crate) fn api_error(doing: impl Display, error: &kube::Error) -> Error {
    Reason::of_request(error).error(&doing, error)
}

/// The error for an object that the API server does not accept.
pub(super) fn rejected(object: &Object, error: &kube::Error) -> Error {
    let doing = format_args!("the cluster rejects {}", object.title());
    Reason::of_rejection(object, error).error(&doing, error)
}

/// The error for a namespace that is being deleted.
pub(super) fn namespace_terminating(namespace: &str) -> Error {
    let reason = Reason::NamespaceTerminating(namespace);
    with_hint(reason.message(&"", ""), reason.hint())
}

/// The error for an API server that does not respond.
pub(super) fn unreachable(message: impl Display) -> Error {
    with_hint(message, Reason::Unreachable.hint())
}

/// The result of a request that RBAC may not allow: `None` if it does not.
pub(crate) fn if_allowed<T>(result: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
        result => result.map(Some),
    }
}

impl<'a> Reason<'a> {
    /// The reason that applies to any request.
    fn of_request(error: &kube::Error) -> Self {
        let kube::Error::Api(status) = error else { return Reason::Unreachable };
        match status.code {
            401 => Reason::Unauthorized,
            // Only RBAC reports that a user cannot do something. Rights do not help against other causes of a 403, such
            // as a ResourceQuota.
            _ if status.is_forbidden() && status.message.contains(" cannot ") => Reason::MissingRights,
            _ => Reason::Other,
        }
    }

    /// The reason that the API server does not accept an object, from its response (Kubernetes' plugin/pkg/admission).
    fn of_rejection(object: &'a Object, error: &kube::Error) -> Self {
        let kube::Error::Api(status) = error else { return Reason::Unreachable };
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let contains = |text: &str| status.message.contains(text);
        match status.code {
            409 if status.reason == "Conflict" => Reason::FieldConflict(object),
            _ if is_too_large(status) => Reason::TooLarge(object),
            _ if contains("because it is being terminated") => Reason::NamespaceTerminating(namespace),
            404 if contains(&format!("namespaces \"{namespace}\" not found")) => {
                Reason::NamespaceNotFound(object)
            }
            _ if contains("exceeded quota") => Reason::QuotaExceeded,
            _ if contains("updates to statefulset spec for fields other than") => {
                Reason::VolumesFixed(object)
            }
            _ if contains("failed calling webhook") => Reason::WebhookFailed,
            _ if contains("denied") => Reason::Denied,
            _ => Reason::of_request(error),
        }
    }

    fn error(&self, doing: &dyn Display, error: &kube::Error) -> Error {
        let reported = match error {
            kube::Error::Api(status) => status.message.clone(),
            other => with_causes(other),
        };
        with_hint(self.message(doing, &reported), self.hint())
    }

    fn message(&self, doing: &dyn Display, reported: &str) -> String {
        match self {
            Reason::Unauthorized => format!("{doing}: authentication to the API server failed (401)"),
            Reason::FieldConflict(object) => {
                format!("{} has fields that another field manager owns: {reported}", object.title())
            }
            Reason::TooLarge(object) => {
                format!("{} is too large for the cluster: {reported}", object.title())
            }
            Reason::NamespaceTerminating(namespace) => {
                format!("namespace {namespace} is being deleted and accepts no new objects")
            }
            Reason::NamespaceNotFound(object) => {
                format!("namespace {} does not exist", object.namespace.as_deref().unwrap_or_default())
            }
            Reason::Unreachable
            | Reason::MissingRights
            | Reason::QuotaExceeded
            | Reason::VolumesFixed(_)
            | Reason::WebhookFailed
            | Reason::Denied
            | Reason::Other => format!("{doing}: {reported}"),
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Reason::Unreachable => {
                "`kubectl cluster-info` shows whether the cluster is reachable; `--context NAME` selects another cluster"
            }
            Reason::Unauthorized => "the kubeconfig's credentials may have expired: log in again",
            Reason::MissingRights => {
                "ask for these rights, or use credentials that have them: `kubectl auth can-i --list` shows yours"
            }
            Reason::FieldConflict(_) => {
                "remove these fields from the config, or take them over with `--force-conflicts`"
            }
            Reason::TooLarge(object) => how_to_shrink(object),
            Reason::NamespaceTerminating(namespace) => {
                return Some(format!(
                    "wait until it is gone (`kubectl wait --for=delete namespace/{namespace}`; \
                     `kubectl get namespace {namespace} -o yaml` shows what blocks the deletion), or use another namespace"
                ));
            }
            Reason::NamespaceNotFound(object) => {
                let namespace = object.namespace.as_deref().unwrap_or_default();
                let key = match object.kind.as_str() {
                    "ReferenceGrant" => "backend.service.namespace",
                    _ => "gateway.namespace",
                };
                return Some(format!(
                    "run `kubectl create namespace {namespace}`, or set `{key}` to another one"
                ));
            }
            Reason::QuotaExceeded => {
                "the namespace's ResourceQuota is exhausted: `kubectl describe quota` shows limits and usage"
            }
            Reason::VolumesFixed(object) => {
                return Some(format!(
                    "the volumes of a StatefulSet cannot be changed: undo the change of `queueVolume`, or run `kubectl \
                     delete statefulset {} -n {} --cascade=orphan` and apply again, for new volumes only",
                    object.name,
                    object.namespace.as_deref().unwrap_or_default()
                ));
            }
            Reason::WebhookFailed => {
                "an admission webhook does not respond: `otlp-gate doctor` shows whether the gateway's control plane is ready"
            }
            Reason::Denied => {
                "an admission policy of the cluster denies it: change the config to comply, or exempt the gate's namespace"
            }
            Reason::Other => return None,
        };
        Some(hint.to_owned())
    }
}

fn with_hint(message: impl Display, hint: Option<String>) -> Error {
    let error = Error::failed(message);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Whether a limit was exceeded: the API server's on requests or on an object's content, or etcd's on requests.
fn is_too_large(status: &Status) -> bool {
    let message = status.message.to_lowercase();
    status.code == 413 || message.contains("too long: ") || message.contains("request is too large")
}

/// How to make an object smaller, by its content.
fn how_to_shrink(object: &Object) -> &'static str {
    let has = |key: &str, within: &str| object.value.get(key).is_some_and(|data| data.get(within).is_some());
    match object.kind.as_str() {
        "WasmPlugin" | "TrafficExtension" | "EnvoyExtensionPolicy" => SMALLER_POLICY,
        "ConfigMap" if object.value.get("binaryData").is_some() => {
            "it contains the filter's module: push that to a registry with `otlp-gate wasm push`, and set `gateway.module.url`"
        }
        "Secret" | "ConfigMap" if has("data", "ca.crl") => {
            "it contains the revocation list: `otlp-gate certs rotate client` starts a new, empty one"
        }
        "ConfigMap" if has("data", "config.yaml") => {
            "it contains the Collector's configuration: configure fewer exporters in `backend.collector`"
        }
        _ => "an object can have about 1 MiB: make the config smaller",
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};
    use kube::core::ObjectMeta;
    use serde_json::json;

    use super::*;

    fn metadata(name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("here".to_owned()),
            ..ObjectMeta::default()
        }
    }

    fn custom(kind: &str) -> Object {
        Object::custom("group/v1", kind, metadata("gate"), json!({})).unwrap()
    }

    fn error(object: &Object, code: u16, reason: &str, message: &str) -> String {
        let status = Status { code, reason: reason.to_owned(), ..Status::failure(message, reason) };
        Error::all(vec![rejected(object, &kube::Error::Api(Box::new(status)))]).to_string()
    }

    #[test]
    fn an_object_that_is_too_large_is_named_with_a_hint_for_its_content() {
        let map = |data: Option<(&str, &str)>, binary: bool| {
            Object::builtin(&ConfigMap {
                metadata: metadata("gate"),
                data: data.map(|(key, value)| [(key.to_owned(), value.to_owned())].into()),
                binary_data: binary.then(|| [("otlp-gate.wasm".to_owned(), ByteString(vec![0]))].into()),
                ..ConfigMap::default()
            })
            .unwrap()
        };
        let secret = Secret {
            metadata: metadata("gate"),
            data: Some([("ca.crl".to_owned(), ByteString(vec![0]))].into()),
            ..Secret::default()
        };
        for (object, hint) in [
            (custom("WasmPlugin"), SMALLER_POLICY),
            (custom("TrafficExtension"), SMALLER_POLICY),
            (custom("EnvoyExtensionPolicy"), SMALLER_POLICY),
            (map(None, true), "wasm push"),
            (map(Some(("ca.crl", "")), false), "certs rotate client"),
            (Object::builtin(&secret).unwrap(), "certs rotate client"),
            (map(Some(("config.yaml", "")), false), "fewer exporters"),
        ] {
            for (code, message) in [
                (413, "Request entity too large: limit is 3145728"),
                (422, "ConfigMap \"gate\" is invalid: []: Too long: may not be more than 1048576 bytes"),
                (500, "etcdserver: request is too large"),
            ] {
                let error = error(&object, code, "", message);
                assert!(
                    error.contains("/gate in here is too large for the cluster") && error.contains(hint),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn a_missing_namespace_is_named_with_its_config_key() {
        for (kind, key) in [("ReferenceGrant", "backend.service.namespace"), ("Gateway", "gateway.namespace")]
        {
            let error = error(&custom(kind), 404, "NotFound", "namespaces \"here\" not found");
            let hint = format!("run `kubectl create namespace here`, or set `{key}`");
            assert!(error.contains("namespace here does not exist") && error.contains(&hint), "{error}");
        }
    }

    #[test]
    fn quotas_and_admission_are_not_reported_as_missing_rights() {
        for (message, hint) in [
            (
                "services \"gate\" is forbidden: exceeded quota: small, requested: services=1",
                "kubectl describe quota",
            ),
            ("admission webhook \"validation.example.com\" denied the request: no owner", "or exempt"),
            (
                "Internal error occurred: failed calling webhook \"rev.validation.istio.io\": no endpoints",
                "does not respond",
            ),
        ] {
            let error = error(&custom("Service"), 403, "Forbidden", message);
            assert!(error.contains(hint) && !error.contains("these rights"), "{error}");
        }
        let missing =
            "gateways is forbidden: User \"a\" cannot patch resource \"gateways\" in API group \"\"";
        assert!(error(&custom("Gateway"), 403, "Forbidden", missing).contains("these rights"));
    }

    #[test]
    fn volumes_of_a_stateful_set_that_would_change_have_a_hint() {
        let message = "StatefulSet.apps \"gate\" is invalid: spec: Forbidden: updates to statefulset spec for fields \
                       other than 'replicas', 'ordinals', 'template', 'updateStrategy' are forbidden";
        let error = error(&custom("StatefulSet"), 422, "Invalid", message);
        assert!(error.contains("`kubectl delete statefulset gate -n here --cascade=orphan`"), "{error}");
    }

    #[test]
    fn a_terminating_namespace_is_not_reported_as_missing_rights() {
        let message = "gateways \"gate\" is forbidden: unable to create new content in namespace here because it is \
                       being terminated";
        let error = error(&custom("Gateway"), 403, "Forbidden", message);
        assert!(error.contains("is being deleted") && !error.contains("rights"), "{error}");
    }
}
