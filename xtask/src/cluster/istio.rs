//! Istio.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::images::{self, Image};
use super::state::State;
use super::{kubectl, network};
use crate::process;

/// Differences from Istio's minimal profile: our images, whose tag tells `otlp-gate` what istiod can do, and none of the
/// filters that only Istio's build of Envoy has (istio.stats, istio.metadata_exchange, istio.alpn).
const VALUES: [&str; 6] = [
    "values.global.hub=localhost",
    "values.global.tag=1.31",
    "values.global.imagePullPolicy=IfNotPresent",
    "values.telemetry.enabled=false",
    "values.pilot.env.PILOT_ENABLE_METADATA_EXCHANGE=false",
    "values.pilot.env.PILOT_ENABLE_ALPN_FILTER=false",
];

const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nistio-proxy:x:1337:1337::/tmp:/bin/false\n";

/// The images of istiod and of the proxy of gateways and sidecars.
pub(super) fn images(state: &State, istio: &Path, envoy: &Path) -> Result<Vec<Image>> {
    let users = state.dir().join("passwd");
    fs::write(&users, USERS)?;
    let mut proxy = images::libraries(envoy)?;
    proxy.extend(images::iptables()?);
    proxy.extend(images::files([
        ("usr/local/bin/envoy", envoy),
        ("usr/local/bin/pilot-agent", &istio.join("pilot-agent")),
        ("var/lib/istio/envoy/envoy_bootstrap_tmpl.json", &istio.join("envoy_bootstrap.json")),
        ("etc/passwd", &users),
    ]));
    let pilot = "usr/local/bin/pilot-discovery";
    let config = |program: &str| {
        json!({
            "Entrypoint": [program],
            "User": "1337:1337",
            "WorkingDir": "/",
            "Env": ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/bin"],
        })
    };
    Ok(vec![
        Image {
            name: "localhost/pilot:1.31",
            files: images::files([(pilot, istio.join("pilot-discovery")), ("etc/passwd", users)]),
            config: config("/usr/local/bin/pilot-discovery"),
        },
        Image { name: "localhost/proxyv2:1.31", files: proxy, config: config("/usr/local/bin/pilot-agent") },
    ])
}

/// Installs Istio.
pub(super) fn up(state: &State, istio: &Path) -> Result<()> {
    let manifest = state.dir().join("istio.yaml");
    let mut generate = network::inside(1, istio.join("istioctl"));
    generate.args(["manifest", "generate", "--set", "profile=minimal"]);
    for value in VALUES {
        generate.args(["--set", value]);
    }
    fs::write(&manifest, process::stdout(&mut generate)?)?;
    process::stdout(&mut kubectl::kubectl(state, &["create", "namespace", "istio-system"]))?;
    // The first try creates the CRDs and fails for objects of these kinds.
    let apply = || kubectl::apply(state, &[&manifest]);
    apply().or_else(|_| apply())
}

/// Waits until istiod is ready.
pub(super) fn wait_ready(state: &State) -> Result<()> {
    kubectl::rolled_out(state, "istio-system", "istiod")
}
