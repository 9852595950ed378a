//! The filter as a dynamic module of Envoy Gateway's proxies (`gateway.host: native`). They run an image of Envoy that
//! contains the module.

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::FilterHost;
use crate::envoy;
use crate::error::Error;
use crate::model::Installation;
use crate::module::{Location, native};

/// Where the image has the module.
const FILE: &str = "/usr/local/lib/libotlp_gate.so";
/// The name by which the gate's policy refers to the module.
const NAME: &str = "otlp-gate";

/// A dynamic module in an EnvoyExtensionPolicy.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DynamicModule {
    name: &'static str,
    filter_name: &'static str,
    config: Value,
}

impl DynamicModule {
    pub(super) fn new(config: Value) -> Self {
        DynamicModule { name: NAME, filter_name: NAME, config }
    }
}

/// The image of the proxies; none if the filter is a Wasm module.
///
/// # Errors
/// There is no image.
pub(super) fn image(installation: &Installation<'_>) -> Result<Option<String>, Error> {
    if installation.config.gateway.host == FilterHost::Wasm {
        return Ok(None);
    }
    match &installation.module {
        Location::Oci { image, sha256: None } => Ok(Some(image.clone())),
        Location::Oci { image, sha256: Some(digest) } => Ok(Some(format!("{image}@sha256:{digest}"))),
        Location::ConfigMap { .. } | Location::Http { .. } => {
            Err(Error::failed(native::NO_IMAGE).hint(native::IMAGE_HINT))
        }
    }
}

/// The module, for `dynamicModules` of an EnvoyProxy. Its buckets live as long as the process, also while no policy uses
/// it.
pub(super) fn registration() -> Value {
    json!([{"name": NAME, "source": {"type": "Local", "local": {"path": FILE}}, "doNotClose": true}])
}

/// What the proxies' pods have besides. A proxy that cannot load the module would be ready without the gate's listeners.
/// So Envoy first loads it alone, in a container whose failure keeps the pod from starting, and the former pods go on.
pub(super) fn pod_patch(image: &str) -> Result<Value, Error> {
    let config = serde_json::to_string(&envoy::native_module_alone(FILE))
        .map_err(|error| Error::failed(format_args!("cannot write JSON: {error}")))?;
    let check = json!({
        "name": "otlp-gate-module",
        "image": image,
        "command": ["envoy", "--mode", "validate", "--log-level", "warn", "--config-yaml", config],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "privileged": false,
            "runAsGroup": 65532,
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    });
    Ok(json!({"spec": {"initContainers": [check]}}))
}
