//! Envoy Gateway, installed like its Helm chart does.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::images::{self, Image};
use super::kubectl;
use super::state::State;
use crate::{native, process, project};

/// The image of the controller, and of the shutdown manager beside each proxy.
const CONTROLLER: &str = "docker.io/envoyproxy/gateway:v1.9.1";
/// The default image of the proxies (`DefaultEnvoyProxyImage` in api/v1alpha1/shared_types.go). containerd ignores the
/// tag of a name with a digest, and does not check the digest of an imported image.
const PROXY: &str =
    "docker.io/envoyproxy/envoy@sha256:eb2c01c13125d1629637cb4e4cce7207009fb7cc2c8027f9742758549d15b6f4";
/// An image of Envoy that contains the native module, as docs/guides/native-module.md makes it.
const NATIVE: &str = "localhost/envoy-otlp-gate:1";
const NAMESPACE: &str = "envoy-gateway-system";

/// The images of the controller and of its proxies, without and with the native module.
pub(super) fn images(envoy_gateway: &Path, envoy: &Path) -> Result<Vec<Image>> {
    let mut proxy = images::libraries(envoy)?;
    proxy.extend(images::files([("usr/local/bin/envoy", envoy)]));
    let mut with_module = proxy.clone();
    with_module.extend(images::files([("usr/local/lib/libotlp_gate.so", native::for_tests()?)]));
    let controller = images::files([("usr/local/bin/envoy-gateway", envoy_gateway.join("envoy-gateway"))]);
    Ok(vec![
        Image { name: CONTROLLER, files: controller, config: config("/usr/local/bin/envoy-gateway") },
        Image { name: PROXY, files: proxy, config: config("/usr/local/bin/envoy") },
        Image { name: NATIVE, files: with_module, config: config("/usr/local/bin/envoy") },
    ])
}

/// Installs Envoy Gateway, with the keys of the controller and its proxies.
pub(super) fn up(state: &State, envoy_gateway: &Path) -> Result<()> {
    let manifest = project::root().join("tests/cluster/envoy-gateway/envoy-gateway.yaml");
    kubectl::apply(state, &kubectl::manifests(envoy_gateway)?)?;
    kubectl::apply(state, &[manifest])?;
    let mut certgen = std::process::Command::new(envoy_gateway.join("envoy-gateway"));
    certgen.args(["certgen", "--disable-topology-injector"]);
    certgen.env("KUBECONFIG", state.kubeconfig()).env("ENVOY_GATEWAY_NAMESPACE", NAMESPACE);
    process::stdout(&mut certgen).map(drop)
}

/// Waits until the controller is ready.
pub(super) fn wait_ready(state: &State) -> Result<()> {
    kubectl::rolled_out(state, NAMESPACE, "envoy-gateway")
}

fn config(program: &str) -> Value {
    json!({"Entrypoint": [program], "User": "65532:65532", "WorkingDir": "/", "Env": ["PATH=/usr/local/bin"]})
}
