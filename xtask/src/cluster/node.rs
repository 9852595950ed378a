//! A node: containerd with the images, kubelet and kube-proxy.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::control_plane::kube;
use super::images::PAUSE;
use super::state::State;
use super::{cgroup, daemon, kubectl, network};
use crate::process;

/// Starts containerd and imports the images.
pub(super) fn containers(state: &State, node: u8, images: &[PathBuf]) -> Result<()> {
    cgroup::create(node)?;
    let dir = state.node(node);
    fs::create_dir_all(dir.join("cni"))?;
    fs::write(dir.join("cni/10-bridge.conflist"), serde_json::to_vec(&cni(state, node))?)?;
    fs::write(dir.join("containerd.toml"), containerd_config(state, node))?;
    let mut containerd = network::inside(node, "containerd");
    daemon::start(
        state,
        &format!("containerd-{node}"),
        containerd.arg("-c").arg(dir.join("containerd.toml")),
    )?;
    daemon::wait_until(&format!("containerd-{node}"), "containerd answers", || {
        let mut version = ctr(state, node, &["version"]);
        version.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    })?;
    for image in images {
        process::stdout(ctr(state, node, &["images", "import"]).arg(image))?;
    }
    Ok(())
}

/// Joins the node to the cluster.
pub(super) fn join(state: &State, node: u8) -> Result<()> {
    start_kubelet(state, node)?;
    let config = configured(state, node, "kube-proxy", &proxy_config(state, node))?;
    let mut proxy = kube(state, node, "kube-proxy");
    daemon::start(state, &format!("kube-proxy-{node}"), proxy.arg("--config").arg(config))
}

/// Starts the kubelet.
pub(super) fn start_kubelet(state: &State, node: u8) -> Result<()> {
    let dir = state.node(node);
    let config = configured(state, node, "kubelet", &kubelet_config(state, node))?;
    let mut kubelet = kube(state, node, "kubelet");
    kubelet.arg("--config").arg(config).arg("--kubeconfig").arg(state.kubeconfig());
    kubelet.args(["--hostname-override", &name(node), "--node-ip", &network::node_address(node)]);
    kubelet.arg("--root-dir").arg(dir.join("kubelet")).arg("--cert-dir").arg(dir.join("kubelet-pki"));
    daemon::start(state, &format!("kubelet-{node}"), &mut kubelet)
}

fn configured(state: &State, node: u8, program: &str, config: &Value) -> Result<PathBuf> {
    let path = state.node(node).join(format!("{program}.yaml"));
    fs::write(&path, serde_json::to_vec_pretty(config)?).context("writing a node's configuration")?;
    Ok(path)
}

/// Waits until the nodes are ready and DNS works.
pub(super) fn wait_ready(state: &State, nodes: u8) -> Result<()> {
    for node in 1..=nodes {
        let node_name = name(node);
        daemon::wait_until(&format!("kubelet-{node}"), &format!("{node_name} is registered"), || {
            kubectl::succeeds(state, &["get", "node", &node_name])
        })?;
        let target = format!("node/{node_name}");
        process::stdout(&mut kubectl::kubectl(
            state,
            &["wait", &target, "--for=condition=Ready", "--timeout=60s"],
        ))?;
    }
    kubectl::rolled_out(state, "kube-system", "coredns")
}

fn name(node: u8) -> String {
    format!("node-{node}")
}

fn ctr(state: &State, node: u8, arguments: &[&str]) -> Command {
    let mut command = Command::new("ctr");
    command.arg("--address").arg(state.node(node).join("containerd.sock")).args(["--namespace", "k8s.io"]);
    command.args(arguments).stdin(Stdio::null());
    command
}

fn cni(state: &State, node: u8) -> Value {
    json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{
        "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
        "ipam": {
            "type": "host-local",
            "dataDir": state.node(node).join("addresses"),
            "ranges": [[{"subnet": network::pods(node)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }]})
}

/// containerd's configuration, in version 2, which 1.6 and 1.7 read. Pods' namespaces and runc's state are in our own
/// folder, so that several containerds can run and `down` can remove everything.
fn containerd_config(state: &State, node: u8) -> String {
    let dir = state.node(node);
    let dir = dir.display();
    format!(
        r#"version = 2
root = "{dir}/containerd"
state = "{dir}/containerd-state"
[grpc]
address = "{dir}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
disable_apparmor = true
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{dir}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{dir}/runc"
"#
    )
}

fn kubelet_config(state: &State, node: u8) -> Value {
    let dir = state.node(node);
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "x509": {"clientCAFile": state.pki("ca.crt")},
            "webhook": {"enabled": false},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": format!("unix://{}", dir.join("containerd.sock").display()),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup::of_node(node),
        "failCgroupV1": false,
        "failSwapOn": false,
        "localStorageCapacityIsolation": false,
        "enforceNodeAllocatable": [],
        // No eviction when the disk is full, and no removal of images, which no registry has.
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        // Updates Secrets and ConfigMaps in pods soon after they change.
        "syncFrequency": "2s",
        "podLogsDir": dir.join("pod-logs"),
        "volumePluginDir": dir.join("volume-plugins"),
        "clusterDNS": [network::DNS_SERVICE],
        "clusterDomain": "cluster.local",
    })
}

fn proxy_config(state: &State, node: u8) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": network::PODS,
        "hostnameOverride": name(node),
        // Keeps the machine's limits of connection tracking.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "clientConnection": {"kubeconfig": state.kubeconfig()},
    })
}
