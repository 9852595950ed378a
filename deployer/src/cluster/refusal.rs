//! What the API server said no to, in a user's words, and the cure.

use kube::core::Status;

use super::apply::title;
use super::failed;
use crate::error::Error;
use crate::resources::{Object, SMALLER_POLICY};

/// The API server does not take an object.
pub(super) fn refused(object: &Object, error: &kube::Error) -> Error {
    let title = title(&object.kind, object.namespace.as_deref(), &object.name);
    let kube::Error::Api(status) = error else {
        return failed(format_args!("the cluster does not take {title}"), error);
    };
    let said = &status.message;
    let namespace = object.namespace.as_deref().unwrap_or_default();
    if status.code == 409 && status.reason == "Conflict" {
        return Error::failed(format_args!("{title} has fields that somebody else manages: {said}"))
            .hint("leave them to their owner by taking them out of the config, or take them over with `--force-conflicts`");
    }
    if is_too_large(status) {
        let error = Error::failed(format_args!("{title} is too large for the cluster: {said}"));
        return error.hint(smaller(object));
    }
    if said.contains("because it is being terminated") {
        return terminating(namespace);
    }
    if status.code == 404 && said.contains(&format!("namespaces \"{namespace}\" not found")) {
        let key =
            if object.kind == "ReferenceGrant" { "backend.service.namespace" } else { "gateway.namespace" };
        return Error::failed(format_args!("there is no namespace {namespace}"))
            .hint(format_args!("`kubectl create namespace {namespace}`, or name another one: `{key}`"));
    }
    let error = failed(format_args!("the cluster does not take {title}"), error);
    match rule(said) {
        Some(cure) => error.hint(cure),
        None => error,
    }
}

/// What to do about a rule of the cluster's own that an object breaks, by the API server's words (its plugin/pkg/admission).
fn rule(said: &str) -> Option<&'static str> {
    let cures = [
        (
            "exceeded quota",
            "the namespace's ResourceQuota leaves too little: `kubectl describe quota` shows it",
        ),
        (
            "failed calling webhook",
            "a webhook that must agree does not answer: `otlp-gate doctor` says whether the gateway's control plane runs",
        ),
        (
            "denied",
            "a policy of the cluster refuses it: meet what it asks for, or have it except the gate's namespace",
        ),
    ];
    cures.into_iter().find(|(words, _)| said.contains(words)).map(|(_, cure)| cure)
}

/// The namespace is on its way out.
pub(crate) fn terminating(namespace: &str) -> Error {
    Error::failed(format_args!("the namespace {namespace} is being deleted, and takes nothing new")).hint(format_args!(
        "wait until it is gone (`kubectl wait --for=delete namespace/{namespace}`; what keeps it stands in \
         `kubectl get namespace {namespace} -o yaml`), or name another one"
    ))
}

/// The API server's bound on requests, its validation of what an object holds, or etcd's bound on requests.
fn is_too_large(status: &Status) -> bool {
    let said = status.message.to_lowercase();
    status.code == 413 || said.contains("too long: ") || said.contains("request is too large")
}

/// How an object becomes smaller: by what it holds.
fn smaller(object: &Object) -> &'static str {
    let has = |key: &str, within: &str| object.value.get(key).is_some_and(|data| data.get(within).is_some());
    match object.kind.as_str() {
        "WasmPlugin" | "EnvoyExtensionPolicy" => SMALLER_POLICY,
        "ConfigMap" if object.value.get("binaryData").is_some() => {
            "the filter's module is in it: push it to a registry with `otlp-gate wasm push`, and name it: `gateway.module.url`"
        }
        "Secret" | "ConfigMap" if has("data", "ca.crl") => {
            "the list of revoked certificates is in it: `otlp-gate certs rotate client` begins one anew"
        }
        "ConfigMap" if has("data", "config.yaml") => {
            "the Collector's configuration is in it: write fewer exporters into `backend.collector`"
        }
        _ => "one object has room for about 1 MiB: take something out of the config",
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

    fn told(object: &Object, code: u16, reason: &str, message: &str) -> String {
        let status = Status { code, reason: reason.to_owned(), ..Status::failure(message, reason) };
        Error::all(vec![refused(object, &kube::Error::Api(Box::new(status)))]).to_string()
    }

    #[test]
    fn what_was_too_large_is_named_with_its_own_cure() {
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
        for (object, cure) in [
            (custom("WasmPlugin"), SMALLER_POLICY),
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
                let told = told(&object, code, "", message);
                assert!(
                    told.contains("/gate in here is too large for the cluster") && told.contains(cure),
                    "{told}"
                );
            }
        }
    }

    #[test]
    fn a_namespace_that_is_not_there_is_named_with_the_key_that_names_it() {
        let message = "namespaces \"here\" not found";
        let said = told(&custom("ReferenceGrant"), 404, "NotFound", message);
        assert!(
            said.contains("there is no namespace here") && said.contains("`backend.service.namespace`"),
            "{said}"
        );
        let said = told(&custom("Gateway"), 404, "NotFound", message);
        assert!(
            said.contains("kubectl create namespace here") && said.contains("`gateway.namespace`"),
            "{said}"
        );
    }

    #[test]
    fn what_a_rule_of_the_cluster_forbids_is_no_lack_of_rights() {
        for (message, cure) in [
            (
                "services \"gate\" is forbidden: exceeded quota: small, requested: services=1",
                "kubectl describe quota",
            ),
            ("admission webhook \"validation.example.com\" denied the request: no owner", "have it except"),
            (
                "Internal error occurred: failed calling webhook \"rev.validation.istio.io\": no endpoints",
                "does not answer",
            ),
        ] {
            let said = told(&custom("Service"), 403, "Forbidden", message);
            assert!(said.contains(cure) && !said.contains("these rights"), "{said}");
        }
        let lacking =
            "gateways is forbidden: User \"a\" cannot patch resource \"gateways\" in API group \"\"";
        assert!(told(&custom("Gateway"), 403, "Forbidden", lacking).contains("these rights"));
    }

    #[test]
    fn a_namespace_that_is_being_deleted_is_no_lack_of_rights() {
        let message = "gateways \"gate\" is forbidden: unable to create new content in namespace here because it is \
                       being terminated";
        let said = told(&custom("Gateway"), 403, "Forbidden", message);
        assert!(said.contains("is being deleted") && !said.contains("rights"), "{said}");
    }
}
