//! Istio and Gateway API's CRDs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::programs::Programs;
use super::state::State;
use super::{kubectl, network};
use crate::process;

/// What differs from Istio's minimal profile: our images, small requests, and no filters that only Istio's own build
/// of Envoy has (istio.stats, istio.metadata_exchange, istio.alpn).
const VALUES: [&str; 9] = [
    "values.global.hub=localhost",
    "values.global.tag=1",
    "values.global.imagePullPolicy=IfNotPresent",
    "values.telemetry.enabled=false",
    "values.pilot.env.PILOT_ENABLE_METADATA_EXCHANGE=false",
    "values.pilot.env.PILOT_ENABLE_ALPN_FILTER=false",
    "values.pilot.resources.requests.memory=128Mi",
    "values.pilot.resources.requests.cpu=10m",
    "values.global.proxy.resources.requests.cpu=10m",
];

/// Installs both.
pub(super) fn up(state: &State, programs: &Programs) -> Result<()> {
    let manifest = state.dir().join("istio.yaml");
    let mut generate = network::inside(1, programs.istio.join("istioctl"));
    generate.args(["manifest", "generate", "--set", "profile=minimal"]);
    for value in VALUES {
        generate.args(["--set", value]);
    }
    fs::write(&manifest, process::stdout(&mut generate)?)?;
    gateway_api(state, programs)?;
    process::stdout(&mut kubectl::kubectl(state, &["create", "namespace", "istio-system"]))?;
    // The first round makes the CRDs that some objects of the second are of.
    let apply = || kubectl::apply(state, &[&manifest]);
    apply().or_else(|_| apply())
}

/// Waits until it takes Gateways.
pub(super) fn wait_ready(state: &State) -> Result<()> {
    kubectl::rolled_out(state, "istio-system", "istiod")
}

/// Applies the CRDs of Gateway API's standard channel.
fn gateway_api(state: &State, programs: &Programs) -> Result<()> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(&programs.gateway_api)? {
        files.push(entry?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    kubectl::apply(state, &files.iter().map(PathBuf::as_path).collect::<Vec<&Path>>())
}
